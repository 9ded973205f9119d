"""Write the runs behind `mlflow.sql` and in `mlruns/`: run this in an empty folder, with mlflow installed."""

import mlflow


def write_runs() -> None:
    """Write a run with a nested one, a failed run, and a deleted run."""
    with mlflow.start_run(run_name="parent", description="a sweep"):
        params = {"lr": 0.1, "layers": [4, 5], "name": "resnet", "commit": "12345e7", "augment": True, "no": None}
        mlflow.log_params({**params, "long": "x" * 6000})
        mlflow.set_tags({"paper": "true", "team": "vision"})
        for epoch in range(3):
            mlflow.log_metrics({"train/loss": 1 / (epoch + 1), "val acc": 0.5 + epoch / 10}, step=epoch)
        mlflow.log_metric("odd", float("nan"), step=1, timestamp=1_000)
        mlflow.log_metric("odd", float("inf"), step=2, timestamp=2_000)
        mlflow.log_metric("again", 1.0, timestamp=1_000)
        mlflow.log_metric("again", 2.0, timestamp=2_000)
        with mlflow.start_run(run_name="child", nested=True):
            mlflow.log_metric("step", 5.0, step=3)
    try:
        with mlflow.start_run(run_name="broken"):
            raise RuntimeError
    except RuntimeError:
        pass
    with mlflow.start_run(run_name="deleted") as deleted:
        pass
    mlflow.delete_run(deleted.info.run_id)


if __name__ == "__main__":
    for uri in ("sqlite:///mlflow.db", "mlruns"):
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("digits")
        write_runs()

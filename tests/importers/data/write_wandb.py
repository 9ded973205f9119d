"""Write the runs in `wandb/`: run this in an empty folder, with wandb installed."""

import math

import wandb

SETTINGS = {
    **dict.fromkeys(("disable_git", "disable_code", "x_disable_stats", "x_disable_meta"), True),
    "x_disable_machine_info": True,
    "console": "off",
    "host": "laptop",
}
CONFIG = {"lr": 0.1, "layers": [4, 5], "model": {"depth": 2}}

for number, name in enumerate(("first run", "second")):
    run = wandb.init(
        mode="offline",
        project="digits",
        id=f"{'ab'[number]}1",
        name=name,
        notes=None if number else "first try",
        tags=["paper"],
        group="seeds",
        job_type="train",
        config=CONFIG,
        settings=wandb.Settings(**SETTINGS),
    )
    run.define_metric("epoch")
    run.define_metric("val*", step_metric="epoch")
    run.config.update({"later": "x" * 10})
    for step in range(3):
        metrics = {"train/loss": 1 / (step + 1), "val acc %": 0.5 + step / 10, "epoch": step // 2}
        run.log({**metrics, "nested": {"a": step}}, step=step)
    run.log({"odd": math.nan}, step=3)
    run.log({"odd": math.inf}, step=4)
    run.log({"hist": wandb.Histogram([1, 2, 3]), "text": "ünï", "flag": True}, step=5)
    run.finish(exit_code=number)

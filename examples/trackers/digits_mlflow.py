"""Train digit classifiers with three learning rates and three seeds each, tracked by MLflow.

The three scripts in this folder do the same with different trackers. Lines that record runs are marked "tracking", and
lines that compare runs "results". All other lines are identical.
"""

from __future__ import annotations

import itertools
import os  # tracking
import pickle
from pathlib import Path

import mlflow  # tracking
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

EPOCHS = 5

images, labels = load_digits(return_X_y=True)
train_x, val_x, train_y, val_y = train_test_split(images / 16, labels, random_state=0)

mlflow.set_experiment("digits")  # tracking
for lr, seed in itertools.product((0.001, 0.01, 0.1), range(3)):
    args = {"lr": lr, "seed": seed}
    checkpoint = Path(f"digits-{lr}-{seed}.pickle")
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=lr, random_state=seed)
    with mlflow.start_run(tags={"baseline": "true"}, description="a linear classifier"):  # tracking
        mlflow.log_params(args)  # tracking
        mlflow.log_dict(dict(os.environ), "environment.json")  # tracking
        for epoch in range(EPOCHS):
            model.partial_fit(train_x, train_y, classes=range(10))
            accuracy = model.score(val_x, val_y)
            mlflow.log_metric("accuracy", accuracy, step=epoch)  # tracking
        checkpoint.write_bytes(pickle.dumps(model))
        mlflow.set_tag("checkpoint", str(checkpoint))  # tracking

runs = mlflow.search_runs()  # results
print("best run:", *runs.sort_values("metrics.accuracy").iloc[-1][["run_id", "metrics.accuracy"]])  # results
print("means over seeds:", runs.groupby("params.lr")["metrics.accuracy"].mean(), sep="\n")  # results

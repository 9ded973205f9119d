"""Train digit classifiers with three learning rates and three seeds each, tracked by Trackio.

The three scripts in this folder do the same with different trackers. Lines that record runs are marked "tracking", and
lines that compare runs "results". All other lines are identical.
"""

from __future__ import annotations

import itertools
import os  # tracking
import pickle
from pathlib import Path

import pandas as pd  # results
import trackio  # tracking
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

EPOCHS = 5

images, labels = load_digits(return_X_y=True)
train_x, val_x, train_y, val_y = train_test_split(images / 16, labels, random_state=0)

for lr, seed in itertools.product((0.001, 0.01, 0.1), range(3)):
    args = {"lr": lr, "seed": seed}
    checkpoint = Path(f"digits-{lr}-{seed}.pickle")
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=lr, random_state=seed)
    config = {**args, "env": dict(os.environ), "note": "a linear classifier", "checkpoint": f"{checkpoint}"}  # tracking
    trackio.init(project="digits", group="baseline", config=config)  # tracking
    for epoch in range(EPOCHS):
        model.partial_fit(train_x, train_y, classes=range(10))
        accuracy = model.score(val_x, val_y)
        trackio.log({"accuracy": accuracy}, step=epoch)  # tracking
    checkpoint.write_bytes(pickle.dumps(model))
    trackio.finish()  # tracking

runs, logs = trackio.Api().runs("digits"), trackio.SQLiteStorage.get_logs  # results
rows = [(r.name, r.config["lr"], max(log["accuracy"] for log in logs("digits", run_id=r.id))) for r in runs]  # results
table = pd.DataFrame(rows, columns=["run", "lr", "accuracy"])  # results
print("best run:", *table.sort_values("accuracy").iloc[-1][["run", "accuracy"]])  # results
print("means over seeds:", table.groupby("lr")["accuracy"].mean(), sep="\n")  # results

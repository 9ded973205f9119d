"""Train digit classifiers with three learning rates and three seeds each, tracked by SQLTrack.

The three scripts in this folder do the same with different trackers. Lines that record runs are marked "tracking", and
lines that compare runs "results". All other lines are identical.
"""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import sqltrack  # tracking
from sqltrack.queries import seed_statistics  # results

EPOCHS = 5

images, labels = load_digits(return_X_y=True)
train_x, val_x, train_y, val_y = train_test_split(images / 16, labels, random_state=0)

for lr, seed in itertools.product((0.001, 0.01, 0.1), range(3)):
    args = {"lr": lr, "seed": seed}
    checkpoint = Path(f"digits-{lr}-{seed}.pickle")
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=lr, random_state=seed)
    with sqltrack.track("digits", args=args, tags="baseline", comment="a linear classifier") as run:  # tracking
        for epoch in range(EPOCHS):
            model.partial_fit(train_x, train_y, classes=range(10))
            accuracy = model.score(val_x, val_y)
            run.add_metrics({"accuracy": accuracy}, step=epoch)  # tracking
        checkpoint.write_bytes(pickle.dumps(model))
        run.add_extras({"checkpoint": str(checkpoint)})  # tracking

best = "SELECT run_id, MAX(accuracy) AS accuracy FROM metrics GROUP BY run_id ORDER BY accuracy DESC"  # results
print("best run:", run.client.execute(best).fetchone())  # results
print("means over seeds:", *run.client.execute(*seed_statistics(run.client, "accuracy")), sep="\n")  # results

"""A warning about a metric says what is wrong, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqltrack import Client, Run
from sqltrack._similar_names import similar_name
from support.metrics import stored_value


@pytest.fixture
def tracked(run: Run) -> Run:
    return run.start()


def _messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return messages


def test_numbers_as_text_are_told_to_be_numbers(tracked: Run, caplog: pytest.LogCaptureFixture) -> None:
    tracked.add_metrics({"top1": 0.5, "n": 1})
    for step in range(1, 4):
        tracked.add_metrics({"top1": "0.5", "n": "7"}, step=step)
    first, second = sorted(_messages(caplog))
    for message, name, kinds in ((first, "n", ("INTEGER", "bigint")), (second, "top1", ("REAL", "double precision"))):
        assert message in [
            f"metric {name!r} is stored in the column metrics.extras: its column has the type {kind}, and the value is "
            "of type 'str' (log numbers as numbers: float(value))"
            for kind in kinds
        ]
    assert stored_value(tracked, "top1", 3) == "0.5"


REASONS: dict[str, tuple[dict[str, Any], str]] = {
    "type": ({"top1": [0.5]}, "and the value is of type 'list' (log it under another name)"),
    "name": ({"run_id": 7}, "a column of SQLTrack itself has this name (log it under another)"),
    "no column": ({"path": Path("x")}, "no column holds such values, which are kept as text"),
    "value": ({"n": 2**70}, "would alter the value"),
    "new value": ({"big": 2**70}, "would alter the value"),
}


@pytest.mark.parametrize("what", REASONS)
def test_a_metric_among_the_extras_says_which_reason_holds(
    tracked: Run, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    metrics, reason = REASONS[what]
    tracked.add_metrics({"top1": 0.5, "n": 1})
    tracked.add_metrics(metrics, step=1).add_metrics(metrics, step=2)
    (message,) = _messages(caplog)
    assert message.startswith(f"metric {next(iter(metrics))!r} is stored in the column metrics.extras: ")
    assert reason in message


@pytest.mark.engines("sqlite", reason="PostgreSQL tells capitals apart")
def test_a_name_that_differs_by_case_says_from_which(tracked: Run, caplog: pytest.LogCaptureFixture) -> None:
    tracked.add_metrics({"Loss": 0.5}).add_metrics({"loss": 0.25}, step=1)
    (message,) = _messages(caplog)
    assert message.endswith(": its name differs from 'Loss' only by case (use one spelling)")


@pytest.mark.engines("postgres", reason="SQLite has no such limit")
def test_a_name_that_is_too_long_says_so(tracked: Run, caplog: pytest.LogCaptureFixture) -> None:
    tracked.add_metrics({"n" * 64: 0.5, "ctid": 0.5})
    (message,) = _messages(caplog)
    assert message.endswith(": a column cannot have this name, which is too long or reserved (log it under another)")


def test_a_typo_in_a_name_is_warned_of_when_its_column_is_added(
    config: dict[str, Any], tracked: Run, caplog: pytest.LogCaptureFixture
) -> None:
    tracked.add_metrics({"val_loss": 0.5})
    for step in range(3):
        tracked.add_metrics({"val_los": 0.5}, step=step + 1)
    Client(config).metrics.add(tracked.id, {"val_los": 0.25}, 9, 0.0, None)
    assert _messages(caplog) == [
        "new metric 'val_los', similar to 'val_loss'; if it is a typo: sqltrack rename-metric val_los val_loss --merge"
    ]
    tracked.add_metrics({"val los": 0.5}, step=20)
    (message,) = _messages(caplog)
    assert message.partition("; ")[2].startswith("if it is a typo: sqltrack rename-metric 'val los' val_los")


def test_a_typo_in_a_block_is_warned_of(tracked: Run, caplog: pytest.LogCaptureFixture) -> None:
    """On PostgreSQL the column is added at the end of the block, which has used the table."""
    with tracked.client:
        tracked.add_metrics({"accuracy": 0.5}, step=1)
        tracked.add_metrics({"acuracy": 0.5}, step=2)
    assert ["similar to 'accuracy'" in message for message in _messages(caplog)] == [True]


def test_names_that_belong_together_are_right(tracked: Run, caplog: pytest.LogCaptureFixture) -> None:
    tracked.add_metrics({"acc_1": 0.5, "layer.0/weight": 1.0, "train_loss": 1.0, "iou_truck": 1.0, "iou_trunk": 1.0})
    tracked.add_metrics({"acc_2": 0.5, "layer.1/weight": 1.0, "val_loss": 1.0}, step=1)
    # Logged together with the other one, so it is intended.
    tracked.add_metrics({"iou_truck": 1.0, "iou_truc": 1.0}, step=2)
    # Among many new names at once, none counts as a typo.
    tracked.add_metrics({f"iou_trunk{letter}": 1.0 for letter in "abcdefghijklmnop"}, step=3)
    assert _messages(caplog) == []


SLIPS = [
    *(("val_los", "val_loss"), ("val_losss", "val_loss"), ("accuarcy", "accuracy"), ("acuracy", "accuracy")),
    *(("trian_loss", "train_loss"), ("precisoin", "precision"), ("lerning_rate", "learning_rate")),
    *(("val/loss", "val_loss"), ("valLoss", "val_loss"), ("Val_Loss", "val_loss"), ("val/acc@1", "val_acc@1")),
    *(("layer.0/wieght", "layer.0/weight"), ("top1_errer", "top1_error"), ("größse", "größe")),
]
OTHERS = [
    *(("acc_1", "acc_2"), ("layer.0", "layer.1"), ("train_x", "val_x"), ("val_loss", "eval_loss"), ("acc", "acc1")),
    *(("mse", "mae"), ("mse", "rmse"), ("f1", "fl"), ("g_loss", "d_loss"), ("acc", "auc"), ("gpu", "cpu"), ("T", "t")),
    *(("loss_a", "loss_b"), ("x", "y"), ("x", "xy"), ("min", "max"), ("bleu", "blur"), ("%", "%%"), ("🔥", "🔥🔥")),
    *(("val_mae", "val_mape"), ("train/macro_f1", "train/micro_f1"), ("rmse", "rmsle"), ("wer", "wder")),
    *(("loss", "losses"), ("loss", "val_loss"), ("recall@5", "recall@50"), ("", "a"), ("lr", "lrs")),
]


@pytest.mark.parametrize(("name", "meant"), SLIPS)
def test_slips_are_found_in_both_directions(name: str, meant: str) -> None:
    assert similar_name(name, ["loss", meant]) == meant
    assert similar_name(meant, ["loss", name]) == name


@pytest.mark.parametrize(("first", "second"), OTHERS)
def test_names_of_their_own_are_no_slips(first: str, second: str) -> None:
    assert similar_name(first, [second]) is None
    assert similar_name(second, [first]) is None

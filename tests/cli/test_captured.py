"""`show`, `diff` and `copy` know the captured context of runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

import sqltrack
from sqltrack.capture import _package_lists, read_packages
from sqltrack.cli import main
from sqltrack.commands.copy import copy
from sqltrack.commands.diff import compare_runs
from sqltrack.commands.setup import set_up_quietly
from sqltrack.commands.show import describe_run

COMMIT = "16620de9a7863f921b6be0b7fb6372142acde168"
LIMITS = {"patience": 30.0, "lock_limit": 30.0}


@pytest.fixture(autouse=True)
def _forget() -> None:
    _package_lists._known.clear()


def context(client: sqltrack.Client, number: int) -> dict[str, Any]:
    packages = {"numpy": f"2.{number}", "torch": "2.5", **({"extra": "1"} if number else {})}
    return {
        "git": {"commit": COMMIT, "branch": "main", "dirty": bool(number), "diff": f"-old\n+new {number}\n"},
        "host": {"name": "node17", "cpus": 8, "memory": 64 * 10**9, "gpus": [{"name": "NVIDIA H200"}]},
        "job": {"system": "slurm", "id": "77", "restarts": number},
        "command": {"argv": ["python", "train.py", "a b"], "cwd": "/home/alice", "pid": 4711 + number, "exit_code": 3},
        "packages": _package_lists.share_packages(client, packages, LIMITS),
        "output": {"text": "epoch 1\nepoch 2\n"},
        "resources": {"memory": {"mean": 10**9, "max": 2 * 10**9}, "cpu": {"mean": 0.5, "max": 1.5}},
    }


@pytest.fixture
def client(client: sqltrack.Client) -> sqltrack.Client:
    """Runs 1 and 2 with context, run 3 without."""
    experiment = sqltrack.Experiment(client, name="experiment")
    for number in range(2):
        experiment.get_run(number + 1).set_extras({"mine": number, "capture": context(client, number)})
    experiment.get_run(3)
    return client


def test_show_prints_a_few_lines(
    client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "2", *options]) == 0
    shown = capsys.readouterr().out
    lines = {
        line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in shown.splitlines() if "  " in line.strip()
    }
    assert lines["commit"] == "16620de9a7 (main, dirty)"
    assert lines["command"] == "python train.py 'a b' (exit status 3)"
    assert lines["host"] == "node17, 8 CPUs, 64 GB"
    assert lines["gpus"] == "NVIDIA H200"
    assert lines["job"] == "slurm 77, restarts 1"
    assert lines["packages"] == "3 packages"
    assert lines["diff"] == "2 lines"
    assert lines["output"] == "2 lines"
    assert lines["resources"] == "cpu up to 1.5, memory up to 2 GB"
    assert "epoch 2" not in shown
    assert main(["show", "2", "--capture", *options]) == 0
    shown = capsys.readouterr().out
    assert "epoch 2" in shown
    assert "+new" in shown
    assert "2.1" in shown


def test_a_description_holds_the_packages(client: sqltrack.Client, options: list[str]) -> None:
    described = describe_run(client, 1)
    assert described["extras"] == {"mine": 0}
    assert described["capture"]["packages"] == {"numpy": "2.0", "torch": "2.5"} == read_packages(client, 1)
    assert "capture" not in describe_run(client, 3)


def test_json_holds_everything(client: sqltrack.Client, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "1", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["capture"]["git"]["commit"] == COMMIT


def test_runs_are_compared_by_their_context_and_the_packages_that_differ(client: sqltrack.Client) -> None:
    rows = {row["name"]: row for row in compare_runs(client, [1, 2]) if row["section"] == "capture"}
    assert {name for name in rows if name.startswith("packages")} == {"packages.numpy", "packages.extra"}
    assert rows["packages.numpy"]["values"] == {1: "2.0", 2: "2.1"}
    assert rows["packages.extra"]["values"] == {2: "1"}
    assert rows["git.dirty"]["differs"]
    assert not rows["git.commit"]["differs"]
    assert rows["git.diff"]["differs"]
    assert str(rows["git.diff"]["values"][1]).startswith("2 lines, hash ")
    assert not {"command.pid", "output.text"} & rows.keys()
    assert not [row for row in compare_runs(client, [1, 3]) if row["name"] == "packages.numpy" and not row["differs"]]


def test_a_list_that_is_missing_is_shown_by_its_hash(client: sqltrack.Client) -> None:
    """For example because this user may not read the table."""
    client.execute("DROP TABLE captured_packages")
    described = describe_run(client, 1)
    assert len(described["capture"]["packages"]) == 32
    assert read_packages(client, 1) is None


def test_a_copy_has_the_lists_of_packages(client: sqltrack.Client, tmp_path: Any) -> None:
    target = sqltrack.Client(str(tmp_path / "target.db"))
    set_up_quietly(target)
    for _ in range(2):
        copy(client, target)
    assert read_packages(target, 1) == {"numpy": "2.0", "torch": "2.5"}
    assert read_packages(target, 2) == read_packages(client, 2)
    assert len(target.execute("SELECT hash FROM captured_packages").fetchall()) == 2
    assert describe_run(target, 2)["capture"] == describe_run(client, 2)["capture"]

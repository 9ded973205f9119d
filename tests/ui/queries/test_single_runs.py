"""One run in full, comparisons, experiments and runs in progress."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.capture._package_lists import share_packages
from sqltrack.ui import queries
from sqltrack.ui.queries import QueryError
from support.connections import on_one_connection

pytestmark = pytest.mark.no_outbox

MISSING = {"$missing": True}


def test_a_run_is_described_in_full(source: queries.Database) -> None:
    answer = queries.run(source, {"id": 2})
    json.dumps(answer, allow_nan=False)
    assert answer["run"] == {
        "id": 2,
        "status": "FAILED",
        "comment": None,
        "tags": [],
        "time_created": "2026-03-01T14:00:00+00:00",
        "time_started": "2026-03-01T12:00:00+00:00",
        "time_updated": "2026-03-01T12:02:00+00:00",
        "time_ended": "2026-03-01T12:02:00+00:00",
        "duration": 120.0,
    }
    assert answer["experiment"]["name"] == "first"
    assert answer["args"] == {"lr": 0.1, "model": {"name": "tiny"}, "seed": 2, "amp": True}
    assert (answer["env"], answer["extras"], answer["links"]) == ({}, {}, [])
    loss = next(metric for metric in answer["metrics"] if metric["name"] == "loss")
    nan = {"$number": "NaN"}
    assert loss == {
        "name": "loss",
        "last": nan,
        "min": 0.25,
        "max": 0.5,
        "at_min": 2,
        "at_max": 0,
        "rows": 4,
        "kind": "number",
    }
    assert (answer["rows"], answer["last_step"], answer["progress"]) == (4, 3, 0.75)
    assert (answer["previous"], answer["next"], answer["siblings"]) == (1, 4, 5)


def test_a_run_without_rows_is_described(source: queries.Database) -> None:
    answer = queries.run(source, {"id": 6})
    assert (answer["metrics"], answer["rows"], answer["last_step"], answer["args"]) == ([], 0, None, {})
    assert (answer["previous"], answer["next"]) == (5, None)


@pytest.mark.parametrize(
    ("run_id", "kind"), [(99, "unknown"), (-1, "unknown"), (2**70, "unknown"), ("1", "request"), (None, "request")]
)
def test_other_ids_are_refused(source: queries.Database, run_id: Any, kind: str) -> None:
    with pytest.raises(QueryError) as caught:
        queries.run(source, {"id": run_id})
    assert caught.value.kind == kind


def test_links_have_a_direction_and_a_label(changing: queries.Database) -> None:
    sqltrack.Run(changing.client, run_id=2).add_link("resumes", 1)
    (link,) = queries.run(changing, {"id": 2})["links"]
    assert link == {
        "relation": "resumes",
        "id": 1,
        "kind": "run",
        "direction": "to",
        "label": "first #1",
        "status": "COMPLETED",
    }
    (link,) = queries.run(changing, {"id": 1})["links"]
    assert (link["id"], link["direction"], link["status"]) == (2, "from", "FAILED")


def test_runs_are_compared_differences_first(source: queries.Database) -> None:
    answer = queries.compare(source, {"runs": [1, 4], "all": True})
    json.dumps(answer, allow_nan=False)
    rows = {(row["section"], *row["path"]): row for row in answer["rows"]}
    assert [row["differs"] for row in answer["rows"]] == sorted(
        (row["differs"] for row in answer["rows"]), reverse=True
    )
    assert rows["args", "lr"]["values"] == [0.1, "auto"]
    assert rows["args", "amp"]["values"] == [True, MISSING]
    assert rows["metrics", "loss", "min"]["values"] == [0.25, 1 / 7]
    assert rows["metrics", "acc%", "max"]["values"] == [3, 6]
    assert not rows["args", "model", "name"]["differs"]
    assert rows["run", "experiment"]["values"] == ["first", "first"]
    differing = queries.compare(source, {"runs": [1, 4]})["rows"]
    assert all(row["differs"] for row in differing)
    assert ("args", "model", "name") not in {(row["section"], *row["path"]) for row in differing}


def test_one_equals_its_float_but_not_true_and_nan_equals_nan(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        for values in ({"a": 1, "b": 1, "c": math.nan}, {"a": 1.0, "b": True, "c": math.nan}):
            sqltrack.Experiment(client, name="e").get_run().set_args(values)
    with queries.Database(client) as source:
        rows = queries.compare(source, {"runs": [1, 2], "all": True})["rows"]
        assert {row["label"]: row["differs"] for row in rows if row["section"] == "args"} == {
            "a": False,
            "b": True,
            "c": False,
        }


def test_environment_and_captured_packages_are_compared_only_where_they_differ(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        for number in (1, 2):
            run = sqltrack.Experiment(client, name="e").get_run()
            run.set_env({"HOME": "/home/me", "CUDA": str(number)})
            run.set_extras({"capture": {"packages": {"torch": f"2.{number}", "numpy": "2"}}, "note": "same"})
    with queries.Database(client) as source:
        rows = queries.compare(source, {"runs": [1, 2], "all": True})["rows"]
        labels = [row["label"] for row in rows if row["section"] in ("env", "extras")]
        assert sorted(labels) == ["CUDA", "capture.packages.torch", "note"]


def test_what_a_run_captured_is_shown_with_the_shared_list_of_packages(client: sqltrack.Client) -> None:
    with on_one_connection(client):
        for number in (1, 2):
            hashed = share_packages(client, {"torch": f"2.{number}", "numpy": "2"}, {})
            git = {"commit": "c" * 40, "dirty": number == 2, "diff": "+a" * number}
            captured = {"git": git, "command": {"argv": ["train"], "pid": number}, "packages": hashed}
            run = sqltrack.Experiment(client, name="e").get_run().set_extras({"note": "same"})
            run.add_extras({"capture": captured})
        sqltrack.Experiment(client, name="e").get_run().set_extras({"capture": {"packages": "gone"}})
    with queries.Database(client) as source:
        assert queries.run(source, {"id": 2})["extras"] == {
            "note": "same",
            "capture": {**captured, "packages": {"torch": "2.2", "numpy": "2"}},
        }
        assert queries.run(source, {"id": 3})["extras"] == {"capture": {"packages": "gone"}}
        rows = [
            (row["label"], row["values"])
            for row in queries.compare(source, {"runs": [1, 2], "all": True})["rows"]
            if row["section"] == "extras"
        ]
        (label, diffs), *others = sorted(rows[:3])
        assert label == "capture.git.diff"
        assert [diff.split(", hash ")[0] for diff in diffs] == ["1 line", "1 line"]
        assert others == [
            ("capture.git.dirty", [False, True]),
            ("capture.packages.torch", ["2.1", "2.2"]),
        ]
        assert sorted(label for label, _ in rows[3:]) == ["capture.command.argv", "capture.git.commit", "note"]


def test_a_comparison_with_a_missing_run_is_refused(source: queries.Database) -> None:
    with pytest.raises(QueryError) as caught:
        queries.compare(source, {"runs": [1, 99]})
    assert caught.value.kind == "unknown"


def test_experiments_have_their_runs_by_status(changing: queries.Database) -> None:
    first = sqltrack.Experiment(changing.client, name="first").set_comment("the first").add_tags("a", "b")
    third = sqltrack.Experiment(changing.client, name="empty")
    third.add_link("follows", first.id)
    answer = queries.experiments(changing, {})
    found = {entry["name"]: entry for entry in answer["experiments"]}
    assert found["first"]["by_status"] == {"COMPLETED": 4, "FAILED": 1}
    assert (found["first"]["runs"], found["first"]["comment"], sorted(found["first"]["tags"])) == (
        5,
        "the first",
        ["a", "b"],
    )
    assert found["first"]["first"] == "2026-03-01T13:00:00+00:00"
    assert found["first"]["last"] == "2026-03-01T12:05:00+00:00"
    assert found["empty"]["runs"] == 0
    assert found["empty"]["links"] == [{"relation": "follows", "id": first.id, "name": "first", "direction": "to"}]
    rows = changing.client.execute(answer["sql"]).fetchall()
    assert {row[1]: row[3] for row in rows} == {"first": 5, "second": 1, "empty": 0}


@pytest.fixture
def live(client: sqltrack.Client) -> Iterator[queries.Database]:
    """Run 1 ended, run 2 is logged, run 3 has been silent for an hour, and run 4 has just begun."""
    now = datetime.now(timezone.utc)
    with on_one_connection(client):
        for run_id, status, silent in (
            (1, "COMPLETED", 0),
            (2, "RUNNING", 0),
            (3, "RUNNING", 3_600),
            (4, "running", 0),
        ):
            run = sqltrack.Experiment(client, name="live").get_run(run_id)
            for step in range(0 if run_id == 4 else 11):
                run.add_metrics({"loss": 1.0 / (step + 1), "text": "x"}, step=step * 10, progress=step / 20)
            run.set_started(now - timedelta(seconds=100 + silent)).set_updated(now - timedelta(seconds=silent))
            run.set_status(status)
        sqltrack.Run(client, run_id=2).set_extras({"capture": {"host": {"name": "node7"}}})
    with queries.Database(client) as source:
        yield source


def test_running_runs_show_rate_time_left_and_silence(live: queries.Database) -> None:
    answer = queries.live(live, {})
    json.dumps(answer, allow_nan=False)
    found = {item["id"]: item for item in answer["runs"]}
    assert set(found) == {2, 3, 4}
    running, stalled, begun = found[2], found[3], found[4]
    assert (running["step"], running["progress"], running["host"]) == (100, 0.5, "node7")
    assert running["rate"] == pytest.approx(1.0)
    assert running["seconds_left"] == pytest.approx(100.0)
    assert running["silent"] < 60
    assert (running["stalled"], stalled["stalled"], begun["stalled"]) == (False, True, False)
    assert stalled["silent"] == pytest.approx(3_600, abs=60)
    assert running["metrics"] == [{"name": "loss", "value": pytest.approx(1 / 11)}]
    assert (begun["step"], begun["rate"], begun["seconds_left"], begun["metrics"]) == (None, None, None, [])


def test_changes_tell_which_runs_have_changed(live: queries.Database) -> None:
    before = queries.changes(live, {"runs": [1, 2, 99]})
    assert [(item["id"], item["status"], item["rows"]) for item in before["runs"]] == [
        (1, "COMPLETED", 11),
        (2, "RUNNING", 11),
    ]
    assert queries.changes(live, {"runs": [1, 2, 99]}) == before
    sqltrack.Run(live.client, run_id=2).add_metrics({"loss": 0.0}, step=110)
    after = queries.changes(live, {"runs": [1, 2, 99]})
    assert after["version"] != before["version"]
    assert [item["rows"] for item in after["runs"]] == [11, 12]
    assert queries.changes(live, {"runs": []})["version"] == after["version"]


def test_a_call_right_after_another_one_is_a_change(client: sqltrack.Client) -> None:
    """Its time is that of the first, and its row too."""
    run = sqltrack.Experiment(client, name="a").get_run()
    with run.track(), queries.Database(client) as source:
        states = []
        for name in ("train", "val", "test"):
            run.add_metrics({name: 1.0}, step=1)
            states.append(queries.changes(source, {"runs": [run.id]})["runs"][0])
        assert states[0]["rows"] == states[2]["rows"] == 1
        assert states[0] != states[1] != states[2]
        client.execute("UPDATE runs SET time_updated = %s", (datetime.now(timezone.utc) - timedelta(hours=1),))
        assert queries.changes(source, {"runs": [run.id]})["runs"][0]["recent"] is None


def test_the_overview_names_the_database_without_a_password(live: queries.Database) -> None:
    answer = queries.about(live, {})
    assert (answer["runs"], answer["experiments"], answer["engine"]) == (4, 1, live.client.engine.name)
    assert answer["name"] in answer["database"]
    assert abs(datetime.fromisoformat(answer["time"]) - datetime.now(timezone.utc)) < timedelta(minutes=1)

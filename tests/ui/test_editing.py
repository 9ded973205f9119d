"""With `--edit` the page changes runs: it shows a plan first, applies it as shown or not at all, and can undo it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

import sqltrack
from sqltrack.ui import queries
from sqltrack.ui._edit_summary import pack_ids
from support.connections import on_one_connection
from support.ui_server import PageServer, serving_here

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)
NO_FILTER = {"facets": [], "where": None, "search": None, "ids": None}
NONSENSE: list[dict[str, Any]] = [
    {},
    {"action": "drop", "runs": [1]},
    {"action": "tags", "runs": [1], "add": "a"},
    {"action": "tags", "runs": [1], "add": [1]},
    {"action": "tags", "runs": ["1; --"], "add": ["a"]},
    {"action": "tags", "runs": [1], "experiment": "first", "add": ["a"]},
    {"action": "tags", "experiment": 1, "add": ["a"]},
    {"action": "tags", "filter": [], "add": ["a"]},
    {"action": "comment", "runs": [1]},
    {"action": "status", "experiment": "first", "status": "A"},
    {"action": "move", "experiment": "first", "to": "second"},
    {"action": "rename", "runs": [1], "name": "a"},
    {"action": "link", "runs": [1], "kind": "resumes", "to": "2"},
    {"action": "delete"},
]
IMPOSSIBLE: list[tuple[str, dict[str, Any]]] = [
    ("expected tags", {"action": "tags", "runs": [1]}),
    ("both added and removed", {"action": "tags", "runs": [1], "add": ["a"], "remove": ["a"]}),
    ("without NUL", {"action": "tags", "runs": [1], "add": ["a\0"]}),
    ("name one of them", {"action": "tags", "runs": [], "add": ["a"]}),
    ("there is no run 9", {"action": "tags", "runs": [9], "add": ["a"]}),
    ("there is no experiment 'firs'; did you mean 'first'?", {"action": "tags", "experiment": "firs", "add": ["a"]}),
    ("without NUL", {"action": "comment", "runs": [1], "text": "a\0"}),
    ("must not be empty", {"action": "status", "runs": [1], "status": ""}),
    ("must not be empty", {"action": "move", "runs": [1], "to": "", "create": True}),
    ("is called 'second' already", {"action": "rename", "experiment": "first", "name": "second"}),
    ("must not be empty", {"action": "link", "runs": [1], "kind": "", "to": 2}),
    ("linked with itself", {"action": "link", "runs": [1], "kind": "resumes", "to": 1}),
    ("there is no run 99", {"action": "link", "runs": [1], "kind": "resumes", "to": 99}),
    ("name either runs", {"action": "delete", "runs": []}),
    ("the filter has 0 runs", {"action": "delete", "filter": {"where": "1 = 0"}}),
]
HOSTILE = "<img src=x onerror=alert(1)>'; DROP TABLE runs; --"


def fill(client: sqltrack.Client, runs: int = 6) -> None:
    """Store runs from 1 on, which ended long ago; the last one is of an experiment of its own."""
    with on_one_connection(client):
        for run_id in range(1, runs + 1):
            experiment = sqltrack.Experiment(client, name="second" if run_id == runs else "first")
            run = experiment.get_run(run_id).set_status("COMPLETED").set_args({"lr": 0.1 * run_id})
            run.add_metrics_many([{"step": step, "loss": 1.0} for step in range(2)], updated=LONG_AGO)
            run.set_created(LONG_AGO).set_started(LONG_AGO).set_updated(LONG_AGO)
        sqltrack.run_add_tags(client, 1, "draft")
        sqltrack.run_add_link(client, 2, "resumes", 1)


@pytest.fixture
def server(client: sqltrack.Client) -> Iterator[PageServer]:
    """A server with `--edit` of a database with six runs."""
    fill(client)
    with serving_here(client, edit=True) as server:
        yield server


def plan(server: PageServer, action: str, **spec: Any) -> dict[str, Any]:
    answer = server.post("/api/plan", {"action": action, **spec})
    assert answer.status == 200, answer.body
    planned: dict[str, Any] = answer.json()
    return planned


def apply(server: PageServer, planned: dict[str, Any]) -> dict[str, Any]:
    answer = server.post("/api/apply", {"plan": planned["plan"]})
    assert answer.status == 200, answer.body
    done: dict[str, Any] = answer.json()
    return done


def refusal(server: PageServer, path: str, body: dict[str, Any]) -> tuple[int, str, str]:
    answer = server.post(f"/api/{path}", body)
    return answer.status, answer.json()["kind"], answer.json()["error"]


def refused(server: PageServer, action: str, **spec: Any) -> str:
    """Return the sentence with which an edit is not planned."""
    planned = plan(server, action, **spec)
    assert planned.keys() == {"plan", "refused"}
    assert planned["plan"] is None
    return str(planned["refused"])


def values(client: sqltrack.Client, sql: str) -> list[Any]:
    return [row[0] for row in client.execute(sql).fetchall()]


def dump(client: sqltrack.Client) -> list[Any]:
    tables = {"experiments": "id", "runs": "id", "run_links": "from_id", "metrics": "run_id, step"}
    return [client.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall() for table, order in tables.items()]


def test_tags_are_changed_as_shown_and_undone(server: PageServer, client: sqltrack.Client) -> None:
    before = dump(client)
    planned = plan(server, "tags", runs=[1, 2, 3], add=[" paper "], remove=["draft"])
    assert (planned["what"], planned["changes"]) == ("change the tags of 3 runs", 3)
    assert [(group["ids"], group["old"], group["new"]) for group in planned["groups"]] == [
        ("2-3", [], ["paper"]),
        ("1", ["draft"], ["paper"]),
    ]
    assert dump(client) == before
    done = apply(server, planned)
    assert (done["done"], done["changes"]) == ("changed the tags of 3 runs", 3)
    assert values(client, "SELECT tags FROM runs WHERE id <= 4 ORDER BY id") == [*[{"paper": True}] * 3, None]
    undo = plan(server, "undo", undo=done["undo"])
    assert undo["what"] == "undo: changed the tags of 3 runs"
    again = apply(server, undo)
    assert dump(client) == before
    assert recent(server) == [("undone: changed the tags of 3 runs", True)]
    apply(server, plan(server, "undo", undo=again["undo"]))
    assert values(client, "SELECT tags FROM runs WHERE id = 1") == [{"paper": True}]
    assert recent(server) == [("redone: changed the tags of 3 runs", False)]


def recent(server: PageServer) -> list[tuple[str, bool]]:
    return [(edit["done"], edit["is_undo"]) for edit in server.ask("recent").json()["edits"]]


def test_recent_changes_that_can_be_undone_are_listed(server: PageServer, client: sqltrack.Client) -> None:
    assert recent(server) == []
    apply(server, plan(server, "comment", runs=[1], text="a"))
    apply(server, plan(server, "move", runs=[1], to="second"))
    done = apply(server, plan(server, "status", runs=[1], status="A"))
    assert recent(server) == [("set the status of 1 run to A", False), ("set the comment of 1 run", False)]
    (edit, _) = server.ask("recent").json()["edits"]
    assert edit["undo"] == done["undo"]
    assert datetime.fromisoformat(edit["time"]).tzinfo is not None


@pytest.mark.parametrize(
    ("action", "spec", "what", "sql", "new"),
    [
        ("comment", {"text": HOSTILE}, "set the comment of 2 runs", "SELECT comment FROM runs", HOSTILE),
        ("status", {"status": "FAILED"}, "set the status of 2 runs to FAILED", "SELECT status FROM runs", "FAILED"),
        (
            "move",
            {"to": HOSTILE, "create": True},
            f"move 2 runs to the experiment {HOSTILE!r}",
            "SELECT name FROM experiments JOIN runs ON experiment_id = experiments.id",
            HOSTILE,
        ),
        (
            "link",
            {"kind": "repeats", "to": 5},
            "add the link 'repeats' of 2 runs to run 5",
            "SELECT to_id FROM run_links JOIN runs ON from_id = id AND kind = 'repeats'",
            5,
        ),
    ],
)
def test_each_action_shows_a_plan_and_changes_the_runs(
    server: PageServer, client: sqltrack.Client, action: str, spec: dict[str, Any], what: str, sql: str, new: Any
) -> None:
    planned = plan(server, action, runs=[1, 3], **spec)
    assert planned["what"] == what
    assert json.dumps(planned["groups"]).count("1, 3") >= 1
    apply(server, planned)
    assert values(client, f"{sql} WHERE runs.id IN (1, 3)") == [new, new]
    # A second look finds nothing to do.
    again = plan(server, action, runs=[1, 3], **spec)
    assert (again["plan"], again["changes"], again["groups"]) == (None, 0, [])


@pytest.mark.parametrize(
    ("action", "spec"),
    [
        ("tags", {"add": ["a"], "remove": ["draft"]}),
        ("comment", {"text": "a 'comment'\n"}),
        ("status", {"status": "FAILED"}),
        ("move", {"to": "third", "create": True}),
        ("link", {"kind": "repeats", "to": 5}),
        ("link", {"kind": "resumes", "to": 1, "remove": True}),
        ("delete", {}),
    ],
)
def test_the_python_code_of_a_plan_makes_the_same_changes(
    server: PageServer, client: sqltrack.Client, action: str, spec: dict[str, Any]
) -> None:
    runs = [2, 3] if action == "link" else [1, 2]
    planned = plan(server, action, runs=runs, **spec)
    assert planned["changes"]
    python = planned["python"]
    assert python.index("\nclient = sqltrack.Client(engine=") < python.index("\napply_")
    exec(python.replace("sqltrack.Client(", "connect("), {"connect": lambda **_: client})  # noqa: S102 - it is ours
    assert plan(server, action, runs=runs, **spec)["changes"] == 0 if action != "delete" else True
    assert values(client, "SELECT COUNT(*) FROM runs") == [4 if action == "delete" else 6]


def test_an_experiment_is_tagged_renamed_and_deleted(server: PageServer, client: sqltrack.Client) -> None:
    apply(server, plan(server, "tags", experiment="first", add=["paper"]))
    assert values(client, "SELECT tags FROM experiments WHERE name = 'first'") == [{"paper": True}]
    done = apply(server, plan(server, "rename", experiment="first", name="third"))
    assert (done["done"], done["undo"]) == ("renamed the experiment 'first' to 'third'", None)
    apply(server, plan(server, "link", experiment="second", kind="continues", to="third"))
    planned = plan(server, "delete", experiment="third")
    assert planned["what"] == "delete the experiment 'third' with 5 runs"
    assert planned["notes"][0] == "10 rows of metrics and 2 links go with them"
    apply(server, planned)
    assert values(client, "SELECT name FROM experiments") == ["second"]
    assert values(client, "SELECT id FROM runs") == [6]


def test_all_runs_of_a_filter_are_changed(server: PageServer, client: sqltrack.Client) -> None:
    where = {**NO_FILTER, "where": "experiment = 'first'"}
    planned = plan(server, "status", filter=where, status="FAILED")
    assert (planned["what"], planned["groups"][0]["ids"]) == ("set the status of 5 runs to FAILED", "1-5")
    # A run that meets the filter later is not part of the plan.
    sqltrack.Experiment(client, name="first").get_run(7)
    apply(server, planned)
    assert values(client, "SELECT id FROM runs WHERE status = 'FAILED' ORDER BY id") == [1, 2, 3, 4, 5]
    attack = {"action": "status", "status": "A", "filter": {**NO_FILTER, "where": "1 = 1); DELETE FROM runs; --"}}
    assert refusal(server, "plan", attack)[:2] == (400, "where")
    assert values(client, "SELECT COUNT(*) FROM runs") == [7]


def test_a_deletion_tells_what_goes_with_the_runs(server: PageServer, client: sqltrack.Client) -> None:
    planned = plan(server, "delete", runs=[1, 2, 6])
    assert (planned["what"], planned["changes"]) == ("delete 3 runs", 3)
    assert planned["notes"] == [
        "6 rows of metrics and 1 link go with them",
        "the experiment 'second' will have no runs",
        "a deletion cannot be undone",
    ]
    done = apply(server, planned)
    assert (done["done"], done["undo"]) == ("deleted 3 runs", None)
    assert values(client, "SELECT id FROM runs ORDER BY id") == [3, 4, 5]
    assert values(client, "SELECT COUNT(*) FROM metrics") == [6]
    assert refused(server, "delete", runs=[1]) == "there is no run 1; the nearest is 3"


def test_a_run_that_is_logging_is_deleted_only_on_request(server: PageServer, client: sqltrack.Client) -> None:
    run = sqltrack.Experiment(client, name="first").get_run(7).start()
    sentence = refused(server, "delete", runs=[1, 7])
    assert sentence.startswith("run 7 is RUNNING")
    assert sentence.endswith("end it first, or also delete runs that are still logging")
    planned = plan(server, "delete", runs=[1, 7], force=True)
    run.add_metrics({"loss": 1.0}, step=1)
    apply(server, planned)
    assert values(client, "SELECT COUNT(*) FROM runs WHERE id IN (1, 7)") == [0]


@pytest.mark.parametrize(
    ("action", "spec"),
    [("tags", {"add": ["a"]}), ("comment", {"text": "a"}), ("delete", {}), ("status", {"status": "A"})],
)
def test_a_plan_is_not_applied_after_others_have_changed_the_same(
    server: PageServer, client: sqltrack.Client, action: str, spec: dict[str, Any]
) -> None:
    planned = plan(server, action, runs=[1, 2], **spec)
    sqltrack.Run(client, run_id=2).add_tags("of another").set_comment("of another").set_status("OTHER")
    before = dump(client)
    status, kind, sentence = refusal(server, "apply", {"plan": planned["plan"]})
    assert (status, kind) == (409, "conflict")
    assert "run 2 has changed in the meantime" in sentence
    assert dump(client) == before
    # The plan is spent, a new one is as good as ever.
    assert refusal(server, "apply", {"plan": planned["plan"]})[:2] == (404, "unknown")
    apply(server, plan(server, action, runs=[1, 2], **spec))


def test_an_undo_does_not_touch_later_changes(server: PageServer, client: sqltrack.Client) -> None:
    done = apply(server, plan(server, "comment", runs=[1, 2], text="mine"))
    sqltrack.run_set_comment(client, 2, "theirs")
    assert refused(server, "undo", undo=done["undo"]) == "the comment of run 2 changed since"
    assert values(client, "SELECT comment FROM runs WHERE id <= 2 ORDER BY id") == ["mine", "theirs"]


def test_a_plan_is_applied_once(server: PageServer, client: sqltrack.Client) -> None:
    planned = plan(server, "comment", runs=[1], text="a")
    apply(server, planned)
    for unknown in (planned["plan"], "", None, 7, ["a"]):
        assert refusal(server, "apply", {"plan": unknown})[:2] == (404, "unknown")
    assert refusal(server, "plan", {"action": "undo", "undo": "nothing"})[:2] == (404, "unknown")


def test_a_request_that_makes_no_sense_gets_a_sentence(server: PageServer, client: sqltrack.Client) -> None:
    before = dump(client)
    for spec in NONSENSE:
        status, kind, sentence = refusal(server, "plan", spec)
        assert (status, kind) == (400, "request"), spec
        assert sentence
    for part, spec in IMPOSSIBLE:
        assert part in refused(server, **spec)
    assert dump(client) == before


def test_views_show_an_edit_at_once(server: PageServer) -> None:
    facets = {"filter": NO_FILTER, "columns": None}
    before = server.ask("facets", facets).json()["version"]
    done = apply(server, plan(server, "tags", runs=[1, 2], add=["paper"]))
    answer = server.ask("facets", facets).json()
    assert done["version"] == answer["version"] != before
    paper = next(facet for facet in answer["facets"] if facet["column"] == ["tag", "paper"])
    assert {value["value"]: value["count"] for value in paper["values"]} == {True: 2, False: 4}
    assert server.ask("choices").json()["tags"] == ["paper", "draft"]
    assert server.ask("run", {"id": 1}).json()["run"]["comment"] is None
    apply(server, plan(server, "comment", runs=[1], text="new"))
    assert server.ask("run", {"id": 1}).json()["run"]["comment"] == "new"


def test_results_that_took_long_do_not_outlive_an_edit(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqltrack.ui.queries._cache._SLOW", 0.0)
    monkeypatch.setattr("sqltrack.ui.queries._cache._SHARE", 1e6)
    fill(client)
    with serving_here(client, edit=True) as server:
        assert server.ask("choices").json()["tags"] == ["draft"]
        apply(server, plan(server, "tags", runs=[1, 2], add=["paper"]))
        assert server.ask("choices").json()["tags"] == ["paper", "draft"]


def test_choices_are_the_known_values(source_of_choices: queries.Database) -> None:
    found = queries.choices(source_of_choices, {})
    assert found["tags"] == ["draft"]
    assert found["statuses"] == ["PLANNED", "COMPLETED", "FAILED", "CANCELLED"]
    assert found["kinds"] == ["resumes"]
    assert found["experiments"] == ["second", "first"]


@pytest.fixture
def source_of_choices(client: sqltrack.Client) -> Iterator[queries.Database]:
    fill(client)
    with queries.Database(client) as source:
        yield source


def test_ids_are_shown_as_ranges() -> None:
    assert pack_ids([]) == ""
    assert pack_ids([3, 1, 2, 9, 11, 12]) == "1-3, 9, 11-12"
    assert pack_ids(range(0, 100, 2)).endswith("38, …")


def test_5000_runs_are_tagged_at_once_and_300_deleted(client: sqltrack.Client, record_property: Any) -> None:
    store_many(client, 5_000)
    with serving_here(client, edit=True) as server:
        begin = time.perf_counter()
        planned = plan(server, "tags", filter=NO_FILTER, add=["paper"])
        middle = time.perf_counter()
        done = apply(server, planned)
        end = time.perf_counter()
        record_property("seconds", f"{middle - begin:.2f} to plan, {end - middle:.2f} to apply")
        assert done["changes"] == 5_000
        assert values(client, "SELECT COUNT(*) FROM runs WHERE tags IS NOT NULL") == [5_000]
        apply(server, plan(server, "undo", undo=done["undo"]))
        assert values(client, "SELECT COUNT(*) FROM runs WHERE tags IS NOT NULL") == [0]
        deletion = plan(server, "delete", runs=list(range(1, 301)))
        assert (deletion["what"], deletion["changes"]) == ("delete 300 runs", 300)
        apply(server, deletion)
        assert values(client, "SELECT COUNT(*) FROM runs") == [4_700]


def store_many(client: sqltrack.Client, number: int) -> None:
    """Store many runs with few statements."""
    experiment = sqltrack.Experiment(client, name="many").id
    with client as connection:
        for first in range(1, number + 1, 200):
            ids = range(first, first + 200)
            rows = ", ".join(f"({id_}, {experiment}, 'COMPLETED')" for id_ in ids)
            connection.execute(f"INSERT INTO runs (id, experiment_id, status) VALUES {rows}")

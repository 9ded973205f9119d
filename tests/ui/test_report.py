"""A report is one file with the numbers of the page, which nothing in the database can turn into a program."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.errors import NotFoundError
from sqltrack.ui import create_report, queries
from sqltrack.ui._report import read_content, write_html
from sqltrack.ui._report._scripts import STATIC, linked_modules
from sqltrack.ui._report._text import as_text
from support.ui_server import PageServer

from .conftest import _new_config

HOSTILE = """</script><script>alert(1)</script><img src=x onerror=alert(1)> "' & %s {{nonce}} \u202e"""


class Reader(HTMLParser):
    """The tables of an HTML file, as lists of rows of texts, and its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.scripts: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: str | None = None
        self._is_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append((tag, named))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._is_cell = True
        self._open = named.get("id") or named.get("type") or tag if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._open = None
        self._is_cell = self._is_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.scripts[self._open] = data
        elif self._is_cell:
            self.tables[-1][-1][-1] += data

    def data(self) -> Any:
        """Return the values that the scripts of the report get."""
        return json.loads(gzip.decompress(base64.b64decode(self.scripts["report-data"])))

    def attribute(self, tag: str, name: str, **others: str) -> str | None:
        """Return an attribute of the first tag with others."""
        found = (named for known, named in self.tags if known == tag and others.items() <= named.items())
        return next(found)[name]


def fill(client: sqltrack.Client) -> None:
    """Store four runs with two seeds each, one value that is NaN, and hostile texts; two runs resume none."""
    experiment = sqltrack.Experiment(client, name=HOSTILE)
    for number in range(4):
        run = experiment.get_run(number + 1).set_args(
            {"lr": 0.1 * (number // 2 + 1), "seed": number % 2, "text": HOSTILE}
        )
        run.set_env({"SECRET_PLACE": f"value-{number}"}).set_comment(HOSTILE)
        run.start()
        for step in range(5):
            loss = float("nan") if (number, step) == (1, 4) else 1 / (number + step + 3)
            run.add_metrics({"val_loss": loss, HOSTILE: step * number}, step=step)
        run.stop()


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, Any]]:
    """Configurations of databases with the runs of `fill`, by engine."""
    return {}


@pytest.fixture
def filled(
    engine_name: str,
    made: dict[str, dict[str, Any]],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> sqltrack.Client:
    """Client of a database with the runs of `fill`, to look at only."""
    if engine_name not in made:
        made[engine_name] = _new_config(engine_name, request, tmp_path_factory)
        fill(sqltrack.Client(made[engine_name]))
    return sqltrack.Client(made[engine_name])


@pytest.fixture
def options(filled: sqltrack.Client, engine_name: str, made: dict[str, dict[str, Any]]) -> list[str]:
    """Options of the program for that database."""
    return [word for name, value in made[engine_name].items() if name != "outbox" for word in (f"--{name}", str(value))]


def test_values_of_the_table_are_those_of_the_page(filled: sqltrack.Client) -> None:
    report = Reader(create_report(filled))
    with queries.Database(filled) as source:
        answer = queries.runs(source, {"sort": [{"column": ["metric", "min", "val_loss"], "descending": False}]})
    data = report.data()
    assert data["columns"] == answer["columns"]
    assert [(row["id"], row["values"]) for row in data["rows"]] == [
        (row["id"], row["values"]) for row in answer["rows"]
    ]
    head, *rows = report.tables[0]
    loss = head.index("min val_loss")
    place = [column["label"] for column in answer["columns"]].index("min val_loss")
    assert [row[0] for row in rows] == ["4", "3", "2", "1"]
    assert [row[loss] for row in rows] == [f"{row['values'][place]:.5g}" for row in answer["rows"]]


def test_curves_are_those_of_the_page_to_seven_digits(filled: sqltrack.Client) -> None:
    data = Reader(create_report(filled, metrics=["val_loss"])).data()
    with queries.Database(filled) as source:
        answer = queries.curves(source, {"runs": [1, 2, 3, 4], "metrics": ["val_loss"]})
    curves = {curve["run"]: curve for curve in data["curves"]}
    for curve in answer["curves"]:
        found = curves[curve["run"]]
        assert data["xs"][found["x"]] == curve["x"]
        assert found["y"] == pytest.approx(curve["y"], rel=1e-6)
        assert (found["marks"], found["rows"], found["last"]) == (curve["marks"], curve["rows"], curve["last"])


def test_groups_have_mean_and_deviation_over_seeds(filled: sqltrack.Client) -> None:
    report = Reader(create_report(filled, metrics=["val_loss"]))
    head, *rows = next(table for table in report.tables if table[0][0] == "Group")
    column = head.index("min val_loss")
    # The best values: 1/7 and 1/7 (without NaN), 1/9 and 1/10.
    low, high = statistics.mean((1 / 9, 1 / 10)), statistics.stdev((1 / 9, 1 / 10))
    assert [(row[0], row[1], row[column]) for row in rows] == [
        ("lr=0.2", "2", f"{low:.5g} ± {high:.5g}"),
        ("lr=0.1", "2", "0.14286 ± 0"),
    ]
    bands = report.data()["groups"]
    assert [(band["value"], band["n_runs"], band["n"]) for band in bands] == [
        ({"lr": 0.1}, 2, [2, 2, 2, 2, 1]),
        ({"lr": 0.2}, 2, [2, 2, 2, 2, 2]),
    ]


def test_runs_without_seeds_are_in_no_group(client: sqltrack.Client) -> None:
    for lr in (0.1, 0.2):
        sqltrack.Experiment(client, name="a").get_run().set_args({"lr": lr}).add_metrics({"loss": lr}, step=0)
    report = Reader(create_report(client))
    assert report.data()["groups"] == []
    assert [table for table in report.tables if table[0][0] == "Group"] == []


def test_no_text_of_the_database_becomes_html(filled: sqltrack.Client) -> None:
    text = create_report(filled)
    report = Reader(text)
    kinds = [named.get("type") for tag, named in report.tags if tag == "script"]
    assert kinds == ["text/plain", "text/plain", "module"]
    assert [named for tag, named in report.tags if tag == "img" or any(name.startswith("on") for name in named)] == []
    assert "<script>alert" not in text
    assert html.escape(HOSTILE) in text
    assert any(HOSTILE in cell for row in report.tables[0] for cell in row)


def test_only_the_scripts_and_styles_of_the_file_are_permitted(filled: sqltrack.Client) -> None:
    report = Reader(create_report(filled))
    policy = report.attribute("meta", "content", **{"http-equiv": "Content-Security-Policy"}) or ""
    hashes = {
        name: base64.b64encode(hashlib.sha256(report.scripts[name].encode()).digest()).decode()
        for name in ("module", "style")
    }
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{hashes['module']}' blob:;" in policy
    assert f"style-src 'sha256-{hashes['style']}';" in policy
    assert "unsafe" not in policy
    links = [value for _, named in report.tags for name, value in named.items() if name in ("src", "href")]
    assert all((link or "").startswith("data:") for link in links)


def test_environment_stays_where_it_is(filled: sqltrack.Client) -> None:
    text = create_report(filled)
    assert "SECRET_PLACE" not in text
    assert "SECRET_PLACE" not in json.dumps(Reader(text).data())


def test_control_characters_and_halves_of_pairs_are_replaced(client: sqltrack.Client, engine_name: str) -> None:
    # PostgreSQL stores no other text.
    comment = "a\x01b" + ("\ud800" if engine_name == "sqlite" else "")
    run = sqltrack.Experiment(client, name="odd").get_run().set_comment(comment)
    run.add_metrics({"loss": 1.0}, step=0)
    text = create_report(client)
    text.encode("utf-8")
    assert "a\ufffdb" in text


def test_the_program_writes_the_file(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.html"
    command = ["report", "--where", "id < 4", "--metric", "val_loss", "--title", "For <you>", "--output", str(path)]
    assert main([*options, *command]) == 0
    text = path.read_text(encoding="utf-8")
    report = Reader(text)
    assert [row["id"] for row in report.data()["rows"]] == [3, 2, 1]
    assert report.data()["metrics"] == ["val_loss"]
    assert "<title>For &lt;you&gt;</title>" in text
    assert capsys.readouterr().out.startswith(f"{path}: 3 runs, ")


def test_a_wrong_condition_leaves_an_older_file_as_it_was(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.html"
    path.write_text("before", encoding="utf-8")
    for words in (["--where", "no_such_column = 1"], ["--where", "id > 100"], ["--metric", "los"], ["no such"]):
        assert main([*options, "report", *words, "--output", str(path)]) == 1
        assert capsys.readouterr().err.startswith("sqltrack: ")
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.glob(".*.part")) == []


def test_runs_of_one_experiment_are_found_by_name_or_id(client: sqltrack.Client) -> None:
    sqltrack.Experiment(client, name="first").get_run().add_metrics({"loss": 1.0}, step=0)
    other = sqltrack.Experiment(client, name="other")
    run = other.get_run()
    run.add_metrics({"loss": 1.0}, step=0)
    for name in ("other", str(other.id)):
        assert [row["id"] for row in Reader(create_report(client, experiment=name)).data()["rows"]] == [run.id]
    with pytest.raises(NotFoundError, match="there is no experiment 'othr'"):
        create_report(client, experiment="othr")


def test_the_page_sends_the_report_of_a_view(server: PageServer) -> None:
    answer = server.ask("report", {"filter": {"where": "id = 2"}, "title": "x"})
    assert answer.status == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="report.html"'
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert [row["id"] for row in Reader(answer.body.decode()).data()["rows"]] == [2]
    assert server.ask("report", {"filter": {"where": "id = -1"}}).status == 404


def test_each_module_comes_after_those_that_it_imports() -> None:
    texts = linked_modules("report.js")
    for place, text in enumerate(texts):
        imported = [int(number) for number in re.findall(r'\bfrom\s*"linked:(\d+)"', text)]
        assert all(number < place for number in imported)
        assert re.search(r'(?:from|import)\s*"\.', text) is None
    # The report has no server to ask.
    assert (STATIC / "api.js").read_text(encoding="utf-8") not in texts


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.123456789, "number", "0.12346"),
        (12345678, "number", "12345678"),
        ({"$number": "NaN"}, "number", "nan"),
        ({"$number": "9007199254740993"}, "number", "9007199254740993"),
        (None, "number", ""),
        ({"$missing": True}, None, ""),
        (True, "bool", "yes"),
        (3725.0, "duration", "1 h 2 min"),
        ("2026-03-01T12:00:00+00:00", "time", "2026-03-01 12:00 UTC"),
        ({"a": None, "b": None}, "tags", "a, b"),
        ({"a": [1]}, "json", '{"a": [1]}'),
    ],
)
def test_values_are_readable_without_scripts(value: Any, kind: str | None, text: str) -> None:
    assert as_text(value, kind) == text


def test_many_curves_have_fewer_points(client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqltrack.ui._report._content._MOST_POINTS", 100)
    experiment = sqltrack.Experiment(client, name="long")
    for _ in range(2):
        experiment.get_run().add_metrics_many({"step": step, "loss": (step * 7919) % 1000} for step in range(2000))
    with queries.Database(client) as source:
        content = read_content(source, {})
    curve = Reader(write_html(content)).data()["curves"][0]
    assert len(curve["y"]) < 60
    assert (min(curve["y"]), max(curve["y"])) == (0, 999)

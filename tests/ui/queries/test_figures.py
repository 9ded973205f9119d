"""The Python program of a chart runs unchanged, and has the numbers of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from sqltrack.ui import queries

mpl.use("agg")

LOOK = {"width": 8.5, "height": 6, "font": "serif", "size": 9, "line_width": 1.2, "legend": "best", "file": "loss"}


@pytest.fixture
def run_program(source: queries.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that asks for the program of a figure, runs it, and returns its names."""
    monkeypatch.chdir(tmp_path)

    def run(spec: dict[str, Any], **look: Any) -> dict[str, Any]:
        text = queries.figure(source, {**spec, "look": {**LOOK, **look}})["python"]
        # Only the client: the database of the tests may need a password, which the text does not hold.
        names: dict[str, Any] = {"connect": lambda **_: source.client}
        exec(text.replace("sqltrack.Client(", "connect("), names)  # noqa: S102 - it is ours
        file = tmp_path / f"{look.get('file', 'loss')}.pdf"
        assert file.read_bytes().startswith(b"%PDF")
        return names

    with mpl.rc_context():
        yield run
    plt.close("all")


def style(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "metric": "loss", "color": "#0072B2", "dash": [7, 3], **more}


@pytest.mark.parametrize(
    "options",
    [
        {"x": "progress"},
        {"x": ["metric", "acc%"], "range": [1, 3], "smoothing": 0.6, "join": True},
    ],
)
def test_curves_are_those_of_the_page(source: queries.Database, run_program: Any, options: dict[str, Any]) -> None:
    spec = {"runs": [3, 1, 2, 6], "metrics": ["loss"], **options}
    series = [style("run 1", run=1, label=r"$\mathcal{L}$ of run 1"), style("run 2", run=2), style('"3" $', run=3)]
    names = run_program({"kind": "curves", "raw": True, "series": series, **spec}, x_label="step $s$", log_y=True)
    # The page shows the neighbors of a range as well; the program sets the limits of the axis.
    shown = queries.curves(source, {**spec, "range": None})["curves"]
    assert [curve["run"] for curve in shown] == [3, 1, 2]
    frame = names["curves"]
    for curve in shown:
        part = frame[frame["run_id"] == curve["run"]]
        assert part["x"].tolist() == curve["x"]
        assert part["value"].tolist() == pytest.approx(curve["y"])
        assert part["smooth"].tolist() == pytest.approx(curve["smooth"] or curve["y"])
    axes = names["axes"]
    solid = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in solid] == [r"$\mathcal{L}$ of run 1", "run 2", r'"3" \$']
    assert (axes.get_xlabel(), axes.get_yscale(), solid[0].get_linewidth()) == ("step $s$", "log", 1.2)
    assert names["figure"].get_size_inches().tolist() == pytest.approx([8.5 / 2.54, 6 / 2.54])
    if "range" in options:
        assert axes.get_xlim() == (1.0, 3.0)


@pytest.mark.parametrize("band", ["std", "ci"])
def test_groups_are_those_of_the_page(source: queries.Database, run_program: Any, band: str) -> None:
    spec = {"runs": [1, 2, 3, 4, 5], "metrics": ["loss", "acc%"], "group": ["args", "amp"], "band": band}
    shown = queries.curves(source, spec)["groups"]
    members = [
        {**style(str(group["value"])), "metric": group["metric"], "members": group["members"]} for group in shown
    ]
    frame = run_program({"kind": "groups", "series": members, **spec}, legend="outside", font="latex")["groups"]
    assert len(shown) == 6
    for group in shown:
        part = frame[(frame["group"] == str(group["value"])) & (frame["metric"] == group["metric"])]
        assert part["n"].tolist() == group["n"]
        for name in ("x", "mean", "low", "high"):
            assert part[name].tolist() == pytest.approx(group[name])


@pytest.mark.parametrize("color", [None, ["args", "seed"], ["run", "status"]])
def test_scatter_plots_have_a_dot_for_each_run(run_program: Any, color: Any) -> None:
    spec = {"kind": "scatter", "filter": {"ids": [1, 2, 3, 6]}, "x": ["args", "lr"], "y": ["metric", "min", "loss"]}
    names = run_program(
        {**spec, "color": color, "color_log": True}, font="sans", legend=None if color else "upper left", log_x=True
    )
    points = names["points"]
    assert sorted(zip(points["x"].astype(float), points["y"])) == [(0.1, 0.25), (0.1, 0.25), (1.0, 1 / 6)]
    assert sum(len(shown.get_offsets()) for shown in names["axes"].collections) == 3


def test_a_program_needs_only_the_packages_that_it_imports(source: queries.Database) -> None:
    text = queries.figure(source, {"kind": "curves", "runs": [1], "metrics": ["loss"], "series": [], "look": {}})[
        "python"
    ]
    assert "sqltrack.ui" not in text
    assert "password" not in text


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"kind": "pie"}, "kind must be one of"),
        ({"kind": "curves", "look": {"font": "x"}}, "font must be one of"),
        ({"kind": "curves", "look": {"width": 0}}, "width must be a number above 0"),
        ({"kind": "curves", "look": {"legend": "x"}}, "legend must be null or one of"),
        ({"kind": "curves", "series": [{"run": 1, "color": "red'"}]}, "color must be '#'"),
        ({"kind": "curves", "series": [{"run": "1", "color": "#000000"}]}, "ids must be integers"),
        ({"kind": "scatter", "x": ["args", "lr"]}, "x and y must be columns"),
    ],
)
def test_wrong_requests_are_explained(source: queries.Database, spec: dict[str, Any], text: str) -> None:
    with pytest.raises(queries.QueryError, match=text):
        queries.figure(source, spec)

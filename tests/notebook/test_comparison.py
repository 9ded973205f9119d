"""A comparison of runs marks exactly the values that differ."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sqltrack.notebook import format_comparison, format_float, to_html

MARK = '<span class="sqltrack-differs">'
TIME = datetime(2024, 5, 7, tzinfo=timezone.utc)


def marked(values: list[Any]) -> bool:
    table = format_comparison(pd.DataFrame({"x": pd.Series(values, dtype=object)}, index=range(len(values))))
    cells = [MARK in str(cell) for cell in table.iloc[0]]
    assert len(set(cells)) == 1
    return cells[0]


@pytest.mark.parametrize(
    "values",
    [
        [1, 1, 1],
        [1, 1.0],
        ["a", "a"],
        [None, None],
        [None, float("nan"), pd.NaT, pd.NA],
        [TIME, TIME],
        [{"a": [1, 2]}, {"a": [1, 2]}],
        [np.array([1, 2]), np.array([1, 2])],
        [True, True],
        ["only one"],
    ],
)
def test_equal_values_are_not_marked(values: list[Any]) -> None:
    assert not marked(values)


@pytest.mark.parametrize(
    "values",
    [
        [1, 1, 2],
        [2, 1, 1],
        ["a", "A"],
        ["1", 1],
        [True, 1],
        [None, "a"],
        [None, ""],
        [0, float("nan")],
        [TIME, TIME.replace(second=1)],
        [{"a": 1}, {"a": 2}],
        [[1], [1, 2]],
        [np.array([1, 2]), np.array([1, 3])],
    ],
)
def test_different_values_are_marked(values: list[Any]) -> None:
    assert marked(values)


def test_a_row_becomes_a_column_and_is_formatted() -> None:
    frame = pd.DataFrame(
        {"loss": [0.12345, 0.5], "<b>": ["<i>", "<i>"], "n": [1, 1]}, index=pd.Index([7, 9], name="id")
    )
    table = format_comparison(frame, {"loss": format_float})
    assert list(table.columns) == [7, 9]
    assert list(table.index) == ["loss", "&lt;b&gt;", "n"]
    assert [cell.endswith(f"{text}</span>") for cell, text in zip(table.iloc[0], ("0.12", "0.50"))] == [True, True]
    assert "<i>" not in to_html(table)
    assert list(frame["loss"]) == [0.12345, 0.5]


def test_repeated_names_and_empty_frames_are_compared() -> None:
    frame = pd.DataFrame([[1, 2], [1, 3]], columns=["x", "x"])
    table = format_comparison(frame)
    assert [[MARK in str(cell) for cell in row] for row in table.to_numpy()] == [[True, True], [False, False]]
    assert format_comparison(pd.DataFrame({"x": []})).shape == (1, 0)


def test_hostile_values_stay_text_when_they_are_marked() -> None:
    table = to_html(format_comparison(pd.DataFrame({"x": ["<script>alert(1)</script>", "b"]})))
    assert "<script>" not in table
    assert "&lt;script&gt;" in table

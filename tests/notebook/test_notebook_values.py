"""Single values become HTML."""

from __future__ import annotations

import html
import math
import re
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sqltrack.notebook
from sqltrack.notebook import (
    format_bool,
    format_datetime,
    format_datetime_relative,
    format_float,
    format_json,
    format_marked,
    format_percentage,
    format_status,
    format_string,
    format_tags,
    format_timedelta,
    textcolor,
)
from sqltrack.notebook._colors import COLORS
from sqltrack.statuses import GROUPS, StatusGroup

TIME = datetime(2024, 5, 7, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
MISSING = [None, math.nan, pd.NA, pd.NaT, np.float32("nan"), np.datetime64("NaT", "s"), Decimal("NaN"), Decimal("sNaN")]
WITH_NA_REP = [
    format_bool,
    format_datetime,
    format_datetime_relative,
    format_float,
    format_json,
    format_percentage,
    format_string,
    format_timedelta,
]
STATES = [state for group in GROUPS for state in group.states]
RGB = {
    "cadetblue": 0x5F9EA0,
    "crimson": 0xDC143C,
    "darkgreen": 0x006400,
    "darkorange": 0xFF8C00,
    "darkslateblue": 0x483D8B,
    "goldenrod": 0xDAA520,
    "indigo": 0x4B0082,
    "lightskyblue": 0x87CEFA,
    "mediumvioletred": 0xC71585,
    "olivedrab": 0x6B8E23,
    "palevioletred": 0xDB7093,
    "royalblue": 0x4169E1,
    "seagreen": 0x2E8B57,
    "sienna": 0xA0522D,
    "steelblue": 0x4682B4,
    "teal": 0x008080,
    "black": 0x000000,
    "white": 0xFFFFFF,
}


def text_of(markup: str) -> str:
    """Return the visible text, without hidden parts and tags."""
    shown = re.sub(r"<span[^>]* hidden>[^<]*</span>", "", markup)
    return html.unescape(re.sub(r"<[^>]*>", "", shown))


def title_of(markup: str) -> str:
    found = re.search(r'title="([^"]*)"', markup)
    assert found, markup
    return html.unescape(found[1])


def test_the_public_names_are_those_of_the_module() -> None:
    names = sqltrack.notebook.__all__
    assert names == sorted(names)
    public = {name for name in vars(sqltrack.notebook) if not name.startswith("_")} - {"annotations"}
    assert public == set(names)


@pytest.mark.parametrize("function", WITH_NA_REP)
@pytest.mark.parametrize("value", MISSING)
def test_missing_values_are_replaced(function: Any, value: Any) -> None:
    assert function(value) == "--"
    assert function(value, na_rep="<n>") == "&lt;n&gt;"


@pytest.mark.parametrize("function", [format_marked, format_status, format_tags])
@pytest.mark.parametrize("value", MISSING)
def test_icons_and_bubbles_of_missing_values_are_empty(function: Any, value: Any) -> None:
    assert function(value) == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((0.5,), "0.50"), ((1e-4, ".1e"), "1.0e-04"), ((np.float32(0.25),), "0.25"), ((Decimal("2.345"), ".1f"), "2.3")],
)
def test_floats_follow_their_spec(arguments: tuple[Any, ...], text: str) -> None:
    assert format_float(*arguments) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.005, "1.00"), (None, "--"), (math.nan, "--"), (math.inf, "inf"), (3, "3.00")]
)
def test_numbers_are_formatted(value: Any, text: str) -> None:
    assert format_float(value) == text


def test_replacements_are_escaped() -> None:
    assert format_float(None, na_rep="<none>") == "&lt;none&gt;"


@pytest.mark.parametrize(
    ("value", "options", "text", "width"),
    [
        (0.5, {}, "50.0%", "50"),
        (0.12345, {"spec": ".3f"}, "12.345%", "12.35"),
        (50, {"mul": 1}, "50.0%", "50"),
        (1.5, {}, "150.0%", "100"),
        (-0.25, {}, "-25.0%", "0"),
        (math.inf, {}, "inf%", "100"),
        (np.float64(0.1), {}, "10.0%", "10"),
    ],
)
def test_percentages_have_a_bar_that_ends_at_its_cell(
    value: float, options: dict[str, Any], text: str, width: str
) -> None:
    markup = format_percentage(value, **options)
    assert text_of(markup) == text
    assert f'style="--sqltrack-bar:{width}%"' in markup


@pytest.mark.parametrize("value", [TIME, pd.Timestamp(TIME), TIME.isoformat()])
def test_points_in_time_are_in_iso_format(value: Any) -> None:
    assert format_datetime(value) == "2024-05-07 12:30:15+02:00"
    assert format_datetime(value, "T", "milliseconds") == "2024-05-07T12:30:15.123+02:00"
    assert format_datetime(value, sep="<") == "2024-05-07&lt;12:30:15+02:00"


def test_dates_and_numpy_s_times_are_points_in_time() -> None:
    assert format_datetime(date(2024, 5, 7)) == "2024-05-07"  # type: ignore[arg-type]
    assert format_datetime(np.datetime64("2024-05-07T01:02:03")) == "2024-05-07 01:02:03"  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [5, "yesterday-ish", [1]])
def test_an_invalid_time_is_an_error(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        format_datetime(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "now"), (70, "a minute ago"), (7300, "2 hours ago"), (-7300, "2 hours from now"), (86400 * 3, "3 days ago")],
)
@pytest.mark.parametrize("zone", [timezone.utc, timezone(timedelta(hours=-7)), None])
def test_relative_time_is_readable_and_hovering_shows_the_time(seconds: int, text: str, zone: timezone | None) -> None:
    """A time without a time zone is local time."""
    time = datetime.now(zone) - timedelta(seconds=seconds)
    for value in (time, pd.Timestamp(time)):
        markup = format_datetime_relative(value)
        assert text_of(markup) == text
        assert title_of(markup) == time.isoformat(" ", "seconds")
    assert title_of(format_datetime_relative(time, "T", "minutes")) == time.isoformat("T", "minutes")


def test_nanoseconds_do_not_disturb() -> None:
    assert text_of(format_datetime_relative(pd.Timestamp("2000-01-01 00:00:00.123456789", tz="UTC"))).endswith(" ago")


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(microseconds=250), "250 µs"),
        (timedelta(milliseconds=12.5), "12.5 ms"),
        (timedelta(seconds=0.9999), "1 s"),
        (timedelta(seconds=59.94), "59.9 s"),
        (timedelta(seconds=59.96), "1 min"),
        (timedelta(minutes=2, seconds=13.4), "2 min 13 s"),
        (timedelta(minutes=59, seconds=59.7), "1 h"),
        (timedelta(hours=5, minutes=4, seconds=29), "5 h 4 min"),
        (timedelta(hours=23, minutes=59, seconds=40), "1 d"),
        (timedelta(days=40, hours=3), "40 d 3 h"),
        (timedelta(hours=-5), "-5 h"),
        (90, "1 min 30 s"),
        (np.timedelta64(90, "s"), "1 min 30 s"),
        (pd.Timedelta(1500, "ns"), "1.5 µs"),
    ],
)
def test_durations_show_two_units(duration: Any, text: str) -> None:
    assert text_of(format_timedelta(duration)) == text


def test_hovering_over_a_duration_shows_all_of_it() -> None:
    assert title_of(format_timedelta(timedelta(days=1, seconds=3.25))) == "1 day, 0:00:03.250000"
    assert title_of(format_timedelta(pd.Timedelta(-90, "s"))) == "-0:01:30"


def test_text_is_no_duration() -> None:
    with pytest.raises(TypeError, match="a timedelta or a number of seconds is expected, got '5 s'"):
        format_timedelta("5 s")  # type: ignore[arg-type]


def test_long_text_is_cut_by_the_stylesheet_and_whole_in_the_tooltip() -> None:
    text = "/home/someone/<projects>/train & eval.py"
    for ellipsis, side in ((True, "left"), ("left", "left"), ("right", "right")):
        markup = format_string(text, ellipsis)
        assert (text_of(markup), title_of(markup)) == (text, text)
        assert f"sqltrack-cut-{side}" in markup
    assert format_string(text) == format_string(text, "left")
    assert format_string(text, False) == html.escape(text)
    assert format_string("short") == "short"


@pytest.mark.parametrize("ellipsis", ["middle", "", None, 1, 0.0, []])
def test_an_unknown_side_is_an_error_that_names_the_known_ones(ellipsis: Any) -> None:
    with pytest.raises(ValueError, match="'left', 'right', True .* or False, got"):
        format_string("x", ellipsis)


def test_truth_is_text() -> None:
    assert [format_bool(value) for value in (True, False, np.True_, 0)] == ["True", "False", "True", "False"]  # type: ignore[arg-type]


def test_json_is_compact_with_an_indented_tooltip() -> None:
    value = {"lr": 0.1, "layers": [1, 2], "name": "<b>ä"}
    markup = format_json(value)
    assert text_of(markup) == '{"lr": 0.1, "layers": [1, 2], "name": "<b>ä"}'
    assert title_of(markup).startswith('{\n  "lr": 0.1,\n')
    assert format_json([]) == "[]"


def test_values_without_json_are_shown_as_their_str() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert text_of(format_json({(1, 2): 3})) == "{(1, 2): 3}"
    assert format_json(loop) == "[[...]]"
    assert format_json(np.array([1, 2])) == "[1, 2]"
    assert text_of(format_json({"s": {"b", "a"}, "t": TIME})) == f'{{"s": ["a", "b"], "t": "{TIME}"}}'


@pytest.mark.parametrize("value", [True, 1, np.True_])
def test_marked_runs_get_a_star(value: Any) -> None:
    assert text_of(format_marked(value)) == "★"
    assert title_of(format_marked(value)) == "marked"


@pytest.mark.parametrize("value", [False, 0, np.False_])
def test_unmarked_runs_get_nothing(value: Any) -> None:
    assert format_marked(value) == ""


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_an_icon_with_its_name_for_readers_and_for_the_search(state: str) -> None:
    markup = format_status(state)
    icon = text_of(markup)
    assert len(icon.rstrip("\ufe0e")) == 1
    assert icon[0] not in "•" + state
    assert 'role="img"' in markup
    assert f'aria-label="{state}"' in markup
    assert title_of(markup) == state
    assert f"<span hidden> {state}</span>" in markup
    assert text_of(format_status(state.lower())) == icon


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_icons_are_those_that_the_program_shows(group: StatusGroup) -> None:
    for state in group.states:
        markup = format_status(state)
        assert text_of(markup) == f"{group.symbol}\ufe0e"
        assert f'class="sqltrack-status sqltrack-{group.name}"' in markup


def test_states_may_carry_what_sacct_adds() -> None:
    cancelled = text_of(format_status("CANCELLED"))
    assert text_of(format_status("CANCELLED by 1000")) == cancelled
    assert text_of(format_status("CANCELLED+")) == cancelled
    assert title_of(format_status("CANCELLED by 1000")) == "CANCELLED by 1000"


@pytest.mark.parametrize("status", ["warming up", "FAILED!", "", "  ", "<b>"])
def test_other_statuses_are_text_next_to_a_neutral_icon(status: str) -> None:
    assert text_of(format_status(status)) == f"• {status}"


def test_tags_are_bubbles_with_values_unless_true() -> None:
    tags = {"baseline": True, "none": None, "empty": "", "gpu": "a100", "n": 3, "off": False, "list": [1], "<b>": '"'}
    bubbles = re.findall(r'<span class="sqltrack-tag"[^>]*>([^<]*)</span>', format_tags(tags))
    expected = ["baseline", "none", "empty", "gpu=a100", "n=3", "off=false", "list=[1]", '<b>="']
    assert [html.unescape(bubble) for bubble in bubbles] == expected
    assert format_tags({}) == format_tags([]) == ""
    assert format_tags(["a", "b"]) == format_tags({"a": True, "b": True})
    assert format_tags("ab") == format_tags(["ab"])


def luminance(color: str) -> float:
    channels = [(RGB[color] >> shift & 255) / 255 for shift in (16, 8, 0)]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("color", COLORS)
def test_text_on_each_color_can_be_read(color: str) -> None:
    """A contrast of 4.5 or more; bubbles have their own background, so the theme does not matter."""
    light, dark = sorted((luminance(color), luminance(COLORS[color])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
    tag = next(text for text in map(str, range(10_000)) if textcolor(text) == color)
    assert f"background:{color};color:{COLORS[color]}" in format_tags([tag])


def test_a_text_has_the_same_color_in_every_process() -> None:
    code = "from sqltrack.notebook import textcolor; print(*map(textcolor, ('a', 'ä', 'baseline')))"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [textcolor("a"), textcolor("ä"), textcolor("baseline")]


def test_colors_can_be_chosen() -> None:
    assert {textcolor(str(number), ["red", "blue"]) for number in range(50)} == {"red", "blue"}
    assert textcolor("\ud800", ("red",)) == "red"
    with pytest.raises(ValueError, match="colors must hold at least one color"):
        textcolor("x", [])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.inf, "inf s"),
        (-math.inf, "-inf s"),
        (1e300, "1.00e+300 s"),
        (np.float32(3e38), "3.00e+38 s"),
        (10**400, "1.00e+400 s"),
        (np.timedelta64(2**62, "s"), "4611686018427387904 seconds"),
    ],
)
def test_durations_beyond_a_timedelta_are_shown_as_numbers(value: Any, shown: str) -> None:
    assert format_timedelta(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime.max, "9999-12-31 23:59:59"),
        (datetime.max.replace(tzinfo=timezone.utc), "9999-12-31 23:59:59+00:00"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "0001-01-01 00:00:00+14:00"),
        (np.datetime64(2**62, "s"), "146138514283-06-19 07:45:04"),
    ],
)
def test_relative_times_at_the_ends_of_the_calendar_are_shown_as_they_are(value: Any, shown: str) -> None:
    assert format_datetime_relative(value) == shown


@pytest.mark.parametrize("value", [5, None, [1], "<b>", {"a": 1}])
def test_only_data_frames_become_tables(value: Any) -> None:
    with pytest.raises(TypeError, match=f"a pandas DataFrame is expected, got {type(value).__name__}"):
        sqltrack.notebook.to_html(value)

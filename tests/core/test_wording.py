"""Numbers are written for people."""

from __future__ import annotations

import pytest

from sqltrack.wording import coarse_duration, pluralize, short_bytes, short_duration


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, "row"), "0 rows"),
        ((1, "row"), "1 row"),
        ((1_000, "row"), "1,000 rows"),
        ((1, "row of metrics", "rows of metrics"), "1 row of metrics"),
        ((2, "row of metrics", "rows of metrics"), "2 rows of metrics"),
        ((1, "run is", "runs are"), "1 run is"),
    ],
)
def test_nouns_follow_their_number(arguments: tuple[int, str], text: str) -> None:
    assert pluralize(*arguments) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (4_096, "4.1 kB"),
        (1.5e6, "1.5 MB"),
        (999_499, "999 kB"),
        (999_999, "1 MB"),
        (2e9, "2 GB"),
        (3e12, "3 TB"),
        (5e15, "5,000 TB"),
    ],
)
def test_sizes_have_a_unit_that_suits_them(size: float, text: str) -> None:
    assert short_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (250e-9, "250 ns"),
        (0.0125, "12.5 ms"),
        (0.9999, "1 s"),
        (1.5, "1.5 s"),
        (59.96, "1 min"),
        (61, "1 min 1 s"),
        (3_599.7, "1 h"),
        (3_600, "1 h"),
        (90_061, "1 d 1 h"),
        (86_390, "1 d"),
        (86_400 * 400, "400 d"),
        (-5, "-5 s"),
        (-7_980, "-2 h 13 min"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert short_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (0.5, "0 s"), (59.9, "59 s"), (7_199, "1 h"), (86_400 * 3.9, "3 d")]
)
def test_coarse_durations_are_rounded_down_to_their_largest_unit(seconds: float, text: str) -> None:
    assert coarse_duration(seconds) == text

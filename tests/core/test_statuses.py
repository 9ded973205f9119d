"""Statuses fall into groups that look different without colors and contrast with their background."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata

import pytest

from sqltrack import statuses
from sqltrack.statuses import ALIVE_STATES, ENDED_STATES, GROUPS, OTHER, UNFINISHED_STATES, find_group, find_state

# Both tables of https://slurm.schedmd.com/job_state_codes.html, as of Slurm 25.11.
STATES = [
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PENDING"),
    *("PREEMPTED", "RUNNING", "SUSPENDED", "TIMEOUT"),
]
FLAGS = [
    *("COMPLETING", "CONFIGURING", "EXPEDITING", "LAUNCH_FAILED", "POWER_UP_NODE", "RECONFIG_FAIL", "REQUEUED"),
    *("REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RESV_DEL_HOLD", "REVOKED", "SIGNALING", "SPECIAL_EXIT"),
    *("STAGE_OUT", "STOPPED", "UPDATE_DB"),
]
# Printed by `sacct`, too, though neither table lists it.
PRINTED = ["EXPIRED"]
# The usual backgrounds of notebooks and terminals.
LIGHT, DARK = "#ffffff", "#1e1e1e"
ANSI = {"default", "black", "red", "green", "yellow", "blue", "magenta", "cyan"}


def test_every_state_of_slurm_belongs_to_one_group() -> None:
    known = [state for group in GROUPS for state in group.states]
    assert sorted(known) == sorted([*STATES, *FLAGS, *PRINTED, "PLANNED"])


def test_states_tell_whether_a_job_has_a_process() -> None:
    """A flag such as LAUNCH_FAILED may replace the state; it means that the job has ended."""
    failures = {"EXPIRED", "LAUNCH_FAILED", "RECONFIG_FAIL", "SPECIAL_EXIT"}
    assert set(ENDED_STATES) == set(STATES) - {"PENDING", "RUNNING", "SUSPENDED"} | failures
    assert set(ALIVE_STATES) < set(UNFINISHED_STATES)
    assert set(UNFINISHED_STATES).isdisjoint(ENDED_STATES)


@pytest.mark.parametrize(
    ("status", "state", "group"),
    [
        ("COMPLETED", "COMPLETED", "done"),
        ("completed", "COMPLETED", "done"),
        ("COMPLETED+", "COMPLETED", "done"),
        ("CANCELLED by 1000", "CANCELLED", "cancelled"),
        ("CANCELLED+", "CANCELLED", "cancelled"),
        ("OUT_OF_ME+", "OUT_OF_MEMORY", "failed"),
        ("  Timeout\n", "TIMEOUT", "late"),
        ("COMPLET+", "COMPLET+", "other"),
        ("RUNNING2", "RUNNING2", "other"),
        ("my own", "MY", "other"),
        ("+", "+", "other"),
        (" ", "", "other"),
        ("", "", "other"),
    ],
)
def test_the_first_word_of_a_status_names_its_state(status: str, state: str, group: str) -> None:
    assert find_state(status) == state
    assert find_group(status).name == group


def test_groups_differ_without_colors() -> None:
    groups = [*GROUPS, OTHER]
    symbols = [group.symbol for group in groups]
    assert len(set(symbols)) == len({group.name for group in groups}) == len(groups)
    # Each is one column wide in a terminal.
    assert all(len(symbol) == 1 and unicodedata.east_asian_width(symbol) not in "WF" for symbol in symbols)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_colors_stand_out_from_their_background(group: statuses.StatusGroup) -> None:
    assert contrast(group.light, LIGHT) >= 4.5
    assert contrast(group.dark, DARK) >= 4.5
    assert group.ansi.removeprefix("bright_") in ANSI


def contrast(color: str, background: str) -> float:
    """Return the contrast of two colors (WCAG 2.1)."""
    darker, lighter = sorted((luminance(color), luminance(background)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    channels = [int(part, 16) / 255 for part in re.findall("[0-9a-f]{2}", color)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722)))


def test_importing_sqltrack_does_not_import_it() -> None:
    code = "import sys, sqltrack; sys.exit('sqltrack.statuses' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""`nox -s bench` runs the requested benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.modules import load_noxfile

# Names of benchmarks, options for them, and options for the report.
Arguments = tuple[list[str], list[str], list[str]]


class Session:
    """A stand-in for a nox session, for reading the arguments."""

    def __init__(self, *arguments: str) -> None:
        self.posargs = list(arguments)

    def error(self, message: str) -> None:
        raise ValueError(message)


@pytest.fixture(scope="module")
def noxfile() -> Any:
    return load_noxfile()


@pytest.fixture
def read(noxfile: Any) -> Callable[..., Arguments]:
    return lambda *arguments: noxfile._read_bench_arguments(Session(*arguments))


def test_without_names_all_run_but_those_that_need_other_trackers(noxfile: Any, read: Callable[..., Arguments]) -> None:
    names, options, target = read()
    assert names == noxfile.BENCHMARKS
    assert not set(names) & set(noxfile.PEER_BENCHMARKS)
    assert (options, target) == ([], [])


def test_names_and_options_come_in_any_order(read: Callable[..., Arguments], tmp_path: Path) -> None:
    path = str(tmp_path / "other.json")
    expected = (["growth", "peers"], ["--quick", "--largest"], ["--into", path])
    assert read("growth", "--quick", "--into", path, "peers", "--largest") == expected
    assert read("--into", path, "--quick", "--largest", "growth", "peers") == expected


@pytest.mark.parametrize("arguments", [["nothing"], ["--help"], ["--into"], ["growth", "--engines"]], ids=" ".join)
def test_unknown_arguments_are_refused(read: Callable[..., Arguments], arguments: list[str]) -> None:
    with pytest.raises(ValueError, match=rf"expected names .*, got \['{arguments[-1]}'\]"):
        read(*arguments)


def test_figures_of_a_trial_never_reach_the_pages(read: Callable[..., Arguments]) -> None:
    with pytest.raises(ValueError, match="expected --into PATH"):
        read("growth", "--quick")

"""Operations that fail only because of other processes are retried, with growing pauses."""

from __future__ import annotations

import time

import pytest

from sqltrack import _retrying
from sqltrack._retrying import retry


class Attempts:
    """Fails with the given errors in turn, then returns "done"."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.number = 0

    def __call__(self) -> str:
        self.number += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(_retrying, "_sleep", found.append)
    return found


def is_os_error(error: Exception) -> bool:
    return isinstance(error, OSError)


def test_a_success_is_not_repeated(pauses: list[float]) -> None:
    attempt = Attempts()
    assert retry(attempt, is_os_error, seconds=0) == "done"
    assert (attempt.number, pauses) == (1, [])


def test_pauses_double_up_to_the_longest(pauses: list[float]) -> None:
    attempt = Attempts(*[OSError() for _ in range(5)])
    assert retry(attempt, is_os_error, seconds=60, pause=0.1, longest=0.5) == "done"
    assert pauses == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_an_error_that_waiting_cannot_help_is_raised_at_once(pauses: list[float]) -> None:
    attempt = Attempts(OSError("first"), ValueError("second"))
    with pytest.raises(ValueError, match="second"):
        retry(attempt, is_os_error, seconds=60)
    assert (attempt.number, len(pauses)) == (2, 1)


def test_an_interrupt_is_never_held_back(pauses: list[float]) -> None:
    with pytest.raises(KeyboardInterrupt):
        retry(Attempts(KeyboardInterrupt()), lambda error: True, seconds=60)
    assert pauses == []


def test_after_the_given_time_the_last_error_is_raised() -> None:
    attempt = Attempts(*[OSError(str(number)) for number in range(1000)])
    begin = time.monotonic()
    with pytest.raises(OSError, match=r"^\d+$") as info:
        retry(attempt, is_os_error, seconds=0.1, pause=0.01, longest=0.02)
    assert time.monotonic() - begin < 5
    assert str(info.value) == str(attempt.number - 1)
    assert attempt.number > 2


def test_without_time_one_attempt_is_made(pauses: list[float]) -> None:
    attempt = Attempts(OSError("only"))
    with pytest.raises(OSError, match="only"):
        retry(attempt, is_os_error, seconds=0)
    assert (attempt.number, pauses) == (1, [])

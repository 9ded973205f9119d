"""Notice that a `with` statement has ended, also one that an exception kept from calling `__exit__` to its end.

A signal handler that raises, as that of Ctrl-C does, may raise between any two bytecodes: in `__enter__`, before the
first line of `__exit__`, or in the middle of either. The interpreter holds what it got for `__exit__` as long as the
statement lasts and no longer, so the end of that object is the end of the statement.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

__all__ = ["WithStatement", "current_statement", "leaves"]

_F = TypeVar("_F", bound=Callable[..., Any])


class WithStatement:
    """One execution of a `with` statement, or what `contextlib.ExitStack` does in its place.

    Args:
        owner: the object that is entered, None if that is not known, because `__exit__` was looked up in its class.

    Attributes:
        opened: what `__enter__` has opened for the statement, None if it has opened nothing.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = None if owner is None else weakref.ref(owner)
        self._exit: weakref.ref[Any] | None = None
        self._on_end: Callable[[], object] | None = None
        self.opened: object = None

    def bind(self, exit_method: Any) -> None:
        """Say what the interpreter holds during the statement."""
        self._exit = weakref.ref(exit_method, self.end)

    def begins(self, owner: Any) -> bool:
        """Return whether this is a statement that enters `owner`, and goes on."""
        goes_on = self._exit is not None and self._exit() is not None
        return goes_on and (self._owner is None or self._owner() is owner)

    def expect_end(self, on_end: Callable[[], object], *, opened: object = None) -> None:
        """Call `on_end()` when the statement has ended, unless `forget` is called before.

        Args:
            on_end: the function.
            opened: what `__enter__` is about to open for the statement, default: nothing.
        """
        self.opened = opened
        self._on_end = on_end
        # What ends together with what refers to it tells nobody.
        _expected.add(self)

    def forget(self) -> None:
        """Do nothing at the end. What interrupted a callback then would be lost, so there is none."""
        self._exit = self._on_end = None
        _expected.discard(self)

    def end(self, _: object = None) -> None:
        """Take it for ended."""
        on_end = self._on_end
        self.forget()
        if self in _looked_up.statements:
            _looked_up.statements.remove(self)
        if on_end is not None:
            on_end()


# Statements whose end somebody waits for.
_expected: set[WithStatement] = set()


class _LookedUp(threading.local):
    """Statements that have asked for `__exit__`, and not yet for `__enter__`: both before they call either."""

    def __init__(self) -> None:
        self.statements: list[WithStatement] = []


_looked_up = _LookedUp()


def current_statement(owner: Any) -> WithStatement | None:
    """Return the `with` statement that calls the `__enter__` of `owner`, None if something else calls it."""
    while _looked_up.statements:
        statement = _looked_up.statements.pop()
        if statement.begins(owner):
            return statement
    return None


def leaves(function: _F) -> _F:
    """Decorate an `__exit__` so that `__enter__` can tell which statement calls it.

    The method has a keyword-only parameter `statement`, for the `WithStatement` that calls it; None if another does.
    """
    return cast(_F, _Leaving(function))


class _Leaving:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        statement = WithStatement(instance)
        # Not a function of Python's: its frame would keep it as long as somebody keeps the traceback.
        bound = () if instance is None else (instance,)
        exit_method = partial(self._function, *bound, statement=statement)
        statement.bind(exit_method)
        _looked_up.statements.append(statement)
        return exit_method

"""Notice the end of a `with` statement, even if an exception prevents `__exit__` from being called or from finishing.

A signal handler that raises, such as that of Ctrl-C, may raise between any two bytecodes: in `__enter__`, before the
first line of `__exit__`, or in the middle of either. The interpreter keeps the bound `__exit__` exactly as long as the
statement lasts, so the end of that object is the end of the statement.
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
    """One execution of a `with` statement, or of the same work by `contextlib.ExitStack`.

    Args:
        owner: the object that is entered; None if unknown, because `__exit__` was looked up in the class.

    Attributes:
        opened: the object that `__enter__` has opened for the statement, if any.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = None if owner is None else weakref.ref(owner)
        self._exit: weakref.ref[Any] | None = None
        self._on_end: Callable[[], object] | None = None
        self.opened: object = None

    def bind(self, exit_method: Any) -> None:
        """Set the object that the interpreter keeps during the statement."""
        self._exit = weakref.ref(exit_method, self.end)

    def begins(self, owner: Any) -> bool:
        """Return whether this statement enters `owner`, and has not ended."""
        goes_on = self._exit is not None and self._exit() is not None
        return goes_on and (self._owner is None or self._owner() is owner)

    def expect_end(self, on_end: Callable[[], object], *, opened: object = None) -> None:
        """Call `on_end()` when the statement has ended, unless `forget` is called before.

        Args:
            on_end: the function.
            opened: the object that `__enter__` is about to open for the statement, default: none.
        """
        self.opened = opened
        self._on_end = on_end
        # Callbacks are lost if an object ends together with the objects that refer to it.
        _expected.add(self)

    def forget(self) -> None:
        """Do nothing at the end. Removing the callback also avoids losing an exception that interrupts it."""
        self._exit = self._on_end = None
        _expected.discard(self)

    def end(self, _: object = None) -> None:
        """Treat the statement as ended."""
        on_end = self._on_end
        self.forget()
        if self in _looked_up.statements:
            _looked_up.statements.remove(self)
        if on_end is not None:
            on_end()


# Statements with a callback for their end.
_expected: set[WithStatement] = set()


class _LookedUp(threading.local):
    """Statements that have looked up `__exit__`, but not yet `__enter__`: both are looked up before they are called."""

    def __init__(self) -> None:
        self.statements: list[WithStatement] = []


_looked_up = _LookedUp()


def current_statement(owner: Any) -> WithStatement | None:
    """Return the `with` statement that calls the `__enter__` of `owner`, None if other code calls it."""
    while _looked_up.statements:
        statement = _looked_up.statements.pop()
        if statement.begins(owner):
            return statement
    return None


def leaves(function: _F) -> _F:
    """Decorate an `__exit__` so that `__enter__` can tell which statement calls it.

    The method has a keyword-only parameter `statement`: the `WithStatement` that calls it, or None.
    """
    return cast(_F, _Leaving(function))


class _Leaving:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        statement = WithStatement(instance)
        # Not a Python function: its frame would keep it alive for as long as a traceback is kept.
        bound = () if instance is None else (instance,)
        exit_method = partial(self._function, *bound, statement=statement)
        statement.bind(exit_method)
        _looked_up.statements.append(statement)
        return exit_method

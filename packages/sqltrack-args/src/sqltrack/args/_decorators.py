"""Decorate functions to receive the command line that their docstrings describe."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, overload

from sqltrack.args._conversions import ParsedOptions
from sqltrack.args._docstrings import docopt_parse_docstrings

__all__ = ["docopt_arguments", "docopt_main"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Decorated(Protocol[T_co]):
    """A decorated function, called with or without arguments that override the command line."""

    def __call__(self, overrides: Mapping[str, Any] | None = None) -> T_co: ...


@overload
def docopt_arguments(
    f: Callable[[ParsedOptions], T], main: bool = False, main_guard: bool = True, **kwargs: Any
) -> Decorated[T]: ...
@overload
def docopt_arguments(
    f: None = None, main: bool = False, main_guard: bool = True, **kwargs: Any
) -> Callable[[Callable[[ParsedOptions], T]], Decorated[T]]: ...
def docopt_arguments(
    f: Callable[[ParsedOptions], Any] | None = None, main: bool = False, main_guard: bool = True, **kwargs: Any
) -> Any:
    """Decorate a function to receive the arguments of the command line, parsed by docopt.

    The docstring of the function, or else of its module, describes the command line:

        @docopt_arguments
        def train(args):
            '''
            usage: train.py [--epochs N]
            '''
            ...

        if __name__ == "__main__":
            train({})

    The decorated function accepts a dict of arguments that extend or override those of the command line.

    Args:
        f: the function, which takes one positional argument; without it, return a decorator.
        main: whether to call the function at once, default False.
        main_guard: whether to do so only if the function's module is the started script, default True.
        kwargs: further arguments of `docopt_parse_docstrings`, and so of `docopt.docopt`.

    Raises:
        TypeError: `f` is not a function, is a method, coroutine or generator, or takes no positional argument.
        UsageError: (a ValueError) when called: the command line matches no docstring.
        ValueError: when called: no docstring describes a command line.
    """
    if f is None:
        return functools.partial(docopt_arguments, main=main, main_guard=main_guard, **kwargs)
    _check_function(f)
    function, namespace = f, inspect.unwrap(f).__globals__

    @functools.wraps(f)
    def call_with_arguments(overrides: Mapping[str, Any] | None = None) -> Any:
        args = docopt_parse_docstrings([function.__doc__, namespace.get("__doc__")], **kwargs)
        args.update(overrides or {})
        return function(args)

    if main and (not main_guard or namespace.get("__name__") == "__main__"):
        call_with_arguments()
    return call_with_arguments


@overload
def docopt_main(f: Callable[[ParsedOptions], T], main_guard: bool = True, **kwargs: Any) -> Decorated[T]: ...
@overload
def docopt_main(
    f: None = None, main_guard: bool = True, **kwargs: Any
) -> Callable[[Callable[[ParsedOptions], T]], Decorated[T]]: ...
def docopt_main(f: Callable[[ParsedOptions], Any] | None = None, main_guard: bool = True, **kwargs: Any) -> Any:
    """Call a function at once with the arguments of the command line, like `docopt_arguments(main=True)`.

    Put the function at the end of the script, after everything that it uses.
    """
    if f is None:
        return functools.partial(docopt_main, main_guard=main_guard, **kwargs)
    return docopt_arguments(f, main=True, main_guard=main_guard, **kwargs)


def _check_function(f: Any) -> None:
    name = getattr(f, "__qualname__", repr(f))
    if not inspect.isfunction(f):
        raise TypeError(f"only functions can be decorated, got {f!r}")
    if inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f):
        raise TypeError(f"{name!r} is asynchronous; decorate a plain function that runs it: asyncio.run(…)")
    if inspect.isgeneratorfunction(f):
        raise TypeError(f"{name!r} is a generator, which would never run; decorate a plain function")
    owner = name.rpartition(".")[0]
    if owner and not owner.endswith("<locals>"):
        raise TypeError(f"{name!r} is a method; decorate a function outside of the class")
    try:
        inspect.signature(f).bind({})
    except TypeError as error:
        raise TypeError(f"{name!r} must accept one positional argument: {error}") from None

"""List the methods that the classes of an engine offer, require and override."""

from __future__ import annotations

from types import FunctionType

__all__ = ["offered", "overridden", "required"]


def offered(base: type) -> set[str]:
    """Return the names of the methods that a base class defines."""
    return {name for name, value in vars(base).items() if isinstance(value, FunctionType)}


def required(base: type) -> set[str]:
    """Return the names of methods that are abstract, or only raise the error for a missing method."""
    methods = {name: vars(base)[name] for name in offered(base)}
    return {
        name
        for name, method in methods.items()
        if getattr(method, "__isabstractmethod__", False) or "lacking" in method.__code__.co_names
    }


def overridden(cls: type) -> set[str]:
    """Return the names of methods that a class defines in place of its base class."""
    (base,) = cls.__bases__
    return offered(base) & set(vars(cls))

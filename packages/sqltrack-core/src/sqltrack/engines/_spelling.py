"""Convert objects to text that is the same in each process, so that equal runs look equal."""

from __future__ import annotations

import re
import types
from typing import Any

__all__ = ["quote", "spell"]

# Longest repr in a message, in characters.
_MAX_QUOTED = 200

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


def spell(obj: Any) -> str:
    """Return `str(obj)` without memory addresses.

    Functions become their qualified name, modules `<module 'name'>`. An object whose str() fails becomes the name of
    its class.
    """
    try:
        name = _function_name(obj)
        if name is not None:
            return name
        if isinstance(obj, types.ModuleType):
            return f"<module {obj.__name__!r}>"
        return _without_address(str(obj), obj)
    except MemoryError:
        raise
    except Exception:
        # Objects of other packages may raise anything.
        return _class_text(obj)


def _class_text(obj: Any) -> str:
    """Return the name of an object's class, without calling its metaclass."""
    module, name = (type.__getattribute__(type(obj), attribute) for attribute in ("__module__", "__qualname__"))
    return f"<{module}.{name} object>"


def quote(obj: Any) -> str:
    """Return the repr of an object for a message, shortened; never raises.

    A long integer becomes the number of its bits. An object that is nested too deeply, or whose repr() and str() fail,
    becomes the name of its class.
    """
    try:
        if isinstance(obj, int) and obj.bit_length() > _MAX_QUOTED:
            return f"an integer of {obj.bit_length()} bits"
        text = _without_address(repr(obj), obj)
    except (RecursionError, MemoryError):
        return _class_text(obj)
    except Exception:
        try:
            text = spell(obj)
        except MemoryError:
            return _class_text(obj)
    return text if len(text) <= _MAX_QUOTED else f"{text[: _MAX_QUOTED - 1]}…"


def _function_name(obj: Any) -> str | None:
    if isinstance(obj, type) or not callable(obj):
        return None
    name, module = getattr(obj, "__qualname__", None), getattr(obj, "__module__", None)
    if not isinstance(name, str):
        return None
    return f"{module}.{name}" if isinstance(module, str) else name


def _without_address(text: str, obj: Any) -> str:
    text = _ADDRESS.sub("", text)
    for address in (hex(id(obj)), str(id(obj))):
        text = text.replace(address, "…")
    return text

"""Read names and values from configuration objects of many packages, without importing these packages."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["named_values"]

Items = Iterable[tuple[Any, Any]]


def named_values(obj: Any) -> Items | None:
    """Return the names and values of a configuration object, None for other objects.

    Supports mappings, dataclasses, namespaces (including argparse's), partial functions, and objects of OmegaConf and
    Hydra, pydantic, attrs, absl.flags and ml_collections.
    """
    readers = (_read_omegaconf, _read_mapping, _read_fields, _read_namespace, _read_partial, _read_pydantic, _read_absl)
    for read in readers:
        items = read(obj)
        if items is not None:
            return items
    return None


def _read_omegaconf(obj: Any) -> Items | None:
    # Without the imported package, there are no objects of it.
    omegaconf: Any = sys.modules.get("omegaconf")
    if omegaconf is None or not isinstance(obj, getattr(omegaconf, "DictConfig", ())):
        return None
    try:
        resolved = omegaconf.OmegaConf.to_container(obj, resolve=True)
    except Exception:
        # A reference cannot be resolved, so keep references as written.
        resolved = omegaconf.OmegaConf.to_container(obj, resolve=False)
    return resolved.items() if isinstance(resolved, dict) else ()


def _read_mapping(obj: Any) -> Items | None:
    if isinstance(obj, Mapping):
        return obj.items()
    ml_collections: Any = sys.modules.get("ml_collections")
    if ml_collections is None or not isinstance(obj, getattr(ml_collections, "ConfigDict", ())):
        return None
    config: Any = obj
    return config.items(preserve_field_references=False)  # type: ignore[no-any-return]


def _read_fields(obj: Any) -> Items | None:
    if isinstance(obj, type):
        return None
    names = getattr(type(obj), "__dataclass_fields__", None)
    if names is None:
        attributes = getattr(type(obj), "__attrs_attrs__", None)
        names = None if attributes is None else [attribute.name for attribute in attributes]
    return None if names is None else ((name, getattr(obj, name)) for name in names if hasattr(obj, name))


def _read_namespace(obj: Any) -> Items | None:
    argparse = sys.modules.get("argparse")
    namespaces = (types.SimpleNamespace,) if argparse is None else (types.SimpleNamespace, argparse.Namespace)
    return vars(obj).items() if isinstance(obj, namespaces) else None


def _read_partial(obj: Any) -> Items | None:
    if not isinstance(obj, (functools.partial, functools.partialmethod)):
        return None
    return (("func", obj.func), ("args", list(obj.args)), ("keywords", obj.keywords))


def _read_pydantic(obj: Any) -> Items | None:
    if isinstance(obj, type):
        return None
    if callable(getattr(type(obj), "model_dump", None)):
        return obj.model_dump().items()  # type: ignore[no-any-return]
    # pydantic 1
    if hasattr(type(obj), "__fields__") and callable(getattr(type(obj), "dict", None)):
        return obj.dict().items()  # type: ignore[no-any-return]
    return None


def _read_absl(obj: Any) -> Items | None:
    if not callable(getattr(type(obj), "flags_by_module_dict", None)):
        return None
    # Leave out some thirty flags that absl itself defines for logging and debugging.
    return (
        (flag.name, flag.value)
        for module, flags in obj.flags_by_module_dict().items()
        if module != "absl" and not module.startswith("absl.")
        for flag in flags
    )

"""Convert docstrings to reStructuredText.

Names in single backticks become links if they are part of the API, and text that is indented after a colon becomes
code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TypeVar

from docutils import nodes
from sphinx.domains.python import PyXRefRole
from sphinx.util.nodes import make_refnode

__all__ = ["setup"]

_TYPE = "docstring-name"
_KINDS = {"class", "exception", "function"}


class _NameRole(PyXRefRole):
    """The role of text in single backticks."""

    def create_xref_node(self) -> Any:
        node, messages = super().create_xref_node()
        node[0]["refdomain"] = ""
        node[0]["reftype"] = _TYPE
        return node, messages


def _resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Return a link to the object of a name, or the plain name of a parameter, an SQL word or an object of another
    package.

    Unresolved sqltrack names in signatures, where types are classes, are left for Sphinx to report.
    """
    name = node["reftarget"].removesuffix("()")
    if node["reftype"] != _TYPE:
        is_ours = node.get("refdomain") == "py" and name.startswith("sqltrack.")
        if is_ours and "._" not in name and not _is_type_variable(name):
            return _link(app, env, node, contnode, name)
    return _link(app, env, node, contnode, name) or contnode


def _is_type_variable(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return isinstance(getattr(sys.modules.get(module), attribute, None), TypeVar)


def _link(app: Any, env: Any, node: Any, contnode: Any, name: str) -> Any:
    domain = env.get_domain("py")
    for candidate in _candidates(domain.objects, node, name):
        found = domain.objects.get(candidate)
        if found is not None:
            return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, contnode, candidate)
    return None


def _candidates(objects: Any, node: Any, name: str) -> Iterator[str]:
    """Yield the full names that a name can stand for, the nearest first; only a full name can be a module."""
    module, surrounding = node.get("py:module"), node.get("py:class")
    if "." in name and name.startswith("sqltrack"):
        yield name
    if module and surrounding:
        yield f"{module}.{surrounding}.{name}"
    nearest = f"{module}.{name}"
    if nearest in objects and objects[nearest].objtype != "module":
        yield nearest
    matches = [full for full, found in objects.items() if full.endswith(f".{name}") and _is_unmistakable(found, name)]
    if len({(objects[full].docname, objects[full].node_id) for full in matches}) == 1:
        yield matches[0]


def _is_unmistakable(found: Any, name: str) -> bool:
    """Return whether a name identifies this object: methods need their class, because `start` or `id` is ambiguous."""
    return not found.aliased and (found.objtype in _KINDS or "." in name)


def _mark_code(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn text that is indented after a colon and an empty line into code; sections have no empty line there."""
    for place in range(len(lines) - 2):
        line, empty, below = lines[place : place + 3]
        if line.endswith(":") and not empty and _indent(below) > _indent(line):
            lines[place] = f"{line}:"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _skip_attributes(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out attributes that a class describes under "Attributes:"."""
    if what in ("class", "exception") and not callable(obj) and not isinstance(obj, (property, classmethod)):
        return True
    return None


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_role(_TYPE, _NameRole(innernodeclass=nodes.literal))
    app.config.default_role = _TYPE
    # Before napoleon converts the sections.
    app.connect("autodoc-process-docstring", _mark_code, priority=100)
    app.connect("autodoc-skip-member", _skip_attributes)
    app.connect("missing-reference", _resolve)
    return {"version": "1", "parallel_read_safe": True}

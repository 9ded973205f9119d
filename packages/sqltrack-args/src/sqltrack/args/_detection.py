"""Detect the arguments of a script from its source, without running or importing it."""

from __future__ import annotations

import ast
import os
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqltrack.args._conversions import ParsedOptions
from sqltrack.args._docstrings import docopt_parse_docstrings

__all__ = ["detect_args"]

_DECORATORS = frozenset({"docopt_arguments", "docopt_main"})
_OWN_KEYWORDS = frozenset({"f", "main", "main_guard"})

# Larger files are not handwritten scripts, but for example programs that include Python itself.
_MAX_SIZE = 4 * 2**20


class _Usage(NamedTuple):
    """A docstring, and the arguments for docopt in the decorator of its function."""

    docstring: str
    kwargs: dict[str, Any]


def detect_args(path: Path | str | None = None, **kwargs: Any) -> ParsedOptions | None:
    """Detect the arguments of a script from its docstrings, without running it.

    Tries the docstrings of functions decorated with `docopt_arguments` or `docopt_main` in their order, then the
    docstring of the module.

    Args:
        path: path of the script, or of a zip archive or folder that Python can run; default: the running script,
            `sys.argv[0]`.
        kwargs: further arguments of `docopt_parse_docstrings`, and so of `docopt.docopt`. They override the literal
            arguments in the script's decorators. For a script that has not started yet, pass the arguments after its
            name as the list `argv`; default: the arguments of this process.

    Returns:
        The arguments, converted as by `convert_arguments`. None if the file does not exist, cannot be read or parsed,
        or has no usage text, or if the command line does not match or asks for help.
    """
    script = _running_script() if path is None else Path(path)
    source = _read_script(script) if script is not None else None
    if source is None:
        return None
    for usage in _usages(source):
        args = _parse(usage.docstring, {**usage.kwargs, **kwargs})
        if args is not None:
            return args
    return None


def _parse(docstring: str, kwargs: dict[str, Any]) -> ParsedOptions | None:
    """Parse the command line; None if it does not match, or if the script would only show its help or version."""
    text_switches = set()
    if kwargs.pop("default_help", True):
        text_switches |= {"--help", "-h"}
    if kwargs.pop("version", None):
        text_switches.add("--version")
    simplify_names = kwargs.pop("simplify_names", True)
    try:
        plain = docopt_parse_docstrings([docstring], simplify_names=False, default_help=False, **kwargs)
        if any(plain.get(switch) for switch in text_switches):
            return None
        return docopt_parse_docstrings([docstring], simplify_names=simplify_names, default_help=False, **kwargs)
    # docopt gets docstrings here that are not usage texts, and fails on some in odd ways.
    except Exception:
        return None


def _running_script() -> Path | None:
    """Return the path of the running script, None without one."""
    name = sys.argv[0] if sys.argv else ""
    if name in ("", "-", "-c", "-m"):
        return None
    if not os.path.isabs(name):
        # The script may have changed the working directory, but Python has kept the full path.
        started: str | None = getattr(sys.modules.get("__main__"), "__file__", None)
        if started is not None and os.path.basename(started) == os.path.basename(name):
            return Path(started)
    return Path(name)


def _read_script(path: Path) -> bytes | None:
    """Return the source that Python would run for a path, None if it cannot be read."""
    try:
        if path.is_dir():
            path = path / "__main__.py"
        elif path.is_file() and zipfile.is_zipfile(path):
            return _read_member(path, "__main__.py")
        if path.exists():
            return path.read_bytes() if path.is_file() and path.stat().st_size <= _MAX_SIZE else None
        # With `python -m`, a module can be inside a zip archive.
        archive = next((parent for parent in path.parents if parent.is_file()), None)
        return _read_member(archive, path.relative_to(archive).as_posix()) if archive is not None else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return None


def _read_member(archive: Path, name: str) -> bytes | None:
    with zipfile.ZipFile(archive) as file:
        return file.read(name) if file.getinfo(name).file_size <= _MAX_SIZE else None


def _usages(source: bytes) -> Iterator[_Usage]:
    """Yield the docstrings in a script's source that may describe a command line, in the order to try them."""
    try:
        with warnings.catch_warnings():
            # Running the script shows warnings about invalid escapes anyway.
            warnings.simplefilter("ignore")
            module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    names = _decorator_names(module)
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    module_kwargs: dict[str, Any] | None = None
    for function in sorted(functions, key=lambda node: node.lineno):
        decorator = next((item for item in function.decorator_list if _is_ours(item, names)), None)
        if decorator is None:
            continue
        kwargs = _keywords(decorator)
        # A decorated function without a usage text uses the module's, with its own keywords.
        module_kwargs = kwargs if module_kwargs is None else module_kwargs
        docstring = ast.get_docstring(function)
        if docstring is not None:
            yield _Usage(docstring, kwargs)
    docstring = ast.get_docstring(module)
    if docstring is not None:
        yield _Usage(docstring, module_kwargs or {})


def _decorator_names(module: ast.Module) -> set[str]:
    """Return the names of our decorators in a script, including import aliases."""
    names = set(_DECORATORS)
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module == "sqltrack.args":
            names.update(alias.asname for alias in node.names if alias.asname and alias.name in _DECORATORS)
    return names


def _is_ours(decorator: ast.expr, names: set[str]) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(function, ast.Attribute):
        return function.attr in _DECORATORS
    return isinstance(function, ast.Name) and function.id in names


def _keywords(decorator: ast.expr) -> dict[str, Any]:
    """Return the keywords of a decorator whose values are literals."""
    keywords: dict[str, Any] = {}
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
        if keyword.arg is None or keyword.arg in _OWN_KEYWORDS:
            continue
        try:
            keywords[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError):
            if keyword.arg == "version":
                # The script would print it, whatever its value.
                keywords[keyword.arg] = True
    return keywords

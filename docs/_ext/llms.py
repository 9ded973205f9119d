"""Write llms.txt (https://llmstxt.org) and llms-full.txt: the pages as Markdown, for assistants that write code.

Pages are copied as they are. Where Sphinx generates text for the API and the program, they contain signatures and
docstrings, and the output of --help.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, ForwardRef
from unittest import mock

from frameworks import import_documented
from navigation import Entry, all_entries
from program import documented_parser
from sphinx.pycode import ModuleAnalyzer

__all__ = ["page_text", "setup"]

_FULL = "llms-full.txt"


def _link_files(app: Any, docname: str, content: list[str]) -> None:
    """Link the index to both files, which exist only on the site."""
    if docname == "index":
        content[0] = re.sub(r"`(llms[\w-]*\.txt)`", r"[`\1`](site:\1)", content[0])


def _write(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    source, target = Path(app.srcdir), Path(app.outdir)
    parts = all_entries(source)
    title, summary = _title_and_summary((source / "index.md").read_text(encoding="utf-8"))
    lines = [f"# {title}", "", f"> {summary}", "", f"All pages in one file: [{_FULL}]({_FULL})"]
    texts = []
    for part in parts:
        lines += ["", f"## {part.caption}", ""]
        # Sphinx warns about missing pages.
        for entry in (entry for entry in part.entries if entry.name in app.env.found_docs):
            lines.append(f"- [{entry.title}]({entry.name}.md): {entry.text}")
            text = page_text(source, entry)
            texts.append(text)
            (target / entry.name).parent.mkdir(parents=True, exist_ok=True)
            (target / f"{entry.name}.md").write_text(text, encoding="utf-8")
    (target / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (target / _FULL).write_text("\n\n".join([f"# {title}\n\n{summary}\n", *texts]), encoding="utf-8")


def _title_and_summary(index: str) -> tuple[str, str]:
    """Return the heading and the first paragraph of the index."""
    heading, summary = index.split("\n\n")[:2]
    return heading.removeprefix("# "), " ".join(summary.split())


def page_text(folder: Path, entry: Entry) -> str:
    """Return a page as Markdown, without Sphinx directives."""
    source = (folder / f"{entry.name}.md").read_text(encoding="utf-8")
    return re.sub(r"```\{eval-rst\}\n(.*?)```\n", lambda block: _block_text(block[1]), source, flags=re.DOTALL)


def _block_text(block: str) -> str:
    """Return signatures and docstrings of the objects that a block of directives documents, or the output of --help."""
    named = re.search(r"^\.\. (?:automodule|py:module):: (\S+)$", block, re.M)
    if named is None:
        return _program_text()
    module = import_documented(named[1])
    names = re.findall(r"^\.\. autoclass:: (\w+)$", block, re.M)
    if "automodule" in block:
        excluded = {name for line in re.findall(r":exclude-members: (.*)", block) for name in line.split(", ")}
        names = [name for name in module.__all__ if name not in excluded]
    texts = [_member_text(module, name) for name in names]
    return "\n".join([*texts, *_written_texts(block, named[1])])


def _written_texts(block: str, module: str) -> list[str]:
    """Return the text of a block about names that have no docstring."""
    found = re.findall(r"^\.\. py:(?:data|type):: (\w+)\n   :\w+: (.+)\n\n((?:   .+\n)+)", block, re.M)
    return [_data_text(f"{module}.{name}", type_, dedent(text)) for name, type_, text in found]


def _member_text(module: ModuleType, name: str) -> str:
    value, full_name = getattr(module, name), f"{module.__name__}.{name}"
    # Data are described by the comment above them, in the module that defines them.
    text = _comments(module).get(("", name))
    return _object_text(full_name, value) if text is None else _data_text(full_name, type(value).__name__, text)


def _comments(module: ModuleType) -> Mapping[tuple[str, str], str]:
    return {key: "\n".join(lines) for key, lines in ModuleAnalyzer.for_module(module.__name__).find_attr_docs().items()}


def _data_text(name: str, type_: str, text: str) -> str:
    return f"## {name}\n\n```python\n{name.rpartition('.')[2]}: {type_}\n```\n\n{text}"


def _object_text(name: str, value: Any) -> str:
    text = f"## {_callable_text(name, value)}"
    if not inspect.isclass(value) or issubclass(value, Exception):
        return text
    members = {key: getattr(value, key) for key in vars(value) if not key.startswith("_")}
    methods = [(key, member) for key, member in members.items() if inspect.isroutine(member) and callable(member)]
    return "\n".join([text, *(f"### {_callable_text(f'{value.__name__}.{key}', member)}" for key, member in methods)])


def _callable_text(name: str, value: Any) -> str:
    if not callable(value):
        # A constant, whose comment only Sphinx finds.
        return f"{name}\n\n```python\n{name}: {type(value).__name__}\n```\n"
    kind = "class " if inspect.isclass(value) else "def "
    return f"{name}\n\n```python\n{kind}{name}{_signature(value)}\n```\n\n{inspect.getdoc(value) or ''}\n"


def _signature(value: Any) -> str:
    """Return the parameters of a callable, with annotations as written."""
    try:
        signature = inspect.signature(value)
    except ValueError:
        return ""
    parameters = [
        parameter.replace(annotation=_Annotation(parameter.annotation)) for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=_Annotation(signature.return_annotation)))


class _Annotation:
    """An annotation that is shown without quotes; `inspect` shows text annotations with quotes."""

    def __new__(cls, annotation: Any) -> Any:
        return super().__new__(cls) if isinstance(annotation, str | ForwardRef) else annotation

    def __init__(self, annotation: Any) -> None:
        self._text = annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else annotation

    def __repr__(self) -> str:
        return str(self._text)


def _program_text() -> str:
    parser = documented_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    with mock.patch.dict(os.environ, {"COLUMNS": "110", "NO_COLOR": "1"}):
        helps = [(command.prog, command.format_help()) for command in (parser, *commands.choices.values())]
    return "\n".join(f"## {name}\n\n```text\n{text}```\n" for name, text in helps)


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", _link_files)
    app.connect("build-finished", _write)
    return {"version": "1", "parallel_read_safe": True}

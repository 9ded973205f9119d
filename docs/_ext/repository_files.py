"""Links from pages to files of the repository, as on GitHub: the site includes these files."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path
from typing import Any

__all__ = ["linked_paths", "setup"]

_LINK = re.compile(r"\]\(\.\./([^)#\s]+)(?:#[^)\s]*)?\)")
_UNWANTED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def linked_paths(source: str) -> list[str]:
    """Return the paths, relative to the root of the repository, that a page in docs/ links to."""
    return [path.rstrip("/") for path in _LINK.findall(source)]


def _rewrite_links(app: Any, docname: str, content: list[str]) -> None:
    content[0] = _LINK.sub(lambda match: f"](repository:{_target(app, match[1])})", content[0])


def _target(app: Any, path: str) -> str:
    is_folder = (Path(app.srcdir).parent / path).is_dir()
    return f"{path.rstrip('/')}/index.html" if is_folder else path


def _copy_files(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    root, target = Path(app.srcdir).parent, Path(app.outdir) / "source"
    for name in app.env.found_docs:
        for path in linked_paths(Path(app.env.doc2path(name)).read_text(encoding="utf-8")):
            _copy(root / path, target / path)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        shutil.copyfile(source, target)
        return
    shutil.copytree(source, target, ignore=_UNWANTED, dirs_exist_ok=True)
    names = sorted(str(file.relative_to(target).as_posix()) for file in target.rglob("*") if file.is_file())
    items = "".join(f'<li><a href="{html.escape(name)}">{html.escape(name)}</a>' for name in names)
    title = f"<title>{html.escape(source.name)}</title>"
    head = f'<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">{title}'
    (target / "index.html").write_text(f"{head}<ul>{items}</ul>", encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", _rewrite_links)
    app.connect("build-finished", _copy_files)
    return {"version": "1", "parallel_read_safe": True}

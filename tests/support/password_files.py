"""Password files, as PostgreSQL's library reads them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["escaped", "write_passwords"]


def write_passwords(path: Path, line: str, mode: int = 0o600) -> Path:
    path.write_text(line + "\n", encoding="utf-8")
    path.chmod(mode)
    return path


def escaped(password: str) -> str:
    return password.replace("\\", "\\\\").replace(":", "\\:")

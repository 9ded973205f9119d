"""Scripts of other projects are those of npm, and come with their licenses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "packages/sqltrack-ui/src/sqltrack/ui/static/vendor"
PACKAGES = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))["packages"]


def test_files_are_as_the_manifest_says() -> None:
    entries = {entry["file"]: entry["sha256"] for package in PACKAGES for entry in package["files"]}
    found = {
        path.relative_to(FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in FOLDER.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert found == entries


def test_each_package_comes_with_its_license() -> None:
    without = [
        package["name"]
        for package in PACKAGES
        if not package["license"]
        or not any(Path(entry["file"]).name.startswith("LICENSE") for entry in package["files"])
    ]
    assert without == []


def test_a_script_tells_its_version() -> None:
    assert [package["name"] for package in PACKAGES if "version" not in package and "inside" not in package] == []

"""Measure the distributions and megabytes that `pip install` of SQLTrack and of other trackers adds.

pip installs each one into an empty folder, without compiled files: `pip install --no-compile --target FOLDER NAME`. The
megabytes (10⁶ bytes) count all files, the distributions those with metadata. Needs pip and the network.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_suffix(".json")

# Install this repository's packages from their folders, so that they can be measured before a release.
OWN = {
    "sqltrack-core": ("packages/sqltrack-core",),
    "sqltrack-core[postgres]": ("packages/sqltrack-core[postgres]",),
    "sqltrack": (
        "packages/sqltrack-core[postgres]",
        "packages/sqltrack-args",
        "packages/sqltrack-cli",
        "packages/sqltrack",
    ),
}
OTHERS = ("tensorboard", "sacred", "trackio", "wandb", "mlflow-skinny", "mlflow", "aim")


def main() -> None:
    options = parse_arguments()
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["results"] if RESULTS.exists() else []
    results = {row["name"]: row for row in known}
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.names or (*OWN, *OTHERS):
            row = results[name] = measure(name, Path(options.keep or temporary) / name)
            print(f"{row['name']:26}{row['version']:14}{row['distributions']:6}{row['megabytes']:10.1f} MB", flush=True)
            write(results)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="what to measure again, default: all")
    parser.add_argument("--keep", metavar="FOLDER", help="install into folders below this one, and leave them there")
    return parser.parse_args()


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Install a package with all its dependencies, and return the figures."""
    sources = [str(ROOT / source) for source in OWN[name]] if name in OWN else [name]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--upgrade", "--target", str(folder)]
    subprocess.run([*command, *sources], check=True)  # noqa: S603
    found = list(metadata.distributions(path=[str(folder)]))
    base = name.partition("[")[0]
    return {
        "name": name,
        "version": next(one.version for one in found if one.metadata["Name"].lower() == base),
        "distributions": len(found),
        "megabytes": round(sum(file_sizes(folder)) / 1e6, 2),
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def file_sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        # Some packages run their own code when they are installed.
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc":
            yield path.stat().st_size


def write(results: dict[str, dict[str, Any]]) -> None:
    RESULTS.write_text(json.dumps({"results": list(results.values())}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

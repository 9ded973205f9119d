"""Replace the scripts of other projects by their newest versions from npm: `nox -s vendor`.

The files are copied as they are in the npm packages. `vendor/manifest.json` says for each file where it comes from and
its hash, which a test checks.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "src/sqltrack/ui/static/vendor"


class Package(NamedTuple):
    """An npm package of which the page needs some files.

    Attributes:
        name: its name.
        files: paths in the package.
        license: its license as an SPDX expression.
        inside: name of the package whose script contains this one, if only its license is needed.
    """

    name: str
    files: tuple[str, ...]
    license: str
    inside: str | None = None


PACKAGES = (
    Package("htm", ("preact/standalone.module.js", "LICENSE"), "Apache-2.0"),
    Package("preact", ("LICENSE",), "MIT", "htm"),
    Package("ag-grid-community", ("dist/ag-grid-community.min.noStyle.js", "LICENSE.txt"), "MIT"),
    Package(
        "echarts",
        ("dist/echarts.esm.min.mjs", "LICENSE", "NOTICE", "licenses/LICENSE-d3"),
        "Apache-2.0 AND BSD-3-Clause",
    ),
    Package("zrender", ("LICENSE",), "BSD-3-Clause", "echarts"),
)


def main(versions: list[str]) -> None:
    """Fetch the packages, the newest unless `versions` names others, such as "echarts@6.0.0"."""
    wanted = dict(version.rsplit("@", 1) for version in versions)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "vendor").mkdir()
        entries = [_add(root, package, wanted.get(package.name, _range(package, root))) for package in PACKAGES]
        text = json.dumps({"packages": entries}, indent=2) + "\n"
        (root / "vendor/manifest.json").write_text(text, encoding="utf-8")
        # Only now, so that a failed download leaves the old files in place.
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(root / "vendor", FOLDER)


def _range(package: Package, root: Path) -> str:
    """Return the version to fetch: that which the surrounding package was built with, or the newest."""
    if package.inside is None:
        return "latest"
    metadata = json.loads((root / package.inside / "package/package.json").read_text(encoding="utf-8"))
    needs: dict[str, str] = {**metadata.get("devDependencies", {}), **metadata.get("dependencies", {})}
    return needs[package.name]


def _add(root: Path, package: Package, version: str) -> dict[str, Any]:
    """Download a package, copy its files, and return its entry in the manifest."""
    folder = root / package.name
    folder.mkdir()
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{package.name}@{version}"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    archive = folder / printed.split()[-1]
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    metadata = json.loads((folder / "package/package.json").read_text(encoding="utf-8"))
    print(f"{package.name} {metadata['version']}")
    files = [_copy(root, package.name, folder / "package" / source, source) for source in package.files]
    return {
        "name": package.name,
        # The license is the same in all versions of a range, of which the script names none.
        **({"version": metadata["version"]} if version in ("latest", metadata["version"]) else {}),
        "license": package.license,
        **({"inside": package.inside} if package.inside else {}),
        "homepage": re.sub(r"^git\+|\.git$", "", metadata.get("homepage") or metadata["repository"]["url"]),
        "files": files,
    }


def _copy(root: Path, name: str, path: Path, source: str) -> dict[str, str]:
    """Copy a file, and return its entry in the manifest."""
    target = root / "vendor" / name / path.name
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(path, target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    return {"file": f"{name}/{path.name}", "source": source, "sha256": digest}


if __name__ == "__main__":
    main(sys.argv[1:])

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


_LIBERATION_SANS = ("LiberationSans-Regular.ttf", "LiberationSans-Italic.ttf")
# The pictures of Ace's style sheet that are not PNG.
_ACE_IMAGES = dict.fromkeys((5, 6, 7, 8, 9, 10, 11, 12, 25), "svg")

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
    Package("jspdf", ("dist/jspdf.umd.min.js", "LICENSE"), "MIT"),
    Package("fflate", ("LICENSE",), "MIT", "jspdf"),
    Package("fast-png", ("LICENSE",), "MIT", "jspdf"),
    Package("iobuffer", ("LICENSE",), "MIT", "fast-png"),
    Package("pako", ("LICENSE",), "MIT AND Zlib", "fast-png"),
    # The fonts of figures: jsPDF reads only TrueType, which few packages of fonts hold.
    Package("katex", ("dist/fonts/KaTeX_Main-Regular.ttf", "dist/fonts/KaTeX_Math-Italic.ttf", "LICENSE"), "MIT"),
    Package(
        "pdfjs-dist",
        tuple(f"standard_fonts/{name}" for name in (*_LIBERATION_SANS, "LICENSE_LIBERATION")),
        "OFL-1.1",
    ),
    Package("@expo-google-fonts/tinos", ("400Regular/Tinos_400Regular.ttf", "LICENSE_FONT"), "OFL-1.1"),
    Package(
        "ace-builds",
        (
            *(f"src-min-noconflict/{name}.js" for name in ("ace", "mode-sql", "ext-language_tools")),
            "css/ace.css",
            *(f"css/main-{number}.{_ACE_IMAGES.get(number, 'png')}" for number in range(1, 27)),
            "LICENSE",
        ),
        "BSD-3-Clause",
    ),
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
    # A name such as @scope/name is a path of two folders.
    folder.mkdir(parents=True)
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
        "homepage": _homepage(metadata),
        "files": files,
    }


def _homepage(metadata: dict[str, Any]) -> str:
    repository = metadata["repository"]
    if isinstance(repository, str):
        # npm lets a package write owner/name for a repository on GitHub.
        repository = {"url": f"https://github.com/{repository}" if "://" not in repository else repository}
    return re.sub(r"^git\+|\.git$", "", metadata.get("homepage") or repository["url"])


def _copy(root: Path, name: str, path: Path, source: str) -> dict[str, str]:
    """Copy a file, and return its entry in the manifest."""
    target = root / "vendor" / name / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    return {"file": f"{name}/{path.name}", "source": source, "sha256": digest}


if __name__ == "__main__":
    main(sys.argv[1:])

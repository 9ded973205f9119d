"""Time `import sqltrack` beyond a bare interpreter, in fresh processes, and list what it loads.

Every import is paired with a bare interpreter that is started right before it, so that whatever slows the machine down
slows down both. The imports of sqlite3 and psycopg tell how fast the machine is.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from _common import create_parser, write_json

MODULES = ("sqltrack", "sqlite3", "psycopg")
# Pairs of processes for each module.
ROUNDS = 40
QUICK_ROUNDS = 5
LIST_MODULES = "import sys; before = set(sys.modules); import sqltrack; print(*sorted(set(sys.modules) - before))"


def main() -> None:
    options = create_parser(__doc__, engines=False).parse_args()
    loaded = run_python(LIST_MODULES).split()
    foreign = sorted({name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"sqltrack"})
    results = measure(
        [name for name in MODULES if importlib.util.find_spec(name) is not None],
        QUICK_ROUNDS if options.quick else ROUNDS,
    )
    print_results(results, loaded, foreign)
    write_json(options.json, results=results, loaded=loaded, not_standard_library=foreign)
    if foreign:
        sys.exit(f"import sqltrack loads modules outside of the standard library: {', '.join(foreign)}")


def measure(modules: Sequence[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Return median and minimum of what each import adds to a bare interpreter, in milliseconds."""
    for name in modules:  # writes bytecode, fills caches
        time_python(f"import {name}")
    added: dict[str, list[float]] = {name: [] for name in modules}
    for _ in range(rounds):
        for name in modules:
            bare = time_python("pass")
            added[name].append(time_python(f"import {name}") - bare)
    return {
        name: {"median_ms": round(statistics.median(times), 2), "min_ms": round(min(times), 2), "rounds": rounds}
        for name, times in added.items()
    }


def time_python(code: str) -> float:
    """Return the milliseconds of a new process that executes `code`."""
    begin = time.perf_counter()
    run_python(code)
    return (time.perf_counter() - begin) * 1000


def run_python(code: str) -> str:
    # Isolated: neither the working directory nor PYTHONPATH decides what is imported.
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603


def print_results(results: dict[str, dict[str, Any]], loaded: Sequence[str], foreign: Sequence[str]) -> None:
    print(f"{'beyond a bare interpreter':28}{'median, ms':>12}{'min, ms':>12}")
    for name, figures in results.items():
        print(f"{'import ' + name:28}{figures['median_ms']:12.1f}{figures['min_ms']:12.1f}")
    names = ", ".join(foreign) or "none"
    print(f"\nimport sqltrack loads {len(loaded)} modules, of which outside of the standard library: {names}")


if __name__ == "__main__":
    main()

"""Time `import sqltrack` in fresh processes, without the bare interpreter, and list the modules that it loads.

Every import is paired with a bare interpreter that starts right before it, so that a slow machine slows down both. The
imports of sqlite3 and psycopg show how fast the machine is.
"""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
import time
from collections.abc import Sequence

from _common import Row, create_parser, print_row, summarize, write_json

MODULES = ("sqltrack", "sqlite3", "psycopg")
# Pairs of processes for each module.
ROUNDS = 40
QUICK_ROUNDS = 2
LIST_MODULES = "import sys; before = set(sys.modules); import sqltrack; print(*sorted(set(sys.modules) - before))"


def main() -> None:
    options = create_parser(__doc__, engines=False).parse_args()
    loaded = run_python(LIST_MODULES).split()
    foreign = sorted({name.partition(".")[0] for name in loaded} - sys.stdlib_module_names - {"sqltrack"})
    modules = [name for name in MODULES if importlib.util.find_spec(name) is not None]
    row = measure(modules, QUICK_ROUNDS if options.quick else ROUNDS)
    print_row(row)
    print(
        f"import sqltrack loads {len(loaded)} modules, outside of the standard library: {', '.join(foreign) or 'none'}"
    )
    write_json(options.json, results=[row], loaded=loaded, not_standard_library=foreign)
    if foreign:
        sys.exit(f"import sqltrack loads modules outside of the standard library: {', '.join(foreign)}")


def measure(modules: Sequence[str], rounds: int) -> Row:
    """Return the time that each import adds to a bare interpreter."""
    for name in modules:  # writes bytecode, fills caches
        time_python(f"import {name}")
    added: dict[str, list[int]] = {name: [] for name in modules}
    for _ in range(rounds):
        for name in modules:
            bare = time_python("pass")
            added[name].append(time_python(f"import {name}") - bare)
    return {
        "engine": "python",
        "version": f"Python {platform.python_version()}",
        "what": "import, beyond a bare interpreter",
        "calls": rounds,
        "ways": {name: summarize(times) for name, times in added.items()},
    }


def time_python(code: str) -> int:
    """Return the nanoseconds of a new process that executes `code`."""
    begin = time.perf_counter_ns()
    run_python(code)
    return time.perf_counter_ns() - begin


def run_python(code: str) -> str:
    # Isolated, so that neither the working directory nor PYTHONPATH changes the imports.
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603


if __name__ == "__main__":
    main()

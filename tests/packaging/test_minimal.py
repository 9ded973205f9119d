"""Core needs only the standard library; these tests also run with only pytest installed next to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

JOB = """
from datetime import datetime, timezone
from pathlib import Path

import sqltrack
from sqltrack.commands import setup

client = sqltrack.Client(engine="sqlite")
setup(client)
run = sqltrack.Experiment(client, name="Minimal").get_run()
run.add_args({"lr": 0.1, "data": Path("data")}).add_env("auto").add_tags("small").set_comment("first")
with run.track():
    for epoch in range(3):
        run.add_metrics({"loss": 1 / (epoch + 1), "stage": "warm-up", "good": epoch > 1}, step=epoch)
    run.add_metrics_many([{"loss": 0.5, "step": step} for step in range(3, 9)])
run.set_updated(datetime.now(timezone.utc))
client.execute("SELECT * FROM runs").fetchall()
client.execute("SELECT * FROM metrics WHERE run_id = %(id)s", {"id": run.id}).fetchall()
"""

# Modules that the environment loads at the start do not count.
REPORT = """
import sys
before = set(sys.modules)
{program}
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(loaded - sys.stdlib_module_names))
"""


@pytest.mark.parametrize("program", ["import sqltrack", JOB], ids=["import", "job"])
def test_only_the_standard_library_is_imported(program: str, tmp_path: Path) -> None:
    """Even if other packages could be imported."""
    command = [sys.executable, "-c", REPORT.format(program=program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "sqltrack"

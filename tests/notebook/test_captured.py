"""The comparison of runs shows their captured context, and those packages whose versions differ."""

from __future__ import annotations

import sqltrack
from sqltrack import notebook
from sqltrack.capture import _package_lists


def test_packages_are_compared_only_where_they_differ(client: sqltrack.Client) -> None:
    _package_lists._known.clear()
    experiment = sqltrack.Experiment(client, name="x")
    for number in (1, 2):
        packages = {"numpy": f"2.{number}", "torch": "2.5"}
        digest = _package_lists.share_packages(client, packages, {"patience": 30.0, "lock_limit": 30.0})
        extras = {"mine": 1, "capture": {"git": {"commit": "abc", "diff": "+x\n"}, "packages": digest}}
        experiment.get_run(number).set_extras(extras)
    experiment.get_run(3)
    compared = notebook.compare_runs(client, 1, 2)
    assert {name for name in compared.index if name.startswith(("capture", "extras"))} == {
        "capture.git.commit",
        "capture.git.diff",
        "capture.packages.numpy",
        "extras.mine",
    }
    assert "2.1" in compared.loc["capture.packages.numpy", 1]
    assert "capture.packages.torch" in notebook.compare_runs(client, 1, 3).index

"""Public names of `sqltrack.importers`, used as programs use them; only type checkers read this."""

from __future__ import annotations

from typing import Literal

from typing_extensions import assert_type

from sqltrack import Client
from sqltrack.importers import (
    KINDS,
    ImportReport,
    LeftOut,
    MetricReport,
    RunReport,
    SourceError,
    apply_import,
    plan_import,
)


def bring(client: Client) -> None:
    try:
        planned = plan_import(client, None, "mlruns", only=["digits"], status="DONE", progress=print)
    except SourceError as error:
        raise SystemExit(str(error)) from error
    assert_type(planned, ImportReport)
    for kind in KINDS:
        for run in apply_import(client, kind, "metrics", experiment="digits", step="epoch", run="seed").runs:
            assert_type(run, RunReport)
            assert_type(run.outcome, Literal["new", "continued", "unchanged", "broken"])
            assert_type(run.metrics, list[MetricReport])
            assert_type(run.left_out, list[LeftOut])

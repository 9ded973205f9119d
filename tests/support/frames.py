"""Types of data frames, and the chunks in which they are read."""

from __future__ import annotations

import pandas as pd
import pytest

__all__ = ["COUNT_TO", "TEXT", "types_of", "use_chunks_of"]

TEXT = str(pd.Series(["x"]).dtype)
COUNT_TO = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {}) "


def types_of(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


def use_chunks_of(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("sqltrack._frames.columns.CHUNK_ROWS", rows)

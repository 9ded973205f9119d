"""DuckDB as a third database: an example of what an engine needs to track runs, and no more.

`_engine.py` is the engine, `base.sql` its tables. `_driver.py` gives DuckDB the interface that SQLTrack expects of a
driver, which most others have already. There are no operators' commands, and one process writes at a time.
"""

from __future__ import annotations

from support.duckdb_engine._engine import DuckDBEngine

__all__ = ["DuckDBEngine"]

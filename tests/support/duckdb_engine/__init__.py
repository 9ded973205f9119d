"""DuckDB as a third database: an example of all that an engine needs to track runs.

`_engine.py` is the engine, `base.sql` has its tables. `_driver.py` gives DuckDB the interface that SQLTrack expects of
a driver; most drivers have it already. There are no commands for operators, and only one process writes at a time.
"""

from __future__ import annotations

from support.duckdb_engine._engine import DuckDBEngine

__all__ = ["DuckDBEngine"]

"""Measure tables, wherever their rows are: in one file, in partitions, or on the workers of Citus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["table_bytes"]

# A partitioned table has no rows of its own. The tree of a table without partitions is empty.
_LOCAL_BYTES_SQL = """
    SELECT COALESCE(sum(pg_total_relation_size(part.relid)), pg_total_relation_size(whole.id))::bigint
    FROM to_regclass(%s) AS whole(id) LEFT JOIN pg_partition_tree(whole.id) AS part ON true GROUP BY whole.id
"""

# Citus keeps the rows in shards, and the table itself empty.
_HAS_CITUS_SQL = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
_SHARD_BYTES_SQL = """
    SELECT citus_total_relation_size(logicalrelid, false)::bigint FROM pg_dist_partition
    WHERE logicalrelid = to_regclass(%s)
"""


def table_bytes(execute: Callable[[str, Sequence[Any]], Any], table: str) -> int | None:
    """Return the size of a table with its indexes and TOAST data in bytes, None if there is no such table.

    Args:
        execute: executes a statement with parameters, and returns the cursor.
        table: the table's name, in quotes if it needs them.
    """
    row = execute(_SHARD_BYTES_SQL, (table,)).fetchone() if execute(_HAS_CITUS_SQL, ()).fetchone()[0] else None
    size: int | None = (row or execute(_LOCAL_BYTES_SQL, (table,)).fetchone())[0]
    return size

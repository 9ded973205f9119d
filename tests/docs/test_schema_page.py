"""The page of the schema shows the tables as they are."""

from __future__ import annotations

import re

import pytest

import sqltrack
from support.pages import ROOT

PAGE = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
DRAWING = (ROOT / "docs" / "images" / "schema.svg").read_text(encoding="utf-8")
TABLES = ("experiments", "experiment_links", "runs", "run_links", "metrics")

COLUMNS = {
    "postgres": """
        SELECT column_name, upper(data_type), is_nullable = 'NO' FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position
    """,
    "sqlite": "SELECT name, type, \"notnull\" OR (pk AND type = 'INTEGER') FROM pragma_table_info(%s) ORDER BY cid",
}


def columns_of_page(table: str, engine_name: str) -> list[tuple[str, str, bool]]:
    """Return name, type and NOT NULL of all columns that the page lists for a table."""
    (section,) = re.findall(rf"^## {table}\n(.*?)^## ", PAGE, re.M | re.S)
    columns = []
    for name, kind, text in re.findall(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", section, re.M):
        postgres, _, sqlite = kind.partition(",")[0].partition(" / ")
        is_required = "not null" in kind or "primary key" in text
        columns.append((name, sqlite if sqlite and engine_name == "sqlite" else postgres, is_required))
    return columns


@pytest.mark.parametrize("table", TABLES)
def test_each_table_has_the_columns_that_the_page_lists(client: sqltrack.Client, engine_name: str, table: str) -> None:
    rows = client.execute(COLUMNS[engine_name], (table,)).fetchall()
    assert columns_of_page(table, engine_name) == [(name, kind, bool(required)) for name, kind, required in rows]


def test_the_page_names_all_other_tables(client: sqltrack.Client, engine_name: str) -> None:
    query = {
        "postgres": "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    }[engine_name]
    existing = {name for (name,) in client.execute(query)}
    (section,) = re.findall(r"^## Other tables\n(.*?)^## ", PAGE, re.M | re.S)
    listed = set(re.findall(r"^\| `(\w+)` \|", section, re.M))
    assert existing - set(TABLES) <= listed
    assert listed <= existing | {"captured_packages", "copied_runs", "metrics_pending", "rewinds", "saved_views"}


@pytest.mark.parametrize("table", TABLES)
def test_the_drawing_shows_the_columns_of_each_table(table: str) -> None:
    (_, after) = DRAWING.split(f'<text class="name" x="12" y="20">{table}</text>')
    drawn = re.findall(r'class="column"[^>]*>(\w+)<', after.partition("</g>")[0])
    listed = [name for name, _, _ in columns_of_page(table, "postgres")]
    assert drawn[: len(listed)] == listed
    assert table == "metrics" or drawn == listed

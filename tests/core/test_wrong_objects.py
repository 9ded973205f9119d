"""Setup and queries name the mistake in their arguments, and never show a password."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.errors import UnusableValueError
from sqltrack.queries import first_row, first_value, first_values

ADDRESS = "postgres://alice:secret@h/db"


@pytest.mark.parametrize("function", [first_row, first_value, first_values])
@pytest.mark.parametrize("client", [None, "x.db", 5, {"engine": "sqlite"}, ADDRESS], ids=repr)
def test_queries_need_a_client_or_a_cursor(function: Any, client: Any) -> None:
    with pytest.raises(
        UnusableValueError, match="client must be a Client or a cursor, got .*; use: client ="
    ) as raised:
        function(client, "SELECT 1")
    assert "secret" not in str(raised.value)


def test_a_connection_is_not_a_cursor(client: sqltrack.Client) -> None:
    with client as connection, pytest.raises(UnusableValueError, match="client must be a Client or a cursor, got"):
        first_row(connection, "SELECT 1")
    with client.cursor() as cursor:
        assert first_value(cursor, "SELECT 1") == 1


@pytest.mark.parametrize("client", [None, "x.db", 5, {"engine": "sqlite"}, ADDRESS], ids=repr)
def test_set_up_needs_a_client(client: Any) -> None:
    with pytest.raises(
        UnusableValueError, match="client must be a Client, got .*; use: client = sqltrack.Client"
    ) as raised:
        setup(client)
    assert "secret" not in str(raised.value)


SCRIPTS = {
    "an address": (ADDRESS, "got an address; a database is named by: Client('postgresql://…')"),
    "an address in a list": ([ADDRESS], "got an address; a database is named by: Client('postgresql://…')"),
    "SQL": (
        "CREATE ROLE alice PASSWORD 'secret'",
        "got SQL text; give it a name: setup(client, [('v001.sql', 'ALTER …')])",
    ),
    "more SQL": ("-- secret\nSELECT 1", "got SQL text; give it a name: setup(client, [('v001.sql', 'ALTER …')])"),
    "a path": (Path("x;secret.sql"), "got SQL text; give it a name: setup(client, [('v001.sql', 'ALTER …')])"),
    "another file": ("other.bin", "script 'other.bin' must be text in UTF-8"),
}


@pytest.mark.parametrize("what", SCRIPTS)
def test_set_up_says_what_is_wrong_with_a_script(client: sqltrack.Client, what: str) -> None:
    Path("other.bin").write_bytes(b"\xff\x00secret")
    scripts, message = SCRIPTS[what]
    with pytest.raises(UnusableValueError) as raised:
        setup(client, scripts)
    assert str(raised.value).endswith(message)
    assert "secret" not in str(raised.value)


def test_a_script_that_is_missing_is_an_error_of_the_system(client: sqltrack.Client) -> None:
    for name in ("v001.sql", "create tables.sql"):
        with pytest.raises(FileNotFoundError, match=name):
            setup(client, name)
    Path("alter; x").write_text("CREATE TABLE other (x INTEGER)")
    setup(client, "alter; x")
    assert client.execute("SELECT COUNT(*) FROM other").fetchone() == (0,)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_set_up_prints_names_in_any_encoding(
    client: sqltrack.Client, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """The script has been executed by then, so printing must not fail."""
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    setup(client, [("größe ≤ 1.sql", "CREATE TABLE other (x INTEGER)")])
    output.seek(0)
    lines = output.read().splitlines()
    shown = "gr\\xf6\\xdfe" if encoding == "ascii" else "größe"
    assert lines == ["(OK) base.sql", f"(NEW) {shown} \\u2264 1.sql"]

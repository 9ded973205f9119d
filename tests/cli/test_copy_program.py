"""`sqltrack copy` as a command: how to name databases, its output, and its errors."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands._addresses import client_of
from sqltrack.commands.copy import copy
from sqltrack.errors import ConfigError, ConflictError
from support.copies import address, by_origin, fill
from support.dumps import dump


def test_the_program_says_what_it_did(
    client: sqltrack.Client, target: sqltrack.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(client)
    command = ["copy", address(client), address(target)]
    assert main([*command, "--dry-run"]) == 0
    line = "added: 3 experiments, 6 runs, 240 rows of metrics, 6 links\n"
    assert capsys.readouterr().out == f"would be {line}"
    assert main(command) == 0
    assert capsys.readouterr().out == line
    sqltrack.Run(client, run_id=10).set_comment("new")
    assert main(command) == 0
    assert capsys.readouterr().out == (
        "added: 0 experiments, 0 runs, 0 rows of metrics, 0 links\n"
        "changed: 0 experiments, 1 run, 0 rows of metrics\n"
        "unchanged: 5 runs\n"
    )
    assert main([*command, "--json", "--experiment", "experiment 1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["runs_unchanged"], printed["links_left_out"], printed["dry_run"]) == (3, 0, False)


def test_the_program_says_which_links_it_left_out(
    client: sqltrack.Client, target: sqltrack.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(client)
    assert main(["copy", address(client), address(target), "--experiment", "experiment 0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "left out: 4 links to runs or experiments that are not copied"


def test_the_configured_database_is_a_point(
    client: sqltrack.Client,
    options: list[str],
    target: sqltrack.Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(client, runs=2, rows=2)
    # These options apply to the configured database, and not to a named one.
    monkeypatch.setenv("SQLTRACK_DSN_DBPATH", "nowhere/nothing.db")
    monkeypatch.setenv("SQLTRACK_DSN_DBNAME", "nothing")
    config = Path("other.conf")
    config.write_text("".join(f"{name} = {value}\n" for name, value in target.config.items() if value is not None))
    assert main(["copy", ".", str(config), *options]) == 0
    assert by_origin(target) == by_origin(client)
    assert main(["copy", str(config), "configured", *options]) == 0
    assert "unchanged: 2 runs" in capsys.readouterr().out


def test_the_target_is_set_up_if_that_is_asked_for(
    client: sqltrack.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(client, runs=2, rows=2)
    path = tmp_path / "archive.db"
    command = ["copy", address(client), str(path)]
    assert main(command) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*command, "--setup", "--dry-run"]) == 1
    assert not path.exists()
    assert main([*command, "--setup", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 2
    assert by_origin(client_of(str(path))) == by_origin(client)


def test_addresses_are_told_apart(tmp_path: Path, postgres_server: Any) -> None:
    Path("empty").touch()
    Path("text").write_text("engine = sqlite\ndbpath = here.db\n")
    Path("binary").write_bytes(b"\x7fELF\0\0")
    Path("host=x").write_bytes(b"SQLite format 3\0 and so on")
    for path in ("empty", "missing.db", "host=x", "~/file"):
        expected = Path(path).expanduser()
        assert client_of(path).config == {"engine": "sqlite", "dbpath": str(expected)}
    assert client_of("text").config["dbpath"] == "here.db"
    uri = "postgresql://al%20ice:pa%25ss@host:1234/db?sslmode=require&schema=my%20schema"
    assert client_of(uri).config == {
        "engine": "postgres",
        "user": "al ice",
        "password": "pa%ss",
        "host": "host",
        "port": "1234",
        "dbname": "db",
        "sslmode": "require",
        "schema": "my schema",
    }
    assert client_of("postgres://host/db?schema=s").config["schema"] == "s"
    assert client_of("host='a b' dbname = x").config == {"engine": "postgres", "host": "a b", "dbname": "x"}
    odd = client_of(r"schema = 'it\'s mine' host=x password='schema=no \\' dbname=y")
    assert odd.config == {
        "engine": "postgres",
        "host": "x",
        "password": "schema=no \\",
        "dbname": "y",
        "schema": "it's mine",
    }
    assert client_of("host=x schema=s").config["schema"] == "s"
    for path, message in (
        ("binary", "neither a SQLite database nor a config file"),
        ("missing.conf", "does not exist"),
        ("mysql://user:secret@host/db", "unknown kind of address 'mysql://…'"),
        ("postgresql://user:secret@host/db?nonsense=secret", "unknown parameter 'nonsense'"),
        ("host=x password='secret", "cannot parse the address"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            client_of(path)
        assert "secret" not in str(caught.value)


def test_source_and_target_must_not_be_the_same(client: sqltrack.Client, tmp_path: Path) -> None:
    same = dict(client.config)
    if same["engine"] == "sqlite":
        (tmp_path / "link.db").symlink_to(same["dbpath"])
        same["dbpath"] = str(tmp_path / "link.db")
    else:
        same["host"] = "localhost" if same.get("host") != "localhost" else "127.0.0.1"
    with pytest.raises(ConflictError, match="are the same database"):
        copy(client, sqltrack.Client(same))


def test_databases_of_other_programs_are_neither_read_nor_written(
    client: sqltrack.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "foreign.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
    here = address(client)
    for source, target, message in (
        ("missing.db", here, "does not exist; the source has nothing to copy"),
        ("foreign.db", here, "has no sqltrack tables; the source has nothing to copy"),
        (here, "missing.db", "does not exist; set it up with"),
        (here, "foreign.db", "has no sqltrack tables; set it up with"),
        ("host=nowhere.invalid password=secret", here, "cannot connect to PostgreSQL database"),
        (here, "postgresql://user:secret@nowhere.invalid/x", "cannot connect to PostgreSQL database"),
        (here, "folder/missing.db", "does not exist"),
    ):
        assert main(["copy", source, target]) == 1
        output, errors = capsys.readouterr()
        assert (output, errors.count("\n")) == ("", 1)
        assert message in errors
        assert "secret" not in errors
    assert not Path("missing.db").exists()


def test_an_unknown_experiment_is_an_error(
    client: sqltrack.Client, target: sqltrack.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(client, runs=1, rows=1)
    before = dump(target)
    assert main(["copy", address(client), address(target), "--experiment", "experimant 1"]) == 1
    assert "did you mean 'experiment 1'" in capsys.readouterr().err
    assert dump(target) == before


def test_both_databases_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["copy", "one.db"])
    assert caught.value.code == 2

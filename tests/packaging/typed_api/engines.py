"""Configuration, engines and errors, as programs and tools use them; only type checkers read this."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
from typing_extensions import assert_type

from sqltrack import Client, SQLTrackError, errors
from sqltrack.capture import ALL, DEFAULT, capture, capture_setting, read_packages
from sqltrack.config import (
    CLIENT_SETTINGS,
    DEFAULT_CONFIG,
    Setting,
    client_config,
    config_locations,
    config_sources,
    find_config_file,
    get_env_config,
    load_config,
    load_config_file,
    number_setting,
    shown_value,
)
from sqltrack.engines import Engine, config_of_address, create_engine, engine_name
from sqltrack.engines.dbapi import DBAPIConnection, DBAPICursor, Parameters
from sqltrack.engines.json import MAX_DEPTH, MAX_INT, Jsonb, dumps, escape_text, is_storable_text, jsonb, plain
from sqltrack.engines.postgres import PostgresEngine
from sqltrack.engines.postgres.sql import quote_if_needed
from sqltrack.engines.sqlite import SQLiteEngine
from sqltrack.util import SQL, ComposedText, QueryText, query_text, quote_identifier, quote_text


def configure(path: Path) -> None:
    assert_type(find_config_file(), Path | None)
    assert_type(find_config_file("sqltrack.conf", config_name="other.conf"), Path | None)
    assert_type(get_env_config(), dict[str, Any])
    assert_type(load_config(path, engine="sqlite"), dict[str, Any])
    assert_type(load_config_file(path), dict[str, Any])
    assert_type(config_sources(path), dict[str, Setting])
    assert_type(client_config("postgresql://host/db", {"keepalive": 5}), dict[str, Any])
    assert_type(Setting("sqlite", "default").source, str)
    assert_type(config_locations(), list[str])
    assert_type(shown_value("keepalive", 5), str)
    assert_type(DEFAULT_CONFIG, dict[str, Any])
    assert_type(CLIENT_SETTINGS, frozenset[str])


def use_engines(config: dict[str, Any], client: Client) -> None:
    engine = create_engine(config)
    assert_type(engine_name(config), str)
    assert_type(config_of_address("runs.db"), dict[str, Any] | None)
    assert_type(engine, Engine)
    assert_type(engine.schema, str | None)
    assert_type(engine.data_dir(), str)
    assert_type(engine.map_type(client, float), str)
    assert_type(PostgresEngine(config).connect(), psycopg.Connection[Any])
    assert_type(PostgresEngine(config).connect(cursor_factory=psycopg.Cursor), psycopg.Connection[Any])
    assert_type(SQLiteEngine(config).map_type(client, bytes), str)
    assert_type(number_setting(config, "keepalive", 5), float)


def connect(engine: SQLiteEngine) -> sqlite3.Connection:
    return engine.connect()


def use_any_driver(connection: DBAPIConnection, cursor: DBAPICursor, parameters: Parameters) -> None:
    cursor.execute("SELECT 1", parameters)
    connection.commit()


def use_drivers(sqlite: sqlite3.Connection, postgres: psycopg.Connection[Any]) -> None:
    use_any_driver(sqlite, sqlite.cursor(), [1])
    use_any_driver(postgres, postgres.cursor(), {"a": 1})


def make_json() -> None:
    assert_type(jsonb({"a": 1}), Jsonb | None)
    assert_type(Jsonb([1]).obj, Any)
    assert_type(Jsonb([1]).detached(), Jsonb)
    assert_type(MAX_DEPTH + MAX_INT, int)
    assert_type(dumps({1, 2}), str)
    assert_type(plain(Path()), Any)
    assert_type(escape_text("a"), str)
    assert_type(is_storable_text("a"), bool)


def quote(part: ComposedText) -> None:
    texts: list[QueryText] = ["SELECT 1", SQL("SELECT 1"), part]
    assert_type([query_text(text) for text in texts], list[str])
    assert_type(quote_identifier("a") + quote_if_needed("b") + quote_text("c"), str)


def handle_errors(client: Client) -> None:
    """Catch errors by the builtin classes that are documented for them."""
    wrong_values: list[ValueError] = [
        errors.ConfigError(),
        errors.ConflictError(),
        errors.MissingExperimentError(1),
        errors.MissingRunError(1),
        errors.NaiveDatetimeError(None),
        errors.UnusableValueError("wrong"),
    ]
    runtime_error: RuntimeError = errors.NotConnectedError()
    lookup_error: LookupError = errors.NotFoundError()
    import_error: ImportError = errors.MissingPackageError("feature", "package", "package")
    of_databases: list[errors.DatabaseError] = [
        errors.AccessDeniedError(),
        errors.DatabaseLockedError(),
        errors.DatabaseUnavailableError(),
        errors.DiskFullError(),
        errors.NotADatabaseError(),
        errors.NotSetUpError(),
        errors.OutboxError(),
        errors.ReadOnlyDatabaseError(),
        errors.ScriptError("a.sql", "SELECT 1", "reason"),
        errors.StatementTimeoutError(5.0),
        errors.TooManyConnectionsError(),
    ]
    print(wrong_values, runtime_error, lookup_error, import_error, of_databases, errors.SlurmError())
    try:
        client.execute("SELECT 1")
    except errors.ScriptError as error:
        assert_type(error.line, int | None)
    except errors.MissingRunError as error:
        assert_type(error.run_id, int)
    except SQLTrackError as error:
        assert_type(error.message, str)
        assert_type(error.advice, str | None)
    base: type[SQLTrackError] = errors.SQLTrackError
    print(base)


def look_around(client: Client) -> None:
    assert_type(capture(), dict[str, Any])
    assert_type(capture(["git", "host"], config=client.config), dict[str, Any])
    assert_type(capture_setting({"capture": "on, diff"}), frozenset[str])
    assert_type(ALL - DEFAULT, frozenset[str])
    assert_type(read_packages(client, 5), dict[str, str] | None)

"""Configurations as users write them: names, engines, addresses, comments and scripts; an unknown name is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

import sqltrack
from sqltrack.commands import setup
from sqltrack.config import load_config, load_config_file
from sqltrack.engines import create_engine, engine_name, has_users
from sqltrack.engines.postgres import _parameters
from sqltrack.engines.postgres._parameters import LIBPQ_PARAMETERS
from sqltrack.errors import ConfigError, UnusableValueError

WITHOUT_PSYCOPG = """
import sys
sys.modules["psycopg"] = None
import sqltrack
sqltrack.Client(engine="sqlite", sslmode="prefer", requiressl="1")
try:
    sqltrack.Client(engine="sqlite", sslmoed="prefer")
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("engine", "name", "meant"),
    [
        ("sqlite", "db_path", "dbpath"),
        ("sqlite", "database", "dbpath"),
        ("sqlite", "path", "dbpath"),
        ("sqlite", "DBPATH", "dbpath"),
        ("sqlite", "timeout", "busy_timeout"),
        ("sqlite", "passwrd", "password"),
        ("postgres", "database", "dbname"),
        ("postgres", "databse", "dbname"),
        ("postgres", "path", "dbpath"),
        ("postgres", "username", "user"),
        ("postgres", "hots", "host"),
        ("postgres", "ssl_mode", "sslmode"),
        ("postgres", "timeout", "connect_timeout"),
        ("postgres", "keep_alive", "keepalive"),
        ("postgres", "engin", "engine"),
    ],
)
@pytest.mark.parametrize("value", ["x", None])
def test_an_unknown_argument_tells_which_one_was_meant(engine: str, name: str, meant: str, value: Any) -> None:
    """Suggestions of the chosen engine come first. An unknown argument is an error even if it is None."""
    for config in (None, {}, "runs.db"):
        with pytest.raises(ConfigError) as info:
            sqltrack.Client(config, **{"engine": engine, name: value})
        assert str(info.value) == f"unknown parameter {name!r}; did you mean {meant!r}?"


@pytest.mark.parametrize("name", ["url", "dsn", "xyzzy", "autocommit", "cursor_factory", "config_name", ""])
def test_an_unknown_argument_that_resembles_none_is_an_error_too(name: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown parameter {name!r}; "):
        sqltrack.Client(**{name: "x"})
    with pytest.raises(ConfigError, match=f"unknown parameter {name!r}; "):
        create_engine({name: "x"})


def test_an_unknown_name_tells_the_file_or_variable_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sqltrack.conf").write_text("engin = sqlite\n")
    expected = "unknown parameter 'engin' in config file 'sqltrack.conf'; did you mean 'engine'?"
    for read in (sqltrack.Client, load_config, lambda: load_config_file("sqltrack.conf")):
        with pytest.raises(ConfigError) as info:
            read()
        assert str(info.value) == expected
    Path("sqltrack.conf").unlink()
    monkeypatch.setenv("SQLTRACK_DSN_ENGNE", "sqlite")
    with pytest.raises(ConfigError) as info:
        sqltrack.Client()
    assert str(info.value) == (
        "unknown parameter 'engne' in environment variable SQLTRACK_DSN_ENGNE; did you mean 'engine'?"
    )


def test_names_of_the_other_engine_and_all_of_libpq_are_known(tmp_path: Path) -> None:
    """A config file may contain parameters of both engines."""
    installed = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    texts = dict.fromkeys(installed | LIBPQ_PARAMETERS, "x")
    config = {**texts, "dbpath": str(tmp_path / "a.db"), "busy_timeout": "1", "port": "1", "schema": "x"}
    for engine in ("sqlite", "postgres"):
        assert sqltrack.Client(config, engine=engine).engine.name == engine


def test_libpq_is_asked_for_names_that_are_newer_than_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_parameters, "LIBPQ_PARAMETERS", frozenset())
    assert sqltrack.Client(engine="sqlite", sslmode="prefer").engine.name == "sqlite"


def test_without_psycopg_the_list_serves() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PSYCOPG], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("unknown parameter 'sslmoed'; did you mean 'sslmode'?\n", "")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("sqlite", "sqlite"),
        ("SQLite", "sqlite"),
        (" sqlite3 ", "sqlite"),
        ("PostgreSQL", "postgres"),
        ("postgresql", "postgres"),
        ("POSTGRES", "postgres"),
        (None, "postgres"),
    ],
)
def test_engines_are_known_by_the_names_that_users_write(given: Any, name: str) -> None:
    assert sqltrack.Client({"engine": given}).engine.name == name
    assert (engine_name({"engine": given}), has_users({"engine": given})) == (name, name == "postgres")
    if given is not None:
        Path("sqltrack.conf").write_text(f"engine = {given}\n")
        assert sqltrack.Client().engine.name == name


# A client's first argument


def config_of(config: Any, **parameters: Any) -> dict[str, Any]:
    return sqltrack.Client(config, **parameters).config


@pytest.mark.parametrize("name", ["runs.db", "runs.sqlite", "runs.SQLITE3", "folder/runs.db"])
def test_the_path_of_a_sqlite_file_names_the_database(name: str) -> None:
    for path in (name, Path(name)):
        assert config_of(path, keepalive=1) == {"engine": "sqlite", "dbpath": name, "keepalive": 1}


def test_the_content_of_a_file_tells_what_it_is() -> None:
    """A text file is a config file, whatever its name, and a SQLite file is a database."""
    Path("text.db").write_text("engine = sqlite\ndbpath = other.db\n")
    assert config_of("text.db")["dbpath"] == "other.db"
    setup(sqltrack.Client("made.db"))
    Path("made.db").rename("made")
    assert config_of("made")["dbpath"] == "made"
    Path("empty.db").touch()
    assert config_of("empty.db")["dbpath"] == "empty.db"


def test_any_other_text_is_the_path_of_a_config_file() -> None:
    for name in ("runs.conf", "runs", "runs.db.conf", "host=localhost", ":memory:"):
        with pytest.raises(ConfigError, match=f"config file '{name}' does not exist"):
            sqltrack.Client(name)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "PostgreSQL"])
def test_a_url_names_a_database_on_a_server(scheme: str) -> None:
    config = config_of(f"{scheme}://alice@host:1/db?schema=mine&sslmode=require", connect_timeout=3)
    expected = {"engine": "postgres", "host": "host", "port": "1", "user": "alice", "dbname": "db"}
    assert config == {**expected, "schema": "mine", "sslmode": "require", "connect_timeout": 3}


def test_beside_an_address_only_the_settings_of_all_databases_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of another database, such as its user or password, are not mixed in."""
    Path("sqltrack.conf").write_text("host = elsewhere\nuser = bob\nmask_names = lab_*\n")
    monkeypatch.setenv("SQLTRACK_DSN_PASSWORD", "s3cret")
    monkeypatch.setenv("SQLTRACK_DSN_RECONNECT", "7")
    settings = {"mask_names": "lab_*", "reconnect": "7"}
    assert config_of("postgresql:///db") == {"engine": "postgres", "dbname": "db", **settings}
    assert config_of("a.db") == {"engine": "sqlite", "dbpath": "a.db", **settings}
    assert config_of("a.db", reconnect=1)["reconnect"] == 1


@pytest.mark.parametrize(
    ("address", "arguments", "message"),
    [
        ("a.db", {"engine": "postgres"}, "engine is 'postgres', but the address names a database of engine 'sqlite'"),
        ("a.db", {"dbpath": "b.db"}, "the argument 'dbpath' and the address name different databases"),
        ("a.db", {"host": "h"}, "engine 'sqlite', which has no parameter 'host'"),
        ("a.db", {"schema": "s"}, "engine 'sqlite', which has no parameter 'schema'"),
        ("a.db", {"sslmode": "require"}, "engine 'sqlite', which has no parameter 'sslmode'"),
        ("postgres://h/d", {"engine": "SQLite"}, "engine is 'sqlite', but the address names a database of engine 'pos"),
        ("postgres://h/d", {"dbpath": "a.db"}, "engine 'postgres', which has no parameter 'dbpath'"),
        ("postgres://h/d", {"busy_timeout": 1}, "engine 'postgres', which has no parameter 'busy_timeout'"),
        ("postgres://h/d", {"host": "other"}, "the argument 'host' and the address name different databases"),
        ("postgres://h/d", {"dbname": "e"}, "the argument 'dbname' and the address name different databases"),
        ("postgres://h:1/d", {"port": 2}, "the argument 'port' and the address name different databases"),
        ("postgres://h/d?schema=a", {"schema": "b"}, "the argument 'schema' and the address name different databases"),
        ("postgres://h/d", {"conninfo": "host=h"}, "the argument 'conninfo' and the address name different databases"),
    ],
)
def test_an_argument_that_contradicts_the_address_is_an_error(
    address: str, arguments: dict[str, Any], message: str
) -> None:
    """The data would not go where one of the two says."""
    with pytest.raises(ConfigError, match=message):
        sqltrack.Client(address, **arguments)


def test_arguments_may_repeat_or_complete_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment may have any value, because the address has priority over it."""
    monkeypatch.setenv("SQLTRACK_DSN_ENGINE", "postgres")
    monkeypatch.setenv("SQLTRACK_DSN_HOST", "elsewhere")
    for path in ("a.db", "./a.db", Path("a.db").absolute()):
        client = sqltrack.Client("a.db", engine="SQLite", dbpath=path, host=None, busy_timeout=1)
        assert repr(client.engine) == f"SQLiteEngine({str(Path('a.db').absolute())!r})"
    monkeypatch.setenv("SQLTRACK_DSN_ENGINE", "sqlite")
    config = config_of("postgres://Host/d", engine="PostgreSQL", host="host", port=1, user="u", schema="s")
    assert config == {"engine": "PostgreSQL", "host": "host", "dbname": "d", "port": 1, "user": "u", "schema": "s"}


def test_arguments_overwrite_what_a_dict_says() -> None:
    assert config_of({"engine": "sqlite", "dbpath": "a.db"}, dbpath="b.db")["dbpath"] == "b.db"


def test_a_connection_string_that_is_a_parameter_is_not_overruled_by_defaults() -> None:
    config = config_of(None, conninfo="host=h dbname=d user=u")
    assert not {"user", "dbname"} & config.keys()


def test_a_client_of_a_url_reads_and_writes(postgres_config: dict[str, Any]) -> None:
    query = "&".join(
        f"{name}={quote(str(value), safe='')}" for name, value in postgres_config.items() if name != "engine"
    )
    client = sqltrack.Client(f"postgresql:///?{query}")
    setup(client)
    assert sqltrack.Experiment(client, name="a").get_run().add_metrics({"loss": 1.0}).id == 1


@pytest.mark.parametrize("config", [5, b"a.db", ["a.db"], object])
def test_a_config_of_another_type_is_an_error(config: Any) -> None:
    with pytest.raises(ConfigError, match="config must be a dict, a path or the address of a database, got "):
        sqltrack.Client(config)


def test_a_dict_is_the_whole_configuration_of_whatever_type_it_is() -> None:
    Path("sqltrack.conf").write_text("busy_timeout = 1\n")
    config = MappingProxyType({"engine": "sqlite", "busy_timeout": None})
    assert config_of(config, dbpath=None) == {"engine": "sqlite", "busy_timeout": None}
    assert sqltrack.Client(config).engine.path == str(Path("sqltrack.db").absolute())  # type: ignore[attr-defined]


# Comments in config files


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("dbname = a # b", "a"),
        ("dbname = a\t; b", "a"),
        ("dbname = a#b;c", "a#b;c"),
        ("dbname = 'a # b' # c", "a # b"),
        ('dbname = "a ; b"', "a ; b"),
        ("dbname = it's # a comment", "it's"),
        ("dbname = # nothing", ""),
        ("dbname = 'a", "'a"),
        ("dbname: a ; b # c", "a"),
        ("options = -c a=1;b # c", "-c a=1;b"),
        ("password = a # b ; c", "a # b ; c"),
        ("password = # a", "# a"),
        ("password = 'a # b'", "a # b"),
        ("password = 'a' # b", "'a' # b"),
        ("sslpassword = a # b", "a # b"),
    ],
)
def test_a_comment_begins_behind_a_blank_unless_quoted_and_never_in_a_password(line: str, value: str) -> None:
    Path("my.conf").write_text(f"{line}\n")
    (name,) = (name for name in ("dbname", "options", "sslpassword", "password") if line.startswith(name))
    assert load_config("my.conf")[name] == value


# Scripts


def test_a_single_script_may_be_named_without_a_list(client: sqltrack.Client, tmp_path: Path) -> None:
    for number, path in enumerate((str(tmp_path / "v1.sql"), tmp_path / "v2.sql")):
        Path(path).write_text(f"CREATE TABLE made_{number} (a INT)")
        setup(client, path)
        assert client.execute(f"SELECT count(*) FROM made_{number}").fetchone() == (0,)


@pytest.mark.parametrize("scripts", [3, None, [None], [("a.sql",)], [("a.sql", None)], [b"a.sql"], [["a.sql", "x"]]])
def test_scripts_that_are_neither_paths_nor_pairs_are_an_error(client: sqltrack.Client, scripts: Any) -> None:
    with pytest.raises(
        UnusableValueError, match="must be .*paths? of .*files?, or .*pairs? of name and SQL text, got "
    ):
        setup(client, scripts)

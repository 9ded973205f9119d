"""The page about the configuration is right about settings."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

import sqltrack
from sqltrack import client as client_module
from sqltrack._outbox._settings import _DEFAULT_PATIENCE, outbox_settings
from sqltrack.config import config_locations, load_config_file
from sqltrack.engines.postgres._engine import _DEFAULTS, _defaults
from sqltrack.engines.sqlite._engine import _BUSY_TIMEOUT, _SYNCHRONOUS
from sqltrack.errors import ConfigError, SQLTrackError
from support.pages import ROOT, read_blocks
from support.typed_pages import type_blocks

PAGE = ROOT / "docs" / "configuration.md"
OF_ALL, OF_SQLITE, OF_POSTGRES = "Of all databases", "Of SQLite", "Of PostgreSQL"


def table(heading: str) -> dict[str, list[str]]:
    """Return the other cells of the table below a heading, by the names in its first column."""
    text = PAGE.read_text(encoding="utf-8").partition(f"# {heading}\n")[2].partition("\n#")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.M)]
    return {name: row[1:] for row in rows[2:] for name in re.findall(r"`([^`]+)`", row[0])}


def default(heading: str, name: str) -> str:
    return table(heading)[name][1].strip("`")


def test_the_defaults_of_the_client_are_as_told() -> None:
    assert float(default(OF_ALL, "keepalive")) == client_module._KEEPALIVE
    assert float(default(OF_ALL, "reconnect")) == client_module._RECONNECT
    outbox = outbox_settings({})
    assert (default(OF_ALL, "outbox"), float(default(OF_ALL, "patience"))) == (outbox.mode, _DEFAULT_PATIENCE)
    assert outbox_settings({"outbox_limit": default(OF_ALL, "outbox_limit")}).limit == outbox.limit
    assert (float(default(OF_ALL, "outbox_keep")), default(OF_ALL, "outbox_dir")) == (
        outbox.keep,
        outbox.folder.replace(os.environ["HOME"], "~"),
    )
    assert default(OF_ALL, "engine") == sqltrack.config.DEFAULT_CONFIG["engine"]


def test_the_defaults_of_sqlite_are_as_told(tmp_path: Path) -> None:
    assert default(OF_SQLITE, "dbpath") == sqltrack.config.DEFAULT_CONFIG["dbpath"]
    assert float(default(OF_SQLITE, "busy_timeout")) == _BUSY_TIMEOUT
    assert tuple(re.findall(r"`(\w+)`", table(OF_SQLITE)["synchronous"][0])) == _SYNCHRONOUS
    with sqltrack.Client(engine="sqlite", dbpath=str(tmp_path / "a.db")) as connection:
        mode = connection.execute("PRAGMA synchronous").fetchone()[0]
    assert default(OF_SQLITE, "synchronous").startswith(f"{_SYNCHRONOUS[mode]}` with a write-ahead log")


def test_the_defaults_of_postgres_are_as_told() -> None:
    named = {name.removeprefix("fallback_"): str(value) for name, value in _DEFAULTS.items()}
    assert {name: default(OF_POSTGRES, name) for name in named} == named
    assert default(OF_POSTGRES, "port") == next(
        option.compiled.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.keyword == b"port"
    )


def test_connect_timeout_gives_way_to_the_variable_of_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "3")
    assert "connect_timeout" not in _defaults()


def test_settings_of_postgres_are_those_of_libpq() -> None:
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    assert set(table(OF_POSTGRES)) - known == {"schema"}


@pytest.mark.engines("postgres")
def test_a_name_that_libpq_does_not_know_is_an_error(config: dict[str, Any]) -> None:
    with pytest.raises(SQLTrackError, match="nonsense"):
        sqltrack.Client({**config, "nonsense": "1"}).execute("SELECT 1")


def test_the_places_of_the_config_file_are_in_this_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.setenv(name, f"/{name}")
    shown = re.findall(r"^\d\. `([^`]+sqltrack\.conf)`", PAGE.read_text(encoding="utf-8"), re.M)
    expanded = [re.sub(r"[$%](\w+)%?", r"/\1", path).removeprefix("./") for path in shown]
    assert expanded == config_locations()


CONCEPTS = ROOT / "docs" / "concepts.md"


@pytest.mark.parametrize(
    "block", [*read_blocks(PAGE, "ini"), *read_blocks(CONCEPTS, "ini")], ids=lambda block: f"line-{block.line}"
)
def test_config_files_of_the_pages_can_be_used(block: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text(block.code, encoding="utf-8")
    config = load_config_file(path)
    assert sqltrack.Client(config).engine.name == config["engine"]


def test_comments_quotes_and_special_signs_are_read_as_told(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text('# a\n; b\nDbPath = " x%$y # z " ; c\nkeepalive = 1 # d\npassword = e # f\n', encoding="utf-8")
    given = load_config_file(path)
    assert (given["dbpath"], given["keepalive"], given["password"]) == (" x%$y # z ", "1", "e # f")


def test_a_dict_is_the_only_source_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_KEEPALIVE", "60")
    Path("sqltrack.conf").write_text("reconnect = 1\n")
    assert sqltrack.Client({"engine": "sqlite", "dbpath": "a.db"}).config == {"engine": "sqlite", "dbpath": "a.db"}


def test_a_file_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sqltrack.conf").write_text("engine = sqlite\n")
    monkeypatch.setenv("SQLTRACK_CONFIG_PATH", "missing.conf")
    with pytest.raises(ConfigError, match=r"missing\.conf"):
        sqltrack.Client()


def test_names_that_are_hidden_are_those_that_are_listed(run: sqltrack.Run) -> None:
    text = PAGE.read_text(encoding="utf-8").partition("| hidden | not hidden |")[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines()[2:]]
    hidden, shown = ([name for row in rows for name in re.findall(r"`([^`]+)`", row[side])] for side in (0, 1))
    assert min(len(hidden), len(shown)) > 15
    run.set_args(dict.fromkeys(hidden + shown, "value"))
    (args,) = run.client.execute("SELECT args FROM runs WHERE id = %s", (run.id,)).fetchone()
    assert {name for name, value in args.items() if value == "***"} == set(hidden)


def test_masking_is_extended_and_turned_off_as_told(
    config: dict[str, Any], run: sqltrack.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "x")
    monkeypatch.setenv("MY_TOKEN", "y")

    def stored(**settings: str) -> tuple[str, str]:
        client = sqltrack.Client({**config, **settings})
        sqltrack.run_set_env(client, run.id)
        (env,) = client.execute("SELECT env FROM runs WHERE id = %s", (run.id,)).fetchone()
        return env["WANDB_MODE"], env["MY_TOKEN"]

    assert stored(mask_env_names="WANDB_*,MY_LOGIN") == ("***", "***")
    assert stored(mask_env="false") == ("x", "y")


def test_variables_of_names_are_looked_at_in_the_order_that_is_told() -> None:
    import getpass

    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `LOGNAME`"))
    told = re.findall(r"`([A-Z]+)`", row)
    assert told == re.findall(r"'([A-Z]+)'", inspect.getsource(getpass.getuser))


def test_the_commands_of_the_page_print_its_output(
    engine_name: str, run_elsewhere: Callable[[], dict[str, str]]
) -> None:
    assert type_blocks(read_blocks(PAGE), engine_name, **run_elsewhere()) == ""


@pytest.fixture
def run_elsewhere(tmp_path: Path) -> Callable[[], dict[str, str]]:
    """Enter an empty folder, and return the environment of Alice, who has an empty home."""

    def enter() -> dict[str, str]:
        for name in ("home", "folder"):
            (tmp_path / name).mkdir()
        os.chdir(tmp_path / "folder")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {"HOME": str(tmp_path / "home"), "PATH": path, "LOGNAME": "alice", "USER": "alice"}

    return enter

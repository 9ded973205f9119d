"""The program shows the current configuration and its sources, but no secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sqltrack.cli import main
from sqltrack.config import config_locations
from support.processes import Program

from .conftest import main_in_terminal


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main(["config", "--json", *arguments]) == status
    out, err = capsys.readouterr()
    assert err == ""
    result: dict[str, Any] = json.loads(out)
    return result


def sources(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {entry["name"]: (entry["value"], entry["source"]) for entry in result["parameters"]}


def test_each_value_has_a_source(
    engine_name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("sqltrack.conf").write_text("engine = other\nhost = h\nport = 1\nkeepalive = 3\n")
    monkeypatch.setenv("SQLTRACK_DSN_Port", "2")
    result = shown(capsys, "--engine", engine_name, "--dbpath", "my.db", "--user", "u")
    assert sources(result) == {
        "engine": (engine_name, "command line"),
        "dbpath": ("my.db", "command line"),
        "user": ("u", "command line"),
        "dbname": ("u", "default"),
        "host": ("h", "config file 'sqltrack.conf'"),
        "port": ("2", "environment variable SQLTRACK_DSN_Port"),
        "keepalive": ("3", "config file 'sqltrack.conf'"),
    }
    assert result["config_file"] == "sqltrack.conf"
    assert result["problem"] is None


def test_a_narrow_terminal_shows_all_of_a_value_and_where_it_comes_from(
    engine_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a_database_whose_name_is_longer_than_its_column"
    monkeypatch.setenv("SQLTRACK_DSN_DBNAME", name)
    shown = main_in_terminal("config", "--engine", engine_name, COLUMNS="50")
    table = shown[shown.index("") + 1 :]
    assert max(map(len, table)) <= 50
    begin, end = (table[0].index(head) for head in ("value", "source"))
    assert name in "".join(line[begin:end].strip() for line in table)
    assert "environment variable SQLTRACK_DSN_DBNAME" in " ".join(line[end:].strip() for line in table)


def test_places_without_a_config_file_are_named(
    engine_name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = shown(capsys, "--engine", engine_name)
    assert result["config_file"] is None
    assert result["searched"] == config_locations()
    assert main(["config", "--engine", engine_name]) == 0
    out = capsys.readouterr().out
    assert out.startswith("config file: none found, searched:\n  sqltrack.conf\n")
    Path("named.conf").write_text("")
    monkeypatch.setenv("SQLTRACK_CONFIG_PATH", "named.conf")
    result = shown(capsys, "--engine", engine_name)
    assert (result["config_file"], result["searched"]) == ("named.conf", [])


SECRETS = {
    "password": "hush",
    "sslpassword": "hush",
    "scram_client_key": "hush",
    "oauth_client_secret": "hush",
    "conninfo": "host=h password=hush sslpassword='hush hush'",
    "dbname": "postgresql://u:hush@h/d?sslpassword=hush",
}


def test_secrets_are_not_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sqltrack.conf").write_text("".join(f"{name} = {value}\n" for name, value in SECRETS.items()))
    monkeypatch.setenv("PGPASSWORD", "hush")
    for arguments in ([], ["--json"]):
        for engine in ("postgres", "sqlite", "other"):
            assert main(["config", "--engine", engine, *arguments]) == 0
            out, err = capsys.readouterr()
            assert "hush" not in out + err
            assert out.count("***") >= 6
    values = sources(shown(capsys))
    assert values["password"][0] == "***"
    assert values["conninfo"][0] == "host=h password=*** sslpassword=***"
    assert values["dbname"][0] == "postgresql://u:***@h/d?sslpassword=***"


@pytest.mark.parametrize("place", ["--config-path", "--engine", "--dbpath", "--host"])
def test_passwords_in_odd_places_are_not_shown(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("sqltrack.conf").write_text("password s3cret: x\n")
    for address in ("postgres://alice:s3cret@host/db", "postgres://alice:s3 cret@host/db", "host=h password=s3cret"):
        for options in ([], ["--json"]):
            main([place, address, "config", *options])
    out, err = capsys.readouterr()
    assert "alice" in out
    assert not [text for text in (out, err) if "s3" in text or "cret" in text]


def test_an_unknown_name_is_shown_with_its_source_and_the_problem(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sqltrack.conf").write_text("engine = SQLite\ndb_path = a.db\n")
    result = shown(capsys)
    assert sources(result)["db_path"] == ("a.db", "config file 'sqltrack.conf'")
    assert result["problem"] == "unknown parameter 'db_path'; did you mean 'dbpath'?"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PASWORD", "hunter2"),
        ("PASSWRD", "hunter2"),
        ("PWD", "hunter2"),
        ("PASS", "hunter2"),
        ("XYZZY", "hunter2"),
        ("USER", "u:hunter2"),
        ("DBNAME", "u:hunter2"),
        ("ENGINE", "hunter2"),
        ("ENGINN", "hunter2"),
        ("PORT", "u:hunter2@h"),
    ],
)
def test_a_value_that_may_be_a_password_is_not_shown(
    variable: str, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelled name counts as the name that was meant, and values of unrecognizable names are hidden."""
    monkeypatch.setenv(f"SQLTRACK_DSN_{variable}", value)
    for options in ([], ["--json"]):
        assert main(["config", *options]) == 0
        out, err = capsys.readouterr()
        assert variable.lower() in out
        assert "hunter2" not in out + err


def test_variables_of_the_driver_are_shown_with_whether_they_are_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGHOST": "pg", "PGPORT": "7", "PGPASSWORD": "hush", "PGSSLMODE": "require"}.items():
        monkeypatch.setenv(name, value)
    result = shown(capsys, "--engine", "postgres", "--host", "h")
    assert {
        entry["variable"]: (entry["parameter"], entry["value"], entry["used"]) for entry in result["driver_variables"]
    } == {
        "PGHOST": ("host", "pg", False),
        "PGPORT": ("port", "7", True),
        "PGPASSWORD": ("password", "***", True),
        "PGSSLMODE": ("sslmode", "require", True),
    }
    assert shown(capsys, "--engine", "sqlite")["driver_variables"] == []
    assert main(["config", "--engine", "postgres", "--host", "h"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "host pg environment variable PGHOST of the driver, overridden by host above" in lines
    assert "port 7 environment variable PGPORT of the driver" in lines


def test_a_service_hides_the_defaults(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "cluster")
    monkeypatch.setenv("PGSERVICEFILE", "services")
    result = shown(capsys)
    assert sources(result).keys() == {"engine", "dbpath"}
    assert {entry["variable"] for entry in result["driver_variables"]} == {"PGSERVICE", "PGSERVICEFILE"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("engine = nonsense", "unknown engine 'nonsense'"),
        ("engine = sqlite\nkeepalive = soon", "keepalive must be a number of seconds that is not negative, got 'soon'"),
        ("engine = sqlite\noutbox_limit = much", "outbox_limit must be a number of bytes, such as 500 MiB, got 'much'"),
        ("engine = sqlite\nsynchronous = never", "synchronous must be one of"),
    ],
)
def test_a_wrong_value_is_shown_together_with_the_problem(
    settings: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sqltrack.conf").write_text(settings)
    result = shown(capsys)
    assert result["problem"].startswith(problem)
    name, value = settings.splitlines()[-1].split(" = ")
    assert sources(result)[name] == (value, "config file 'sqltrack.conf'")
    assert main(["config"]) == 0
    out, err = capsys.readouterr()
    assert value in out
    assert err.startswith(f"sqltrack: {problem}")


def test_a_file_that_cannot_be_read_is_an_error_next_to_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_ENGINE", "sqlite")
    result = shown(capsys, "--config-path", "no.conf", status=1)
    assert result["problem"] == "config file 'no.conf' does not exist"
    assert result["config_file"] == "no.conf"
    assert sources(result)["engine"] == ("sqlite", "environment variable SQLTRACK_DSN_ENGINE")
    Path("sqltrack.conf").write_text("[section]\npassword = hush\n")
    assert main(["config"]) == 1
    out, err = capsys.readouterr()
    assert "SQLTRACK_DSN_ENGINE" in out
    assert "section header in line 1" in err
    assert "hush" not in out + err


def test_values_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sqltrack.conf").write_text("dbpath = \x1b[31mred\n")
    assert main(["config"]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[31mred" in out
    assert "\x1b" not in out


def test_the_program_shows_it_without_connecting(config: dict[str, Any], options: list[str], program: Program) -> None:
    done = program("config", *options, "--host", "127.0.0.1", "--port", "1", "--dbpath", "not/there.db")
    assert (done.returncode, done.stderr) == (0, "")
    assert config["engine"] in done.stdout
    assert "\x1b" not in done.stdout
    assert not Path("not").exists()

"""Sources of the configuration, and their priority."""

from __future__ import annotations

import getpass
import subprocess
import sys
from pathlib import Path

import pytest

from sqltrack.config import (
    DEFAULT_CONFIG,
    config_locations,
    config_sources,
    find_config_file,
    get_env_config,
    load_config,
)
from sqltrack.errors import ConfigError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_defaults_are_as_documented() -> None:
    user = getpass.getuser()
    assert {"engine": "postgres", "dbpath": "sqltrack.db", "user": user, "dbname": user} == DEFAULT_CONFIG
    assert load_config() == DEFAULT_CONFIG


@pytest.mark.parametrize("error", ["KeyError", "OSError", "ImportError"])
def test_a_user_without_a_name_is_no_default(error: str) -> None:
    """For example in a container in which the user id has no name."""
    code = f"""
import getpass
def getuser():
    raise {error}
getpass.getuser = getuser
from sqltrack.config import load_config
print(load_config())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("{'engine': 'postgres', 'dbpath': 'sqltrack.db'}\n", "")


def test_sources_win_in_the_documented_order(monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("sqltrack.conf"), "engine = sqlite\ndbpath = file.db\nhost = file\nuser = file\n")
    monkeypatch.setenv("SQLTRACK_DSN_HOST", "environment")
    monkeypatch.setenv("SQLTRACK_DSN_USER", "environment")
    config = load_config(user="argument")
    assert (config["engine"], config["dbpath"], config["host"], config["user"]) == (
        "sqlite",
        "file.db",
        "environment",
        "argument",
    )


def test_environment_parameters_are_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_DbName", "x")
    monkeypatch.setenv("SQLTRACK_DSN_", "no parameter")
    assert get_env_config() == {"dbname": "x"}


def test_default_locations_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "appdata"))
    expected = [
        Path("sqltrack.conf"),
        tmp_path / "xdg/sqltrack/sqltrack.conf",
        tmp_path / "appdata/sqltrack/sqltrack.conf",
        tmp_path / "home/.config/sqltrack/sqltrack.conf",
        tmp_path / "home/sqltrack.conf",
    ]
    assert find_config_file() is None
    for path in reversed(expected):
        write(path, "")
        found = find_config_file()
        assert found is not None
        assert found.resolve() == path.resolve()


def test_the_path_argument_wins_over_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLTRACK_CONFIG_PATH", str(write(tmp_path / "variable.conf", "host = variable\n")))
    argument = write(tmp_path / "argument.conf", "host = argument\n")
    assert load_config()["host"] == "variable"
    assert load_config(argument)["host"] == "argument"
    assert load_config(str(argument))["host"] == "argument"


def test_an_explicit_file_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"config file 'no\.conf' does not exist"):
        load_config("no.conf")
    monkeypatch.setenv("SQLTRACK_CONFIG_PATH", "neither.conf")
    with pytest.raises(ConfigError, match=r"config file 'neither\.conf' does not exist"):
        load_config()


def test_values_are_taken_as_they_are_without_quotes_and_interpolation() -> None:
    text = "\ufeffpassword = 50%(x)s%\nuser = 'al ice'\nhost = \"h\"\ndbname = it's\n# comment\n"
    Path("sqltrack.conf").write_text(text, encoding="utf-8")
    config = load_config()
    assert (config["password"], config["user"], config["host"], config["dbname"]) == ("50%(x)s%", "al ice", "h", "it's")


@pytest.mark.parametrize("header", ["[DEFAULT]", "[sqltrack]"])
def test_a_section_header_is_an_error_that_says_so(header: str) -> None:
    Path("sqltrack.conf").write_text(f"user = a\n{header}\npassword = secret\n")
    with pytest.raises(ConfigError, match="section header in line 2"):
        load_config()


@pytest.mark.parametrize("line", ["password secret", "password = secret\npassword = secret", "password = secret\xff"])
def test_a_broken_file_is_an_error_that_does_not_show_the_password(line: str) -> None:
    Path("sqltrack.conf").write_bytes(f"user = a\n{line}\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"sqltrack\.conf") as info:
        load_config()
    assert "secret" not in str(info.value)


@pytest.mark.parametrize(
    ("variable", "kept"),
    [("PGUSER", set()), ("PGSERVICE", set()), ("PGDATABASE", {"user"})],
)
def test_defaults_do_not_mask_what_libpq_was_told(
    variable: str, kept: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defaults of `user` and `dbname` yield to PGUSER, PGDATABASE and PGSERVICE."""
    monkeypatch.setenv(variable, "x")
    assert load_config().keys() & {"user", "dbname"} == kept


def test_the_default_dbname_follows_a_given_user() -> None:
    assert load_config(user="bob")["dbname"] == "bob"
    assert load_config(user="bob", dbname="other")["dbname"] == "other"
    assert "user" not in load_config(service="cluster")


def test_arguments_that_are_none_count_as_not_given() -> None:
    assert load_config(engine=None)["engine"] == "postgres"


def test_each_value_tells_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("sqltrack.conf"), "engine = sqlite\nhost = file\nport = 1\n")
    monkeypatch.setenv("SQLTRACK_DSN_Host", "environment")
    found = config_sources(user="argument", port=None)
    assert found == {
        "engine": ("sqlite", "config file 'sqltrack.conf'"),
        "dbpath": ("sqltrack.db", "default"),
        "user": ("argument", "argument"),
        "dbname": ("argument", "default"),
        "host": ("environment", "environment variable SQLTRACK_DSN_Host"),
        "port": ("1", "config file 'sqltrack.conf'"),
    }
    assert load_config(user="argument", port=None) == {name: setting.value for name, setting in found.items()}


def test_config_files_are_found_in_the_documented_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.setenv(variable, f"/{variable}")
    assert config_locations("my.conf") == [
        "my.conf",
        *("/XDG_CONFIG_HOME/sqltrack/my.conf", "/APPDATA/sqltrack/my.conf"),
        *("/HOME/.config/sqltrack/my.conf", "/HOME/my.conf"),
    ]

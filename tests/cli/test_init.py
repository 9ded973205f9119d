"""`init` writes a config file for all programs in the folder, sets up its database, and overwrites nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack.cli import main
from sqltrack.commands.init import apply_init, plan_init
from sqltrack.config import load_config, load_config_file
from sqltrack.errors import ConfigError, DatabaseUnavailableError, MissingPackageError, NotSetUpError
from support.databases import ask, statuses
from support.processes import Program
from support.questions import CTRL_C, answer

from .conftest import connection, main_in_terminal

OneLineError = Callable[[list[str]], tuple[int, str]]

CONFIG = Path("sqltrack.conf")

JOB = """
import sqltrack

with sqltrack.track("digits", env=None) as run:
    run.add_metrics({"loss": 0.5}, step=1)
"""


def options(config: dict[str, Any]) -> list[str]:
    """Return the options of a database; those of PostgreSQL imply the engine."""
    return connection({name: value for name, value in config.items() if name != "engine"})


def test_script_program_and_notebook_use_the_database_that_was_chosen(
    empty_config: dict[str, Any], program: Program
) -> None:
    shown = program("init", *options(empty_config), stdin=subprocess.DEVNULL)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "created the tables\n" in shown.stdout
    assert "sqltrack.track(" in shown.stdout
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", JOB], capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("just now")) == (0, 0)
    assert program("runs").stdout.count("COMPLETED") == 2
    assert sqltrack.Client().execute("SELECT COUNT(*) FROM metrics").fetchone() == (2,)
    assert statuses(empty_config) == ["COMPLETED"] * 2


def test_without_options_and_terminal_it_is_a_file_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    assert CONFIG.read_text(encoding="utf-8") == "engine = sqlite\ndbpath = sqltrack.db\n"
    assert Path("sqltrack.db").exists()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["wrote sqltrack.conf: engine = sqlite, dbpath = sqltrack.db", "created the tables"]
    assert lines[-1] == "Then look at it: sqltrack runs"


def test_the_suggested_next_command_works(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init"])
    said = capsys.readouterr().out
    script = "\n".join(line[4:] for line in said.splitlines() if line.startswith("    "))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "first steps" in program(*said.splitlines()[-1].partition("sqltrack ")[2].split()).stdout


def test_an_existing_file_is_never_overwritten(one_line_error: OneLineError) -> None:
    CONFIG.write_text("engine = sqlite\n", encoding="utf-8")
    status, line = one_line_error(["init", "--host", "nowhere"])
    assert (status, line) == (
        1,
        "sqltrack: config file 'sqltrack.conf' exists already; show it with: sqltrack config; "
        "remove it to start over\n",
    )
    assert CONFIG.read_text(encoding="utf-8") == "engine = sqlite\n"
    assert os.listdir() == [str(CONFIG)]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    plan = plan_init({})
    CONFIG.symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"'sqltrack\.conf' exists already"):
        plan_init({})
    with pytest.raises(ConfigError, match=r"'sqltrack\.conf' exists already; it was written just now"):
        apply_init(plan)
    assert CONFIG.is_symlink()
    assert list(tmp_path.glob(".*")) == []


def test_a_file_system_without_links_gets_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def link(*paths: Any) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", link)
    apply_init(plan_init({}))
    assert load_config_file(CONFIG)["engine"] == "sqlite"
    assert list(tmp_path.glob(".*")) == []


def test_tables_that_are_there_stay(config: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    sqltrack.Experiment(sqltrack.Client(config), name="before")
    capsys.readouterr()
    assert main(["init", *options(config)]) == 0
    assert "the tables exist already\n" in capsys.readouterr().out
    assert ask(load_config(), "SELECT name FROM experiments") == "before"


def test_a_database_that_refuses_leaves_no_file_and_the_command_can_be_repeated(
    empty_config: dict[str, Any], engine_name: str, one_line_error: OneLineError, tmp_path: Path
) -> None:
    wrong = {"sqlite": {"dbpath": "missing/x.db"}, "postgres": {**empty_config, "dbname": "missing_database"}}
    status, line = one_line_error(["init", *options(wrong[engine_name])])
    assert status == 1
    assert "missing" in line
    assert "tmp_path" not in line
    assert [path.name for path in tmp_path.iterdir() if "conf" in path.name] == []
    assert main(["init", *options(empty_config)]) == 0


def test_tables_that_cannot_be_created_leave_no_file(empty_config: dict[str, Any]) -> None:
    sqltrack.Client(empty_config).execute("CREATE TABLE runs (run_uuid TEXT)")
    with pytest.raises(NotSetUpError, match="choose another database"):
        apply_init(plan_init(empty_config))
    assert not CONFIG.exists()


# Questions


def test_in_a_terminal_it_asks_and_empty_answers_choose_the_file(tmp_path: Path) -> None:
    shown = main_in_terminal("init", typed="\n\n")
    assert "Store runs in a file (sqlite) or on a server (postgres)? [sqlite] " in "\n".join(shown)
    assert load_config_file(CONFIG)["dbpath"] == "sqltrack.db"
    assert shown[-1] == "Then look at it: sqltrack runs"


def test_in_a_terminal_it_asks_again_for_an_engine_that_there_is_not() -> None:
    shown = main_in_terminal("init", typed="mysql\nsqlite\nmy runs.db\n")
    assert "unknown engine 'mysql', expected 'postgres' or 'sqlite'" in "\n".join(shown)
    assert load_config_file(CONFIG)["dbpath"] == "my runs.db"
    assert Path("my runs.db").exists()


def test_in_a_terminal_it_asks_for_a_server(postgres_config: dict[str, Any]) -> None:
    answers = [str(postgres_config.get(name, "")) for name in ("host", "port", "user", "dbname", "schema")]
    shown = main_in_terminal("init", typed="\n".join(["postgres", *answers, ""]))
    assert f"PostgreSQL: database? [{postgres_config['user']}]" in "\n".join(shown)
    assert load_config_file(CONFIG).items() >= {**postgres_config, "port": str(postgres_config["port"])}.items()
    assert ask(postgres_config, "SELECT COUNT(*) FROM runs") == 0


def test_options_are_answers_so_that_nothing_is_asked() -> None:
    assert "?" not in "".join(main_in_terminal("init", "--dbpath", "x.db"))
    assert load_config_file(CONFIG)["dbpath"] == "x.db"


def test_ctrl_c_at_a_question_leaves_nothing_behind(tmp_path: Path) -> None:
    status, output, errors = answer(["init"], CTRL_C, "[sqlite] ")
    assert (status, output, errors.splitlines()[-1]) == (130, "", "sqltrack: interrupted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("typed", ["\x04", "sqlite\n\x04"])
def test_the_end_of_input_at_a_question_leaves_nothing_behind(typed: str, tmp_path: Path) -> None:
    assert main_in_terminal("init", typed=typed)[-1] == "sqltrack: interrupted"
    assert list(tmp_path.iterdir()) == []


# Parameters


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--engine", "mysql"], "unknown engine 'mysql'"),
        (["--engine", "sqlite", "--host", "a"], "host is not a parameter of sqlite; expected dbpath"),
        (["--dbpath", "a.db", "--host", "a"], "is not a parameter of sqlite"),
        (["--dbname", "postgresql://alice:hunter2@a/b"], "dbname contains a password, which is not written"),
        (["--dbname", "host=a password=hunter2"], "dbname contains a password, which is not written"),
        (["--host", "a\nb"], r"host must be a text of one line, got 'a\nb'"),
        (["--dbpath", "a' #b\""], "a config file cannot hold these values"),
        (["--config-path", "missing/x.conf"], "config file 'missing/x.conf' cannot be written: No such file"),
    ],
)
def test_parameters_that_cannot_be_meant_are_errors(
    arguments: list[str], says: str, one_line_error: OneLineError, tmp_path: Path
) -> None:
    status, line = one_line_error(["init", *arguments])
    assert status == 1
    assert says in line
    assert "hunter2" not in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "dbpath",
    ["a b.db", "a # b.db", "a;b.db", "'a'.db", 'a".db', "50%.db", "é.db", " x.db", "[x].db", "a'b\".db", "a\" # 'b"],
)
def test_the_file_says_what_was_given(dbpath: str) -> None:
    apply_init(plan_init({"dbpath": dbpath}))
    assert load_config()["dbpath"] == dbpath
    assert Path(dbpath).exists()


def test_a_file_that_counts_in_other_folders_names_the_database_by_its_whole_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    home = tmp_path / "home" / ".config" / "sqltrack" / "sqltrack.conf"
    assert main(["init", "--config-path", str(home)]) == 0
    assert "SQLTRACK_CONFIG_PATH" not in capsys.readouterr().out
    assert load_config()["dbpath"] == str(tmp_path / "sqltrack.db")
    assert main(["init", "--config-path", "my own.conf", "--dbpath", "x.db"]) == 0
    assert f"export SQLTRACK_CONFIG_PATH='{tmp_path}/my own.conf'\n" in capsys.readouterr().out
    assert load_config_file("my own.conf")["dbpath"] == str(tmp_path / "x.db")


def test_a_path_in_the_environment_is_where_the_file_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SQLTRACK_CONFIG_PATH", str(tmp_path / "own.conf"))
    plan = plan_init({})
    assert (plan.path, plan.is_found) == (tmp_path / "own.conf", True)
    apply_init(plan)
    assert load_config()["dbpath"] == str(tmp_path / "sqltrack.db")


def test_parameters_of_the_environment_are_written_and_not_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_ENGINE", "SQLite")
    monkeypatch.setenv("SQLTRACK_DSN_DBPATH", "x.db")
    assert plan_init({}).settings == plan_init({"engine": "sqlite"}).settings == {"engine": "sqlite", "dbpath": "x.db"}
    with pytest.raises(ConfigError, match=r"dbpath is 'y\.db', but .* SQLTRACK_DSN_DBPATH is 'x\.db'; unset"):
        plan_init({"dbpath": "y.db"})


def test_a_password_of_the_environment_is_used_and_not_written(
    postgres_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLTRACK_DSN_PASSWORD", "hunter2")
    apply_init(plan_init(postgres_config))
    assert "hunter2" not in CONFIG.read_text(encoding="utf-8")


def test_a_server_that_is_not_there_and_a_driver_that_is_missing_leave_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(DatabaseUnavailableError):
        apply_init(plan_init({"host": str(tmp_path)}))
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in [name for name in sys.modules if name.startswith("sqltrack.engines.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingPackageError):
        apply_init(plan_init({"host": str(tmp_path)}))
    assert list(tmp_path.iterdir()) == []


# The program without a command


@pytest.mark.parametrize("arguments", [[], ["--engine", "sqlite"]])
def test_without_a_command_the_program_prints_its_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Like gh and docker, it exits with success."""
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "  init  " in shown.out
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out == shown.out

"""All public names are documented, and all documented names exist."""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import psycopg.pq
import pytest

import sqltrack
from sqltrack.cli._parser import build_parser
from sqltrack.errors import MissingPackageError
from sqltrack.statuses import GROUPS, OTHER
from support.pages import DOC_PAGES, DOCS, PAGES, READMES, ROOT, code_spans, page_id
from support.public import PUBLIC_MODULES, SETTINGS, actions, commands, documented_names, public_names, variables

# Files that have the names of Python objects.
SUFFIXES = ("conf", "db", "csv", "git", "parquet", "sqlite")
# Pages with options of a reader's script or of other programs.
OF_OTHERS = ("arguments", "slurm")
# Of pg_dump and pg_restore.
OTHER_OPTIONS = {"--force-reinstall", "--no-deps", "--no-owner", "--no-privileges", "--upgrade"}


# Names of our packages.
DISTRIBUTIONS = [path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")]


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_api_reference_links_to_each_of_its_pages() -> None:
    assert [path.name for path in (DOCS / "api").glob("*.md") if f"(api/{path.name})" not in read("api.md")] == []


def test_every_public_name_is_on_a_page_of_the_api_reference() -> None:
    documented = documented_names()
    objects = {id(value) for value in documented.values() if inspect.isclass(value) or inspect.isroutine(value)}
    missing = [name for name, value in public_names() if name not in documented and id(value) not in objects]
    assert missing == []


def test_every_name_in_the_api_reference_is_public() -> None:
    public = dict(public_names())
    assert [name for name in documented_names() if name not in public] == []


@pytest.mark.parametrize("module_name", PUBLIC_MODULES)
def test_the_names_of_a_module_are_those_that_it_lists(module_name: str) -> None:
    """A name without an underscore is public, so a module defines no others than those in its `__all__`."""
    module = importlib.import_module(module_name)
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module_name
        and not isinstance(value, TypeVar)
    }
    assert sorted(own - set(module.__all__)) == []
    assert list(module.__all__) == sorted(module.__all__, key=sorting_key)


def sorting_key(name: str) -> tuple[int, str]:
    """Constants come first, then classes, then functions, each in alphabetical order."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, name


def test_every_setting_is_explained_on_the_page_of_the_configuration() -> None:
    page = read("configuration.md")
    assert [name for name in sorted(SETTINGS) if f"`{name}`" not in page] == []


def test_every_environment_variable_is_explained_on_the_page_of_the_configuration() -> None:
    page = read("configuration.md")
    assert [name for name in sorted(variables()) if name not in page] == []
    assert "SQLTRACK_DSN_" in page


def test_the_page_of_the_program_lists_every_command() -> None:
    page = read("program.md")
    missing = [name for name in commands() if not re.search(rf"^\|.*`{name}\b.*\|.*\|$", page, re.M)]
    assert missing == []


def test_the_page_of_the_statuses_shows_every_group() -> None:
    rows = re.findall(r"^\| (\S) \| (\w+) \| (.+) \|$", read("api/statuses.md"), re.M)
    groups = [(group.symbol, group.name, ", ".join(f"`{state}`" for state in group.states)) for group in GROUPS]
    assert rows == [*groups, (OTHER.symbol, OTHER.name, "any other text")]


def test_the_index_lists_every_page() -> None:
    listed = re.findall(r"^- \[[^\]]+\]\(([\w/-]+)\.md\): \S", read("index.md") + read("api.md"), re.M)
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOC_PAGES}
    assert sorted(listed) == sorted(pages - {"index"})


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_names_that_a_page_mentions_exist(path: Path) -> None:
    names = [name for span in code_spans(path) for name in re.findall(r"(?<![\w./-])sqltrack(?:\.\w+)+", span)]
    assert [name for name in names if name.split(".")[1] not in SUFFIXES and not exists(name)] == []


def exists(name: str) -> bool:
    """Return whether a full name is that of a module, or of an object in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except MissingPackageError as error:
            # A module that needs a framework.
            return error.package not in DISTRIBUTIONS
        except ModuleNotFoundError:
            continue
        return functools.reduce(lambda value, part: getattr(value, part, None), parts[end:], found) is not None
    return False


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_methods_that_a_page_mentions_exist(path: Path) -> None:
    classes = {"client": sqltrack.Client, "experiment": sqltrack.Experiment, "run": sqltrack.Run}
    mentioned = [match.groups() for span in code_spans(path) if (match := re.match(r"(\w+)\.(\w+)\(", span))]
    wrong = [f"{owner}.{name}" for owner, name in mentioned if owner in classes and not hasattr(classes[owner], name)]
    assert wrong == []


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_commands_that_a_page_mentions_exist(path: Path) -> None:
    known = commands()
    wrong = []
    for span in code_spans(path):
        words = re.findall(r"[^\s\[\]|]+", span)
        if span.startswith("sqltrack ") and words[1] != "COMMAND" and not words[1].startswith("-"):
            parser = known.get(words[1])
            if parser is not None:
                parser = actions(parser).get(" ".join(words[2:3]), parser)
            if parser is None or set(options_in(span)) - set(parser._option_string_actions):
                wrong.append(span)
    assert wrong == []


@pytest.mark.parametrize("path", [path for path in PAGES if path.stem not in OF_OTHERS], ids=page_id)
def test_options_that_a_page_mentions_exist(path: Path) -> None:
    known = OTHER_OPTIONS | {option for parser in parsers() for option in parser._option_string_actions}
    options = [option for span in code_spans(path) if span.startswith("--") for option in options_in(span)]
    assert [option for option in options if option not in known] == []


def options_in(span: str) -> list[str]:
    return re.findall(r"(?<![\w\"'-])--[a-z][a-z-]*", span)


def parsers() -> Iterator[argparse.ArgumentParser]:
    yield build_parser()
    for command in commands().values():
        yield command
        yield from actions(command).values()


@pytest.mark.parametrize("path", [*PAGES, *sorted((ROOT / "examples").rglob("*.py"))], ids=str)
def test_environment_variables_that_a_page_mentions_exist(path: Path) -> None:
    parameters = SETTINGS | {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    known = variables() | {f"SQLTRACK_DSN_{name.upper()}" for name in parameters}
    names = re.findall(r"\bSQLTRACK_[A-Z_]*[A-Z]\b(?!_)", path.read_text(encoding="utf-8"))
    assert [name for name in names if name not in known and name != "SQLTRACK_DSN"] == []


def test_the_sessions_that_are_named_exist() -> None:
    sessions = set(re.findall(r"^@nox\.session.*\n(?:@.*\n)*def (\w+)", (ROOT / "noxfile.py").read_text("utf-8"), re.M))
    text = READMES[0].read_text(encoding="utf-8") + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"nox -s \"?(\w+)", text)) <= sessions
    assert {"demo", "docs", "tests"} <= sessions


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=str)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target

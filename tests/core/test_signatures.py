"""Public names and signatures are as documented, and modules list their names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
from abc import ABC
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack import Client, Experiment
from sqltrack.engines.engine import Engine
from sqltrack.util import Composable

# Names and signatures

# The documented signatures, by module, without annotations.
SIGNATURES = {
    "sqltrack": {
        "Client": "(config=None, **kwargs)",
        "Client.commit": "(self)",
        "Client.cursor": "(self)",
        "Client.execute": "(self, sql, parameters=())",
        "Client.executemany": "(self, sql, seq_of_parameters)",
        "Client.executescript": "(self, sql_script)",
        "Client.rollback": "(self)",
        "Experiment": "(client, experiment_id=None, name=None)",
        "Experiment.add_link": "(self, kind, to_id)",
        "Experiment.add_tags": "(self, *tags)",
        "Experiment.get_run": "(self, run_id=None)",
        "Experiment.remove_link": "(self, kind, to_id)",
        "Experiment.remove_tags": "(self, *tags)",
        "Experiment.set_comment": "(self, comment)",
        "Experiment.set_name": "(self, name)",
        "Experiment.set_tags": "(self, *tags)",
        "Run": "(client, experiment_id=None, run_id=None)",
        "Run.add_args": "(self, args='auto')",
        "Run.add_env": "(self, env='auto')",
        # A dict, for method and function alike.
        "Run.add_extras": "(self, extras=None)",
        "Run.add_link": "(self, kind, to_id)",
        "Run.add_metrics": "(self, metrics, step=0, progress=0.0, updated='auto')",
        "Run.add_tags": "(self, *tags)",
        # By name, for methods and functions alike.
        "Run.remove_args": "(self, *args)",
        "Run.remove_env": "(self, *env)",
        "Run.remove_extras": "(self, *extras)",
        "Run.remove_link": "(self, kind, to_id)",
        "Run.remove_tags": "(self, *tags)",
        "Run.set_args": "(self, args='auto')",
        "Run.set_comment": "(self, comment)",
        "Run.set_created": "(self, dt='auto')",
        "Run.set_env": "(self, env='auto')",
        "Run.set_extras": "(self, extras=None)",
        "Run.set_started": "(self, dt='auto')",
        "Run.set_status": "(self, status)",
        "Run.set_tags": "(self, *tags)",
        "Run.set_updated": "(self, dt='auto')",
        "Run.start": "(self, terminated='CANCELLED', started='auto', updated='auto')",
        "Run.stop": "(self, status='COMPLETED', updated='auto')",
        "Run.track": (
            "(self, normal='COMPLETED', exception='FAILED', interrupt='CANCELLED', terminated='CANCELLED', "
            "started='auto', updated='auto')"
        ),
        "experiment_add_link": "(client, from_id, kind, to_id)",
        "experiment_add_tags": "(client, experiment_id, *tags)",
        "experiment_remove_link": "(client, from_id, kind, to_id)",
        "experiment_remove_tags": "(client, experiment_id, *tags)",
        "experiment_set_comment": "(client, experiment_id, comment)",
        "experiment_set_name": "(client, experiment_id, name)",
        "experiment_set_tags": "(client, experiment_id, *tags)",
        "run_add_args": "(client, run_id, args='auto')",
        "run_add_env": "(client, run_id, env='auto')",
        "run_add_extras": "(client, run_id, extras=None)",
        "run_add_link": "(client, from_id, kind, to_id)",
        "run_add_metrics": "(client, run_id, metrics, step=0, progress=0.0)",
        "run_add_tags": "(client, run_id, *tags)",
        "run_from_env": "(client)",
        "run_remove_args": "(client, run_id, *args)",
        "run_remove_env": "(client, run_id, *env)",
        "run_remove_extras": "(client, run_id, *extras)",
        "run_remove_link": "(client, from_id, kind, to_id)",
        "run_remove_tags": "(client, run_id, *tags)",
        "run_set_args": "(client, run_id, args='auto')",
        "run_set_comment": "(client, run_id, comment)",
        "run_set_created": "(client, run_id, dt='auto')",
        "run_set_env": "(client, run_id, env='auto')",
        "run_set_extras": "(client, run_id, extras=None)",
        "run_set_started": "(client, run_id, dt='auto')",
        "run_set_status": "(client, run_id, status)",
        "run_set_tags": "(client, run_id, *tags)",
        "run_set_updated": "(client, run_id, dt='auto')",
    },
    "sqltrack.commands": {"main": "()", "setup": "(client, scripts=())"},
    "sqltrack.commands.setup": {"setup": "(client, scripts=())"},
    "sqltrack.config": {
        "find_config_file": "(path=None, config_name='sqltrack.conf')",
        "get_env_config": "()",
        "load_config": "(path=None, config_name='sqltrack.conf', **kwargs)",
    },
    "sqltrack.engines": {"create_engine": "(config)"},
    "sqltrack.engines.engine": {
        "Engine": "()",
        "Engine.connect": "(self)",
        "Engine.data_dir": "(self)",
        "Engine.map_type": "(self, client, typ)",
    },
    "sqltrack.engines.json": {"jsonb": "(obj)"},
    "sqltrack.engines.postgres": {
        "PostgresEngine": "(config)",
        "PostgresEngine.connect": "(self, cursor_factory=<class 'psycopg.Cursor'>)",
        "PostgresEngine.data_dir": "(self)",
        "PostgresEngine.map_type": "(self, client, typ)",
    },
    "sqltrack.engines.sqlite": {
        "SQLiteEngine": "(config)",
        "SQLiteEngine.connect": "(self)",
        "SQLiteEngine.data_dir": "(self)",
        "SQLiteEngine.map_type": "(self, client, typ)",
    },
    # The first argument is a client or a cursor.
    "sqltrack.queries": {
        "first_row": "(client, query, parameters=())",
        "first_value": "(client, query, parameters=())",
        "first_values": "(client, query, parameters=())",
    },
    "sqltrack.sigterm": {"deregister": "(key)", "register": "(key, func)"},
    "sqltrack.util": {
        "SQL": "(obj)",
        # With a default, as in psycopg since 3.2.
        "SQL.as_bytes": "(self, context=None)",
        "SQL.as_string": "(self, context=None)",
        "SQL.format": "(self, *args, **kwargs)",
        "SQL.join": "(self, seq)",
        "coalesce": "(*values)",
    },
}

DOCUMENTED = [(module, name, text) for module, names in SIGNATURES.items() for name, text in names.items()]

BASES = [
    ("sqltrack.engines.engine", "Engine", ABC),
    ("sqltrack.engines.postgres", "PostgresEngine", Engine),
    ("sqltrack.engines.sqlite", "SQLiteEngine", Engine),
    ("sqltrack.util", "SQL", Composable),
]


def documented(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def signatures(function: Any) -> Iterator[str]:
    """Yield the signature without annotations, then repeatedly without its last parameter while that has a default."""
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()]
    yield str(inspect.Signature(parameters))
    while parameters and parameters[-1].default is not inspect.Parameter.empty:
        parameters.pop()
        yield str(inspect.Signature(parameters))


@pytest.mark.parametrize(("module", "name", "signature"), DOCUMENTED, ids=lambda value: value)
def test_signatures_are_as_documented(module: str, name: str, signature: str) -> None:
    assert signature in list(signatures(documented(module, name)))


@pytest.mark.parametrize(("module", "name", "base"), BASES, ids=lambda value: str(value))
def test_classes_have_the_documented_bases(module: str, name: str, base: type) -> None:
    assert base in documented(module, name).__mro__


def test_an_engine_has_a_schema_and_abstract_methods() -> None:
    assert Engine.schema is None
    assert {"connect", "data_dir", "map_type"} <= Engine.__abstractmethods__


def test_every_documented_method_but_one_returns_its_object(client: Client) -> None:
    experiment = Experiment(client, name="a")
    run, other = experiment.get_run(), experiment.get_run()
    chains: dict[Any, list[Any]] = {
        experiment: [
            experiment.add_link("kind", experiment.id),
            experiment.add_tags("tag"),
            experiment.remove_link("kind", experiment.id),
            experiment.remove_tags("tag"),
            experiment.set_comment("comment"),
            experiment.set_name("b"),
            experiment.set_tags("tag"),
        ],
        run: [
            *(run.add_args(), run.add_env(), run.add_extras(), run.add_link("kind", other.id)),
            *(run.add_metrics({"loss": 1.0}), run.add_tags("tag")),
            *(run.remove_args("a"), run.remove_env("a"), run.remove_extras("a")),
            *(run.remove_link("kind", other.id), run.remove_tags("tag")),
            *(run.set_args(), run.set_comment("comment"), run.set_created(), run.set_env(), run.set_extras()),
            *(run.set_started(), run.set_status("status"), run.set_tags("tag"), run.set_updated()),
            *(run.start(), run.stop()),
        ],
    }
    for owner, results in chains.items():
        methods = [name for name in SIGNATURES["sqltrack"] if name.startswith(f"{type(owner).__name__}.")]
        # These return something else: Experiment.get_run, and Run.track, which is used in `with`.
        assert len(results) == len(methods) - 1
        assert all(result is owner for result in results)
    with run.track() as tracked:
        assert tracked is run


# Modules

CORE = str(Path(sqltrack.__file__).parent)
MODULES = ["sqltrack", *sorted(module.name for module in pkgutil.walk_packages([CORE], "sqltrack."))]


def defined_in(module: types.ModuleType) -> dict[str, Any]:
    """The public classes and functions of a module that it does not import from another."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isroutine(value))
        and value.__module__ == module.__name__
    }


def test_the_modules_are_found() -> None:
    assert SIGNATURES.keys() | {"sqltrack.engines.sqlite._values", "sqltrack.errors", "sqltrack._updates"} <= set(
        MODULES
    )


@pytest.mark.parametrize("name", MODULES)
def test_all_lists_what_a_module_offers_in_order(name: str) -> None:
    module = importlib.import_module(name)
    listed = module.__all__
    # Constants, classes, functions: as ruff sorts them (RUF022).
    assert listed == sorted(listed, key=lambda entry: (not entry.isupper(), not entry[0].isupper(), entry))
    assert len(listed) == len(set(listed))
    assert defined_in(module).keys() <= set(listed)
    # Not only in vars(): a module may load names on demand.
    assert [entry for entry in listed if not hasattr(module, entry)] == []


def test_the_package_offers_what_is_promised_and_the_root_of_all_errors() -> None:
    names = {name.partition(".")[0] for name in SIGNATURES["sqltrack"]}
    beyond = {"SQLTrackError", "run_add_metrics_many", "start", "track"}
    assert set(sqltrack.__all__) == names | beyond


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for cls_or_function in defined_in(module).values():
        assert inspect.getdoc(cls_or_function), cls_or_function
        if not inspect.isclass(cls_or_function) or getattr(cls_or_function, "_is_protocol", False):
            continue
        for member_name, member in vars(cls_or_function).items():
            if not member_name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                # getdoc() finds the docstring of the overridden method, too.
                assert inspect.getdoc(getattr(cls_or_function, member_name)), f"{cls_or_function}.{member_name}"

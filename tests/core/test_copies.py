"""Clients, experiments and runs can be copied, pickled and sent to other processes, without their passwords."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import sqltrack
from sqltrack import Client, Experiment, Run
from support.databases import statuses, steps

pytestmark = pytest.mark.one_engine

SECRET = "geheim geheim"  # noqa: S105


def log(run: Run, step: int) -> int:
    run.add_metrics({"loss": 0.5}, step=step)
    return os.getpid()


def pickled(obj: Any) -> Any:
    return pickle.loads(pickle.dumps(obj))  # noqa: S301


@pytest.mark.parametrize("duplicate", [pickled, copy.copy, copy.deepcopy])
def test_a_copy_uses_connections_of_its_own(duplicate: Callable[[Any], Any], run: Run, config: dict[str, Any]) -> None:
    """It has its own blocks, and its own tracked runs."""
    with run.client:
        other = duplicate(run.client)
        assert isinstance(other, Client)
        assert other.config == run.client.config
        with pytest.raises(sqltrack.errors.NotConnectedError):
            other.commit()
        assert other.execute("SELECT id FROM runs").fetchall() == [(run.id,)]
    log(duplicate(run), 1)
    assert steps(config) == [1]


def test_one_pickle_holds_one_client(run: Run) -> None:
    experiment = Experiment(run.client, run.experiment_id)
    copied_experiment, copied_run = pickled((experiment, run))
    assert copied_experiment.client is copied_run.client is not run.client
    assert (copied_experiment.id, copied_run.id, copied_run.experiment_id) == (experiment.id, run.id, run.experiment_id)


def test_a_copy_of_a_tracked_run_does_not_end_it(run: Run, config: dict[str, Any]) -> None:
    with run.track():
        run_copy = copy.deepcopy(run)
        with pickled(run).track(), run_copy.track():
            pass
        assert statuses(config) == ["RUNNING"]
        del run_copy
        gc.collect()
        assert statuses(config) == ["RUNNING"]
    assert statuses(config) == ["COMPLETED"]


class Derived(Client):
    """A user's subclass with different arguments."""

    def __init__(self, path: str) -> None:
        super().__init__(engine="sqlite", dbpath=path)


@pytest.mark.parametrize("duplicate", [pickled, copy.copy, copy.deepcopy])
def test_classes_of_users_can_be_copied(duplicate: Callable[[Any], Any]) -> None:
    copied = duplicate(Derived("x.db"))
    assert type(copied) is Derived
    assert copied.config["dbpath"] == "x.db"


@pytest.mark.parametrize("method", sorted({"spawn", "forkserver", "fork"} & {*multiprocessing.get_all_start_methods()}))
def test_a_run_can_be_given_to_another_process(method: str, run: Run, config: dict[str, Any]) -> None:
    context = multiprocessing.get_context(method)
    with run.track():
        process = context.Process(target=log, args=(run, 1))
        process.start()
        process.join()
        assert process.exitcode == 0
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            assert pool.submit(log, run, 2).result() != os.getpid()
    assert steps(config) == [1, 2]
    assert statuses(config) == ["COMPLETED"]


GIVEN: list[dict[str, Any]] = [
    {"password": SECRET},
    {"sslpassword": SECRET},
    {"options": "x", "password": SECRET, "user": "u"},
]


@pytest.mark.parametrize("given", GIVEN)
def test_a_pickle_holds_no_password(given: dict[str, Any]) -> None:
    for client in (Client({"engine": "postgres", **given}), Client("postgresql://user:geheim%20geheim@host/name")):
        text = pickle.dumps(client)
        assert b"geheim" not in text
        assert "geheim" not in repr(pickle.loads(text).config)  # noqa: S301
        assert copy.deepcopy(client).config == client.config


def test_a_copy_finds_the_password_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the client's config file, from a config file that is found, or from the environment."""
    file = tmp_path / "my.conf"
    file.write_text(f"engine = postgres\npassword = {SECRET}\n", encoding="utf-8")
    client = Client(str(file))
    assert pickled(client).config["password"] == SECRET
    assert pickled(pickled(client)).config["password"] == SECRET
    file.unlink()
    assert "password" not in pickled(client).config
    monkeypatch.setenv("SQLTRACK_DSN_PASSWORD", "other")
    copied = pickled(Client({"engine": "postgres", "password": SECRET}))
    assert copied.config == {"engine": "postgres", "password": "other"}

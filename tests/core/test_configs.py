"""Arguments are read from any object that holds them, without importing the package that made it."""

from __future__ import annotations

import argparse
import enum
import subprocess
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import absl.flags
import attrs
import ml_collections
import omegaconf
import pydantic
import pytest

import sqltrack
from sqltrack.engines.json import plain

EXPECTED = {"lr": 0.1, "data": "d/x", "optimizer": {"name": "sgd", "betas": [0.9, 0.99]}}


class Name(enum.Enum):
    SGD = "sgd"


@dataclass
class Optimizer:
    name: Name = Name.SGD
    betas: tuple[float, ...] = (0.9, 0.99)


@dataclass
class DataclassConfig:
    lr: float = 0.1
    data: Path = Path("d/x")
    optimizer: Optimizer = field(default_factory=Optimizer)


class PydanticOptimizer(pydantic.BaseModel):
    name: Name = Name.SGD
    betas: tuple[float, ...] = (0.9, 0.99)


class PydanticConfig(pydantic.BaseModel):
    lr: float = 0.1
    data: Path = Path("d/x")
    optimizer: PydanticOptimizer = PydanticOptimizer()


@attrs.define
class AttrsConfig:
    lr: float = 0.1
    data: Path = Path("d/x")
    optimizer: Any = attrs.Factory(Optimizer)


class PydanticV1Config:
    """The interface of a pydantic 1 model; pydantic 1 runs only on old versions of Python."""

    __fields__ = ("lr", "data", "optimizer")

    def dict(self) -> dict[str, Any]:
        return {"lr": 0.1, "data": Path("d/x"), "optimizer": Optimizer()}


def absl_flags(*arguments: str) -> absl.flags.FlagValues:
    values = absl.flags.FlagValues()
    absl.flags.DEFINE_float("lr", 0.1, "step size", flag_values=values)
    absl.flags.DEFINE_string("data", "d/x", "folder", flag_values=values)
    absl.flags.DEFINE_boolean("pdb", False, "one of absl's own", flag_values=values, module_name="absl.app")
    values(["program", *arguments])
    return values


CONFIGS: dict[str, Any] = {
    "dict": {"lr": 0.1, "data": Path("d/x"), "optimizer": {"name": Name.SGD, "betas": (0.9, 0.99)}},
    "mapping": types.MappingProxyType({"lr": 0.1, "data": Path("d/x"), "optimizer": Optimizer()}),
    "argparse": argparse.Namespace(
        lr=0.1, data=Path("d/x"), optimizer=argparse.Namespace(name="sgd", betas=[0.9, 0.99])
    ),
    "namespace": types.SimpleNamespace(lr=0.1, data=Path("d/x"), optimizer=Optimizer()),
    "dataclass": DataclassConfig(),
    "pydantic": PydanticConfig(),
    "pydantic 1": PydanticV1Config(),
    "attrs": AttrsConfig(),
    "omegaconf": omegaconf.OmegaConf.create(
        {"lr": 0.1, "data": "d/x", "optimizer": {"name": Name.SGD, "betas": [0.9, 0.99]}}
    ),
    "omegaconf of a dataclass": omegaconf.OmegaConf.structured(DataclassConfig),
    "ml_collections": ml_collections.ConfigDict(
        {"lr": ml_collections.FieldReference(0.1), "data": "d/x", "optimizer": {"name": "sgd", "betas": (0.9, 0.99)}}
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_stored_by_its_names(run: sqltrack.Run, name: str) -> None:
    run.set_args(CONFIGS[name]).add_args({"more": 1})
    stored = run.client.execute("SELECT args FROM runs WHERE id = %s", (run.id,)).fetchone()[0]
    assert stored == {**EXPECTED, "more": 1}


def test_references_of_omegaconf_are_resolved() -> None:
    config = omegaconf.OmegaConf.create({"a": 1, "b": "${a}", "list": ["${a}", {"c": "${b}"}], "missing": "???"})
    assert plain(config) == {"a": 1, "b": 1, "list": [1, {"c": 1}], "missing": "???"}
    assert plain(config.list) == [1, {"c": 1}]


def test_references_of_omegaconf_that_lead_nowhere_stay_as_written() -> None:
    assert plain(omegaconf.OmegaConf.create({"a": 1, "b": "${c}"})) == {"a": 1, "b": "${c}"}


def test_flags_of_absl_are_stored_without_absl_s_own(run: sqltrack.Run) -> None:
    run.add_args(absl_flags("--lr=0.5"))
    stored = run.client.execute("SELECT args FROM runs WHERE id = %s", (run.id,)).fetchone()[0]
    assert stored == {"lr": 0.5, "data": "d/x"}


def test_secrets_of_pydantic_stay_secret() -> None:
    class Secret(pydantic.BaseModel):
        token: pydantic.SecretStr = pydantic.SecretStr("abc")

    assert plain(Secret()) == {"token": "**********"}


@pytest.mark.parametrize("obj", [DataclassConfig, PydanticConfig, AttrsConfig, 3, [1], None, "text"])
def test_what_holds_no_names_is_refused(run: sqltrack.Run, obj: Any) -> None:
    if obj is None:
        run.add_args(None)
        return
    with pytest.raises(ValueError, match="args must be a dict, or an object with names and values"):
        run.add_args(obj)


def test_nothing_of_the_kind_is_imported() -> None:
    code = """
import sys, types
before = set(sys.modules)
from sqltrack.engines.json import plain
plain({"a": types.SimpleNamespace(b=[1, object()])})
names = {"argparse", "dataclasses", "omegaconf", "pydantic", "attrs", "absl", "ml_collections"}
print(sorted(names & (set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

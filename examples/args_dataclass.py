"""Store a configuration that is a dataclass, including nested dataclasses and enumerations.

python args_dataclass.py epochs=3 optimizer.learning_rate=0.01
"""

import sys
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import sqltrack
from sqltrack.commands import setup


class Schedule(Enum):
    CONSTANT = "constant"
    COSINE = "cosine"


@dataclass(frozen=True)
class Optimizer:
    learning_rate: float = 0.1
    schedule: Schedule = Schedule.COSINE


@dataclass(frozen=True)
class Config:
    epochs: int = 90
    optimizer: Optimizer = field(default_factory=Optimizer)


def with_value(config: Any, name: str, text: str) -> Any:
    """Return a copy with one value replaced, converted to the type of the old value."""
    first, _, rest = name.partition(".")
    old = getattr(config, first)
    return replace(config, **{first: with_value(old, rest, text) if rest else type(old)(text)})


config = Config()
for argument in sys.argv[1:]:
    name, _, text = argument.partition("=")
    config = with_value(config, name, text)

client = sqltrack.Client()
setup(client)
run = sqltrack.Experiment(client, name="Arguments").get_run().add_args(config)
print(client.execute("SELECT args FROM runs WHERE id = %s", (run.id,)).fetchone())

"""Store the arguments of a script that uses argparse: pass the Namespace as it is.

python args_argparse.py --epochs 3 --layers 64 64
"""

import argparse
from pathlib import Path

import sqltrack
from sqltrack.commands import setup

parser = argparse.ArgumentParser(description="Train a network.")
parser.add_argument("--epochs", type=int, default=90)
parser.add_argument("--learning-rate", type=float, default=0.1)
parser.add_argument("--layers", type=int, nargs="*", default=[128])
parser.add_argument("--data", type=Path, default=Path("data"))
parser.add_argument("--amp", action=argparse.BooleanOptionalAction, default=True)
args = parser.parse_args()

client = sqltrack.Client()
setup(client)
run = sqltrack.Experiment(client, name="Arguments").get_run().add_args(args)
print(client.execute("SELECT args FROM runs WHERE id = %s", (run.id,)).fetchone())

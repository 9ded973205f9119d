"""Store an OmegaConf configuration, as Hydra passes it to a program, with its interpolations resolved.

    python args_omegaconf.py optimizer.lr=0.01

Requires, in addition to SQLTrack: pip install omegaconf
"""

from omegaconf import OmegaConf

import sqltrack
from sqltrack.commands import setup

DEFAULTS = """
model: resnet18
batch_size: 256
optimizer:
  name: sgd
  lr: 0.1
  scaled_lr: ${optimizer.lr}
"""

# With Hydra, the function below @hydra.main receives this object as its argument.
config = OmegaConf.merge(OmegaConf.create(DEFAULTS), OmegaConf.from_cli())

client = sqltrack.Client()
setup(client)
run = sqltrack.Experiment(client, name="Arguments").get_run().add_args(config)

# Find a nested value by its path, with the same SQL on both databases.
query = "SELECT id, CAST(args -> 'optimizer' ->> 'lr' AS DOUBLE PRECISION) FROM runs WHERE id = %s"
print(client.execute("SELECT args FROM runs WHERE id = %s", (run.id,)).fetchone())
print(client.execute(query, (run.id,)).fetchone())

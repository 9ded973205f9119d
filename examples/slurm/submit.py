"""Submit a training job to Slurm, with its run already in the database: planned, and with all its arguments.

    python submit.py --sbatch=--time=2:00:00 train.py --epochs 50

The arguments come from the script's help text and its command line; the script is not run. If the script would not
understand the command line, you get the error here, and not after hours in the queue.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import Any

import sqltrack
from sqltrack.args import detect_args, docopt_main
from sqltrack.commands import setup


def submit(run: sqltrack.Run, command: list[str], options: list[str]) -> str:
    """Submit a command to Slurm and return the number of its job."""
    environment = {"SQLTRACK_EXPERIMENT_ID": str(run.experiment_id), "SQLTRACK_RUN_ID": str(run.id)}
    # With exec the script itself gets Slurm's signals, and not a shell around it.
    wrapped = f"--wrap=exec {shlex.join(command)}"
    done = subprocess.run(
        ["sbatch", "--parsable", f"--job-name=run-{run.id}", *options, wrapped],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    # With several clusters, sbatch adds the name of the cluster.
    return done.stdout.strip().partition(";")[0]


@docopt_main(options_first=True)
def main(args: Any) -> None:
    """
    usage: submit.py [--experiment NAME] [--sbatch OPTION]... <script-path> [<arg-str>...]

    options:
        -h --help          Show this text and end.
        --experiment NAME  Experiment that the run belongs to [default: Slurm]
        --sbatch OPTION    Option for sbatch, such as --sbatch=--time=2:00:00; may be repeated
    """
    job_args = detect_args(args.script_path, argv=args.arg_str)
    if job_args is None:
        command = shlex.join([str(args.script_path), *args.arg_str])
        sys.exit(f"error: cannot read the arguments of {command!r}; compare it with the usage of the script")
    client = sqltrack.Client()
    setup(client)
    run = sqltrack.Experiment(client, name=str(args.experiment)).get_run().add_args(job_args)
    try:
        job = submit(run, [sys.executable, str(args.script_path), *args.arg_str], [str(o) for o in args.sbatch])
    except (OSError, subprocess.CalledProcessError) as error:
        run.set_status("CANCELLED").set_comment(f"could not be queued: {error}")
        sys.exit(f"error: run {run.id} could not be queued: {error}")
    run.add_extras({"slurm_job_id": job})
    print(f"run {run.id} is job {job}")

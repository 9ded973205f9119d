"""The commands of the program: one module for each, with its options and output."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COMMANDS", "PROVIDERS"]

# The summary of each command, in the order of --help. A command is a module in this package with a function
# `add_parser`, imported when the command is used; a hyphen in the command is an underscore in the module's name.
# Those of other distributions are found by entry points.
COMMANDS: Mapping[str, str] = {
    "init": "choose a database: write sqltrack.conf and create the tables",
    "create": "print the SQL that creates a PostgreSQL user and database",
    "setup": "create the tables and execute new SQL scripts",
    "execute": "execute SQL from files or standard input",
    "grant": "print the SQL that gives another PostgreSQL user access",
    "revoke": "print the SQL that revokes access from a PostgreSQL user or from PUBLIC",
    "config": "show the configuration and where each value comes from",
    "doctor": "check the installation and the database, and suggest fixes",
    "run": "run a program and track it",
    "log": "log metrics of a run, from any program",
    "ls": "list experiments, the most recently updated first",
    "runs": "list runs",
    "show": "show all details of runs",
    "diff": "show how runs differ",
    "metrics": "show the metrics of runs",
    "ui": "look at runs, curves and differences in a browser",
    "report": "write runs into an HTML file, to read without a server",
    "seeds": "show means over random seeds",
    "sql": "run a query",
    "copy": "copy experiments from one database to another",
    "import": "import runs of MLflow, W&B, TensorBoard and other trackers, or tables of metrics",
    "export": "write the tables to CSV, JSON or Parquet files",
    "link": "add or remove links between runs or experiments",
    "tag": "add or remove tags of runs or of an experiment",
    "comment": "set the comment of runs or of an experiment",
    "rename": "rename an experiment",
    "mv": "move runs to another experiment",
    "rm": "delete runs, or an experiment with all its runs",
    "gc": "delete runs by status, age or lack of metrics",
    "reap": "mark RUNNING runs whose process has died",
    "tidy": "move metrics from the column extras to their own columns",
    "rename-metric": "rename a metric",
    "rewind": "remove the metrics that a run logged after a checkpoint",
    "outbox": "list, send or drop calls that wait for their database",
    "completion": "print a completion script for a shell",
}

# The distributions that provide commands. Their entry points, in the group "sqltrack.commands", have the names of the
# commands, and name functions such as `add_parser`.
PROVIDERS: Mapping[str, str] = {"ui": "sqltrack-ui", "report": "sqltrack-ui", "import": "sqltrack-import"}

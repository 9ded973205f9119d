"""The commands of the program, a module for each: its options, and what it prints."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COMMANDS"]

# What each command does, in the order in which --help lists them. A command is a module in here with a function
# `add_parser`, imported when the command is used; its name has an underscore where that of the command has a hyphen.
COMMANDS: Mapping[str, str] = {
    "init": "choose a database: write sqltrack.conf, and create the tables",
    "create": "print the SQL that creates a PostgreSQL user and a database",
    "setup": "create the tables, and execute SQL scripts that were not executed before",
    "execute": "execute SQL from files or standard input",
    "grant": "print the SQL that gives another PostgreSQL user access",
    "revoke": "print the SQL that takes access from a PostgreSQL user, or from everybody who was not given it",
    "config": "show the configuration in force, and where each value comes from",
    "doctor": "examine installation and database, and say what to do",
    "ls": "list experiments, those that were last updated first",
    "runs": "list runs",
    "show": "tell everything about runs",
    "diff": "tell in what runs differ",
    "metrics": "show the metrics of runs",
    "seeds": "show means over random seeds",
    "sql": "run a query",
    "copy": "copy experiments from one database into another",
    "export": "write the tables as files that other programs read",
    "link": "link runs or experiments, and remove links",
    "tag": "add tags to runs or an experiment, and remove tags",
    "comment": "set the comment of runs or of an experiment",
    "rename": "rename an experiment",
    "mv": "move runs into another experiment",
    "rm": "delete runs, or an experiment with all its runs",
    "gc": "delete old runs by what they are",
    "reap": "mark runs that say that they are running, though their process is gone",
    "tidy": "move metrics from the column extras into columns of their own",
    "rename-metric": "give a metric another name",
    "rewind": "remove what a run has logged after a checkpoint",
    "outbox": "list, send and drop calls that wait for their database",
    "completion": "print a script that lets a shell complete the program's commands and options",
}

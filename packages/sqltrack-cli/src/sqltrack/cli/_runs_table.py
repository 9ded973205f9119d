"""The table of runs: its columns and their headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqltrack.cli._cells import show_status, show_tags
from sqltrack.cli._formats import print_records
from sqltrack.cli._output import print_note
from sqltrack.cli._table import print_table
from sqltrack.commands._run_order import argument_heads, metric_head
from sqltrack.commands.runs import Argument, RunList
from sqltrack.wording import pluralize

__all__ = ["RunsTable"]

# Longer values are shown only on request.
_LONGEST = 20
# Assumed widths of columns. They do not depend on the runs shown, so that the limit does not affect the columns.
_WIDTHS = {"started": 10, "runtime": 8, "step": 6, "best": 10, "best_step": 7}
# This many arguments come before columns that say less about a run.
_IMPORTANT_ARGS = 3
_STATUS_SYMBOL = 2


class RunsTable:
    """Runs as a table to print.

    Args:
        listed: the runs, with the arguments of all chosen runs.
        with_experiment: whether the table has a column for the experiment.
    """

    def __init__(self, listed: RunList, *, with_experiment: bool) -> None:
        self._listed = listed
        self._columns = ["id", *(["experiment"] if with_experiment else []), "status", "started", "runtime", "step"]
        if listed.metric is not None:
            self._columns += ["best", "best_step"]
        # An empty column makes room for others.
        self._described = [name for name in ("tags", "comment") if listed.widths[name]]
        names = [argument.name for argument in listed.args]
        heads = argument_heads(names, listed.metric)
        sorted_by = listed.sorted_by
        # The argument that the runs are sorted by comes first.
        self._args = sorted(
            (argument for argument in listed.args if argument.differs), key=lambda argument: argument.name != sorted_by
        )
        self._forced = [_key(argument) for argument in self._args if argument.name == sorted_by]
        # An argument may have the name of a column.
        self._heads = {_key(argument): heads[argument.name] for argument in self._args}
        if listed.metric is not None:
            self._heads.update(best=metric_head(listed.metric), best_step="at step")

    def print(self, *, wide: bool) -> None:
        """Print a table for a terminal, and a note about the arguments that it leaves out.

        Args:
            wide: whether to show all arguments in which runs differ, even if the terminal is too narrow.
        """
        args = [_key(argument) for argument in self._args if wide or self._is_short(argument)]
        left_out = print_table(
            self._records(),
            [*self._columns, *args, *self._described],
            cells={"status": show_status, "tags": show_tags},
            optional=[] if wide else self._optional(args),
            headers=self._heads,
            assumed=self._assumed_widths(),
            is_limited=not wide,
        )
        self._print_note(len(self._args) - sum(key not in left_out for key in args))

    def print_whole(self, format_: str) -> None:
        """Print all columns in another format."""
        columns = [*self._columns, *map(_key, self._args), *self._described]
        print_records(self._records(), columns, format_, texts={"tags": show_tags}, headers=self._heads)

    def _optional(self, args: Sequence[str]) -> list[str]:
        """Return the columns to leave out in a narrow terminal, the last first."""
        args = [key for key in args if key not in self._forced]
        return [*self._described, *args[:_IMPORTANT_ARGS], "step", "runtime", *args[_IMPORTANT_ARGS:]]

    def _is_short(self, argument: Argument) -> bool:
        return argument.longest <= _LONGEST or _key(argument) in self._forced

    def _records(self) -> Sequence[Mapping[str, Any]]:
        return [{**run, **self._values(run["args"])} for run in self._listed.runs]

    def _values(self, args: Any) -> dict[str, Any]:
        values = args if isinstance(args, dict) else {}
        return {_key(argument): values.get(argument.name) for argument in self._args}

    def _assumed_widths(self) -> dict[str, int]:
        widths = {**_WIDTHS, **self._listed.widths}
        widths["status"] += _STATUS_SYMBOL
        return {**widths, **{_key(argument): argument.width for argument in self._args}}

    def _print_note(self, hidden: int) -> None:
        same = sum(not argument.differs for argument in self._listed.args)
        if self._listed.number == 1:
            if same:
                print_note(f"{pluralize(same, 'argument')}, sqltrack show {self._listed.runs[0]['id']} shows all")
            return
        notes = []
        if hidden:
            notes.append(f"{pluralize(hidden, 'more argument')}, --wide")
        if same:
            notes.append(f"{pluralize(same, 'argument is', 'arguments are')} the same in all runs")
        if notes:
            print_note("; ".join(notes))


def _key(argument: Argument) -> str:
    return f"args.{argument.name}"

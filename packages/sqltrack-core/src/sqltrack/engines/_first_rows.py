"""Represent the statement for each run's first row in an order, as text for any database and as parts for engines."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sqltrack._quoting import EngineText

__all__ = ["FirstRows", "Parts", "is_number_sql"]


class Parts(NamedTuple):
    """Parts of the statement, as SQL with doubled percent signs.

    Attributes:
        metric: name of the metric.
        column: its column, qualified by the table.
        columns: the columns of the result after run_id, step and progress, separated by commas.
        which: the row to find in each run: the one with the greatest or smallest number, the earliest if there are
            several, or the last one with a value.
        ids: the condition on the ids of runs, `IN (%s, …)`, empty for all runs.
    """

    metric: str
    column: str
    columns: str
    which: Literal["greatest", "smallest", "last"]
    ids: str

    @property
    def condition(self) -> str:
        """The condition on a row: it has a number, or any value if `which` is "last"."""
        return f"{self.column} IS NOT NULL" if self.which == "last" else is_number_sql(self.column)

    @property
    def order(self) -> str:
        """The order of a run's rows."""
        if self.which == "last":
            return "metrics.step DESC, metrics.progress DESC"
        direction = "DESC" if self.which == "greatest" else "ASC"
        return f"{self.column} {direction}, metrics.step, metrics.progress"

    @property
    def best(self) -> str:
        """The aggregate for the greatest or smallest value."""
        return f"{'MAX' if self.which == 'greatest' else 'MIN'}({self.column})"

    def on_ids(self, keyword: Literal["WHERE", "AND"], column: str) -> str:
        """Return the condition on a column with ids of runs, an empty string for all runs."""
        return f"{keyword} {column} {self.ids}" if self.ids else ""


class FirstRows(EngineText):
    """The statement as text for any database; cursors of engines replace it by a faster one.

    These cursors have a method `first_rows_sql`. It takes the parts and returns a statement with the same result and
    parameters, or None to use this text.
    """

    parts: Parts

    def __new__(cls, text: str, parts: Parts | None = None) -> FirstRows:
        """Create the text. While unpickling, `parts` is None and set later."""
        made = super().__new__(cls, text)
        if parts is not None:
            made.parts = parts
        return made

    def text_for(self, context: Any) -> str:
        """Return the cursor's own statement, if any, otherwise this text, which the cursor may still adapt."""
        adapt = getattr(context, "first_rows_sql", None)
        text = None if adapt is None else adapt(self.parts)
        if text is None:
            return self
        # Without parameters, drivers do not replace doubled percent signs.
        return str(text) if self.parts.ids else text.replace("%%", "%")


def is_number_sql(column: str) -> str:
    """Return a condition that is false for NULL and NaN.

    PostgreSQL compares 'NaN' only with types that have it, to which the 0.0 converts integers. In SQLite, NaN is text.
    """
    return f"{column} IS NOT NULL AND COALESCE({column}, 0.0) <> 'NaN'"

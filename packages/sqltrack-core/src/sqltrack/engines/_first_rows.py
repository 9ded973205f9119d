"""The statement for each run's first row in an order: a text for any database, and the parts for other ones."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sqltrack._quoting import EngineText

__all__ = ["FirstRows", "Parts", "is_number_sql"]


class Parts(NamedTuple):
    """Parts of the statement, in SQL with doubled per cent signs.

    Attributes:
        metric: name of the metric.
        column: its column, which names the table.
        columns: the columns of the result after run_id, step and progress, separated by commas.
        which: the row that comes first in a run: that with the greatest or the smallest number, at equal ones the first
            by step and progress, or the last row that has a value.
        ids: the condition on the ids of runs, `IN (%s, …)`, empty for all runs.
    """

    metric: str
    column: str
    columns: str
    which: Literal["greatest", "smallest", "last"]
    ids: str

    @property
    def condition(self) -> str:
        """The condition that a row must meet: a number, or any value if the last row is asked for."""
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
        """The greatest or smallest value of rows."""
        return f"{'MAX' if self.which == 'greatest' else 'MIN'}({self.column})"

    def on_ids(self, keyword: Literal["WHERE", "AND"], column: str) -> str:
        """Return the condition on a column with ids of runs, nothing if all runs are meant."""
        return f"{keyword} {column} {self.ids}" if self.ids else ""


class FirstRows(EngineText):
    """The statement as text for any database; engines' cursors take the quickest one for theirs.

    Those have a method `first_rows_sql`. It takes the parts and returns a statement with the same result and the same
    parameters, or None for this text.
    """

    parts: Parts

    def __new__(cls, text: str, parts: Parts | None = None) -> FirstRows:
        """Make a text. Without parts, as while a copy is unpickled, they are set later."""
        made = super().__new__(cls, text)
        if parts is not None:
            made.parts = parts
        return made

    def text_for(self, context: Any) -> str:
        """Return the statement of a cursor that has one, otherwise this text, which a cursor may still adapt."""
        adapt = getattr(context, "first_rows_sql", None)
        text = None if adapt is None else adapt(self.parts)
        if text is None:
            return self
        # Without parameters nobody looks for placeholders, nor for doubled per cent signs.
        return str(text) if self.parts.ids else text.replace("%%", "%")


def is_number_sql(column: str) -> str:
    """Return a condition that is false for NULL and NaN.

    To compare with 'NaN' PostgreSQL needs a type that knows it, which integers get by the 0.0; to SQLite it is text.
    """
    return f"{column} IS NOT NULL AND COALESCE({column}, 0.0) <> 'NaN'"

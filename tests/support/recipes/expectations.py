"""Register the function that computes the answer of a recipe."""

from __future__ import annotations

from collections.abc import Callable

from support.recipes.tables import Row, Tables

__all__ = ["Expectation", "expectations", "expects"]

Expectation = Callable[[Tables], list[Row]]
expectations: dict[str, Expectation] = {}


def expects(name: str) -> Callable[[Expectation], Expectation]:
    def note(function: Expectation) -> Expectation:
        expectations[name] = function
        return function

    return note

"""The recipes of the documentation, and their answers, computed in Python from the tables."""

from __future__ import annotations

from support.recipes import arguments, costs, curves, failures, scores
from support.recipes.expectations import expectations

__all__ = ["arguments", "costs", "curves", "expectations", "failures", "scores"]

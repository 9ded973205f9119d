"""Plan the changes of a command, and apply them."""

from __future__ import annotations

from typing import Any

import sqltrack
from sqltrack.commands.edits import Change, Edit, apply_edit
from sqltrack.commands.reap import Finding, apply_reap, plan_reap
from sqltrack.commands.rename_metric import Renaming, apply_rename_metric, plan_rename_metric
from sqltrack.commands.rewind import Rewinding, apply_rewind, plan_rewind
from sqltrack.commands.tidy import Tidied, apply_tidy, plan_tidy

__all__ = ["edit", "reap", "rename_metric", "rewind", "tidy"]


def edit(client: sqltrack.Client, planned: Edit) -> list[Change]:
    return apply_edit(client, planned, even_if_changed=True)


def reap(client: sqltrack.Client, **options: Any) -> list[Finding]:
    return apply_reap(client, plan_reap(client, **options)[0])


def rename_metric(client: sqltrack.Client, name: str, new_name: str, **options: Any) -> Renaming:
    return apply_rename_metric(client, plan_rename_metric(client, name, new_name, **options))


def rewind(client: sqltrack.Client, run_id: int, step: int) -> Rewinding:
    return apply_rewind(client, plan_rewind(client, run_id, step))


def tidy(client: sqltrack.Client) -> list[Tidied]:
    return apply_tidy(client, plan_tidy(client))

"""The functions of the program's commands; only type checkers read this."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from typing_extensions import assert_type

from sqltrack import Client, cli
from sqltrack.commands import main, reap, setup
from sqltrack.commands._access import check_grantee
from sqltrack.commands.comment import plan_comment
from sqltrack.commands.copy import CopyResult, copy
from sqltrack.commands.create import create, create_sql
from sqltrack.commands.diff import compare_descriptions, compare_runs
from sqltrack.commands.doctor import Finding, examine, examine_installation
from sqltrack.commands.edits import Change, Edit, apply_edit, plan_edit
from sqltrack.commands.execute import Outcome, execute
from sqltrack.commands.export import FORMATS, TABLES, ExportedFile, export
from sqltrack.commands.gc import Criteria, Garbage, apply_gc, plan_gc, reclaim_space
from sqltrack.commands.grant import grant_sql
from sqltrack.commands.init import DEFAULT_ENGINE, PARAMETERS, Init, apply_init, new_config_path, plan_init
from sqltrack.commands.link import plan_link, plan_links
from sqltrack.commands.ls import list_experiments
from sqltrack.commands.metrics import Curves, read_curves, read_curves_of_runs
from sqltrack.commands.mv import plan_mv
from sqltrack.commands.rename import plan_rename
from sqltrack.commands.rename_metric import Renaming, apply_rename_metric, plan_rename_metric
from sqltrack.commands.revoke import revoke_public_sql, revoke_sql
from sqltrack.commands.rewind import Rewinding, apply_rewind, plan_rewind
from sqltrack.commands.rm import Deletion, apply_rm, look_at_deletion, plan_rm
from sqltrack.commands.run import Program, experiment_name, run_program
from sqltrack.commands.run_ranges import RunRange, names_runs, parse_ranges
from sqltrack.commands.runs import Argument, RunList, list_runs
from sqltrack.commands.seeds import read_seeds
from sqltrack.commands.setup import create_missing_tables, create_table_once, set_up_quietly
from sqltrack.commands.show import describe_run, describe_runs
from sqltrack.commands.sql import (
    QueryResult,
    csv_value,
    json_value,
    query,
    write_csv,
    write_json,
    write_json_lines,
)
from sqltrack.commands.status import plan_status
from sqltrack.commands.tag import plan_tag
from sqltrack.commands.tidy import Tidied, apply_tidy, plan_tidy
from sqltrack.commands.undo import UNDOABLE, Applied, Undo, apply_undoable, plan_undo
from sqltrack.seeds import SeedStatistics


def set_up(client: Client, path: Path) -> None:
    setup(client)
    setup(client, path)
    setup(client, ["v001.sql", path, ("v003.sql", "SELECT 1")])
    assert_type(set_up_quietly(client), bool)
    assert_type(create_missing_tables(client), bool)
    assert_type(plan_init({"engine": DEFAULT_ENGINE, "dbpath": None}, path), Init)
    assert_type(plan_init(dict.fromkeys(PARAMETERS["postgres"], "a")).settings, dict[str, str])
    assert_type(new_config_path(), Path)
    assert_type(apply_init(plan_init({})), bool)
    create_table_once(client, "copied_runs")
    assert_type(main(), int)
    program = Program(
        ["./train", "--lr", "0.1"], experiment_name(["./train"]), {"lr": 0.1}, tags=["a"], comment="first"
    )
    assert_type(run_program(client.config, program), int)
    assert_type(cli.main(["runs", "--limit", "5"]), int)


def administer(client: Client) -> None:
    create(client.config, no_user=True)
    assert_type(create_sql({"user": "alice"}, no_db=True, password="x", plain_password=True), list[str])
    execute(client, "SELECT 1", name="a.sql", on_result=show_outcome, on_notice=print)
    check_grantee("bob", "alice")
    assert_type(grant_sql("bob", dbname="runs", owner="alice", write=True), list[str])
    assert_type(revoke_sql("bob", dbname="runs", owner="alice", as_owner=True), list[str])
    assert_type(revoke_public_sql(dbname="runs"), list[str])
    for finding in [*examine(client, stale_after=1, full=True), *examine_installation()]:
        assert_type(finding, Finding)
        assert_type(finding.result, Literal["ok", "note", "problem"])
        assert_type(finding.advice, str | None)


def show_outcome(outcome: Outcome) -> None:
    assert_type(outcome.tag, str)
    assert_type(outcome.columns, list[str] | None)
    assert_type(outcome.rows, list[tuple[Any, ...]])


def look(client: Client) -> None:
    assert_type(list_experiments(client), list[dict[str, Any]])
    assert_type(list_experiments(client, as_superuser=True), list[dict[str, Any]])
    listed = list_runs(client, "digits", where="status = 'COMPLETED'", best="accuracy", limit=0)
    assert_type(listed, RunList)
    assert_type(listed.runs, list[dict[str, Any]])
    assert_type(listed.number, int)
    for argument in list_runs(client, sort="lr", reverse=True, with_args=True).args:
        assert_type(argument, Argument)
        assert_type(argument.differs, bool)
    assert_type(describe_run(client, 1), dict[str, Any])
    assert_type(describe_runs(client, [1, RunRange(2, 5)]), list[dict[str, Any]])
    assert_type(compare_runs(client, [1, 2]), list[dict[str, Any]])
    assert_type(compare_descriptions([describe_run(client, 1)]), list[dict[str, Any]])
    assert_type(names_runs("1-5,7"), bool)
    assert_type(read_seeds(client, "accuracy", experiment="digits", maximize=False), SeedStatistics)
    curves = read_curves(client, 1, ["loss"], merged=True)
    assert_type(curves, Curves)
    assert_type(curves.points, list[dict[str, Any]])
    assert_type(read_curves_of_runs(client, [1, RunRange(2, 5)], ["loss"], merged=True), dict[int, Curves])


def ask(client: Client, file: io.StringIO) -> None:
    with query(client, "SELECT * FROM runs", limit=10, seconds=5) as result:
        assert_type(result, QueryResult)
        assert_type(result.names, list[str])
        assert_type(result.is_cut, bool)
        assert_type(list(result), list[Sequence[Any]])
        assert_type(result.unique_names(), list[str])
        assert_type(write_csv(result, file), int)
        assert_type(write_json(result, file, progress=print), int)
        assert_type(write_json_lines(result, file), int)
    assert_type(json_value(1), Any)
    assert_type(csv_value(1), Any)


def carry(client: Client, target: Client, folder: Path) -> None:
    assert_type(copy(client, target, ["digits"], dry_run=True, set_up=True), CopyResult)
    for file in export(client, folder, format=FORMATS[0], tables=TABLES[:2], progress=print):
        assert_type(file, ExportedFile)
        assert_type(file.path, Path)


def delete(client: Client) -> None:
    deletion = plan_rm(client, [1, RunRange(2, 5)], force=True)
    assert_type(deletion, Deletion)
    assert_type(deletion.runs, list[int])
    assert_type(apply_rm(client, deletion, print, even_if_changed=True), Deletion)
    with client as connection:
        assert_type(look_at_deletion(connection, [1, 2], 3, force=True), Deletion)
    garbage = plan_gc(client, statuses=["FAILED"], older_than=timedelta(days=30))
    assert_type(garbage, Garbage)
    assert_type(garbage.criteria, Criteria)
    assert_type(apply_gc(client, garbage, progress=print, even_if_changed=True), Garbage)
    reclaim_space(client)


def mend(client: Client) -> None:
    edits = [plan_comment(client, parse_ranges("1-5,7"), "text"), plan_link(client, 1, "resumes", 2, remove=True)]
    edits += [plan_mv(client, [1], "digits", create=True), plan_rename(client, "digits", "letters")]
    edits += [plan_tag(client, experiment="digits", add=["a"], remove=["b"])]
    edits += [plan_status(client, [1], "FAILED"), plan_links(client, [1, 2], "resumes", 3, remove=True)]
    assert_type(edits, list[Edit])
    applied = apply_undoable(client, edits[0])
    assert_type(applied, Applied)
    assert_type(applied.changes, list[Change])
    assert_type(applied.undo, Undo | None)
    assert_type(UNDOABLE, tuple[str, ...])
    if applied.undo is not None:
        assert_type(plan_undo(client, applied.undo), Edit)
    changes = apply_edit(client, edits[0], even_if_changed=True)
    assert_type(changes, list[Change])
    assert_type(changes[0].kind, str)
    assert_type(changes[0].id, int | None)
    own = plan_edit(
        client, lambda connection: [Change("run", 1, "status", None, "FAILED")], lambda client, changes: None
    )
    assert_type(own.changes, list[Change])
    renaming = plan_rename_metric(client, "loss", "train_loss", merge=True)
    assert_type(apply_rename_metric(client, renaming), Renaming)
    plan = plan_rewind(client, 1, 100, force=True)
    assert_type(apply_rewind(client, plan, even_if_changed=True), Rewinding)


def clean_up(client: Client) -> None:
    found, unknown = reap.plan_reap(client, older_than=timedelta(hours=1))
    assert_type(found, list[reap.Finding])
    assert_type(unknown, list[str])
    assert_type(reap.apply_reap(client, found), list[reap.Finding])
    extras = plan_tidy(client)
    assert_type(apply_tidy(client, extras, progress=print), list[Tidied])

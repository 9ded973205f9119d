"""sqltrack outbox: list, send or drop calls that wait for their database."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from sqltrack.cli._cells import styled
from sqltrack.cli._confirm import apply_if_agreed
from sqltrack.cli._edit_options import add_edit_options
from sqltrack.cli._formats import add_format_options, print_records
from sqltrack.cli._output import print_json, print_note, progress_bar
from sqltrack.cli._parser import FILE, Commands, Parser, connection_options, open_client
from sqltrack.cli._table import print_table
from sqltrack.commands.outbox import LeftOutboxes, apply_drop, find_path, look_at_others, plan_drop, target_text
from sqltrack.config import load_config
from sqltrack.outbox import OutboxInfo, SentOutbox, find_outboxes, outbox_folders, send_outboxes
from sqltrack.wording import pluralize, short_bytes

__all__ = ["add_parser"]

_COLUMNS = ("file", "state", "calls", "runs", "age", "size", "target", "host", "pid", "problem")
_DESCRIPTION = """
Without ACTION, lists the files and does not connect to a database. The state of a file is that of the process that
wrote it: alive (it sends the file itself), dead (you can send the file) or unknown (it ran on another host). The state
is "refused" for a file of calls that the database refused, and "sent" for a file that was kept after it was sent.
"""
_SEND_DESCRIPTION = """
Sends the calls to the configured database, and deletes files that have no calls left. Without FILE, sends all files for
this database whose process is dead. Sending a file twice changes nothing. The exit status is 1 if a file was skipped or
damaged, or calls were refused.
"""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "outbox",
        description=" ".join(_DESCRIPTION.split()),
        example="sqltrack outbox\n         sqltrack outbox send\n         sqltrack outbox drop FILE --dry-run",
    )
    add_format_options(parser)
    parser.set_defaults(run=_list)
    actions = commands.add_actions(parser, ("send", "send the calls of files"), ("drop", "delete files"))
    _add_send(actions["send"])
    _add_drop(actions["drop"])


def _add_send(parser: Parser) -> None:
    parser.description = " ".join(_SEND_DESCRIPTION.split())
    parser.epilog = "example: sqltrack outbox send"
    _add_files(parser, "*", "file to send, as a path or as a name in the outbox folder")
    parser.add_argument(
        "--force",
        action="store_true",
        help="also send named files of another host, whose process must be dead, named files for another database, and "
        "damaged ones that do not name theirs",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_send, parser=parser)


def _add_drop(parser: Parser) -> None:
    parser.description = "Deletes files with all their calls. Calls that were not sent are lost."
    parser.epilog = "example: sqltrack outbox drop 20250131T120000-node17-4711-0a1b2c.db --dry-run"
    _add_files(parser, "+", "file to delete, as a path or as a name in the outbox folder")
    parser.add_argument(
        "--force", action="store_true", help="also delete files of another host, whose process must be dead"
    )
    add_edit_options(parser)
    parser.set_defaults(run=_drop, parser=parser)


def _add_files(parser: Parser, nargs: str, text: str) -> None:
    files: Any = parser.add_argument("files", nargs=nargs, metavar="FILE", help=text)
    files.complete = FILE


def _folders(options: argparse.Namespace) -> list[str]:
    """Return the outbox folders; this needs no driver."""
    return outbox_folders(load_config(getattr(options, "config_path", None), **connection_options(options)))


def _take_format(options: argparse.Namespace) -> None:
    """Apply a `--json` in front of an action to that action."""
    if options.format not in ("table", "json"):
        options.parser.error(f"--format {options.format} applies only to the list")
    options.json = options.json or options.format == "json"


# Listing


def _list(options: argparse.Namespace) -> None:
    folders = _folders(options)
    infos = find_outboxes(*folders)
    is_table = options.format == "table"
    if infos or not is_table:
        _print(infos, options.format)
    if is_table:
        print_note(f"{pluralize(len(infos), 'file')} in {' and '.join(folders)}")


def _print(infos: Sequence[OutboxInfo], format_: str) -> None:
    records = [_record(info, format_) for info in infos]
    columns = [name for name in _COLUMNS if format_ != "table" or name != "problem" or any(map(_problem, infos))]
    if format_ == "table":
        # A shortened name would not name a file.
        print_table(
            records,
            columns,
            cells={"size": lambda size: styled(short_bytes(size))},
            optional=("size", "target", "host", "pid"),
            wrapped=("file", "target", "problem"),
        )
    else:
        print_records(records, columns, format_, objects=[_object(info) for info in infos])


def _record(info: OutboxInfo, format_: str) -> dict[str, Any]:
    age = None if info.first is None else datetime.now(timezone.utc) - info.first
    return {
        **_object(info),
        "file": os.path.basename(info.path) if format_ == "table" else info.path,
        "age": None if age is None else timedelta(seconds=max(round(age.total_seconds()), 0)),
        "target": target_text(info),
        "problem": _problem(info),
    }


def _object(info: OutboxInfo) -> dict[str, Any]:
    return {**info._asdict(), "target": dict(info.target)}


def _problem(info: OutboxInfo) -> str | None:
    return info.damage or info.reason


# Sending


def _send(options: argparse.Namespace) -> int:
    parser: Parser = options.parser
    if options.force and not options.files:
        parser.error("--force needs the names of files")
    _take_format(options)
    client = open_client(options)
    paths = [find_path(name, outbox_folders(client.config)) for name in options.files] or None
    done: list[SentOutbox] = []
    with progress_bar("sending", None if paths is None else len(paths)) as progress:

        def report(sent: SentOutbox) -> None:
            done.append(sent)
            progress(len(done))

        try:
            send_outboxes(client, paths, force=options.force, progress=report)
        except BaseException:
            if done:
                print_note(f"{_count_sent(done)}; the other files stay as they are")
            raise
    left = look_at_others(client) if paths is None else None
    if options.json:
        print_json({"sent": [sent._asdict() for sent in done], "left": None if left is None else _left_object(left)})
    for line in [*_tell_sent(done), *([] if left is None else _tell_left(left, {sent.refused_path for sent in done}))]:
        print_note(line)
    is_whole = all(sent.skipped is None and not sent.refused and sent.damage is None for sent in done)
    return 0 if is_whole and not (left is not None and (left.unknown or left.unreadable)) else 1


def _count_sent(done: Sequence[SentOutbox]) -> str:
    number = sum(sent.skipped is None for sent in done)
    return f"{pluralize(sum(sent.calls for sent in done), 'call')} of {pluralize(number, 'file')} sent"


def _tell_sent(done: Sequence[SentOutbox]) -> Iterator[str]:
    yield _count_sent(done) if done else "there is nothing to send"
    outdated = sum(sent.outdated for sent in done)
    if outdated:
        yield f"{pluralize(outdated, 'call')} came too late: the run was resumed or rewound in the meantime"
    for sent in done:
        if sent.skipped is not None:
            yield f"skipped {sent.path}: {sent.skipped}"
        if sent.refused:
            yield f"the database refused {pluralize(sent.refused, 'call')}, kept in {sent.refused_path}"
        if sent.damage is not None:
            yield f"kept {sent.path}, which is damaged: {sent.damage}"


def _tell_left(left: LeftOutboxes, told: Collection[str]) -> Iterator[str]:
    for info in left.unreadable:
        yield f"skipped {info.path}: {info.damage}"
        if info.state != "unusable":
            yield f"if it is for this database: sqltrack outbox send {shlex.quote(info.path)} --force"
    for info in left.unknown:
        yield f"skipped {info.path}: {info.reason_to_leave()}"
    if left.alive:
        yield f"{pluralize(len(left.alive), 'file')} left to their processes, which are alive and send them"
    refused = sum(info.path not in told for info in left.refused)
    if refused:
        yield f"{pluralize(refused, 'file')} left with calls that were refused before; see: sqltrack outbox"
    for target, number in left.others.items():
        yield f"{pluralize(number, 'file')} left for another database: {target}"


def _left_object(left: LeftOutboxes) -> dict[str, Any]:
    paths = {name: [info.path for info in infos] for name, infos in left._asdict().items() if name != "others"}
    return {"others": left.others, **paths}


# Dropping


def _drop(options: argparse.Namespace) -> int:
    _take_format(options)
    folders = _folders(options)
    planned = plan_drop((find_path(name, folders) for name in options.files), force=options.force)
    calls = sum(info.calls for info in planned if info.state != "sent")
    what = f"{pluralize(len(planned), 'file')} with {pluralize(calls, 'call')} not sent"
    if not options.json:
        _print(planned, "table")
    dropped = apply_if_agreed(
        options,
        f"delete {what}",
        lambda: apply_drop(planned, force=options.force),
        lambda dropped: {"done": dropped is not None, "files": list(map(_object, dropped or planned))},
    )
    if options.dry_run:
        print_note(f"{what} would be deleted")
    elif dropped is None:
        print_note("nothing was changed")
        return 1
    else:
        print_note(f"{what} deleted")
    return 0

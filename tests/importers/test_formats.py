"""Readers of foreign files take the whole part of damaged ones, and fail only for the run that is damaged."""

from __future__ import annotations

import math
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from sqltrack.errors import SQLTrackError
from sqltrack.importers import _spool, apply_import
from sqltrack.importers._event_files import RecordError, _checksums, checksum, read_records
from sqltrack.importers._foreign import BrokenRun, ForeignRun, Request, as_time
from sqltrack.importers._import import _RUN_ERRORS
from sqltrack.importers._kinds import read_runs
from sqltrack.importers._log_files import read_log
from sqltrack.importers._mlflow import parameter
from sqltrack.importers._protobuf import parse_fields
from sqltrack.importers._spool import Spool
from support.imports import DATA, event, field, record


def read_all(kind: str, path: Path) -> tuple[int, int]:
    """Read a source as an import does, and return the numbers of values and of messages.

    An error that an import does not expect fails the test.
    """
    values = messages = 0
    try:
        for found in read_runs(Request(kind, str(path))):
            if isinstance(found, BrokenRun):
                messages += 1
            elif isinstance(found, ForeignRun):
                with Spool() as spool:
                    try:
                        found.read(spool)
                    except _RUN_ERRORS:
                        messages += 1
                    rows = [row for chunk in spool.rows() for row in chunk]
                    assert sum(len(row.metrics) for row in rows) == spool.values
                    values += spool.values
                    messages += len(spool.damages) + len(spool.notes)
    except SQLTrackError:
        messages += 1
    return values, messages


def spooled(points: list[tuple[str, float, Any]]) -> list[tuple[int, float, dict[str, Any]]]:
    """Return the rows of points, joined where a row comes in several chunks."""
    rows: dict[tuple[int, float], dict[str, Any]] = {}
    with Spool() as spool:
        for name, step, value in points:
            spool.add(name, step, value)
        for chunk in spool.rows():
            for row in chunk:
                rows.setdefault((row.step, row.progress), {}).update(row.metrics)
    return [(*key, metrics) for key, metrics in rows.items()]


def test_long_runs_in_a_temporary_file_have_the_rows_of_runs_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = random.Random(1)
    values: list[Any] = [0.5, -1, 2**63, math.inf, math.nan, True, "text", "NaN", [1, None], {"a": 1.5}]
    points = [
        (numbers.choice("abc"), numbers.choice([numbers.randint(-5, 5), 0.5, 3.25]), numbers.choice(values))
        for _ in range(500)
    ]
    in_memory = spooled(points)
    monkeypatch.setattr(_spool, "_IN_MEMORY", 7)
    monkeypatch.setattr(_spool, "_ROWS", 3)
    assert repr(spooled(points)) == repr(in_memory)
    # In the order of the steps, nothing has to be sorted.
    points.sort(key=lambda point: point[1])
    assert repr(spooled(points)) == repr(in_memory)


def test_many_values_at_one_step_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_spool, "_IN_MEMORY", 100)
    monkeypatch.setattr(_spool, "_ROWS", 10)
    with Spool() as spool:
        for name in "ab":
            for number in range(1_000):
                spool.add(name, 0, number)
        chunks = list(spool.rows())
        assert max(map(len, chunks)) == 10
        assert [row.progress for row in chunks[0]] == list(range(10))


def test_the_checksum_is_that_of_the_standard() -> None:
    # RFC 3720, appendix B.4.
    assert checksum(b"123456789") == 0xE3069283
    assert checksum(bytes(32)) == 0x8A9136AA
    assert checksum(b"\xff" * 32) == 0x62A8AB43


def test_checksums_of_many_records_are_those_of_each() -> None:
    numbers = random.Random(5)
    for _ in range(20):
        items = [numbers.randbytes(numbers.choice([0, 1, 5, 30, 127, 128, 200])) for _ in range(300)]
        assert _checksums(items) == [checksum(data) for data in items]


@pytest.mark.parametrize("damaged", [0, 31, 32, 4_127, 4_128, 4_999])
@pytest.mark.parametrize("is_torn", [False, True])
def test_all_records_before_the_first_damage_are_read(tmp_path: Path, damaged: int, is_torn: bool) -> None:
    """Records are checked together, but a message names the first that is damaged."""
    records = [record(b"%d" % number * (number % 7)) for number in range(5_000)]
    path = tmp_path / "events"
    content = bytearray(b"".join(records))
    offset = sum(map(len, records[:damaged]))
    content[offset + len(records[damaged]) - 1] ^= 1
    path.write_bytes(content[:-1] if is_torn and damaged < 4_999 else content)
    found: list[bytes] = []
    with pytest.raises(RecordError, match=f"offset {offset}: a record has a wrong checksum"):
        for data in read_records(path):
            found.append(data)
    assert found == [data[12:-4] for data in records[:damaged]]


def test_an_event_file_that_is_cut_anywhere_has_its_first_values(tmp_path: Path) -> None:
    records = [record(event(step, 1000.0, [("loss", 0.5), ("acc", 0.5)])) for step in range(3)]
    content = b"".join(records)
    path = tmp_path / "events.out.tfevents.1.host"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        values, messages = read_all("tensorboard", tmp_path)
        whole = length // len(records[0])
        assert values == 2 * whole
        # An empty file is no error, but there are no others.
        assert (messages == 0) == (length % len(records[0]) == 0 and length > 0)


def test_a_file_of_wandb_that_is_cut_anywhere_has_its_first_values(tmp_path: Path) -> None:
    (source,) = (DATA / "wandb").glob("*/run-a1.wandb")
    content = source.read_bytes()
    path = tmp_path / "run-a1.wandb"
    last = 0
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        values, messages = read_all("wandb", tmp_path)
        assert last <= values <= 16
        assert messages > 0
        last = values


def log_file(records: list[bytes]) -> bytearray:
    """Return a file of W&B with records, which are split where a block ends."""
    content = bytearray(struct.pack("<4sHB", b":W&B", 0xBEE1, 0))
    for data in records:
        rest, is_first = data, True
        while rest or is_first:
            room = 32_768 - len(content) % 32_768 - 7
            part, rest = rest[:room], rest[room:]
            kind = (1 if is_first else 4) if not rest else (2 if is_first else 3)
            content += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
            is_first = False
    return content


def test_a_damaged_record_of_wandb_costs_only_that_record(tmp_path: Path) -> None:
    records = [bytes([number]) * 20_000 for number in range(9)]
    content = log_file(records)
    path = tmp_path / "run.wandb"
    for damaged in range(7, len(content), 1_999):
        changed = content.copy()
        changed[damaged] ^= 1
        path.write_bytes(changed)
        messages: list[str] = []
        found = [data for _, data in read_log(path, messages.append, messages.append)]
        assert len(messages) == 1
        # If the length of a part is damaged, the rest of its block is lost.
        assert len(found) >= len(records) - 3
        assert [data for data in records if data in found] == found


@pytest.mark.parametrize("kind", ["tensorboard", "wandb", "sacred"])
def test_files_with_wrong_bytes_raise_no_unexpected_error(kind: str, tmp_path: Path) -> None:
    numbers = random.Random(2)
    sources = [path for path in (DATA / kind).rglob("*") if path.is_file()]
    for _ in range(100):
        source = numbers.choice(sources)
        content = bytearray(source.read_bytes())
        for _ in range(numbers.randint(1, 4)):
            content[numbers.randrange(len(content))] = numbers.randrange(256)
        path = tmp_path / source.relative_to(DATA / kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        read_all(kind, tmp_path)


def test_events_with_a_right_checksum_and_wrong_content_raise_no_unexpected_error(tmp_path: Path) -> None:
    numbers = random.Random(3)
    (source,) = (DATA / "tensorboard" / "lr=0.01" / "hparams").iterdir()
    events = [event(1, 1.0, [("loss", 0.5)]), source.read_bytes()[100:300]]
    path = tmp_path / "events.out.tfevents.1.host"
    for _ in range(300):
        content = bytearray(numbers.choice(events))
        content[numbers.randrange(len(content))] = numbers.randrange(256)
        path.write_bytes(record(bytes(content)))
        read_all("tensorboard", tmp_path)


def test_tensors_with_one_number_are_scalars_and_others_are_counted(tmp_path: Path) -> None:
    metadata = field(9, field(1, field(1, "scalars")))

    def value(tag: str, *tensor: bytes) -> bytes:
        return field(1, field(1, tag) + field(8, b"".join(tensor)) + metadata)

    shape = field(2, field(2, field(1, 1)))
    values = [
        value("double", field(1, 2), field(4, struct.pack("<d", 0.1))),
        value("int64", field(1, 9), field(10, -5)),
        value("packed", field(1, 3), shape, field(7, b"\x07")),
        value("bool", field(1, 10), field(11, 1)),
        value("vector", field(1, 1), field(2, field(2, field(1, 3))), field(4, bytes(12))),
        value("string", field(1, 7), field(8, "text")),
    ]
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(record(field(1, 1.0) + field(2, 3) + field(5, b"".join(values))))
    (run,) = read_runs(Request("tensorboard", str(tmp_path)))
    assert isinstance(run, ForeignRun)
    with Spool() as spool:
        run.read(spool)
        ((row,),) = spool.rows()
        assert row.step == 3
        assert row.metrics == {"double": 0.1, "int64": -5, "packed": 7, "bool": True}
        assert [(left.what, left.count, left.where) for left in spool.left_out] == [
            ("tensors", 2, ("vector", "string"))
        ]


def test_messages_of_protocol_buffers_end_where_they_say() -> None:
    assert parse_fields(field(1, 2**63) + field(2, "x") + field(3, 0.5)) == {
        1: [2**63],
        2: [b"x"],
        3: [struct.pack("<d", 0.5)],
    }
    for damaged in (b"\x08", b"\x08" + b"\xff" * 10, b"\x0a\x05abc", b"\x0b", b"\x0d\x00"):
        with pytest.raises(ValueError, match="a message"):
            parse_fields(damaged)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("[4, 5]", [4, 5]),
        ("None", None),
        ("12345e7", "12345e7"),
        ("1_000", "1_000"),
        ("'text'", "'text'"),
        ("(", "("),
        ("[" * 5_000, "[" * 5_000),
        ("1" * 20_000, "1" * 20_000),
        ("{[]: 1}", "{[]: 1}"),
    ],
)
def test_parameters_of_mlflow_are_values_only_if_python_prints_them_so(text: str, value: Any) -> None:
    assert parameter(text) == value


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_times_out_of_range_are_none(seconds: float) -> None:
    assert as_time(seconds) is None


@pytest.mark.engines("sqlite", reason="about reading the source")
def test_a_table_with_many_runs_is_read_once(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqltrack.importers import _tables

    calls = []
    csv_rows = _tables._csv_rows
    monkeypatch.setattr(_tables, "_csv_rows", lambda *arguments: calls.append(1) or csv_rows(*arguments))
    path = tmp_path / "runs.csv"
    path.write_text("run,step,loss\n" + "".join(f"{number % 20},{number // 20},0.5\n" for number in range(60)) + "x\n")
    report = apply_import(client, "csv", str(path))
    assert [run.values for run in report.runs] == [3] * 20
    assert report.runs[0].problems == [f"{str(path)!r}, line 62: 1 fields instead of 3"]
    # Once more to look at the names of the columns.
    assert len(calls) == 2

"""Columns and pages are made natively: what is read back, by other people's readers, is what was recorded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import emu.trace
from emu.cli.main import main
from emu.trace.batch import Batch, KernelKind, Note
from emu.trace.columns import COLUMNS, NAMES, Column, arrow_schema
from emu.trace.encoder import Encoded
from emu.trace.formats import parquet
from emu.trace.formats.pages import MAGIC, Pages
from emu.trace.header import make_header
from emu.trace.schema import Schema
from emu.trace.tabulator import Tabulator
from mmu.event_table import EVENT_COLUMNS, Events
from mmu.events import EventKind
from mmu.registers import Access

#: Of each type of column one, as the file has it: a number, one of few bits, one with a sign.
WORD, BYTE, SIGNED = (
    next(column for column in COLUMNS if column.type == type_) for type_ in ("uint64", "uint8", "int64")
)
#: Lengths around what is packed at once: eight numbers, runs of sixteen, 63 groups, blocks of 128, miniblocks of 32.
LENGTHS = (1, 7, 8, 9, 15, 16, 17, 31, 33, 127, 128, 129, 130, 504, 505, 512, 1000)
UPPER = 0xFFFF_8000_0000_0000


def written(column: Column, rows: int, has: npt.NDArray[np.bool_], values: Any, dictionary: Any) -> pa.ChunkedArray:
    """A column of a file, all others of which are empty, as pyarrow reads it."""
    pages = Pages(max(rows, 1), ["seq", column.name])
    nothing = np.zeros((rows + 7) >> 3, np.uint8)
    valid = np.packbits(has, bitorder="little")
    empty, none = np.zeros(0, np.uint32), np.zeros(0, np.uint64)
    encoded = [
        Encoded(other, rows, valid, values, dictionary)
        if other is column
        else Encoded(other, rows, nothing, empty, none)
        for other in COLUMNS
    ]
    group = pages.group(len(MAGIC), encoded)
    file = MAGIC + group + pages.end(len(MAGIC) + len(group), {}, "test")
    return pq.read_table(pa.BufferReader(file)).column(column.name)


def expected(has: npt.NDArray[np.bool_], values: Any) -> list[Any]:
    left = iter(values)
    return [next(left) if one else None for one in has.tolist()]


def shapes(count: int) -> Iterator[npt.NDArray[np.uint32]]:
    """Indices: all the same, all different, in runs, by chance with runs."""
    chance = np.random.default_rng(count)
    yield np.zeros(count, np.uint32)
    yield np.arange(count, dtype=np.uint32)
    yield (np.arange(count) // 20).astype(np.uint32)
    yield np.repeat(np.arange(count), chance.integers(1, 40, count))[:count].astype(np.uint32)


@pytest.mark.parametrize("count", LENGTHS)
def test_indices_of_every_length(count: int) -> None:
    for indices in shapes(count):
        distinct = int(indices.max()) + 1
        dictionary = UPPER + np.arange(distinct, dtype=np.uint64) * np.uint64(4097)
        has = np.random.default_rng(1).integers(0, 3, count * 2) > 0
        has[np.flatnonzero(has)[count:]] = False
        indices = indices[: has.sum()]
        found = written(WORD, len(has), has, indices, dictionary)
        assert found.to_pylist() == expected(has, dictionary[indices].tolist())


@pytest.mark.parametrize("count", LENGTHS)
@pytest.mark.parametrize("largest", [1, 2, 1 << 31, (1 << 63) - 1, (1 << 64) - 1])
def test_differences_of_every_length_and_width(count: int, largest: int) -> None:
    """They fall too, and by more than a number with a sign has."""
    values = np.random.default_rng(count).integers(0, largest, count, np.uint64, endpoint=True)
    assert written(WORD, count, np.ones(count, bool), values, None).to_pylist() == values.tolist()
    assert written(WORD, count, np.ones(count, bool), np.sort(values), None).to_pylist() == sorted(values.tolist())


@pytest.mark.parametrize("rows", LENGTHS)
def test_which_rows_have_a_value(rows: int) -> None:
    chance = np.random.default_rng(rows)
    for has in (
        np.ones(rows, bool),
        np.arange(rows) % 40 < 20,
        np.arange(rows) // 16 % 2 > 0,
        chance.random(rows) < 0.5,
    ):
        indices = np.zeros(has.sum(), np.uint32)
        assert written(BYTE, rows, has, indices, np.array([7], np.uint64)).to_pylist() == expected(has, [7] * rows)


def test_numbers_with_a_sign() -> None:
    dictionary = np.array([5, -3, -(1 << 63)], np.int64).view(np.uint64)
    found = written(SIGNED, 3, np.ones(3, bool), np.arange(3, dtype=np.uint32), dictionary)
    assert found.to_pylist() == [5, -3, -(1 << 63)]


# -- whole traces ------------------------------------------------------------------------------------------------------


def by_chance(count: int, seed: int) -> Events:
    """Records of the MMU's kinds whose every field is by chance, but as the machine makes them."""
    chance = np.random.default_rng(seed)
    records = chance.integers(0, 256, count * EVENT_COLUMNS.itemsize, np.uint8).view(EVENT_COLUMNS)
    few = chance.integers(0, 1 << 64, 50, np.uint64)
    for name in ("vaddr", "paddr", "entry_1", "entry_2", "rip", "cr3"):
        records[name] = few[chance.integers(0, 50, count)]
    records["entry_3"] *= chance.integers(0, 2, count, np.uint64)
    records["kind"] = chance.integers(1, 8, count)
    records["level"] = np.where(
        records["kind"] == EventKind.ACCESS, chance.integers(0, 3, count), chance.integers(1, 5, count)
    )
    records["rights"] = chance.integers(0, 8, count)
    records["access"] = chance.integers(0, len(Access), count)
    records["resolved"] = chance.integers(0, len(NAMES["resolved"]), count)
    records["cpl"], records["shared_level"] = chance.integers(0, 4, count), chance.integers(0, 4, count)
    records["length"] *= chance.integers(0, 2, count, np.uint64)
    return records


def has_and_values(column: Column, records: Events) -> tuple[npt.NDArray[np.bool_], Any]:
    """Which rows have a column, and the values of all, as numpy has them: the schema in other words."""
    kind, level, walk = records["kind"], records["level"], records["kind"] == EventKind.WALK
    faulted = walk & (records["rights"] == 0)
    has = np.isin(kind, [int(one) for one in column.kinds])
    if column.name == "page_size":
        return has & ~faulted, np.array([0, 1 << 12, 1 << 21, 1 << 30, 0])[level]
    if column.name == "cached_level":
        first = level.copy()
        for number in range(2, 5):
            first[records[f"entry_{number}"] != 0] = number
        return has & (first < 4), first + 1
    values = records[column.of].astype("uint64" if column.type == "dict" else column.type)
    if column.name in NAMES:
        values = np.array(NAMES[column.name])[values]
    elif column.name == "event":
        values = np.array([kind.name.lower() for kind in EventKind])[values - 1]
    if column.name in ("pid", "tid", "size", "tlb_level", "shared_level", "first_pid"):
        has &= records[column.of] != 0
    elif column.name.startswith("entry_") and column.name != "entry_paddr":
        has &= (records[column.of] != 0) | (level == int(column.name[-1]))
    elif column.name == "vaddr":
        has &= (kind != EventKind.FLUSH) | (records["length"] != 0)
    elif column.name in ("paddr", "rights"):
        has &= ~faulted & ((kind != EventKind.ACCESS) | (level != 0))
    elif column.name == "error_code":
        has &= ~walk | faulted
    return has, values


def sized(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(parquet, "ROWS", rows)


def file_of(batches: list[Batch], path: Path) -> pa.Table:
    """The batches as a file, read by pyarrow."""
    with path.open("wb") as file:
        sink = parquet.Parquet(file.write)
        schema = Schema()
        sink.begin(make_header(schema, unimmu="0", command=["x"], memory_bytes=1 << 20, seed=0), schema, 4)
        for batch in batches:
            sink.write(batch)
        sink.end()
    return pq.read_table(path)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 300, 3000])
def test_records_by_chance(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, 1000)
    records = by_chance(count, count)
    cuts = [0, *sorted({count // 3, count // 2, count})]
    batches = [Batch(records[a:b], []) for a, b in itertools.pairwise(cuts) if a < b]
    table = file_of(batches, tmp_path / "t.parquet")
    assert table.schema.equals(arrow_schema())
    tabulated = Tabulator(4).table(Batch(records, []))
    for column in COLUMNS:
        found = table.column(column.name).to_pylist()
        assert found == tabulated.column(column.name).to_pylist(), column.name
        if not column.of or column.name in ("call", "result", "errno", "other_tid"):
            assert not any(found)
            continue
        has, values = has_and_values(column, records)
        assert found == [value if one else None for one, value in zip(has, values.tolist(), strict=True)], column.name


def test_where_row_groups_end_changes_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And batches, in which records of the kernel's events are, change nothing at all."""
    records = by_chance(1000, 7)
    records["kind"][::7] = EventKind.NOTE
    records["kind"][3::50] = 16  # a call begins
    records["error_code"][3::50], records["size"][3::50] = 1, 3
    notes = [Note("mark", {"text": f"number {number}"}) for number in range(int((records["kind"] == 8).sum()))]
    batch = Batch(records, notes, {1: "write"})
    whole = file_of([batch], tmp_path / "whole.parquet")
    sized(monkeypatch, 100)
    files = [tmp_path / "one.parquet", tmp_path / "many.parquet"]
    one, many = file_of([batch], files[0]), file_of([*batch.cut(33, 77)], files[1])
    assert pq.read_metadata(files[0]).num_row_groups == 10
    assert files[0].read_bytes() == files[1].read_bytes()
    assert whole.to_pylist() == one.to_pylist() == many.to_pylist()
    details = [row["detail"] for row in whole.to_pylist() if row["event"] == "mark"]
    assert details == [note.detail for note in notes]


@pytest.mark.parametrize("distinct", [1, 40, 5000])
def test_calls_that_come_again(distinct: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of calls with the same arguments is kept, for fewer than there may be."""
    sized(monkeypatch, 4000)
    chance = np.random.default_rng(distinct)
    records = by_chance(9000, 5)
    calls = np.flatnonzero(chance.random(9000) < 0.8)
    which = chance.integers(0, distinct, len(calls))
    records["kind"][calls], records["error_code"][calls] = KernelKind.SYSCALL_ENTER, which % 3
    records["size"][calls] = which % 7
    for number, name in enumerate(("entry_1", "entry_2", "entry_3", "entry_4", "entry_5", "old")):
        records[name][calls] = np.where(number < which % 7, which * (number + 1), 0)
    marks = np.flatnonzero(chance.random(9000) < 0.01)
    records["kind"][marks] = EventKind.NOTE
    notes = [Note("mark", {"text": f"number {number}"}) for number in range(len(marks))]
    batch = Batch(records, notes, {0: "read", 1: "write", 2: "open"})
    found = file_of([*batch.cut(700, 1100)], tmp_path / "t.parquet").column("detail").to_pylist()
    told = dict(zip(batch.told.tolist(), batch.kernel_events(batch.told), strict=True))
    assert found == [told[row].detail if row in told else None for row in range(9000)]
    assert len({*found}) > min(distinct, 3000)


def test_a_trace_without_an_event(tmp_path: Path) -> None:
    assert file_of([], tmp_path / "t.parquet").num_rows == 0


def test_readers_leave_row_groups_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the least and largest values of the columns that are sought."""
    sized(monkeypatch, 100)
    records = by_chance(200, 3)
    records["seq"] = np.arange(200)
    file_of([Batch(records, [])], tmp_path / "t.parquet")
    group = pq.read_metadata(tmp_path / "t.parquet").row_group(1)
    found = {group.column(at).path_in_schema: group.column(at).statistics for at in range(group.num_columns)}
    assert (found["seq"].min, found["seq"].max, found["seq"].null_count) == (100, 199, 0)
    has, values = has_and_values(COLUMNS[[column.name for column in COLUMNS].index("vaddr")], records[100:])
    assert (found["vaddr"].min, found["vaddr"].max) == (min(values[has].tolist()), max(values[has].tolist()))
    assert found["vaddr"].null_count == int((~has).sum())
    assert found["rip"] is None


WORDS = {
    "region": ["--mount", "msharefs:/sys/fs/mshare", "region_stress", "3", "2", "64K"],
    "gups": ["gups", "1M", "2000"],
    "threads": ["threads", "3", "20"],
}


@pytest.mark.parametrize("name", WORDS)
def test_the_lines_of_the_same_run_say_the_same(name: str, tmp_path: Path) -> None:
    """Lines of JSON are made another way; the same run twice gives the same bytes."""
    table, again, lines = tmp_path / "t.parquet", tmp_path / "again.parquet", tmp_path / "t.jsonl"
    for path in (table, again, lines):
        assert main(["run", "--trace", str(path), *WORDS[name]]) == 0
    assert table.read_bytes() == again.read_bytes()
    rows = emu.trace.open(table).arrow().to_pylist()
    events = [json.loads(line) for line in lines.read_text().splitlines()[1:]]
    assert len(rows) == len(events) > 100
    for row, event in zip(rows, events, strict=True):
        for field, value in event.items():
            if field == "entries":
                assert {
                    f"{level}": hex(row[f"entry_{level}"])
                    for level in (4, 3, 2, 1)
                    if row[f"entry_{level}"] is not None
                } == {level: hex(int(entry, 16)) for level, entry in value.items()}
            elif field in row and not (row["event"] in ("link", "unlink") and field == "level"):
                shown = int(value, 16) if isinstance(value, str) and value.startswith("0x") else value
                assert row[field] == shown, (field, row, event)


def test_more_names_than_sixteen_bits_have_numbers(tmp_path: Path) -> None:
    """A guest may give 33,000 calls that there are not, and 33,000 regions a name each."""
    header = {"format": "unimmu-trace", "version": 2, "unimmu": "0", "command": ["/bin/prog"], "memory_bytes": 1 << 20,
              "seed": 0}  # fmt: skip
    many = 33_000
    link = {
        "pid": 1, "tid": 1, "rip": "0x0", "event": "link", "level": "pmd", "vaddr": "0x20000000000", "length": 1 << 30,
        "entry_level": "pud", "entry_paddr": "0x14000", "before": "0x0", "after": "0x11027",
        "host_entry_paddr": "0x10000", "host_entry": "0x11027", "sharers": 2,
    }  # fmt: skip
    events = [{"seq": seq, "clock": seq, "time": seq, **link, "region": f"r{seq}"} for seq in range(many)]
    lines, table = tmp_path / "t.jsonl", tmp_path / "t.parquet"
    lines.write_text("".join(f"{json.dumps(line)}\n" for line in [header, *events]))
    assert main(["trace", "convert", str(lines), str(table)]) == 0
    for path in (lines, table):
        assert emu.trace.open(path).arrow(["region"]).column("region").to_pylist() == [f"r{seq}" for seq in range(many)]
    assert pq.read_table(table).column("region")[-1].as_py() == f"r{many - 1}"

"""Batches of accesses, and the files that keep them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emu.lab.batch import CONTROL, FIELDS, Batch, Op, Register, StreamError, controls_of, joined
from emu.lab.soundness import MOST_ROWS
from emu.lab.stream import open_stream
from emu.lab.stream_file import FORMAT_KEY, FORMAT_VERSION, SCHEMA, StreamWriter, facts_of, read_pages
from emu.trace.arrow import arrow_of

ROOT = Path(__file__).resolve().parents[2]
TOP = (1 << 64) - 1
SHIFTS = np.array([0, 12, 21, 30], np.uint8)


def some(length: int, seed: int) -> Batch:
    """Accesses at random, in the upper half of the address space too, with controls before, between and behind."""
    random = np.random.default_rng(seed)
    columns = {name: random.integers(0, np.iinfo(kind).max, length, kind) for name, kind in FIELDS.items()}
    columns["kind"], columns["shift"] = random.integers(0, 3, length, np.uint8), random.choice(SHIFTS, length)
    columns["vaddr"][: length // 2] |= np.uint64(1 << 63)
    rows = [(0, Op.TURN, 1, 0, 0), (length // 2, Op.ENTRY, 1, TOP - 7, TOP), (length, Op.INVLPG, 3, TOP - 4095, 4)]
    return Batch.of(controls_of(rows), **columns)


def same(one: Batch, other: Batch) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in (*FIELDS, "controls")
    )  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    batches = [
        some(1000, 1),
        some(100_000, 5),
        some(7, 2),
        Batch.of(vaddr=[1 << 47]),
        Batch.of(controls_of([(0, Op.CR3, 0, 1, 0)])),
    ]
    writer = StreamWriter(str(path), {"program": "gups"})
    for batch in batches:
        writer.write(batch)
    writer.close()
    read = [*open_stream(path)]
    assert len(read) == len(batches) + 1, "a batch of more than 65536 pages is written as two"
    read[1:3] = [joined(read[1:3])]
    assert all(same(one, other) for one, other in zip(batches, read, strict=True))
    assert facts_of(str(path)) == {"program": "gups"}


def test_what_is_not_asked_for_is_zero(tmp_path: Path) -> None:
    path, batch = tmp_path / "s.parquet", some(100, 3)
    writer = StreamWriter(str(path))
    writer.write(batch)
    writer.close()
    (read,) = open_stream(path, ("page", "kind"))
    assert np.array_equal(read.vaddr, batch.vaddr & np.uint64(TOP - 4095)) and np.array_equal(read.kind, batch.kind)
    assert not read.rip.any() and np.array_equal(read.controls, batch.controls)


def test_a_batch_has_arrays_of_one_length() -> None:
    with pytest.raises(ValueError, match="of a batch of 2: "):
        Batch.of(vaddr=[1, 2], rip=[1, 2, 3])
    with pytest.raises(TypeError, match="no vadr"):
        Batch.of(vadr=[1])
    assert Batch.of(vaddr=[1]).controls.dtype == CONTROL


def test_what_is_no_stream_is_said(tmp_path: Path) -> None:
    other, broken = tmp_path / "other.parquet", tmp_path / "broken.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    broken.write_bytes(b"PAR1 and nothing else")
    for path, what in (
        (other, "no column of addresses"),
        (broken, "broken.parquet: "),
        (tmp_path / "x.txt", "its name"),
    ):
        with pytest.raises(StreamError, match=what) as raised:
            list(open_stream(path))
        assert "\n" not in str(raised.value)


def rewritten(path: Path, schema: pa.Schema, tables: list[pa.Table]) -> None:
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table.cast(schema), row_group_size=len(table))


@pytest.mark.parametrize("read", [open_stream, read_pages])
@pytest.mark.parametrize(
    ("register", "value"),
    [
        (Register.CR0, 0x11),
        (Register.CR4, 0),
        (Register.EFER, 1 << 11),
        (Register.PKRU, 1 << 32),
        (Register.CPL, 4),
        (Register.MAXPHYADDR, 53),
        (6, 0),
    ],
)
def test_registers_that_no_processor_has(
    read: Callable[[str], Iterator[object]], register: int, value: int, tmp_path: Path
) -> None:
    path = str(tmp_path / "a.parquet")
    writer = StreamWriter(path)
    writer.write(Batch.of(controls_of([(0, Op.REGISTER, 0, register, value)]), vaddr=[0x1000]))
    writer.close()
    with pytest.raises(StreamError, match=f"a.parquet: register {int(register)} cannot be {value:#x}: "):
        list(read(path))


def test_registers_that_are_loaded_without_end(tmp_path: Path) -> None:
    """Each load would concern every vCPU of every model."""
    path = str(tmp_path / "a.parquet")
    for number in (1024, 1025):
        writer = StreamWriter(path)
        rows = [(0, Op.REGISTER, 0, Register.CPL, at & 3) for at in range(number)]
        writer.write(Batch.of(controls_of(rows), vaddr=[0x1000]))
        writer.close()
        if number == 1024:
            assert sum(map(len, open_stream(path))) == 1
    with pytest.raises(StreamError, match="registers are loaded 1025 times; no more than 1024 times are believed"):
        list(open_stream(path))


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("page", 65535, "is of page 65535 of"),
        ("access", 255, "of no kind"),
        ("at", 4_000_000_000, "not in the order"),
        ("op", 77, "nothing that is known"),
        ("op", 8, "register"),
        ("a", 7, "multiple of 8"),
    ],
)
def test_a_damaged_stream_is_no_stream(column: str, value: int, what: str, tmp_path: Path) -> None:
    path, damaged = tmp_path / "a.parquet", tmp_path / "b.parquet"
    writer = StreamWriter(str(path))
    writer.write(some(300, 1))
    writer.close()
    file, tables = pq.ParquetFile(path), []
    for group in range(file.metadata.num_row_groups):
        table = file.read_row_group(group)
        rows = table.to_pylist()
        for row in rows:
            if row["op"] == Op.ENTRY or (column in ("page", "access") and row["op"] == 0):
                row[column] = value
        tables.append(pa.Table.from_pylist(rows, table.schema))
    rewritten(damaged, file.schema_arrow, tables)
    for read in (lambda: list(open_stream(damaged)), lambda: list(read_pages(str(damaged)))):
        with pytest.raises(StreamError, match=what) as raised:
            read()
        assert str(raised.value).count(str(damaged)) == 1 and "\n" not in str(raised.value)


def test_what_a_stream_claims_is_not_believed(tmp_path: Path) -> None:
    path, long = tmp_path / "a.parquet", MOST_ROWS + 1
    columns = [
        pa.nulls(long, each.type) if each.nullable else pa.repeat(pa.scalar(0, each.type), long) for each in SCHEMA
    ]
    facts = {FORMAT_KEY: FORMAT_VERSION}
    rewritten(path, SCHEMA.with_metadata(facts), [pa.Table.from_arrays(columns, schema=SCHEMA)])
    with pytest.raises(StreamError, match="row group 0 has"):
        list(open_stream(path))
    for name, text in (("memory_bytes", b"abc"), ("memory_bytes", b"\xff"), ("memory_bytes", b"1"), ("seed", b"x")):
        rewritten(path, SCHEMA.with_metadata({**facts, name.encode(): text}), [])
        with pytest.raises(StreamError):
            facts_of(str(path))
    rewritten(path, pa.schema([("vaddr", pa.uint64())], facts), [])
    with pytest.raises(StreamError, match="columns are not those"):
        facts_of(str(path))
    rewritten(path, SCHEMA.with_metadata({FORMAT_KEY: b"\xff"}), [])
    with pytest.raises(StreamError, match="format version"):
        facts_of(str(path))


def test_numbers_that_do_not_fit_are_no_others() -> None:
    assert arrow_of(np.array([0, 255], np.uint64), pa.uint8()).to_pylist() == [0, 255]
    assert arrow_of(np.array([], np.uint64), pa.int8()).to_pylist() == []
    for numbers in ([256], [-1, 0]):
        with pytest.raises(OverflowError, match="do not fit into uint8"):
            arrow_of(np.array(numbers, np.int64), pa.uint8())


def test_a_stream_is_written_and_read_without_pandas(tmp_path: Path) -> None:
    """pyarrow would import it, where it is installed, to see whether arrays are its own: 0.3 s of each command."""
    program = (
        "import sys; from emu.cli.main import main; stream = sys.argv[1]; tlb = ['--tlb', 'textbook'];"
        "sys.exit(main(['run', '--record', stream, 'hello']) or main(['tlb', 'sim', *tlb, stream])"
        " or main(['tlb', 'sim', *tlb, sys.argv[2]]) or 'pandas' in sys.modules)"
    )
    (tmp_path / "a.csv").write_text("0x1000\n0x2000\n")
    command = [sys.executable, "-c", program, str(tmp_path / "a.parquet"), str(tmp_path / "a.csv")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

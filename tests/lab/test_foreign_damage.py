"""Damaged and hostile streams of other tools: a line says what is wrong, and memory stays what it was."""

from __future__ import annotations

import io
import os
import resource
import struct
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emu.lab.batch import StreamError
from emu.lab.page_policy import Frames
from emu.lab.stream import open_stream
from tests.lab.test_foreign import rows_of

_HEADER, _PID, _LOAD = 25, 24, 0


def refused(path: Path) -> str:
    """What is said of a file."""
    with pytest.raises(StreamError) as raised:
        list(open_stream(path))
    said = str(raised.value)
    assert said.startswith(str(path)) and "\n" not in said and len(said) < len(str(path)) + 200
    return said.removeprefix(f"{path}: ")


def record(kind: int, size: int, value: int) -> bytes:
    return struct.pack("<HHQ", kind, size, value)


def archive(**chunks: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in chunks.items():
            zipped.writestr(name.replace("_", "."), data)
    return file.getvalue()


def test_each_bit_of_an_archive(tmp_path: Path) -> None:
    path, data = tmp_path / "a.memtrace.zip", archive(chunk_0=record(_HEADER, 0, 1) + record(_LOAD, 8, 0x1000) * 9)
    refusals = 0
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x5A]) + data[at + 1 :])
        try:
            assert len(rows_of(open_stream(path))) == 9
        except (StreamError, OSError):
            refusals += 1
    assert refusals > 20


def test_a_chunk_of_bzip2_that_is_damaged(tmp_path: Path) -> None:
    """bz2 raises an OSError, which is none of the disk's."""
    path, file = tmp_path / "a.memtrace.zip", io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as zipped:
        zipped.writestr("chunk.0", record(_HEADER, 0, 1) * 500)
    data = bytearray(file.getvalue())
    begin = data.index(b"1AY&SY")
    data[begin + 20 : begin + 30] = bytes(10)
    path.write_bytes(data)
    assert refused(path) == "chunk.0: Invalid data stream"


@pytest.mark.parametrize("data", [b"", archive(), archive(other=record(_HEADER, 0, 1))])
def test_a_memtrace_without_records_is_none(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / ("a.memtrace.zip" if data else "a.memtrace")
    path.write_bytes(data)
    assert refused(path) == "there is no record in it"


def test_each_byte_of_a_table(tmp_path: Path) -> None:
    path, bad = tmp_path / "a.parquet", tmp_path / "bad.parquet"
    pq.write_table(pa.table({"kind": ["load", "store"], "vaddr": [0x1000, 0x2000]}), path)
    data = path.read_bytes()
    for at in range(0, len(data), 5):
        bad.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            list(open_stream(bad))
        except StreamError as error:
            assert str(error).startswith(f"{bad}: ") and "\n" not in str(error)


def test_an_operand_is_in_all_its_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"vaddr": [0x1FFF, 0x9000, 0xFFFF_FFFF], "size": [0x2002, 8, 1]}), path)
    assert [row[1] for row in rows_of(open_stream(path))] == [0x1FFF, 0x2000, 0x3000, 0x4000, 0x9000, 0xFFFF_FFFF]
    for size in (-1, 1 << 40):
        pq.write_table(pa.table({"vaddr": [0x1000], "size": [size]}), path)
        assert "is not believed" in refused(path)


def test_no_two_processes_are_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"vaddr": [1, 2], "pid": [1, 1 + (1 << 32)]}), path)
    assert refused(path).removeprefix(str(path)) == ", row 2: 4294967297 is no pid: it is below 0 or above 4294967295"
    path = tmp_path / "a.memtrace"
    path.write_bytes(record(_HEADER, 0, 1) + record(_PID, 0, 1 + (1 << 32)) + record(_LOAD, 8, 0x1000))
    assert "a process has a number above" in refused(path)


def test_columns_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = [pa.array([0x1000]), pa.array([1]), pa.array([0])]
    pq.write_table(pa.Table.from_arrays(columns, ["vaddr", "vaddr", "kind"]), path)
    assert refused(path) == "several columns are called vaddr"


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.champsim"])
def test_a_pipe_is_no_stream(name: str, tmp_path: Path) -> None:
    """It cannot be read twice; and nobody may be there who writes."""
    os.mkfifo(tmp_path / name)
    assert refused(tmp_path / name) == "not a regular file, which can be read twice"


def test_a_mark_of_the_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfvaddr,kind\n0x1000,store\n")
    assert rows_of(open_stream(path)) == [(1, 0x1000, 0)]
    path.write_bytes(b"vaddr\n" + b"1" * 100_000 + b"\n")
    assert "is no vaddr" in refused(path)


def test_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.lackey"
    with path.open("wb") as file:
        file.truncate(200 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "no line of lackey's" in refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10


def test_addresses_of_frames_have_64_bits(tmp_path: Path) -> None:
    path = tmp_path / "v2p.textproto"
    path.write_text("page_size: 4096\nvirtual_address: 99999999999999999999\nphysical_address: 0\n")
    with pytest.raises(StreamError, match="more than 64 bits"):
        Frames.read(str(path))

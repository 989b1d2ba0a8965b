"""Streams of other tools, and the page tables that a policy makes for them."""

from __future__ import annotations

import gzip
import lzma
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emu.cli.lab import tables
from emu.cli.main import main
from emu.lab.batch import Batch, Op, StreamError
from emu.lab.page_policy import TABLE_BYTES, Frames, PageMapper, PagePolicy
from emu.lab.simulation import Simulation
from emu.lab.stream import has_tables, open_stream
from emu.trace.formats.registry import BY_NAME
from emu.trace.recorder import Recorder
from mmu.geometry import Geometry
from mmu.presets import load_preset
from tests.lab.recorded import Story, counted

TOP = (1 << 64) - 1
Rows = list[tuple[int, int, int]]


def rows_of(batches: Iterable[Batch]) -> Rows:
    """(kind, address, RIP) of each access."""
    return [row for one in batches for row in zip(one.kind.tolist(), one.vaddr.tolist(), one.rip.tolist(), strict=True)]


def simulated(geometry: Geometry, batches: Iterable[Batch], policy: PagePolicy = PagePolicy.FOUR_K) -> dict[str, int]:
    """The events of a model."""
    simulation = Simulation([geometry], TABLE_BYTES)
    for batch in PageMapper(policy).mapped(iter(batches)):
        simulation.add(batch)
    found: dict[str, int] = simulation.figures()[0]["perf"]
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run, in each format that we write; and what was counted."""
    found = {}
    for name in ("champsim", "memtrace", "lackey"):
        machine = Story("gups", ("1M", "300")).machine("zen4")
        path = tmp_path_factory.mktemp("traces") / f"t.{name}"
        with path.open("wb") as file:
            sink = BY_NAME[name].sink(file.write)
            recorder = Recorder(machine, sink, command=["gups"], seed=0, version="", accesses=True)
            machine.run()
            recorder.finish()
        found[name] = path
    return found


def test_what_we_write_is_read_the_same(written: dict[str, Path]) -> None:
    machine = Story("gups", ("1M", "300")).machine("zen4")
    machine.run()
    live = counted(machine)["perf"]
    read = {name: rows_of(open_stream(path)) for name, path in written.items()}
    data = [row for row in read["memtrace"] if row[0] != 2]
    assert len(data) == live["dTLB-loads"] + live["dTLB-stores"]
    assert read["champsim"] == read["lackey"] and [row for row in read["lackey"] if row[0] != 2] == data
    for path in written.values():
        perf = simulated(load_preset("zen4"), open_stream(path))
        assert perf["dTLB-load-misses"] == live["dTLB-load-misses"]
        assert perf["DTLB_LOAD_MISSES.STLB_HIT"] == live["DTLB_LOAD_MISSES.STLB_HIT"]


def test_compressed_files_are_read(written: dict[str, Path], tmp_path: Path) -> None:
    for name, pack, suffix in (("champsim", lzma.compress, ".xz"), ("lackey", gzip.compress, ".gz")):
        packed = tmp_path / f"t.{name}{suffix}"
        packed.write_bytes(pack(written[name].read_bytes()))
        assert rows_of(open_stream(packed)) == rows_of(open_stream(written[name]))
        packed.write_bytes(packed.read_bytes()[:-20])
        with pytest.raises(StreamError, match=packed.name):
            list(open_stream(packed))
    data, archive = written["memtrace"].read_bytes(), tmp_path / "t.trace.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for number, begin in enumerate(range(0, len(data), 12 * 500)):
            file.writestr(f"chunk.{number:04}", data[begin : begin + 12 * 500])
        file.writestr("encodings", b"other things")
    assert rows_of(open_stream(archive)) == rows_of(open_stream(written["memtrace"]))


def test_lackeys_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.lackey"
    path.write_text(
        "==1== Lackey\nI  04001000,3\n S 1ffeffe7e8,8\n M 1ffefffffc,8\n L ffffffffff600ffc,16\nI  04001ffe,4\nhello\n"
    )
    assert rows_of(open_stream(path)) == [
        (2, 0x4001000, 0x4001000), (1, 0x1FFEFFE7E8, 0x4001000), (1, 0x1FFEFFFFFC, 0x4001000),
        (1, 0x1FFF000000, 0x4001000), (0, 0xFFFFFFFFFF600FFC, 0x4001000), (0, 0xFFFFFFFFFF601000, 0x4001000),
        (2, 0x4001FFE, 0x4001FFE), (2, 0x4002000, 0x4001FFE),
    ]  # fmt: skip
    path.write_text("nothing of lackey's\n")
    with pytest.raises(StreamError, match="no line of lackey's"):
        list(open_stream(path))


def test_processes_of_a_memtrace(tmp_path: Path) -> None:
    path = tmp_path / "t.memtrace"
    rows = [
        (25, 0, 7),
        (28, 12, 7),
        (22, 4, 9),
        (24, 4, 8),
        (47, 8, 0),
        (49, 4, 0x1000),
        (0, 8, 0x5FFC),
        (24, 4, 7),
        (1, 1, 9),
    ]
    path.write_bytes(b"".join(struct.pack("<HHQ", *row) for row in rows))
    (batch,) = open_stream(path)
    assert rows_of([batch]) == [(2, 0x1000, 0x1000), (0, 0x5FFC, 0x1000), (0, 0x6000, 0x1000), (1, 9, 0x1000)]
    assert batch.pid.tolist() == batch.space.tolist() == [8, 8, 8, 7]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StreamError, match="the last record has 11 of 12 bytes"):
        list(open_stream(path))
    path.write_bytes(bytes(24))
    with pytest.raises(StreamError, match="no header"):
        list(open_stream(path))


def test_tables_of_addresses(tmp_path: Path) -> None:
    csv, plain = tmp_path / "t.csv", tmp_path / "t.parquet"
    csv.write_text("pid,Address,kind,size\n7,0xffffffff80000ffc,store,8\n7,4096,R,1\n")
    (batch,) = open_stream(csv)
    assert rows_of([batch]) == [(1, TOP - 0x7FFFF003, 0), (1, TOP - 0x7FFFEFFF, 0), (0, 4096, 0)]
    assert batch.pid.tolist() == [7, 7, 7]
    csv.write_text("0x1000\n12288\n")
    assert rows_of(open_stream(csv)) == [(0, 0x1000, 0), (0, 0x3000, 0)]
    pq.write_table(pa.table({"addr": pa.array([TOP, 5], pa.uint64()), "kind": ["fetch", "load"]}), plain)
    assert rows_of(open_stream(plain)) == [(2, TOP, 0), (0, 5, 0)] and not has_tables(plain)
    for text, what in (
        ("address\n12x\n", ":2: '12x' is no vaddr"),
        ("1\n\n0x2\n\n0x3x\n", ":5: '0x3x' is no vaddr"),
        ("pid,vaddr\n5,1\n4294967296,1\n", ":3: 4294967296 is no pid"),
        ("pid,vaddr\n5,1\n,1\n", ":3: '' is no pid"),
        ("page\n1\n", "no column of addresses"),
        ("vaddr,kind\n1,jump\n", ":2: 'jump' is no kind"),
        ("vaddr,pid\n1\n", "Expected 2 columns"),
    ):
        csv.write_text(text)
        with pytest.raises(StreamError, match=what):
            list(open_stream(csv))


# -- policies


def test_pages_are_mapped_when_they_are_used() -> None:
    batch = Batch.of(vaddr=[0x1000, 0x2000, TOP - 4095, 0x1008], kind=[0, 1, 2, 1], space=[0, 0, 0, 1])
    for policy, walked in (
        (PagePolicy.FOUR_K, "_4K"), (PagePolicy.THP, "_2M_4M"), (PagePolicy.ONE_G, "_1G"), (PagePolicy.IDENTITY, "_4K"),
    ):  # fmt: skip
        perf = simulated(load_preset("textbook"), [batch], policy)
        assert perf["dTLB-loads"] == 1 and perf["dTLB-stores"] == 2 and perf["iTLB-loads"] == 1
        walks = [
            perf[f"{kind}.WALK_COMPLETED{walked}"] for kind in ("DTLB_LOAD_MISSES", "DTLB_STORE_MISSES", "ITLB_MISSES")
        ]
        assert sum(walks) == (4 if walked == "_4K" else 3), policy
    (mapped,) = PageMapper(PagePolicy.IDENTITY).mapped(iter([batch]))
    leaves = {int(one["b"]) & 0xFFFF_FFFF_F000 for one in mapped.controls if one["op"] == Op.ENTRY}
    assert {0x1000, 0x2000, 0xFFFF_FFFF_F000} <= leaves
    assert (mapped.shift == 12).all()


V2P = """page_size: 0x200000
page_count: 2
bytes_mapped: 4194304
address_mapping {
  virtual_address: 0x7f0000200000
  physical_address: 0x40000000
}
address_mapping {
  virtual_address: 0x400000
  physical_address: 2097152
}
"""


def test_each_policy_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tlb", "sim", "--help"]) == 0
    assert "{" + ",".join(policy.value for policy in PagePolicy) + "}" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["textbook", "zen4"])  # one walks what has been made, the other a copy
def test_tables_take_no_more_than_the_host_has(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each address space has four tables."""
    monkeypatch.setattr(tables, "available_memory", lambda: 8 << 20)
    rows = {number: "".join(f"{pid},0x400000\n" for pid in range(1, number + 1)) for number in (200, 2000)}
    for number, text in rows.items():
        path = tmp_path / f"{number}.csv"
        path.write_text(f"pid,address\n{text}")
        status = main(["tlb", "sim", str(path), "--tlb", preset])
        said = capsys.readouterr().err
        if number == 200:
            assert (status, said) == (0, "")
        else:
            size = "8 MiB" if preset == "textbook" else "4 MiB"
            assert status == 2
            assert said.endswith(f"at 0x400000 the stream has used more pages than {size} of page tables map\n")


def test_where_pages_are_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "v2p.textproto"
    path.write_text(V2P)
    frames = Frames.read(str(path))
    batch = Batch.of(vaddr=[0x40_1000, 0x7F00_0020_0008, 0x5F_FFFF])
    (mapped,) = PageMapper(PagePolicy.FOUR_K, frames).mapped(iter([batch]))
    leaves = {int(one["b"]) >> 21 for one in mapped.controls if one["op"] == Op.ENTRY and one["b"] & 0x80}
    assert leaves == {1, 0x40000000 >> 21} and (mapped.shift == 21).all()
    with pytest.raises(StreamError, match="it is not given where the page of 0x600000 is"):
        list(PageMapper(PagePolicy.FOUR_K, frames).mapped(iter([Batch.of(vaddr=[0x40_0000, 0x60_0000])])))
    for text, what in (
        (V2P.replace("0x200000", "8192", 1), "page_size"),
        (V2P.replace("2097152", "2097153"), "multiple"),
        (V2P.replace("  physical_address: 2097152\n", ""), "2 virtual addresses and 1"),
    ):
        path.write_text(text)
        with pytest.raises(StreamError, match=what):
            Frames.read(str(path))


def test_an_address_that_is_not_canonical_is_said() -> None:
    with pytest.raises(StreamError, match="0x8000000000000 of the stream is not canonical"):
        simulated(load_preset("textbook"), [Batch.of(vaddr=[1 << 51])])


def test_a_stream_of_many_pages_is_mapped_whole() -> None:
    """More entries than one call makes, and more pages than it remembers."""
    vaddr = np.arange(40_000, dtype=np.uint64) * np.uint64(0x3000) + np.uint64(0x10_0000)
    perf = simulated(load_preset("none"), [Batch.of(vaddr=vaddr), Batch.of(vaddr=vaddr[::-1])])
    assert perf["DTLB_LOAD_MISSES.WALK_COMPLETED_4K"] == 80_000
    assert perf["PAGE_WALKER_LOADS"] == 4 * 80_000


# -- against ChampSim (docs/tlb-lab.md)

#: pages, stride; DTLB hits and misses, STLB hits and misses of ChampSim 2ff2501, of 20,000 loads from a cold start.
CHAMPSIM = (
    (64, 1, 19936, 64, 0, 65), (65, 1, 18402, 1598, 1533, 66), (80, 1, 0, 20000, 19920, 81),
    (4, 16, 19996, 4, 0, 5), (5, 16, 0, 20000, 19995, 6), (12, 128, 0, 20000, 19988, 13),
    (13, 128, 0, 20000, 0, 20001), (1536, 1, 0, 20000, 18464, 1537), (1664, 1, 0, 20000, 0, 20001),
    (32, 512, 0, 20000, 0, 20001), (33, 512, 0, 20000, 0, 20001), (48, 8192, 0, 20000, 0, 20001),
)  # fmt: skip


@pytest.mark.parametrize("row", CHAMPSIM, ids=lambda row: f"{row[0]} pages, stride {row[1]}")
def test_champsim_has_counted_the_same(row: tuple[int, ...], tmp_path: Path) -> None:
    pages, stride, hits, misses, stlb_hits, stlb_misses = row
    path = tmp_path / "t.champsim"
    record = struct.Struct("<Q8x2Q4Q")
    loads = (0x1000_0000 + 4096 * (i % pages) * stride for i in range(20_000))
    path.write_bytes(b"".join(record.pack(0x401000, 0, 0, load, 0, 0, 0) for load in loads))
    perf = simulated(load_preset("champsim"), open_stream(path))
    missed = perf["DTLB_LOAD_MISSES.STLB_HIT"] + perf["dTLB-load-misses"]
    assert (perf["dTLB-loads"] - missed, missed) == (hits, misses)
    assert perf["DTLB_LOAD_MISSES.STLB_HIT"] + perf["ITLB_MISSES.STLB_HIT"] == stlb_hits
    assert perf["dTLB-load-misses"] + perf["iTLB-load-misses"] == stlb_misses


def test_models_may_walk_the_tables_of_the_policy() -> None:
    """Entries that are there before they are used, in one memory for all models, change no count."""
    chance = np.random.default_rng(3)
    geometries = [load_preset("zen4"), load_preset("textbook"), replace(load_preset("zen2"), prefetch_next=True)]
    for policy in (PagePolicy.FOUR_K, PagePolicy.THP):
        vaddrs = np.concatenate([
            chance.integers(0, 1 << 47, 500, dtype=np.uint64), chance.integers(0, 1 << 24, 2000, dtype=np.uint64)
        ])  # fmt: skip
        batches = [
            Batch.of(vaddr=chance.choice(vaddrs, 4000), kind=chance.integers(0, 3, 4000), space=space)
            for space in (0, 1, 0)
        ]
        found = []
        for shared in (False, True):
            mapper = PageMapper(policy)
            simulation = Simulation(geometries, TABLE_BYTES, 0, mapper.tables if shared else None)
            for batch in mapper.mapped(iter(batches)):
                simulation.add(batch)
            found.append(simulation.figures())
        assert found[0] == found[1]
        assert found[0][0]["perf"]["dTLB-load-misses"] > 0

"""Streams of other tools through page tables that are given: those of a snapshot."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emu.cli.main import main
from emu.lab.batch import EVERY_PCID, GLOBALS, Batch, Controls, Op, Register, StreamError, controls_of
from emu.lab.point import point_of, run_point
from emu.lab.recorder import record_machine
from emu.lab.simulation import Simulation, less
from emu.lab.stream import open_stream
from emu.lab.table_mapper import TableMapper
from emu.trace.pt.file import to_json
from emu.trace.pt.tables import PageTablesSnapshot, Space, Table, children, take_tables
from mmu.geometry import Geometry
from mmu.presets import load_preset
from mmu.registers import CR4, CR4_LONG_MODE, EFER_LONG_MODE, Registers
from tests.booted import Booted, MakeMachine, machine
from tests.lab.recorded import counted
from tests.pt.dumps import elf_dump, flattened, kdump_pieces, qemu_note

__all__ = ["machine"]

P, RW, US, A, D, PS, G, XD = 1, 2, 4, 0x20, 0x40, 0x80, 0x100, 1 << 63
USED = P | RW | US | A | D
TOP = 1 << 64


def a_table(level: int, entries: dict[int, int]) -> Table:
    words = np.zeros(512, np.uint64)
    for index, value in entries.items():
        words[index] = value
    return Table(level, words)


def a_snapshot(tables: dict[int, Table], *spaces: Space, **registers: Any) -> PageTablesSnapshot:
    return PageTablesSnapshot((), "", 0, 1 << 29, Registers(cr3=0, **registers), spaces, tables)


#: 4K at 0x1000, read-only 0x2000, not present 0x3000, read-only code 0x4000; 2M at 0x200000, 1G at 0x40000000; a table
#: that is not there behind 0x400000; and the kernel's, global, of 2M at the top.
TABLES = {
    0x1000: a_table(4, {0: 0x2000 | USED, 511: 0x5000 | USED}),
    0x2000: a_table(3, {0: 0x3000 | USED, 1: 0x8000_0000 | USED | PS}),
    0x3000: a_table(2, {0: 0x4000 | USED, 1: 0x60_0000 | P | RW | US | PS, 2: 0x3F00_0000 | USED}),
    0x4000: a_table(1, {1: 0x9000 | USED | XD, 2: 0xA000 | USED & ~RW | XD, 3: 0xB000 | USED & ~P, 4: 0xC000 | P | US}),
    0x5000: a_table(3, {511: 0x6000 | USED}),
    0x6000: a_table(2, {511: 0x20_0000 | P | RW | PS | G | A | D}),
}
ONE = Space("one", (7,), 0x1000)
KERNEL = TOP - (2 << 20)


def mapped(mapper: TableMapper, **columns: Any) -> Batch:
    (batch,) = mapper.mapped(iter([Batch.of(**columns)]))
    return batch


def entries_in(controls: Controls) -> dict[int, int]:
    chosen = controls[controls["op"] == Op.ENTRY]
    return dict(zip(chosen["a"].tolist(), chosen["b"].tolist(), strict=True))


def figures_of(snapshot: PageTablesSnapshot, geometry: Geometry, batches: list[Batch]) -> dict[str, Any]:
    """What a model counts; a process of the stream has the tables of the process of that number."""
    mapper = TableMapper(snapshot, lambda pid: snapshot.space_of(pid).pgd)  # type: ignore[union-attr]
    simulation = Simulation([geometry], mapper.memory_bytes)
    for batch in mapper.mapped(iter(batches)):
        simulation.add(batch)
    assert mapper.left_out.figures() == {}
    return simulation.figures()[0]


def figures_again(snapshot: PageTablesSnapshot, geometry: Geometry, batches: list[Batch]) -> dict[str, Any]:
    """The same where all entries are in the data caches already, and none in a TLB."""
    mapper = TableMapper(snapshot, lambda pid: snapshot.space_of(pid).pgd)  # type: ignore[union-attr]
    simulation, before = Simulation([geometry], mapper.memory_bytes), {}
    for _ in range(2):
        before = simulation.figures()[0]
        simulation.add(Batch.of(controls_of([(0, Op.INVALIDATE, 0, 0, EVERY_PCID | GLOBALS)])))
        for batch in mapper.mapped(iter(batches)):
            simulation.add(batch)
    figures: dict[str, Any] = less(simulation.figures()[0], before)
    return figures


# -- held against live runs


def csv_of(path: Path, batches: list[Batch]) -> None:
    """The accesses, as another tool would have written them."""
    rows = [
        f"{address:#x},{kind},{pid}"
        for one in batches
        for address, kind, pid in zip(one.vaddr.tolist(), one.kind.tolist(), one.pid.tolist(), strict=True)
    ]
    path.write_text("\n".join(["address,kind,pid", *rows]))


def recorded_round(booted: Booted, path: Path, rounds: int) -> tuple[dict[str, Any], PageTablesSnapshot]:
    """Let the first process come to its mark once more, when tables change no longer: a CSV file of all accesses, what
    the TLB has counted, and the tables."""
    task = booted.kernel.tasks[100]
    for _ in range(rounds):
        booted.run_until_mark(task, 1)
    mmu, batches = booted.kernel.cpu.mmu, list[Batch]()
    for model in mmu.tlbs:
        model.flush_all()
    before, tables = counted(booted), take_tables(booted, "")
    recorder = record_machine(booted, batches.append)
    booted.run_until_mark(task, 1)
    recorder.finish()
    after = take_tables(booted, "")
    assert tables.tables.keys() == after.tables.keys()
    csv_of(path, batches)
    figures: dict[str, Any] = less(counted(booted), before)
    return figures, after


PRIVATE = """
    p = mmap 0 {size} RW MAP_PRIVATE|MAP_ANONYMOUS -1 0
    repeat 4; touch p {size}; scan p {size}; @l = load p; mark 1; end
"""
SHARED = """
    fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; ftruncate fd {unit}; create fd 0 512K RW OBJECT
    w = mmap 2T {unit} RW MAP_SHARED|MAP_FIXED fd 0; touch w 512K
    fork child; repeat 60; scan w 512K; end; end
    repeat 6; scan w 512K; mark 1; end
"""


@pytest.mark.parametrize("preset", ["textbook", "zen4", "champsim"])
def test_a_program_misses_as_in_the_live_run(machine: MakeMachine, tmp_path: Path, preset: str) -> None:
    geometry = load_preset(preset)
    booted = machine(tlb=geometry)
    booted.guest("calls", PRIVATE.format(size="2M"))
    live, snapshot = recorded_round(booted, tmp_path / "t.csv", 2)
    found = figures_of(snapshot, geometry, list(open_stream(tmp_path / "t.csv")))
    assert found == live
    assert sum(live["perf"][f"DTLB_{kind}_MISSES.WALK_COMPLETED"] for kind in ("LOAD", "STORE")) > 500


@pytest.mark.parametrize("level", ["pte", "pmd"])
def test_processes_share_tables_as_in_the_live_run(machine: MakeMachine, tmp_path: Path, level: str) -> None:
    """The entries of a shared table are in the same lines for both: what walks cost in cycles says so."""
    from emu.cli.tlb import timed
    from mmu.presets import find_preset

    geometry = timed(find_preset("skylake-sp"))
    booted = machine(tlb=geometry, level=level, turn=20_000)
    booted.guest("calls", SHARED.format(unit=booted.unit))
    live, snapshot = recorded_round(booted, tmp_path / "t.csv", 4)
    batches = list(open_stream(tmp_path / "t.csv"))
    assert set(batches[0].pid.tolist()) == {100, 101}
    found = figures_again(snapshot, geometry, batches)
    assert found["perf"] == live["perf"]
    assert found["latency"] == live["latency"]
    shared, apart = (figures_of(each, geometry, batches)["perf"] for each in (snapshot, unshared(snapshot)))
    lines = (512 << 10 >> 12) // 8
    assert apart["PAGE_WALKER_LOADS.DTLB_MEMORY"] >= shared["PAGE_WALKER_LOADS.DTLB_MEMORY"] + lines


def unshared(snapshot: PageTablesSnapshot) -> PageTablesSnapshot:
    """The same with tables of its own for process 101."""
    tables, free = dict(snapshot.tables), iter(range(max(snapshot.tables) + 0x1000, 1 << 30, 0x1000))

    def copied(at: int) -> int:
        table, new = tables[at], next(free)
        entries = table.entries.copy()
        for index, child in children(table.level, table.entries):
            entries[index] ^= np.uint64(child ^ copied(child))
        tables[new] = Table(table.level, entries)
        return new

    spaces = [replace(one, pgd=copied(one.pgd)) if 101 in one.pids else one for one in snapshot.spaces]
    return replace(snapshot, spaces=tuple(spaces), tables=tables, _by_pid={})


# -- tables made by hand


def test_pages_are_as_their_entries_say() -> None:
    mapper = TableMapper(a_snapshot(TABLES, ONE), lambda pid: 0x1000)
    batch = mapped(mapper, vaddr=[0x1008, 0x2000, 0x4000, 0x20_0000, 0x4000_0000, 0x1010], kind=[1, 0, 2, 0, 1, 0])
    assert batch.shift.tolist() == [12, 12, 12, 21, 30, 12] and len(batch) == 6
    told = entries_in(batch.controls)
    everything = {at + 8 * i: int(v) for at, t in TABLES.items() for i, v in enumerate(t.entries) if v}
    assert told == {at: value for at, value in everything.items() if at < 0x5000 and at != 0x1000 + 511 * 8}
    assert (batch.controls["at"][batch.controls["op"] == Op.ENTRY][:2] == 0).all()
    assert not len(mapped(mapper, vaddr=[0x1000]).controls)


def test_what_would_fault_is_left_out_and_counted() -> None:
    mapper = TableMapper(a_snapshot(TABLES, ONE), lambda pid: 0x1000 if pid == 7 else None)
    vaddr = [0x1000, 0x2000, 0x1000, 0x3000, 0x3008, 0x40_0000, 0x9999_0000_0000 >> 1, 0x4000, 0x1000]
    kind = [0, 1, 2, 0, 1, 0, 0, 2, 1]
    batch = mapped(mapper, vaddr=vaddr, kind=kind, space=[7] * 8 + [8])
    assert batch.vaddr.tolist() == [0x1000, 0x4000] and batch.shift.tolist() == [12, 12]
    assert (batch.controls["at"] <= 1).all()
    assert mapper.left_out.figures() == {
        "not_mapped": {"accesses": 3, "pages": 2},
        "not_allowed": {"accesses": 2, "pages": 2},
        "no_table": {"accesses": 1, "pages": 1},
        "no_process": {"accesses": 1, "pages": 1},
    }
    with pytest.raises(StreamError, match="0x8000000000000 of the stream is not canonical"):
        mapped(mapper, vaddr=[1 << 51], space=[7])
    nothing = TableMapper(a_snapshot(TABLES, ONE), lambda pid: 0x1000)
    with pytest.raises(StreamError, match="no access is in these page tables: 2 accesses to 1 page, not mapped"):
        mapped(nothing, vaddr=[0x3000, 0x3008])


def test_the_upper_half_is_the_supervisors() -> None:
    """Its pages are found, though user mode may not use them, and global ones stay when CR3 is loaded."""
    two = {**TABLES, 0x7000: a_table(4, {511: 0x5000 | USED})}
    snapshot = a_snapshot(two, ONE, Space("two", (8,), 0x7000), cr4=CR4_LONG_MODE | CR4.PGE | CR4.SMEP | CR4.SMAP)
    roots = {7: 0x1000, 8: 0x7000}
    mapper = TableMapper(snapshot, roots.get)
    mapped(mapper, vaddr=[0x1000], space=[7])
    batch = mapped(mapper, vaddr=[0x4000, KERNEL, KERNEL, 0x1000], kind=[2, 0, 0, 0], space=[7, 7, 8, 7])
    assert batch.shift.tolist() == [12, 21, 21, 12]
    registers = batch.controls[batch.controls["op"] == Op.REGISTER]
    assert registers["a"].tolist() == [Register.CPL] and registers["b"].tolist() == [0]
    vaddr, space = [0x1000, KERNEL, KERNEL, 0x1000], [7, 7, 8, 7]
    perf = figures_of(snapshot, load_preset("textbook"), [Batch.of(vaddr=vaddr, space=space)])["perf"]
    assert perf["DTLB_LOAD_MISSES.WALK_COMPLETED_4K"] == 2 and perf["DTLB_LOAD_MISSES.WALK_COMPLETED_2M_4M"] == 1


def test_five_levels() -> None:
    tables = {0xA000: a_table(5, {0: 0x1000 | USED, 511: 0x1000 | USED}), **TABLES}
    snapshot = a_snapshot(tables, Space("five", (7,), 0xA000), cr4=CR4_LONG_MODE | CR4.LA57)
    mapper = TableMapper(snapshot, lambda pid: 0xA000)
    batch = mapped(mapper, vaddr=[0x1000, 0x1001_0000_0000 << 8, TOP - (1 << 48) + 0x1000])
    assert batch.shift.tolist() == [12, 12] and mapper.left_out.accesses == 1
    batches = [Batch.of(vaddr=[0x1000, TOP - (1 << 48) + 0x1000], space=7)]
    assert figures_of(snapshot, load_preset("textbook"), batches)["perf"]["PAGE_WALKER_LOADS"] == 10


def test_tables_in_a_circle_are_walked_as_they_stand() -> None:
    """An entry of the PML4 that points at the PML4, as other systems have one, shows the tables as pages."""
    tables = {**TABLES, 0x1000: a_table(4, {0: 0x2000 | USED, 256: 0x1000 | USED})}
    mapper = TableMapper(a_snapshot(tables, ONE), lambda pid: 0x1000)
    own = 0xFFFF_8000_0000_0000 | 256 << 30 | 256 << 21 | 256 << 12
    batch = mapped(mapper, vaddr=[own, own | 0x800, 0x1000])
    assert batch.shift.tolist() == [12, 12, 12]


def test_walks_set_accessed_and_dirty_where_they_are_clear() -> None:
    """A page of 2 MiB that nobody had written: the first store after a load walks again, as on hardware."""
    batches = [Batch.of(vaddr=[0x20_0000] * 4, kind=[0, 0, 1, 1], space=7)]
    perf = figures_of(a_snapshot(TABLES, ONE), load_preset("textbook"), batches)["perf"]
    assert perf["DTLB_LOAD_MISSES.WALK_COMPLETED"] == 1 and perf["DTLB_STORE_MISSES.WALK_COMPLETED"] == 1


def test_reserved_bits_fault_where_execution_can_not_be_forbidden() -> None:
    snapshot = a_snapshot(TABLES, ONE, efer=EFER_LONG_MODE & ~(1 << 11))
    mapper = TableMapper(snapshot, lambda pid: 0x1000)
    assert mapped(mapper, vaddr=[0x1000, 0x4000]).vaddr.tolist() == [0x4000]


# -- the command


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["tlb", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream, tables, figures = tmp_path / "t.csv", tmp_path / "t.json", tmp_path / "f.json"
    two = Space("two", (8,), 0x7000)
    tables.write_text(to_json(a_snapshot({**TABLES, 0x7000: TABLES[0x1000]}, ONE, two)))
    stream.write_text("pid,vaddr,kind\n7,0x1000,load\n7,0x3000,load\n7,0x200000,store\n9,0x1000,load\n")
    sim = ("sim", stream, "--tlb", "textbook", "--tables", tables)
    status, out, _ = said(capsys, *sim, "--json", figures)
    assert status == 0 and "t.csv: 2 accesses" in out
    assert "1 access to 1 page, not mapped; 1 access to 1 page, of processes that are not there" in out
    assert json.loads(figures.read_text())["left_out"]["not_mapped"] == {"accesses": 1, "pages": 1}
    status, out, _ = said(capsys, *sim, "--pid", 8)
    assert status == 0 and "3 accesses" in out
    status, out, _ = said(capsys, *sim, "--cr3", "0x1000")
    assert status == 0 and "3 accesses" in out
    status, out, _ = said(capsys, "analyze", stream, "--reasons", "--tlb", "textbook", "--tables", tables)
    assert status == 0 and "t.csv: 2 accesses" in out and "1 access to 1 page, not mapped" in out
    stream.write_text("vaddr\n0x1000\n")
    for words, what in (
        (sim, "the stream names no process; --pid or --cr3 says whose tables of"),
        ((*sim, "--pid", 9), "--pid 9: .* has no such process .there are processes 7, 8."),
        ((*sim, "--cr3", 0x2000), "--cr3 0x2000: .* has no top table there"),
        ((*sim, "--pid", 7, "--cr3", 0x1000), "exclude each other"),
        (("sim", stream, "--tlb", "none", "--pid", 7), "--pid: whose page tables"),
        ((*sim[:-1], stream), "not JSON"),
        ((*sim[:-1], tmp_path / "none"), "No such file"),
        ((*sim, "--json", tables), "which would be lost"),
    ):
        status, _, err = said(capsys, *words)
        assert status == 2, words
        assert len(err.splitlines()) == 1 and re.search(what, err), err


def test_a_point_of_a_sweep_has_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("vaddr\n0x1000\n0x3000\n")
    (tmp_path / "t.json").write_text(to_json(a_snapshot(TABLES, ONE)))
    point = point_of(("tlb", "sim", "t.csv", "--tlb", "textbook", "--tables=t.json"), tmp_path, 60)
    assert [path for path, _ in point.inputs] == ["t.csv", "t.json"]
    figures = json.loads(run_point(point.to_bytes()))["figures"]
    assert (figures["accesses"], figures["left_out.not_mapped.accesses"]) == (1, 1)


def test_pcids_keep_what_a_process_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A load of CR3 for each change of process flushes, and with two PCIDs none does."""
    stream, tables, figures = tmp_path / "t.csv", tmp_path / "t.json", tmp_path / "f.json"
    snapshot = a_snapshot({**TABLES, 0x7000: TABLES[0x1000]}, ONE, Space("two", (8,), 0x7000))
    tables.write_text(to_json(snapshot))
    stream.write_text("vaddr,pid\n" + "0x1000,7\n0x1000,8\n" * 10)
    for more, walks in ((), 20), (("--pcids", 2), 2), (("--pcids", 2, "--pid", 7), 1):
        status, *_ = said(capsys, "sim", stream, "--tlb", "textbook", "--tables", tables, "--json", figures, *more)
        perf = json.loads(figures.read_text())["models"][0]["perf"]
        assert status == 0 and perf["DTLB_LOAD_MISSES.WALK_COMPLETED"] == walks, more


def test_a_dump_of_a_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each format, by the CR3 of its vCPU, or another one."""
    stream, dump = tmp_path / "t.csv", tmp_path / "vm"
    stream.write_text("vaddr,kind\n0x1000,load\n0x200000,store\n0x40000000,load\n0x3000,load\n")
    pages = {at >> 12: table.entries.tobytes() for at, table in TABLES.items()}
    for data in (elf_dump(pages, qemu_note(0x1000)), flattened(kdump_pieces(pages, qemu_note(0x1000)))):
        dump.write_bytes(data)
        status, out, _ = said(capsys, "sim", stream, "--tlb", "textbook", "--tables", dump)
        assert status == 0 and "t.csv: 3 accesses" in out and "1 access to 1 page, not mapped" in out
        assert re.search(r"WALK_COMPLETED_2M_4M +1", out) and re.search(r"LOAD_MISSES.WALK_COMPLETED_1G +1", out)
    dump.write_bytes(elf_dump(pages, b""))
    status, _, err = said(capsys, "sim", stream, "--tlb", "textbook", "--tables", dump)
    assert status == 2 and "no vCPU's registers in it; --cr3" in err
    status, out, _ = said(capsys, "sim", stream, "--tlb", "textbook", "--tables", dump, "--cr3", "0x1000")
    assert status == 0 and "3 accesses" in out
    dump.write_bytes(elf_dump(pages, qemu_note(0x1000)))
    stream.write_text("vaddr,pid\n0x1000,12\n")
    status, _, err = said(capsys, "sim", stream, "--tlb", "textbook", "--tables", dump)
    assert status == 2 and "the stream is of process 12, and" in err and "(there is vCPU 0: 0x1000)" in err

"""ELF files with addresses that make no sense: they run as on Linux, or are refused, and nothing else happens."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import guests
from emu.kernel import exec as exec_module
from emu.kernel.exec import STACK_INITIAL
from emu.kernel.layout import STACK_TOP
from emu.linux.mman import Prot
from emu.machine import LaunchError
from emu.mm.flags import VmFlags
from emu.mm.kmem import Kmem
from emu.mm.vma import Vma
from emu.mm.vmatree import VmaTree
from emu.testing import GuestMachine
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host

_PHDR = struct.Struct("<IIQQQQQQ")
_LOAD, _PHDR_TYPE, _GNU_STACK = 1, 6, 0x6474E551
_R, _W = 4, 2
_HELLO = ("hello, world\n", "", 0, "")


def changed(path: Path, program: str, *, entry: int | None = None, instead: tuple[int, ...] = ()) -> Path:
    """A guest with another entry point, and with a program header ``instead`` of the one about its stack."""
    data = bytearray(guests.path(program).read_bytes())
    if entry is not None:
        struct.pack_into("<Q", data, 24, entry)
    (first,) = struct.unpack_from("<Q", data, 32)
    (number,) = struct.unpack_from("<H", data, 56)
    for at in range(first, first + number * _PHDR.size, _PHDR.size):
        if instead and _PHDR.unpack_from(data, at)[0] == _GNU_STACK:
            _PHDR.pack_into(data, at, *instead)
            instead = ()
    assert not instead
    path.write_bytes(data)
    path.chmod(0o755)
    return path


def segment(address: int, flags: int, file_size: int, size: int) -> tuple[int, ...]:
    return _LOAD, flags, 0, address, address, file_size, size, 4096


@pytest.mark.parametrize("entry", [(1 << 64) - 1, 1 << 63, 1 << 47, (1 << 47) - 4096])
@pytest.mark.parametrize("program", ["hello", "hello_pie"])
def test_an_entry_point_beyond(machine: MakeMachine, tmp_path: Path, program: str, entry: int) -> None:
    outcome = machine().outcome(changed(tmp_path / "program", program, entry=entry))
    assert (outcome.stdout, outcome.signal) == ("", "SIGSEGV")


def test_program_headers_beyond(machine: MakeMachine, tmp_path: Path) -> None:
    """As on Linux, the auxiliary vector says where the segment with the headers lies, whatever PT_PHDR says."""
    last = (1 << 64) - 1
    program = changed(tmp_path / "program", "hello_pie", instead=(_PHDR_TYPE, _R, 0, last, 0, 0, 0, 8))
    assert machine().outcome(program) == _HELLO


BOTTOM = STACK_TOP - STACK_INITIAL
SEGMENTS = {
    "a page of the file at the bottom of the stack": segment(BOTTOM, _R, 0x200, 0x200),
    "a page of memory at the bottom of the stack": segment(BOTTOM, _R | _W, 0, 0x1000),
    "memory instead of all of the stack": segment(BOTTOM, _R | _W, 0, STACK_INITIAL - 4096),
    "over the first segment": segment(0x400000, _R, 0x200, 0x200),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_segment_where_something_else_is(machine: MakeMachine, tmp_path: Path, name: str) -> None:
    assert machine().outcome(changed(tmp_path / "program", "hello", instead=SEGMENTS[name])) == _HELLO


@needs_host
@pytest.mark.parametrize("name", SEGMENTS)
def test_the_host_runs_them_too(tmp_path: Path, name: str) -> None:
    assert native(changed(tmp_path / "program", "hello", instead=SEGMENTS[name])) == _HELLO


def test_nothing_where_the_arguments_go(machine: MakeMachine, tmp_path: Path) -> None:
    """Linux has given up the old program by then and kills it; here the file is refused."""
    program = changed(tmp_path / "program", "hello", instead=segment(STACK_TOP - 8192, _R, 0, 4096 * 2 - 1))
    with pytest.raises(LaunchError, match="a segment of the ELF file lies where the stack goes"):
        machine().outcome(program)


def _mappings(there: GuestMachine, program: Path) -> list[object]:
    """What execve has mapped, and what that is charged with."""
    task = there.spawn(str(program))
    mm, kernel = task.mm, there.kernel
    names = ("start", "end", "prot", "flags", "pgoff", "page_bits", "cached_bits", "allowed")
    vmas = [(*(getattr(v, name) for name in names), v.file is not None, v.ops.name(v)) for v in mm.vmas]
    pages = [(vaddr, mm.tables.words[slot : slot + n].tolist()) for vaddr, slot, n in mm.tables.pte_tables(0, 1 << 47)]
    return [vmas, pages, mm.total_bytes, kernel.mm_context.commit.pages, kernel.frames.used, kernel.frames.kmem.charged]


@pytest.mark.parametrize("name", ["hello", "hello_pie", "costs", *SEGMENTS])
def test_mappings_at_once_are_those_one_by_one(
    machine: MakeMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    program = (
        guests.path(name) if name not in SEGMENTS else changed(tmp_path / "program", "hello", instead=SEGMENTS[name])
    )
    at_once = _mappings(machine(), program)
    monkeypatch.setattr(exec_module, "map_image", lambda *arguments: False)
    assert _mappings(machine(), program) == at_once


@pytest.mark.parametrize(("start", "end"), [(4096, 8192), (0, 4097), (12287, 16384), (0, 16384), (6144, 6400)])
def test_no_mapping_overlaps_another(start: int, end: int) -> None:
    tree = VmaTree(Kmem(lambda least, most: most))
    tree.add(Vma(0x1000, 0x3000, Prot.READ, VmFlags(0)))
    tree.add(Vma(0x5000, 0x6000, Prot.READ, VmFlags(0)))
    with pytest.raises(AssertionError, match="would overlap"):
        tree.add(Vma(start, end, Prot.READ, VmFlags(0)))
    with pytest.raises(AssertionError, match="would overlap"):
        tree.add_run([Vma(start, end, Prot.READ, VmFlags(0)), Vma(0x7000, 0x8000, Prot.READ, VmFlags(0))])
    tree.add_run([Vma(0x3000, 0x4000, Prot.READ, VmFlags(0)), Vma(0x4000, 0x5000, Prot.READ, VmFlags(0))])
    assert [vma.start for vma in tree] == [0x1000, 0x3000, 0x4000, 0x5000]


def test_headers_are_remembered_by_what_they_say(machine: MakeMachine, tmp_path: Path) -> None:
    """A file that has been changed is another program, and one that nothing is wrong with runs again."""
    there, hello = machine(), guests.path("hello").read_bytes()
    program, changed_entry = tmp_path / "program", bytearray(hello)
    struct.pack_into("<Q", changed_entry, 24, 1 << 46)
    for data, end in ((hello, 0), (hello, 0), (changed_entry, "SIGSEGV"), (hello, 0), (hello[:200], None), (hello, 0)):
        program.write_bytes(data)
        program.chmod(0o755)
        if end is None:
            with pytest.raises(LaunchError, match="truncated"):
                there.run_guest(str(program))
        else:
            result = there.run_guest(str(program))
            assert (result.signal or result.status) == end

"""Core files: what debuggers read of a process that a signal has ended."""

from __future__ import annotations

import errno
import io
import struct
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

import guests
from emu.kernel.coredump import core_name
from emu.kernel.signal_state import Sig
from emu.linux.errors import LinuxError
from tests.booted import Booted, MakeMachine

#: RLIMIT_CORE without a limit, and a working directory.
_HEAD = "@u = words 0xffffffffffffffff 0xffffffffffffffff; @setrlimit 4 u;"
_RIP, _REGISTERS = 16, 112


def _dumped(machine: MakeMachine, script: str) -> tuple[Booted, int]:
    booted = machine()
    task = booted.spawn(guests.path("calls"), [f"{_HEAD} {script}"])
    booted.run()
    return booted, task.exit_code


def _core(booted: Booted, name: str = "/core") -> ELFFile:
    return ELFFile(io.BytesIO(booted.kernel.vfs.read_file(name)))


def _notes(core: ELFFile) -> list[Any]:
    segment = next(segment for segment in core.iter_segments() if segment["p_type"] == "PT_NOTE")
    assert isinstance(segment, NoteSegment)
    return list(segment.iter_notes())


def test_a_core_says_where_the_process_was(machine: MakeMachine) -> None:
    booted, status = _dumped(machine, "@on 11 0; jump 0x1234560")
    assert status == Sig.SEGV | 0x80
    core = _core(booted)
    assert core["e_type"] == "ET_CORE"
    names = [note["n_type"] for note in _notes(core)]
    assert names[:2] == ["NT_PRSTATUS", "NT_PRPSINFO"]
    assert names[2:] == ["NT_SIGINFO", "NT_AUXV", "NT_FILE", "NT_FPREGSET", 0x202]
    raw = _notes(core)[0]["n_descdata"]
    registers = struct.unpack_from("<27Q", raw, _REGISTERS)
    assert (registers[_RIP], struct.unpack_from("<i", raw)[0], struct.unpack_from("<i", raw, 32)[0]) == (
        0x1234560, Sig.SEGV, 100,
    )  # fmt: skip


_FILTER = '@f = open "/proc/self/coredump_filter" 1; @write f "0" 1;'


@pytest.mark.parametrize(
    ("before", "size"),
    [("", 0x3000), ("@madvise p 12K 16;", 0), (_FILTER, 0)],
    ids=["all", "MADV_DONTDUMP", "coredump_filter"],
)
def test_the_memory_of_a_core(machine: MakeMachine, before: str, size: int) -> None:
    script = f"@p = mmap 0x10000000 12K RW PRIVATE|MAP_FIXED -1 0; store p+8K 0x55; {before} @me = getpid; kill me 3"
    booted, status = _dumped(machine, script)
    assert status == Sig.QUIT | 0x80
    (segment,) = [s for s in _core(booted).iter_segments() if s["p_vaddr"] == 0x10000000]
    assert (segment["p_filesz"], segment["p_memsz"]) == (size, 0x3000)
    if size:
        assert segment.data()[:0x2008] == bytes(0x2000) + b"\x55".ljust(8, b"\0")


_ABORT = "@me = getpid; kill me 6"


@pytest.mark.parametrize(
    "before",
    ["@u = words 4095 4095; @setrlimit 4 u;", "@prctl 4 0;", '@mkdir "/core" 0700;', "@syscall 95 0777;",
     '@f = open "/proc/sys/kernel/core_pattern" 1; @write f "|/bin/handler" 13;'],
    ids=["limit", "not dumpable", "a directory", "umask", "a program"],
)  # fmt: skip
def test_a_core_that_is_not_written(machine: MakeMachine, before: str) -> None:
    booted, status = _dumped(machine, f"{before} {_ABORT}")
    assert status == Sig.ABRT
    with pytest.raises(LinuxError):
        assert not booted.kernel.vfs.read_file("/core")
        raise LinuxError(errno.ENOENT)


def test_a_core_ends_at_its_limit(machine: MakeMachine) -> None:
    booted, status = _dumped(machine, f"@u = words 20000 20000; @setrlimit 4 u; {_ABORT}")
    core = booted.kernel.vfs.walker(None).resolve("/core").dentry.inode
    assert (status, core.blocks) == (Sig.ABRT | 0x80, 40)


def test_a_core_replaces_a_link(machine: MakeMachine) -> None:
    """Whatever the name leads to stays as it is."""
    booted, status = _dumped(machine, f'@write 1 "" 0; @symlink "/etc/passwd" "/core"; {_ABORT}')
    assert status == Sig.ABRT | 0x80
    assert booted.kernel.vfs.read_file("/core")[:4] == b"\x7fELF"
    assert booted.kernel.vfs.read_file("/etc/passwd")[:4] == b"root"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("core", "core.100"), ("%e.%p.%s", "calls.100.6"), ("/tmp/%%-%u-%g-%h-%E", "/tmp/%-0-0-unimmu-!bin!calls.100"),
     ("c%z%", "c.100"), ("%f-%i", "calls-100.100"), ("@socket", "")],
)  # fmt: skip
def test_the_name_of_a_core(machine: MakeMachine, pattern: str, name: str) -> None:
    booted = machine()
    booted.kernel.core_pattern, booted.kernel.core_uses_pid = pattern, 1
    task = booted.spawn(guests.path("calls"), ["getpid"])
    assert core_name(booted.kernel, task, Sig.ABRT) == name
    booted.run()

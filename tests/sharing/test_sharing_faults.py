"""Faults, counted exactly: spec/mshare-observed.md, section 8, and a few more of the kind."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.booted import MIB, UNIT, MakeMachine, Recorder


class Row(NamedTuple):
    """The accesses of each process, and their faults: page-fault exceptions, minor faults, links."""

    event: str
    process: int  # 1 or 2, which have the window ``w`` at different addresses
    statements: str
    hardware: int
    minor: int
    link: int
    #: The three with level=pte, where a slot is 2 MiB and each has to be linked; None: the same.
    pte: tuple[int, int, int] | None = None

    def counts(self, level: str) -> tuple[int, int, int]:
        return self.pte if level == "pte" and self.pte else (self.hardware, self.minor, self.link)


#: The region has objects at 0 (read and write, 10 MiB), 12 MiB (read only, 1 MiB) and 20 MiB (a memfd of 4 MiB whose
#: pages are all in the page cache).  The rows happen one after the other.
ROWS = (
    Row("first touch in a fresh slot (populate, then link)", 1, "store w 1", 2, 1, 1),
    Row("next page, same 2M block", 1, "store w+4K 1", 1, 1, 0),
    Row("next page, new 2M block", 1, "store w+2M 1", 1, 1, 0, pte=(2, 1, 1)),
    Row("1000 further pages", 1, "touch w+4M 4000K", 1000, 1000, 0, pte=(1002, 1000, 2)),
    Row("re-access", 1, "load w; store w 2; scan w+4M 4000K", 0, 0, 0),
    Row("other process, first touch of a slot with present page", 2, "load w", 1, 0, 1),
    Row("other process, next 1001 present pages", 2, "load w+2M; scan w+4M 4000K", 0, 0, 0,
        pte=(3, 0, 3)),
    Row("other process, write to present page", 2, "store w+4M 3", 0, 0, 0),
    Row("other process populates a page in a linked slot", 2, "store w+8K 4", 1, 1, 0),
    Row("first process then reads that page", 1, "load w+8K", 0, 0, 0),
    Row("same process, window moved (munmap + mmap), first touch", 1, "munmap w SIZE; w = mmap w+1T SIZE WINDOW;"
                                                                      "load w",
        1, 0, 1),
    Row("advised DONTNEED: unlinked, and linked again", 1, "madvise w 4K 4; load w", 1, 0, 1),
    Row("first read of an anonymous object's page", 1, "load w+12K", 1, 1, 0),
    Row("first read of a read-only object's page", 1, "load w+12M", 1, 1, 0, pte=(2, 1, 1)),
    Row("hole", 1, "load w+11M", 1, 0, 0),
    Row("write to a present page of a read-only object", 1, "store w+12M 1", 1, 0, 0),
    Row("write to an absent page of a read-only object", 1, "store w+12M+4K 1", 1, 0, 0),
    Row("execute a present page of an object without PROT_EXEC", 1, "jump w", 1, 0, 0),
    Row("object replaced, read again", 1, "create fd 0 4M RW OBJECT; load w", 1, 1, 0),
    Row("the other process then reads it", 2, "load w", 0, 0, 0),
    Row("read 1024 present pages of a memfd object", 2, "scan w+20M 4M", 64, 64, 0, pte=(66, 64, 2)),
    Row("the first process then reads them", 1, "scan w+20M 4M", 0, 0, 0, pte=(2, 0, 2)),
    Row("the first process writes 16 of them", 1, "touch w+20M 64K", 0, 0, 0),
    Row("the kernel touches an untouched page for a process", 1, "pread m w+4M+4000K 8 0", 0, 1, 0,
        pte=(0, 1, 1)),  # it links too
)  # fmt: skip
SETUP = """
@s = mmap 0 4K RW ANON -1 0; @p = mmap 0 4K RW PRIVATE -1 0
@m = memfd_create "m" 0; @ftruncate m 4M; @k = mmap 0 4M RW MAP_SHARED m 0; @touch k 4M; @munmap k 4M
@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd SIZE
create fd 0 10M RW OBJECT; create fd 12M 1M PROT_READ OBJECT; create fd 20M 4M RW MAP_SHARED|MAP_FIXED m
"""
#: Every page of the program that a row uses has been used, and is the process's own.
WARM = "@touch p 4K; @scan p 4K; @load p; @store p 1; @jump p+1; @madvise p 0 0; @mark 9999; @load 4096"


def region_of(level: str) -> int:
    """The size of the region: one slot, except where it must be more to hold the objects."""
    return max(UNIT[level], 24 * MIB)


def script(size: int) -> str:
    sides: dict[int, list[str]] = {1: [], 2: []}
    for n, row in enumerate(ROWS):
        quiet = "; ".join(f"@{statement.strip()}" for statement in row.statements.split(";"))
        sides[row.process].append(f"@await s {n}; @mark {2 * n}; {quiet}; @mark {2 * n + 1}; @store s {n + 1}")
    first, second = ("\n".join([WARM, *sides[n]]) for n in (1, 2))
    text = f"""{SETUP}
        @fork c; @w = mmap 6T SIZE WINDOW; {second}; end
        @w = mmap 2T SIZE WINDOW; {first}
        wait c"""
    return text.replace("WINDOW", "RW MAP_SHARED|MAP_FIXED fd 0").replace("SIZE", str(size))


@pytest.mark.parametrize("level", UNIT)
def test_faults_are_counted_as_on_a_real_kernel(machine: MakeMachine, level: str) -> None:
    booted = machine(level=level)
    recorder = Recorder(booted)
    assert booted.calls(script(region_of(level))) == ["create = 0"] * 3 + ["wait = 0"]
    marks = recorder.marks
    counted = {row.event: marks[2 * n + 1].since(marks[2 * n]) for n, row in enumerate(ROWS)}
    assert counted == {row.event: row.counts(level) for row in ROWS}


def test_every_slot_is_linked_once(machine: MakeMachine) -> None:
    booted = machine(level="pte")
    recorder = Recorder(booted)
    booted.calls("""
        @fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 16M; @create fd 0 16M RW OBJECT
        @w = mmap 2T 16M RW MAP_SHARED|MAP_FIXED fd 0; @s = mmap 0 4K RW ANON -1 0
        @mark 0; @touch w 16M; @mark 1; @fork c; @touch s 4K; @scan s 4K; @mark 99; @mark 2; @scan w 16M; @mark 3
        end; @wait c
        """)
    assert recorder.marks[1].since(recorder.marks[0]) == (4096 + 8, 4096, 8)
    assert recorder.marks[3].since(recorder.marks[2]) == (8, 0, 8)

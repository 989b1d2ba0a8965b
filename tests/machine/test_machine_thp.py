"""Transparent huge pages where the host cannot be asked: without memory, by khugepaged, and by settings."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from emu.linux.errors import LinuxError
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import RW, SPECIAL, D
from emu.mm.thp import TransparentHugePages
from tests.booted import GIB, MIB, Booted, MakeMachine

_PLACE = "/sys/kernel/mm/transparent_hugepage"
_HUGELY = "@p = mmap 4G 4M RW PRIVATE|MAP_FIXED -1 0; @madvise p 4M 14;"
_HUGE_KB = 'field "/proc/self/smaps_rollup" "AnonHugePages"'


def _events(booted: Booted, *names: str) -> list[int]:
    return [booted.kernel.mm_context.thp.events[name] for name in names]


def _scatter(booted: Booted) -> None:
    """Only every second frame is free."""
    booted.take_frames(0)
    frames = booted.kernel.frames
    for frame in booted._taken[::2]:
        frames.put(frame)
    del booted._taken[::2]


def _written(text: str, name: str) -> str:
    return f'@f = open "{_PLACE}/{name}" O_WRONLY; @write f "{text}" {len(text)}; @close f;'


def test_without_a_block_small_pages_come_silently(machine: MakeMachine) -> None:
    booted = machine(memory=16 * MIB)
    _scatter(booted)
    assert booted.calls(f"{_HUGELY} minor; store p 7; store p+8K 8; load p; {_HUGE_KB}; minor")[1:5] == [
        "store = 0", "store = 0", "load = 7", "field = 0",
    ]  # fmt: skip
    assert _events(booted, "thp_fault_alloc", "thp_fault_fallback") == [0, 1]
    booted.give_back_frames()
    assert booted.calls(f"{_HUGELY} store p 7; {_HUGE_KB}") == ["store = 0", "field = 2048"]
    assert _events(booted, "thp_fault_alloc", "thp_fault_fallback") == [1, 1]


def test_folios_of_private_memory_are_counted(machine: MakeMachine) -> None:
    """nr_anon tells how many there are, nr_anon_partially_mapped of how many a part is gone."""
    booted = machine()
    stats = "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats"

    def counts() -> list[bytes]:
        return [booted.kernel.vfs.read_file(f"{stats}/{name}") for name in ("nr_anon", "nr_anon_partially_mapped")]

    task = booted.guest("calls", f"{_HUGELY} @store p 7; mark 1; @munmap p+1M 4K; mark 2; @munmap p 2M; mark 3; @pause")
    found = []
    for mark in (1, 2, 3):
        booted.run_until_mark(task, mark)
        found.append(counts())
    assert found == [[b"1\n", b"0\n"], [b"1\n", b"1\n"], [b"0\n", b"0\n"]]


def test_frames_that_were_freed_singly_form_blocks_again(machine: MakeMachine) -> None:
    booted = machine(memory=16 * MIB)
    for _ in range(3):
        assert booted.calls(f"{_HUGELY} touch p 4M; madvise p 4K 4; madvise p+2M 1M 4; {_HUGE_KB}")[-1] == "field = 0"
    assert booted.calls("@p = mmap 4G 10M RW PRIVATE|MAP_FIXED -1 0; touch p 10M") == ["touch = 0"]
    assert booted.calls(f"{_HUGELY} touch p 4M; {_HUGE_KB}") == ["touch = 0", "field = 4096"]
    assert _events(booted, "thp_fault_fallback") == [0]


def test_memory_runs_out_anywhere_and_nothing_leaks(machine: MakeMachine) -> None:
    """Each allocation fails once, from the moment on at which huge pages are asked for."""
    booted = machine(memory=32 * MIB)
    frames, thp = booted.kernel.frames, booted.kernel.mm_context.thp
    for nth in range(1, 40):
        thp.used, failing = False, _Failing(thp, nth)
        frames.alloc, frames.alloc_block = failing.wrap(frames.alloc), failing.wrap(frames.alloc_block)  # type: ignore
        booted.outcome(
            "calls",
            f"{_HUGELY} @store p 1; @load p+2M; @store p+2M 1; fork c; store p 2; store p+3M 3; end; store p 4; wait c;"
            "mremap p 2M 2M 3 6G; madvise 6G 2M 25; mprotect 6G 4K 1; madvise 6G+8K 4K 4; madvise 6G 2M 25; touch p 2M",
        )
        del frames.alloc, frames.alloc_block
        assert booted.audit() == [], nth
    assert failing.calls < failing.nth, "more allocations than were made to fail"


class _Failing:
    """Lets the nth allocation fail."""

    def __init__(self, thp: TransparentHugePages, nth: int) -> None:
        self._thp, self.nth, self.calls = thp, nth, 0

    def wrap(self, alloc: Callable[..., int]) -> Callable[..., int]:
        def wrapped(*arguments: object, **named: object) -> int:
            self.calls += self._thp.used
            if self.calls == self.nth and self._thp.used:
                self.calls += 1
                raise LinuxError(errno.ENOMEM)
            return alloc(*arguments, **named)

        return wrapped


def test_memory_that_never_asked(machine: MakeMachine) -> None:
    booted = machine()
    asked = "@p = mmap 4G 4M RW PRIVATE|MAP_FIXED -1 0; minor; @touch p 4M; minor;"
    before = booted.calls(f"{asked} {_HUGE_KB}")
    after = booted.calls(f"{_written('always', 'enabled')} {asked} {_HUGE_KB}; {_written('never', 'enabled')}")
    assert (before[-1], after[-1]) == ("field = 0", "field = 4096")
    assert (before[1], after[1]) == ("minor = 1024", "minor = 2")
    again = booted.calls(f"{_HUGELY} touch p 4M; {_HUGE_KB}")
    assert again[-1] == "field = 0"


def test_smaller_folios_come_where_a_size_is_enabled(machine: MakeMachine) -> None:
    """One fault maps all of it by small entries, where none is set; a read gets the page of zeros."""
    booted = machine()
    size = _written("madvise", "hugepages-64kB/enabled") + _written("inherit", "hugepages-16kB/enabled")
    area = "@p = mmap 4G 1M RW PRIVATE|MAP_FIXED -1 0;"
    script = (
        f"{size} {area} @madvise p 1M 14; minor; store p+64K 1; minor; @touch p+64K 64K; minor; load p; @touch p 64K;"
    )
    found = booted.calls(f"{script} minor; load p+128K; {area} @touch p 128K; minor")
    counts = [line for line in found if line.startswith("minor")][1:]
    # the page of zeros, and 16 pages: at once four that do not begin with it
    assert counts == ["minor = 1", "minor = 0", "minor = 8", "minor = 33"]
    stats = booted.kernel.mm_context.thp.stats
    assert (stats[4]["anon_fault_alloc"], stats[2]["anon_fault_alloc"]) == (1, 3)


def test_a_read_gets_a_page_of_its_own_without_a_page_of_zeros(machine: MakeMachine) -> None:
    booted = machine()
    assert booted.calls(f"{_written('0', 'use_zero_page')} {_HUGELY} load p; {_HUGE_KB}") == [
        "load = 0",
        "field = 2048",
    ]
    assert _events(booted, "thp_zero_page_alloc") == [0]


def test_khugepaged_looks_while_everybody_sleeps(machine: MakeMachine) -> None:
    booted = machine()
    small = "@p = mmap 4G 4M RW PRIVATE|MAP_FIXED -1 0; @touch p 2M; @load p+2M; @madvise p 4M 14;"
    sleep = "@t = words {} 0; @syscall 35 t 0;"
    found = booted.calls(f"{small} {sleep.format(9)} {_HUGE_KB}; {sleep.format(2)} {_HUGE_KB}; load p+4K; load p+3M")
    assert found == ["field = 0", "field = 2048", "load = 1", "load = 0"]
    khugepaged = booted.kernel.khugepaged
    assert (khugepaged.pages_collapsed, khugepaged.full_scans) == (1, 1)
    limited = f"{_written('0', 'khugepaged/max_ptes_none')} {small} @madvise p 4K 4;"
    assert booted.calls(f"{limited} {sleep.format(100)} {_HUGE_KB}") == ["field = 0"]
    assert khugepaged.pages_collapsed == 1 and khugepaged.full_scans == 11
    assert _events(booted, "thp_scan_exceed_none_pte")[0] > 0


@pytest.fixture
def mapped(machine: MakeMachine) -> Booted:
    """A process with a huge page at 4 GiB, and the page of zeros behind it."""
    booted = machine()
    booted.guest("calls", f"{_HUGELY} @store p 1; @load p+2M; @pause")
    booted.run(timeout_s=60)
    assert booted.audit() == []
    return booted


def test_the_audit_counts_the_frames_of_huge_pages(mapped: Booted) -> None:
    frames, tables = mapped.kernel.frames, mapped.tasks[0].mm.tables
    head = tables.pte(4 * GIB) >> 12 & 0xFFFFFFF
    frames.get(head + 5)
    found = mapped.audit()
    frames.put(head + 5)
    assert f"frame {head + 5:#x} (ANON) has 2 references, and 1 were found" in found
    assert any("lets a private mapping write to frames" in finding for finding in found)


def test_the_audit_checks_what_a_huge_entry_maps(mapped: Booted) -> None:
    tables, q, frames = mapped.tasks[0].mm.tables, mapped.ram.qwords, mapped.kernel.frames
    slot, zeros = (tables.entry_slot(4 * GIB + at, 2) for at in (0, 2 * MIB))
    assert slot is not None and zeros is not None
    where = "calls: the PMD entry of 0x100200000"
    before = q[zeros]
    q[zeros] = before | RW
    found = mapped.audit()
    q[zeros] = q[slot] & ~(RW | D) | SPECIAL
    found += mapped.audit()
    q[zeros] = before
    assert f"{where} maps the huge page of zeros writable" in found
    assert f"{where} is special, but does not map the huge page of zeros" in found
    head = q[slot] >> 12 & 0xFFFFFFF
    frames.kinds[head + 7] = FrameKind.CACHE
    found = mapped.audit()
    frames.kinds[head + 7] = FrameKind.ANON
    assert f"calls: the PMD entry of 0x100000000 maps frames from {head:#x} on, not all of which are ANON" in found


def test_the_audit_looks_for_the_mapping_of_a_huge_page(mapped: Booted) -> None:
    tables, q = mapped.tasks[0].mm.tables, mapped.ram.qwords
    slot = tables.entry_slot(4 * GIB, 2)
    assert slot is not None
    q[slot + 100], tables.transparent[slot + 100] = q[slot], 0
    found = mapped.audit()
    q[slot + 100] = 0
    del tables.transparent[slot + 100]
    address = 4 * GIB + 100 * 2 * MIB
    assert f"calls: the PMD entry of {address:#x} maps a huge page, but no VMA of ordinary memory covers it" in found


def test_the_audit_knows_the_tables_that_are_kept(mapped: Booted) -> None:
    tables, q = mapped.tasks[0].mm.tables, mapped.ram.qwords
    slot, zeros = (tables.entry_slot(4 * GIB + at, 2) for at in (0, 2 * MIB))
    assert slot is not None and zeros is not None
    kept = tables.transparent[slot]
    q[(kept << 9) + 3] = 1
    found = mapped.audit()
    q[(kept << 9) + 3] = 0
    assert found == ["calls: the table that is kept for 0x100000000 is not empty"]
    tables.transparent[slot] = tables.transparent[zeros]
    found = mapped.audit()
    tables.transparent[slot] = kept
    assert "calls: the table that is kept for 0x100200000 has another use" in found
    entry, q[zeros] = q[zeros], 0
    found = mapped.audit()
    q[zeros] = entry
    assert f"calls accounts for a huge page in the entry at {zeros << 3:#x}, which maps none" in found


# -- shared memory -----------------------------------------------------------------------------------------------------

_SHMEM_KB = 'field "/proc/meminfo" "ShmemHugePages"; field "/proc/self/smaps_rollup" "ShmemPmdMapped"'


@pytest.mark.parametrize(
    ("setting", "advice", "huge"),
    [
        ("always", "", True), ("within_size", "", True), ("advise", "", False), ("advise", "@madvise p 2M 14;", True),
        ("never", "@madvise p 2M 14;", False), ("deny", "@madvise p 2M 14;", False), ("force", "", True),
        ("always", "@madvise p 2M 15;", False),
    ],
)  # fmt: skip
def test_shared_memory_is_huge_as_shmem_enabled_says(
    machine: MakeMachine, setting: str, advice: str, huge: bool
) -> None:
    booted = machine()
    for memory in (
        "@p = mmap 4G 4M RW ANON|MAP_FIXED -1 0;",
        '@f = memfd_create "m" 0; @ftruncate f 4M; @p = mmap 4G 4M RW MAP_SHARED|MAP_FIXED f 0;',
    ):
        found = booted.calls(
            f"{_written(setting, 'shmem_enabled')} {memory} {advice} minor; @touch p 2M; minor; {_SHMEM_KB}"
        )
        faults, in_cache, mapped = (int(line.rpartition(" ")[2]) for line in found[1:])
        assert (faults, mapped) == ((1, 2048) if huge else (512, 0)), memory
        assert in_cache == mapped or setting == "force"  # which makes files huge too


def test_a_size_has_a_setting_of_its_own_for_unnamed_memory(machine: MakeMachine) -> None:
    booted = machine()
    memory = "@p = mmap 4G 4M RW ANON|MAP_FIXED -1 0;"
    for setting, expected in (("always", 2048), ("never", 0), ("within_size", 2048), ("inherit", 0)):
        written = _written(setting, "hugepages-2048kB/shmem_enabled")
        assert booted.calls(f"{written} {memory} @store p 1; {_SHMEM_KB}")[-1] == f"field = {expected}", setting


def test_memory_runs_out_where_objects_get_huge_pages(machine: MakeMachine) -> None:
    booted = machine(memory=32 * MIB)
    frames, thp = booted.kernel.frames, booted.kernel.mm_context.thp
    booted.calls(_written("advise", "shmem_enabled"))
    for nth in range(1, 30):
        thp.used, failing = False, _Failing(thp, nth)
        frames.alloc, frames.alloc_block = failing.wrap(frames.alloc), failing.wrap(frames.alloc_block)  # type: ignore
        booted.outcome(
            "calls",
            "@p = mmap 4G 4M RW ANON|MAP_FIXED -1 0; @store p+2M 1; @madvise p 2M 14; store p 1; fork c; load p; end;"
            "wait c; madvise p 4M 25; mprotect p 4K 1; load p+8K; madvise p+8K 4K 9; madvise p 2M 25",
        )
        del frames.alloc, frames.alloc_block
        assert booted.audit() == [], nth
    assert failing.calls < failing.nth, "more allocations than were made to fail"


def test_the_audit_checks_huge_pages_of_objects(machine: MakeMachine) -> None:
    booted = machine()
    written = _written("always", "shmem_enabled")
    booted.guest("calls", f"{written} @p = mmap 4G 4M RW ANON|MAP_FIXED -1 0; @store p 1; @store p+2M 1; @pause")
    booted.run(timeout_s=60)
    assert booted.audit() == []
    tables, q = booted.tasks[0].mm.tables, booted.ram.qwords
    one, other = (tables.entry_slot(4 * GIB + at, 2) for at in (0, 2 * MIB))
    assert one is not None and other is not None
    q[one], q[other] = q[other], q[one]
    found = booted.audit()
    q[one], q[other] = q[other], q[one]
    assert len(found) == 2 and all("but the file has other pages there" in finding for finding in found)
    tables.transparent[one] = booted.kernel.frames.alloc(FrameKind.PAGETABLE)
    found = booted.audit()
    booted.kernel.frames.put(tables.transparent[one])
    tables.transparent[one] = 0
    where = "calls: the PMD entry of 0x100000000"
    assert f"{where} has a table for when it is split if it needs none, and none if it does" in found

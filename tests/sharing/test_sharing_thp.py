"""Transparent huge pages of a region: one entry of 2 MiB in a shared table serves all (mshare.md, memory.thp in section
4, and the third design's VM_NOHUGEPAGE).
"""

from __future__ import annotations

import pytest

from emu.mm.flags import VmFlags
from emu.mm.pagetable import PS
from tests.booted import MIB, MakeMachine, Recorder
from tests.cgroup.groups import make, quietly, see
from tests.sharing.tables import SIZED

_ENABLED = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
_ALWAYS = f'@e = open "{_ENABLED}" O_WRONLY; @write e "always" 6; @close e;'
_WINDOW = "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"


@pytest.mark.parametrize("level", ["pmd", "pud"])
def test_two_processes_share_a_huge_entry(machine: MakeMachine, level: str) -> None:
    booted = machine(level=level)
    recorder = Recorder(booted)
    booted.calls(f"""
        @u = say {booted.unit}; {_ALWAYS} {SIZED}; @s = mmap 0 4K RW ANON -1 0; @store s 0
        @create fd 0 4M RW OBJECT; {_WINDOW} @mark 0; @touch w 2M; @mark 1
        @fork c; @load s; @mark 2; @load w; @store w+1M 5; @mark 3; @store s 1; @await s 2; end
        @await s 1; @load w+1M; @mark 4; @unmap fd 0 4K; @mark 5; @store s 2; @wait c
        """)
    marks = recorder.marks
    assert marks[1].since(marks[0]) == (2, 1, 1)  # one huge page, then the link
    assert marks[3].since(marks[2]) == (1, 0, 1)


def test_the_shared_table_has_an_entry_of_2_mib(machine: MakeMachine) -> None:
    booted = machine()
    booted.guest("calls", f"@u = say {booted.unit}; {_ALWAYS} {SIZED}; @create fd 0 4M RW OBJECT; {_WINDOW}"
                          "@touch w 2M; @fork c; @scan w 2M; @pause; end; @pause")  # fmt: skip
    booted.run()
    (region,) = booted.regions
    slot = region.host.tables.entry_slot(region.host_base, 2)
    assert slot is not None and booted.ram.qwords[slot] & PS and region.host.tables.transparent == {slot: 0}
    assert region.resident_bytes == 2 * MIB and region.sharers == 2
    assert booted.kernel.share_counts[slot >> 9] == 2
    assert booted.audit() == []


def test_level_pte_has_small_pages(machine: MakeMachine) -> None:
    booted = machine(level="pte")
    lines = booted.calls(
        f"@u = say {booted.unit}; {_ALWAYS} {SIZED}; @create fd 0 2M RW OBJECT; {_WINDOW} touch w 2M; load w+2M-4K;"
        'field "/proc/meminfo" "ShmemPmdMapped"'
    )
    assert lines == ["touch = 0", "load = 1", "field = 0"]


def test_an_object_that_goes_in_part_takes_its_huge_entry_along(machine: MakeMachine) -> None:
    booted = machine()
    lines = booted.calls(
        f"@u = say {booted.unit}; {_ALWAYS} {SIZED}; @create fd 0 2M RW OBJECT; {_WINDOW} @touch w 2M; unmap fd 0 4K;"
        'load w; load w+4K; store w+8K 7; load w+8K; field "/proc/meminfo" "ShmemPmdMapped"'
    )
    assert lines == ["unmap = 0", "load = SEGV_MAPERR", "load = 1", "store = 0", "load = 7", "field = 0"]


@pytest.mark.parametrize("abi", ["rfc3", "v2"])
def test_the_earlier_series_forbid_huge_pages(machine: MakeMachine, abi: str) -> None:
    booted = machine(abi=abi)
    scripts = {
        "rfc3": "@create_at fd 2T 4M RW OBJECT;",
        "v2": "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;",
    }
    opened = '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600;'
    sized = "@set_size fd 2T u;" if abi == "rfc3" else ""
    booted.guest("calls", f"@u = say {booted.unit}; {opened} {sized} {scripts[abi]} @pause")
    booted.run()
    (host,) = [mm for mm in booted.kernel.mm_context.address_spaces.values() if mm.shared_tables]
    assert host.vmas and all(vma.flags & VmFlags.NOHUGEPAGE for vma in host.vmas)


def test_memory_thp_of_the_posted_selftests(machine: MakeMachine) -> None:
    """T2 8/8: shmem_enabled=always, 2 MiB filled, and memory.stat of the group says that they are huge."""
    booted = machine(level="pud")
    make(booted, "g", controllers="+memory")
    booted.guest(
        "calls",
        f"@u = say {booted.unit}; {quietly('g/cgroup.procs', '0')}; {_ALWAYS} {SIZED}; @create fd 0 2M RW OBJECT;"
        f"{_WINDOW} @touch w 2M; @pause",
    )
    booted.run()
    figures = dict(line.split() for line in see(booted, "g/memory.stat").splitlines())
    assert sum(int(figures[name]) for name in ("file_thp", "anon_thp", "shmem_thp")) >= 2 * MIB

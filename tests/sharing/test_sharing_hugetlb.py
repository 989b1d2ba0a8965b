"""Objects of huge pages in a region: mshare-observed.md, "Huge pages" in section 7 and the rows of section 3; and the
variants HUGETLB_2m and HUGETLB_4m of the posted selftests (mshare.md, section 4).
"""

from __future__ import annotations

import pytest

from emu.mm.pagetable import ADDRESS
from tests.booted import MIB, UNIT, Booted, MakeMachine, Recorder
from tests.sharing.tables import SIZED, Table, expected, results

POOL = 4
POOL_FIELDS = "; ".join(f'field "/proc/meminfo" "HugePages_{name}"' for name in ("Rsvd", "Free"))

CREATING: Table = {
    "anonymous": (
        "create fd 0 2M RW OBJECT|MAP_HUGETLB; create fd 2M 4096 RW OBJECT|MAP_HUGETLB;"
        "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; store w+4M-8 1; load w+4M-8; load w+4M",
        "0 0 0 1 SEGV_MAPERR",
    ),
    "what /proc/meminfo says of the pool": (
        f"@create fd 0 4M RW OBJECT|MAP_HUGETLB; {POOL_FIELDS}; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"
        f"@store w 1; {POOL_FIELDS}; @unmap fd 0 4M; {POOL_FIELDS}",
        "2 4 1 3 0 4",
    ),
    "unaligned offset": (
        "create fd 4K 2M RW OBJECT|MAP_HUGETLB; create fd 1M 2M RW OBJECT|MAP_HUGETLB",
        "EINVAL EINVAL",
    ),
    "more than is free": ("create fd 0 10M RW OBJECT|MAP_HUGETLB; create fd 0 8M RW OBJECT|MAP_HUGETLB", "ENOMEM 0"),
    "page sizes": (
        "create fd 0 2M RW OBJECT|MAP_HUGETLB|0x54000000; create fd 0 1G RW OBJECT|MAP_HUGETLB|0x78000000;"
        "create fd 0 2M RW OBJECT|MAP_HUGETLB|0x4c000000",
        "0 EINVAL EINVAL",
    ),
    "the end of the region": (
        "create fd u-2M 2M RW OBJECT|MAP_HUGETLB; create fd u-2M 4M RW OBJECT|MAP_HUGETLB; create fd u-4K 4K RW OBJECT",
        "0 EINVAL EINVAL",
    ),
    "size 0; no FIXED; PRIVATE": (
        "create fd 0 0 RW OBJECT|MAP_HUGETLB; create fd 0 2M RW ANON|MAP_HUGETLB;"
        "create fd 0 2M RW PRIVATE|MAP_FIXED|MAP_HUGETLB",
        "EINVAL EINVAL EINVAL",
    ),
    "a memfd of small pages": (
        '@m = memfd_create "m" 0; @ftruncate m 2M; create fd 0 2M RW MAP_SHARED|MAP_FIXED|MAP_HUGETLB m',
        "EINVAL",
    ),
    "a memfd of huge pages": (
        '@m = memfd_create "m" 4; create fd 0 2M RW MAP_SHARED|MAP_FIXED m;'
        "create fd 2M 4096 RW MAP_SHARED|MAP_FIXED m;"
        "create fd 4M 2M RW MAP_SHARED|MAP_FIXED m 4096; create fd 4M 2M RW MAP_SHARED|MAP_FIXED m 2M;"
        "create fd 6M 2M RW MAP_SHARED|MAP_FIXED|MAP_HUGETLB m; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"
        "@p = mmap 0 2M RW MAP_SHARED m 0; store w 7; load w+2M; load p; load w+6M; load w+4M; store p 8; load w",
        "0 0 EINVAL 0 0 0 7 7 7 0 0 8",
    ),
    "UNMAP of a part": (
        "@create fd 0 4M RW OBJECT|MAP_HUGETLB; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @store w 1; @store w+2M 2;"
        "unmap fd 0 4K; unmap fd 1M 2M; unmap fd 4K 4M; unmap fd 0 2M; load w; load w+2M; unmap fd 0 4M; load w+2M",
        "EINVAL EINVAL EINVAL 0 SEGV_MAPERR 2 0 SEGV_MAPERR",
    ),
    "rights are those of the object": (
        "@create fd 0 2M PROT_READ OBJECT|MAP_HUGETLB; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; store w 1; load w;"
        "store w+1M 1; jump w",
        "SEGV_ACCERR 0 SEGV_ACCERR SEGV_ACCERR",
    ),
    "NORESERVE, and the pool is empty at the touch": (
        "@p = mmap 0 8M RW PRIVATE|MAP_HUGETLB|MAP_POPULATE -1 0; create fd 0 2M RW OBJECT|MAP_HUGETLB|MAP_NORESERVE;"
        "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; load w; @munmap p 8M; load w",
        "0 BUS_ADRERR 0",
    ),
    "one replaces another": (
        "@create fd 0 4M RW OBJECT|MAP_HUGETLB; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @store w 1; @store w+2M 2;"
        "create fd 4K 4K RW OBJECT; create fd 0 2M RW OBJECT; load w; load w+2M; store w+4K 3;"
        "create fd 0 2M RW OBJECT|MAP_HUGETLB|MAP_FIXED_NOREPLACE; create fd 0 2M RW OBJECT|MAP_HUGETLB; load w+4K",
        "EINVAL 0 0 2 0 EEXIST 0 0",
    ),
    "the kernel copies": (
        '@create fd 0 2M RW OBJECT|MAP_HUGETLB; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @m = memfd_create "m" 0;'
        "store w+1M 0x41424344; write m w+1M 8; pread m w 4 0; load w; @v = bytes 8; mincore w+1M 4K v; load v",
        "0 8 4 0x41424344 0 1",
    ),
    "execute": (
        "@create fd 0 2M RWX OBJECT|MAP_HUGETLB; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; store w 0xc3; jump w",
        "0 0",
    ),
}  # fmt: skip


def pool(booted: Booted) -> tuple[int, int]:
    """Free and promised huge pages."""
    pages = booted.kernel.huge_pages
    return pages.free, pages.reserved


@pytest.mark.parametrize("la57", [False, True], ids=["4-levels", "5-levels"])
@pytest.mark.parametrize("level", ["pmd", "pud"])
def test_creating(machine: MakeMachine, level: str, la57: bool) -> None:
    booted = machine(level=level, hugepages=POOL, la57=la57)
    assert results(booted, CREATING, SIZED) == expected(CREATING, UNIT[level])
    assert pool(booted) == (POOL, 0)


def test_without_huge_pages(machine: MakeMachine) -> None:
    booted = machine()
    assert booted.calls(f"@u = say {booted.unit}; {SIZED}; create fd 0 2M RW OBJECT|MAP_HUGETLB") == ["create = ENOMEM"]


def test_a_pte_table_cannot_hold_them(machine: MakeMachine) -> None:
    booted = machine(level="pte", hugepages=POOL)
    lines = booted.calls(f"""@u = say {booted.unit}; {SIZED}; create fd 0 2M RW OBJECT|MAP_HUGETLB
        @m = memfd_create "m" 4; create fd 0 2M RW MAP_SHARED|MAP_FIXED m""")
    assert lines == ["create = EINVAL", "create = EINVAL"] and pool(booted) == (POOL, 0)
    assert booted.logged == [
        "level=pte shares PTE tables, and a huge page has none: objects of huge pages need level=pmd or pud"
    ]


@pytest.mark.parametrize("level", ["pmd", "pud"])
def test_promise_use_and_end(machine: MakeMachine, level: str) -> None:
    """Promised at CREATE, used at the touch, one minor fault a page, given back at UNMAP; consumers fault once."""
    booted = machine(level=level, hugepages=POOL)
    recorder = Recorder(booted)
    seen = []
    booted.marks.listeners.append(lambda task, number: seen.append(pool(booted)))
    booted.calls(f"""
        @u = say {booted.unit}; {SIZED}; @s = mmap 0 4K RW ANON -1 0; @store s 0
        @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @mark 0; @create fd 0 4M RW OBJECT|MAP_HUGETLB; @mark 1
        @store w 1; @mark 2; @store w+1M 1; @load w+2M-8; @mark 3; @store w+2M 1; @mark 4
        @fork c; @load s; @mark 5; @load w; @store w+2M 5; @scan w 4M; @mark 6; @store s 1; @await s 2; end
        @await s 1; @mark 7; @load w+2M; @mark 8; @store s 2; @wait c; @unmap fd 0 4M; @mark 9
        """)
    assert seen == [(4, 0), (4, 2), (3, 1), (3, 1), (2, 0), (2, 0), (2, 0), (2, 0), (2, 0), (4, 0)]
    marks = recorder.marks
    assert marks[2].since(marks[1]) == (2, 1, 1)  # populate, then link
    assert marks[3].since(marks[2]) == (0, 0, 0)
    assert marks[4].since(marks[3]) == (1, 1, 0)
    assert marks[6].since(marks[5]) == (1, 0, 1) and marks[8].since(marks[7]) == (0, 0, 0)
    assert marks[6].vm_rss_kb == marks[5].vm_rss_kb


@pytest.mark.parametrize("level", ["pmd", "pud"])
def test_processes_share_the_pmd_table_and_its_large_entries(machine: MakeMachine, level: str) -> None:
    booted = machine(level=level, hugepages=POOL)
    booted.guest(
        "calls",
        f"@u = say {booted.unit}; {SIZED}; @create fd 0 4M RW OBJECT|MAP_HUGETLB;"
        "@fork c; @v = mmap 6T u RW MAP_SHARED|MAP_FIXED fd 0; @scan v 4M; @pause; end;"
        "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @touch w 4M; @pause",
    )
    booted.run()
    parent, child = booted.tasks
    slots = {mm.tables.entry_slot(at, 2) for mm, at in ((parent.mm, 2 << 40), (child.mm, 6 << 40))}
    assert len(slots) == 1  # one entry of one table
    (slot,) = slots
    assert slot is not None and booted.ram.qwords[slot] & 0x81 == 0x81
    assert parent.mm.tables.entry_slot(2 << 40, 1) is None
    (region,) = booted.regions
    assert region.host.tables.tables == {4: 1, 3: 1, 2: 1, 1: 0} and region.resident_bytes == 4 * MIB
    assert region.host.tables.entry_slot(region.host_base, 2) == slot
    assert booted.kernel.huge_pages.holds((booted.ram.qwords[slot] & ADDRESS) >> 12)


#: T2 4/8, basic.shared_mem and 5/8, basic.ioctl_unmap: a region of 512 GiB, an object of this size.
SELFTEST_SIZES = {"HUGETLB_2m": "2M", "HUGETLB_4m": "4M"}


@pytest.mark.parametrize("name", SELFTEST_SIZES)
def test_selftest_shared_mem(machine: MakeMachine, name: str) -> None:
    booted = machine(level="pud", hugepages=2)
    lines = booted.calls(f"""
        @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_EXCL 0600; @ftruncate fd 512G
        create fd 0 {SELFTEST_SIZES[name]} RW OBJECT|MAP_HUGETLB; @close fd
        @fork c; @fd = open "/sys/fs/mshare/r" O_RDWR; @w = mmap 0 512G RW MAP_SHARED fd 0
        store w 0x006465726168736d; end
        @fd = open "/sys/fs/mshare/r" O_RDWR; @w = mmap 0 512G RW MAP_SHARED fd 0; wait c; text w; munmap w 512G
        unlink "/sys/fs/mshare/r"
        """)
    assert lines == [
        "create = 0", "store = 0", "wait = 0", "text = mshared", "munmap = 0", "unlink = 0",
    ]  # fmt: skip


@pytest.mark.parametrize("name", SELFTEST_SIZES)
def test_selftest_ioctl_unmap(machine: MakeMachine, name: str) -> None:
    booted = machine(level="pud", hugepages=2)
    lines = booted.calls(f"""
        @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_EXCL 0600; @ftruncate fd 512G
        create fd 0 {SELFTEST_SIZES[name]} RW OBJECT|MAP_HUGETLB; @fork c; @on 11 0
        @w = mmap 0 512G RW MAP_SHARED fd 0; store w 0x4d; unmap fd 0 {SELFTEST_SIZES[name]}; store w 0x44; end
        wait c
        """)
    assert lines == ["create = 0", "store = 0", "unmap = 0", "wait = killed SIGSEGV"]


def test_the_owner_dies(machine: MakeMachine) -> None:
    booted = machine(hugepages=POOL)
    booted.calls(f"""
        @fork c; @u = say {booted.unit}; {SIZED}; @create fd 0 4M RW OBJECT|MAP_HUGETLB
        @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @touch w 4M; end; @wait c
        """)
    assert pool(booted) == (POOL, 0)

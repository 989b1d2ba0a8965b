"""Huge pages: what a Linux host answered (6.18, with 8 pages of 2 MiB), and what the machine answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import guests
from emu.linux.errors import LinuxError
from emu.mm.pageflags import FrameKind
from tests.booted import GIB, MIB, Booted, MakeMachine, Recorder, native
from tests.machine.native_host import needs_host

POOL = 8

#: Scripts for the guest ``calls``, and the host's results: a space within one is written as _.
ROWS: dict[str, tuple[str, str]] = {
    "a private mapping: one fault a page, unmapped whole pages only": (
        """
        @p = mmap 0 4M RW PRIVATE|MAP_HUGETLB -1 0; mod p 2M; @minor; load p; minor; store p 1; store p+2M-8 2;
        minor; load p+2M-8; store p+2M 3; minor; munmap p 4K; munmap p+4K 2M; munmap p 2M; load p; load p+2M; munmap
        p+2M 2M
        """,
        """
        0 0 1 0 0 1 2 0 1 EINVAL EINVAL 0 SEGV_MAPERR 3 0
        """,
    ),
    "lengths are rounded up, offsets and fixed addresses are not": (
        """
        @p = mmap 0 4K RW PRIVATE|MAP_HUGETLB -1 0; store p+2M-8 1; load p+2M-8; load p+2M; munmap p 4K; munmap p
        2M; mmap 0 0 RW PRIVATE|MAP_HUGETLB -1 0; mmap 0 2M RW PRIVATE|MAP_HUGETLB -1 4K; mmap 4G 2M RW
        PRIVATE|MAP_HUGETLB|MAP_FIXED -1 0; mmap 4G+4K 2M RW PRIVATE|MAP_HUGETLB|MAP_FIXED -1 0; mmap 6G+4K 2M RW
        PRIVATE|MAP_HUGETLB -1 0
        """,
        """
        0 1 SEGV_MAPERR EINVAL 0 EINVAL EINVAL 0x100000000 EINVAL 0x180200000
        """,
    ),
    "more than there is: refused at mmap, or SIGBUS at the fault": (
        """
        mmap 0 1G RW PRIVATE|MAP_HUGETLB -1 0; mmap 0 1G RW ANON|MAP_HUGETLB -1 0; @q = mmap 0 1G RW
        ANON|MAP_HUGETLB|MAP_NORESERVE -1 0; repeat 8; @store q 1; @q = say q+2M; end; store q 1; @q = mmap 0 20M RW
        PRIVATE|MAP_HUGETLB|MAP_NORESERVE -1 0; store q 1; load q
        """,
        """
        ENOMEM ENOMEM BUS_ADRERR BUS_ADRERR BUS_ADRERR
        """,
    ),
    "mprotect of whole pages": (
        """
        @p = mmap 0 4M RW PRIVATE|MAP_HUGETLB -1 0; store p 1; mprotect p 4K 1; mprotect p 2M 1; store p 2; load p;
        store p+2M 1; mprotect p 4M 0; load p; mprotect p 4M 3; store p 4; load p; mprotect p+1M 2M 1; load p+2M;
        mprotect p 6M 1
        """,
        """
        0 EINVAL 0 SEGV_ACCERR 1 0 0 SEGV_ACCERR 0 0 4 EINVAL 1 ENOMEM
        """,
    ),
    "fork: private pages are copied when they are written, shared ones are not": (
        """
        @p = mmap 0 2M RW PRIVATE|MAP_HUGETLB -1 0; @s = mmap 0 2M RW ANON|MAP_HUGETLB -1 0; store p 1; store s 1;
        @fork c; load p; store p 2; load p; load s; store s 2; end; wait c; load p; load s; store p 3; load p
        """,
        """
        0 0 1 0 2 1 0 0 1 2 0 3
        """,
    ),
    "a child pays for the lack of pages: it is robbed, its parent is not": (
        """
        @p = mmap 0 2M RW PRIVATE|MAP_HUGETLB -1 0; @q = mmap 0 14M RW PRIVATE|MAP_HUGETLB -1 0; @store p 1; @store
        q 1; @store q+2M 1; @store q+4M 1; @store q+6M 1; @store q+8M 1; @store q+10M 1; @store q+12M 1; @s = mmap 0
        4K RW ANON -1 0; @fork c; load p; store s 1; @await s 2; load p; store p 5; end; @await s 1; store p 2; load
        p; store s 2; wait c; @fork c; store p 7; load p; end; wait c
        """,
        """
        1 0 0 2 0 BUS_ADRERR BUS_ADRERR 0 BUS_ADRERR 2 0
        """,
    ),
    "mremap moves and shrinks, and never grows": (
        """
        @p = mmap 0 4M RW PRIVATE|MAP_HUGETLB -1 0; @store p 1; @store p+2M 2; mremap p 4M 8M 1; mremap p 4M 2M 0;
        load p+2M; load p; mremap p+4K 4K 4K 1; mremap p 2M 4K 0; load p; mremap p 2M 2M 3 8G; load 8G; load p;
        mremap 8G 2M 2M 3 8G+2M+4K; mremap 8G 4K 4K 3 10G; load 10G; mremap 10G 2M 2M 7 12G; load 12G; load 10G
        """,
        """
        EINVAL ADDRESS SEGV_MAPERR 1 EINVAL ADDRESS 1 0x200000000 1 SEGV_MAPERR EINVAL 0x280000000 1 EINVAL
        SEGV_MAPERR 1
        """,
    ),
    "memfd: size, read, mmap, truncate, fallocate": (
        """
        m = memfd_create "m" 4; @st = bytes 144; @syscall 5 m st; load st+56; load st+64; @ftruncate m 4M; ftruncate
        m 4K; ftruncate m 3M; write m "abc" 3; pwrite m "abc" 3 0; @b = bytes 16; read m b 8; load b; @p = mmap 0 2M
        RW MAP_SHARED m 2M; store p 0x616263; pread m b 8 2M; load b; pread m b 8 4M; pread m b 16 4M-8; mmap 0 2M
        RW MAP_SHARED m 4K; mmap 0 2M RW MAP_SHARED m 1M; @q = mmap 0 4K RW MAP_SHARED m 2M; load q; load q+2M-8;
        munmap q 4K; munmap q 2M; @q = mmap 0 4M RW MAP_SHARED m 0; @syscall 5 m st; load st+48; load st+64;
        ftruncate m 2M; load q+2M; load p; load q; @r = mmap 0 4M RW MAP_SHARED m 2M; @syscall 5 m st; load st+48;
        load r; load r+2M; load r+4M-8; @r = mmap 0 4M PROT_READ MAP_SHARED m 4M; @syscall 5 m st; load st+48; load
        r; load r+2M; lseek m 0 2; lseek m 0 3; fallocate m 0 0 1; fallocate m 0 2M 4K; @syscall 5 m st; load st+48;
        load st+64; fallocate m 3 0 2M; load q; fallocate m 3 1M 4M; fallocate m 0 0 100M; fallocate m 1 8M 2M;
        @syscall 5 m st; load st+48; fallocate m 0x10 0 2M
        """,
        """
        3 0x200000 0 EINVAL EINVAL EINVAL EINVAL 8 0 0 8 0x616263 0 8 EINVAL EINVAL 0x616263 0 EINVAL 0 0x400000
        4096 0 BUS_ADRERR BUS_ADRERR 0 0x600000 0 0 0 0x600000 0 BUS_ADRERR 0x600000 0 0 0 0x600000 12288 0 0 0
        ENOSPC 0 0x600000 EOPNOTSUPP
        """,
    ),
    "memfd mapped shared and private": (
        """
        m = memfd_create "m" 4; @ftruncate m 4M; @s = mmap 0 4M RW MAP_SHARED m 0; @p = mmap 0 4M RW MAP_PRIVATE m
        0; store s 1; load p; store p 2; load s; load p; store s+8 5; load p+8; load p+2M; store s+2M 3; load p+2M;
        store p+2M 4; load s+2M; mmap 0 2M RW MAP_SHARED|MAP_HUGETLB m 0; ftruncate m 0; load p; load s; load p+2M
        """,
        """
        3 0 1 0 1 2 0 0 0 0 0 0 3 ADDRESS 0 BUS_ADRERR BUS_ADRERR BUS_ADRERR
        """,
    ),
    "DONTNEED, other advice, mincore, mlock, msync": (
        """
        @p = mmap 0 4M RW PRIVATE|MAP_HUGETLB -1 0; @store p 1; @store p+2M 2; madvise p 4K 4; load p; madvise p 2M
        4; load p; load p+2M; madvise p+4K 2M 4; madvise p 2M+4K 4; load p+2M; madvise p 2M 8; madvise p 2M 14;
        madvise p 2M 15; madvise p 2M 9; madvise p 2M 3; madvise p 2M 1; madvise p 4K 1; madvise p 2M 20; madvise p
        2M 21; madvise p 2M 16; madvise p 2M 22; madvise p 2M 23; madvise p 2M 18; madvise p 2M 10;
        @v = bytes 1024; madvise p 4M 4; mincore p 4M v; load v; store p+2M 1; mincore p 4M v; load v; load v+512;
        mlock p 2M; msync p 4M 4
        """,
        """
        0 1 0 0 2 EINVAL 0 2 EINVAL 0 0 EACCES 0 0 0 EINVAL EINVAL 0 0 0 EINVAL 0 0 0 0 0 0 0 0x101010101010101 0
        0
        """,
    ),
    "the size of the pool": (
        """
        f = open "/proc/sys/vm/nr_hugepages" O_RDWR; @b = bytes 16; @read f b 15; text b
        """,
        """
        3 8
        """,
    ),
    "fixed mappings over others": (
        """
        @p = mmap 8G 4K RW PRIVATE|MAP_FIXED -1 0; @store p 1; mmap 8G 2M RW PRIVATE|MAP_FIXED|MAP_HUGETLB -1 0;
        load p; mmap 8G+4K 4K RW PRIVATE|MAP_FIXED -1 0; mmap 8G 2M RW PRIVATE|MAP_FIXED -1 0; load p; mmap 8G 2M RW
        PRIVATE|MAP_FIXED|MAP_HUGETLB|MAP_POPULATE -1 0; @v = bytes 512; mincore p 2M v; load v
        """,
        """
        0x200000000 0 EINVAL 0x200000000 0 0x200000000 0 0x101010101010101
        """,
    ),
    "code in a huge page": (
        """
        @p = mmap 0 2M RWX PRIVATE|MAP_HUGETLB -1 0; store p 0xc3; jump p; mprotect p 2M RW; jump p; mprotect p 2M
        5; jump p; store p 0
        """,
        """
        0 0 0 SEGV_ACCERR 0 0 SEGV_ACCERR
        """,
    ),
    "the kernel copies to and from huge pages": (
        """
        @p = mmap 0 4M RW PRIVATE|MAP_HUGETLB -1 0; @z = memfd_create "z" 0; @pwrite z "hello" 5 0; pread z p+2M-2 5
        0; text p+2M-2; @r = mmap 0 2M PROT_READ PRIVATE|MAP_HUGETLB -1 0; pread z r 5 0; write z r 4; load r
        """,
        """
        5 hello EFAULT 4 0
        """,
    ),
    "a read-only mapping does not make the file grow": (
        """
        m = memfd_create "m" 4; @r = mmap 0 2M PROT_READ MAP_SHARED m 0; load r; ftruncate m 2M; load r; store r 1;
        mprotect r 2M 3; store r 1; load r
        """,
        """
        3 BUS_ADRERR 0 0 SEGV_ACCERR 0 0 1
        """,
    ),
    "flags that do not go together": (
        """
        mmap 0 2M RW PRIVATE|MAP_HUGETLB|MAP_GROWSDOWN -1 0; mmap 0 2M RW MAP_SHARED_VALIDATE|0x20|MAP_HUGETLB -1 0;
        mmap 0 2M RW MAP_SHARED_VALIDATE|0x20 -1 0; mmap 0 2M RW 0x20|MAP_HUGETLB -1 0; mmap 0 2M RW
        0x8|0x20|MAP_HUGETLB -1 0; mmap 0 -1 RW PRIVATE|MAP_HUGETLB -1 0; mmap 0 128T RW PRIVATE|MAP_HUGETLB -1 0;
        mmap 0 128T RW PRIVATE|MAP_HUGETLB|MAP_NORESERVE -1 0
        """,
        """
        EINVAL ADDRESS EINVAL EINVAL EINVAL EINVAL ENOMEM ENOMEM
        """,
    ),
    "sizes that there are": (
        """
        @p = mmap 0 2M RW PRIVATE|MAP_HUGETLB|0x54000000 -1 0; load p; mmap 0 2M RW PRIVATE|MAP_HUGETLB|0x4c000000
        -1 0; memfd_create "x" 0x54000004; memfd_create "x" 0x4c000004; memfd_create "x" 0x54000000; memfd_create
        "x" 6
        """,
        """
        0 EINVAL 3 ENODEV EINVAL 4
        """,
    ),
}


def words(stdout: str) -> list[str]:
    """The results, addresses that the kernel chose left out."""
    results = re.findall(r" = (\S+(?: at \S+)?)", stdout)
    return [re.sub(r"^0x7[0-9a-f]{11}$", "ADDRESS", result.replace(" ", "_")) for result in results]


def one_line(script: str) -> str:
    """A script in which a statement may go on in the next line."""
    return " ".join(script.split())


@pytest.mark.parametrize("name", ROWS)
def test_the_machine_does_what_a_host_did(machine: MakeMachine, name: str) -> None:
    script, expected = ROWS[name]
    booted = machine(hugepages=POOL)
    outcome = booted.outcome("calls", one_line(script))
    assert (words(outcome.stdout), outcome.stderr, outcome.exit_status) == (expected.split(), "", 0)
    pool = booted.kernel.huge_pages
    assert (pool.total, pool.free, pool.reserved, pool.surplus) == (POOL, POOL, 0, 0)


def host_pages() -> int:
    """Free huge pages of the host."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return 0
    found = re.search(r"^HugePages_Free: +(\d+)$", text, re.M)
    return int(found[1]) if found else 0


@needs_host
@pytest.mark.parametrize("name", ROWS)
def test_the_host_still_does(name: str) -> None:
    if host_pages() != POOL:
        pytest.skip(f"the host has {host_pages()} huge pages, and this needs vm.nr_hugepages={POOL}")
    script, expected = ROWS[name]
    assert words(native(guests.path("calls"), [one_line(script)]).stdout) == expected.split()


def figures(booted: Booted, path: str = "/proc/meminfo") -> dict[str, int]:
    """The numbers of a file of /proc, by name."""
    text = booted.kernel.vfs.read_file(path).decode()
    return {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", text, re.M)}


def test_meminfo_follows_promise_use_and_end(machine: MakeMachine) -> None:
    booted = machine(hugepages=POOL)
    seen = []

    def note(_task: object, _number: int) -> None:
        now = figures(booted)
        seen.append(tuple(now[f"HugePages_{name}"] for name in ("Total", "Free", "Rsvd", "Surp")))

    booted.marks.listeners.append(note)
    booted.calls("""
        @mark 0; @p = mmap 0 6M RW PRIVATE|MAP_HUGETLB -1 0; @mark 1; @store p 1; @mark 2; @load p+2M; @mark 3
        @fork c; @load p; @mark 4; @store p 2; @mark 5; end; @wait c; @mark 6
        @m = memfd_create "m" 4; @s = mmap 0 4M RW MAP_SHARED m 0; @mark 7; @store s 1; @munmap s 4M; @mark 8
        @ftruncate m 0; @mark 9; @f = open "/proc/sys/vm/nr_hugepages" O_RDWR; @write f "1\\n" 2; @mark 10
        @munmap p 6M; @mark 11; @write f "5\\n" 2; @mark 12; @write f "0" 1
        """)
    assert seen == [
        (8, 8, 0, 0), (8, 8, 3, 0), (8, 7, 2, 0), (8, 6, 1, 0),  # promised at mmap, used one by one
        (8, 6, 1, 0), (8, 5, 1, 0), (8, 6, 1, 0),  # the child's copy is not promised, and goes with it
        (8, 6, 3, 0), (8, 5, 2, 0),  # the file keeps its page, and the promise of the other
        (8, 6, 1, 0),
        (3, 1, 1, 2),  # what is used or promised cannot go: it is surplus
        (1, 1, 0, 0), (5, 5, 0, 0),
    ]  # fmt: skip
    assert figures(booted)["HugePages_Total"] == 0 and booted.audit() == []
    now = figures(booted)
    assert (now["Hugepagesize"], now["Hugetlb"]) == (2048, 0)


def test_writing_the_sysctl(machine: MakeMachine) -> None:
    lines = machine().calls("""
        @f = open "/proc/sys/vm/nr_hugepages" O_RDWR; write f "3" 1; write f "x" 1; write f "-1" 2; write f "" 0
        @b = bytes 8; pread f b 8 0; load b; mmap 0 6M RW PRIVATE|MAP_HUGETLB -1 0
        write f "1000" 4; pread f b 8 0; @setuid 1000; open "/proc/sys/vm/nr_hugepages" O_RDWR
        g = open "/proc/sys/vm/nr_hugepages" O_RDONLY
        """)
    results = [line.split(" = ")[1] for line in lines]
    assert results[:6] == ["1", "EINVAL", "EINVAL", "0", "2", str(0x0A33)]
    assert results[6].startswith("0x7f") and int(results[8]) == 3  # two digits: not so many as were asked for
    assert results[7] == "4" and results[9:] == ["EACCES", "4"]


def test_one_entry_of_the_pmd_maps_a_page(machine: MakeMachine) -> None:
    """No PTE table is made, and the CPU's own walk ends at the PMD entry."""
    booted = machine(hugepages=POOL)
    recorder = Recorder(booted)
    booted.guest(
        "calls",
        "@p = mmap 4G 6M RW ANON|MAP_HUGETLB|MAP_FIXED -1 0; @minor; @store p 1; @mark 0; @load p+1M; @store p+2M-8 5;"
        "@mark 1; @load p+2M; @store p+2M 1; @mark 2; @munmap p+4M 2M; @fork c; @load p; @pause; end; @pause",
    )
    booted.run(timeout_s=60)
    marks = recorder.marks
    assert marks[1].since(marks[0]) == (0, 0, 0) and marks[2].since(marks[1]) == (1, 1, 0)
    assert marks[2].vm_pte_kb == marks[0].vm_pte_kb and marks[2].vm_rss_kb == marks[0].vm_rss_kb
    parent, child = booted.tasks
    slot = parent.mm.tables.entry_slot(4 * GIB, 2)
    assert slot is not None and booted.ram.qwords[slot] & 0x80
    assert parent.mm.tables.entry_slot(4 * GIB, 1) is None
    assert parent.mm.tables.pte(4 * GIB + 0x5000) == booted.ram.qwords[slot] - 0x80 + 0x5000
    assert child.mm.tables.pte(4 * GIB) & ~0x60 == parent.mm.tables.pte(4 * GIB) & ~0x60  # A and D apart
    text = booted.kernel.vfs.read_file(f"/proc/{parent.pid}/smaps").decode()
    vma = text[text.index("100000000-100400000 rw-s 00000000") :]
    assert "/anon_hugepage (deleted)\n" in vma.splitlines(keepends=True)[0]
    assert re.search(r"^KernelPageSize:     2048 kB\nMMUPageSize:        2048 kB\nRss: +0 kB$", vma, re.M)
    assert re.search(r"^Shared_Hugetlb: +2048 kB\nPrivate_Hugetlb: +2048 kB$", vma, re.M)
    assert re.search(r"^VmFlags: rd wr sh mr mw me ms de ht $", vma, re.M)
    assert figures(booted, f"/proc/{parent.pid}/status")["HugetlbPages"] == 4096


def test_hugetlbfs_can_be_mounted(machine: MakeMachine) -> None:
    lines = machine(hugepages=POOL).calls("""
        mkdir "/h" 0755; mount "none" "/h" "hugetlbfs" 0 "pagesize=1G"; mount "none" "/h" "hugetlbfs" 0 "pagesize=2M"
        f = open "/h/f" O_RDWR|O_CREAT 0600; @p = mmap 0 2M RW MAP_SHARED f 0; store p 7; @munmap p 2M; @close f
        g = open "/h/f" O_RDWR; @p = mmap 0 2M RW MAP_SHARED g 0; load p; umount2 "/h" 0; @munmap p 2M; @close g
        open "/h/f" O_RDWR|O_TRUNC; @close 3; @close 4; umount2 "/h" 0
        """)
    assert [line.split(" = ")[1] for line in lines] == ["0", "EINVAL", "0", "3", "0", "3", "7", "EBUSY", "3", "0"]


def test_there_is_not_enough_memory_for_the_pool(machine: MakeMachine) -> None:
    with pytest.raises(ValueError, match="8388608 bytes of memory have room for 3 huge pages, not 4"):
        machine(8 * MIB, hugepages=4)


def test_out_of_frames_for_tables(machine: MakeMachine) -> None:
    """A fault on a huge page that gets no table is ENOMEM, and nothing is lost."""
    booted = machine(hugepages=POOL)
    booted.guest("calls", "@p = mmap 4G 2M RW ANON|MAP_HUGETLB|MAP_FIXED -1 0; @pause")
    booted.run(timeout_s=60)
    (task,) = booted.tasks
    booted.take_frames(left=0)
    with pytest.raises(LinuxError, match="ENOMEM"):
        task.mm.read_u64(4 * GIB)
    assert booted.audit() == []
    booted.give_back_frames()
    assert task.mm.read_u64(4 * GIB) == 0


def test_what_the_pool_gives_back_serves_as_small_pages(machine: MakeMachine) -> None:
    booted = machine(16 * MIB, hugepages=4)
    frames, pool = booted.kernel.frames, booted.kernel.huge_pages
    before = frames.free
    pool.resize(0)
    assert frames.free == before + 4 * 512 and pool.total == 0
    pool.resize(3)
    pool.resize(1)
    assert (frames.free, pool.total) == (before + 3 * 512, 1)
    booted.take_frames(left=0)
    assert frames.free == 0 and booted.audit() == []
    booted.give_back_frames()
    many = frames.alloc_many(FrameKind.RESERVED, 10_000)  # as many as there are
    assert len(set(many.tolist())) == len(many) == before + 3 * 512
    assert not any(pool.holds(frame) for frame in many.tolist())
    frames.put_many(many)

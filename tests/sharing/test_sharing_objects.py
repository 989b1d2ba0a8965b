"""MSHAREFS_CREATE_MAPPING and MSHAREFS_UNMAP, as observed with the third series: mshare-observed.md, section 3.

``fd`` is a region of one unit ``u``; for UNMAP it has objects at 8K (8K, RW) and 20K (8K, read only).
"""

from __future__ import annotations

import pytest

from emu.mm.commit import Overcommit
from emu.mm.pageflags import FrameKind
from tests.booted import GIB, UNIT, Booted, MakeMachine, Recorder
from tests.sharing.tables import OBJECTS, SIZED, Table, expected, results

CREATING: Table = {
    "one page; twice": ("create fd 0 4K RW OBJECT; create fd 0 4K RW OBJECT", "0 0"),
    "somewhere": ("create fd 1M 1M RW OBJECT; create fd u-4K 4K RW OBJECT", "0 0"),
    "sizes": ("create fd 0 0 RW OBJECT; create fd 0 1 RW OBJECT; create fd 64K 5000 RW OBJECT", "EINVAL 0 0"),
    "a size in bytes is rounded up to pages": (
        "@create fd 0 5000 RW OBJECT; @w = mmap 0 u RW MAP_SHARED fd 0; load w+4K; load w+8K",
        "0 SEGV_MAPERR",
    ),
    "unaligned offset": ("create fd 1 4K RW OBJECT; create fd 2048 4K RW OBJECT", "EINVAL EINVAL"),
    "offset outside": (
        "create fd u 4K RW OBJECT; create fd 0x8000000000000000 4K RW OBJECT; create fd -4K 4K RW OBJECT",
        "EINVAL " * 3,
    ),
    "end outside": ("create fd u-4K 8K RW OBJECT; create fd 0 u+4K RW OBJECT|MAP_NORESERVE", "EINVAL EINVAL"),
    "a size that wraps": (
        "create fd 4K -4K RW OBJECT; create fd 4K -1 RW OBJECT; create fd 0 0x8000000000000000 RW OBJECT",
        "ENOMEM ENOMEM EINVAL",
    ),
    "a size that wraps with the host's address, which begins at 512 GiB": (
        "create fd 0 -4096 RW OBJECT; create fd 0 -1 RW OBJECT; create fd 0 -512G RW OBJECT;"
        "create fd 4K -512G RW OBJECT; create fd 0 -512G-4K RW OBJECT; create fd 0 0x8000000000000000 RW OBJECT;"
        'm = memfd_create "m" 0; create fd 0 -4096 RW MAP_SHARED|MAP_FIXED m;'
        "create fd 0 -4096 RW OBJECT|MAP_NORESERVE; @w = mmap 0 u RW MAP_SHARED fd 0; load w",
        "ENOMEM ENOMEM ENOMEM ENOMEM EINVAL EINVAL 4 ENOMEM ENOMEM SEGV_MAPERR",
    ),
    "more than there is": (
        '@g = open "/sys/fs/mshare/g" O_RDWR|O_CREAT 0600; @unlink "/sys/fs/mshare/g"; @ftruncate g 512G;'
        "create g 0 1G RW OBJECT;"
        "create g 0 512G RW OBJECT|MAP_NORESERVE",
        "ENOMEM 0",
    ),
    "not fixed, private, no type, other types": (
        "create fd 0 4K RW ANON; create fd 0 4K RW 0x32; create fd 0 4K RW 0x30; create fd 0 4K RW 0x38;"
        "create fd 0 4K RW 0x39",
        "EINVAL " * 5,
    ),
    "SHARED_VALIDATE": ('create fd 0 4K RW 0x33; m = memfd_create "m" 0; create fd 0 4K RW 0x13 m', "EINVAL 4 0"),
    "SYNC": (
        'm = memfd_create "m" 0; create fd 0 4K RW 0x80013 m; create fd 0 4K RW 0x80011 m;'
        "create fd 0 4K RW OBJECT|0x80000",
        "4 EOPNOTSUPP 0 0",
    ),
    "FIXED_NOREPLACE": (
        "create fd 0 4K RW OBJECT; create fd 0 4K RW OBJECT|MAP_FIXED_NOREPLACE;"
        "create fd 4K 4K RW OBJECT|MAP_FIXED_NOREPLACE",
        "0 EEXIST 0",
    ),
    "other flags": (
        "create fd 0 4K RW OBJECT|MAP_GROWSDOWN; create fd 0 4K RW OBJECT|0x20000; create fd 0 4K RW OBJECT|0x40;"
        "create fd 0 4K RW OBJECT|0x2000000",
        "EINVAL 0 0 0",
    ),
    "POPULATE and LOCKED": (
        "create fd 0 4K RW OBJECT|MAP_POPULATE; create fd 0 4K RW OBJECT|MAP_LOCKED;"
        " @w = mmap 0 u RW MAP_SHARED fd 0; @v = bytes 8; mincore w 4K v; load v",
        "0 0 0 0",
    ),
    "anonymous: file and its offset are ignored": (
        "create fd 0 4K RW OBJECT 0 1; create fd 0 4K RW OBJECT 0 4096",
        "0 0",
    ),
    "rights": (
        "create fd 0 4K 0 OBJECT; create fd 0 4K 1 OBJECT; create fd 0 4K 2 OBJECT; create fd 0 4K 4 OBJECT;"
        "create fd 0 4K 7 OBJECT; create fd 0 4K 0x103 OBJECT; create fd 0 4K 0x1000003 OBJECT",
        "0 " * 7,
    ),
    "file: no descriptor": (
        'p = open "/tmp" O_PATH; create fd 0 4K RW MAP_SHARED|MAP_FIXED -1; create fd 0 4K RW MAP_SHARED|MAP_FIXED 99;'
        "create fd 0 4K RW MAP_SHARED|MAP_FIXED p",
        "4 EBADF EBADF EBADF",
    ),
    "file: a region": (
        'g = open "/sys/fs/mshare/g" O_RDWR|O_CREAT 0600; create fd 0 4K RW MAP_SHARED|MAP_FIXED fd;'
        'create fd 0 4K RW MAP_SHARED|MAP_FIXED g; unlink "/sys/fs/mshare/g"',
        "4 EINVAL EINVAL 0",
    ),
    "file: what cannot be mapped": (
        'd = open "/tmp" O_RDONLY; create fd 0 4K PROT_READ MAP_SHARED|MAP_FIXED d;'
        'i = open "/sys/fs/mshare/mshare_info" O_RDONLY;'
        'create fd 0 4K PROT_READ MAP_SHARED|MAP_FIXED i; p = open "/proc/self/status" O_RDONLY;'
        "create fd 0 4K PROT_READ MAP_SHARED|MAP_FIXED p; @f = bytes 8; @pipe2 f 0;"
        "create fd 0 4K PROT_READ MAP_SHARED|MAP_FIXED 7",
        "4 ENODEV 5 ENODEV 6 ENODEV ENODEV",
    ),
    "file: /dev/zero": (
        'z = open "/dev/zero" O_RDWR; create fd 0 4K RW MAP_SHARED|MAP_FIXED z; @w = mmap 0 u RW MAP_SHARED fd 0;'
        "store w 1; load w",
        "4 0 0 1",
    ),
    "file: offsets": (
        'm = memfd_create "m" 0; @ftruncate m 8K; create fd 0 4K RW MAP_SHARED|MAP_FIXED m 0;'
        "create fd 4K 4K RW MAP_SHARED|MAP_FIXED m 4K; create fd 8K 4K RW MAP_SHARED|MAP_FIXED m 1M;"
        "create fd 12K 4K RW MAP_SHARED|MAP_FIXED m 100; create fd 16K 4K RW MAP_SHARED|MAP_FIXED m -4K;"
        '@pwrite m "x" 1 0; @pwrite m "y" 1 4096; @w = mmap 0 u RW MAP_SHARED fd 0; load w; load w+4K; load w+8K;'
        "load w+12K",
        "4 0 0 0 0 EOVERFLOW 120 121 BUS_ADRERR 120",
    ),
    "file: HUGETLB, PRIVATE": (
        'm = memfd_create "m" 0; create fd 0 4K RW MAP_SHARED|MAP_FIXED|MAP_HUGETLB m;'
        "create fd 0 4K RW MAP_PRIVATE|MAP_FIXED m",
        "4 EINVAL EINVAL",
    ),
    "file: its mode": (
        'c = open "/tmp/f" O_RDWR|O_CREAT 0600; r = open "/tmp/f" O_RDONLY; w = open "/tmp/f" O_WRONLY;'
        "create fd 0 4K RW MAP_SHARED|MAP_FIXED r; create fd 0 4K PROT_READ MAP_SHARED|MAP_FIXED r;"
        'create fd 0 4K PROT_WRITE MAP_SHARED|MAP_FIXED w; unlink "/tmp/f"',
        "4 5 6 EACCES 0 EACCES 0",
    ),
    "through a descriptor for reading, or writing, only": (
        'r = open "/sys/fs/mshare/r" O_RDONLY; w = open "/sys/fs/mshare/r" O_WRONLY; create r 0 4K RW OBJECT;'
        "create w 0 4K RW OBJECT;"
        'unmap r 0 4K; unmap w 0 4K; p = open "/sys/fs/mshare/r" O_PATH; create p 0 4K RW OBJECT; unmap p 0 4K',
        "4 5 0 0 0 0 6 EBADF EBADF",
    ),
    "by another process, and another user": (
        "@fork c; create fd 0 4K RW OBJECT; @setuid 1000; create fd 4K 4K RW OBJECT; unmap fd 0 4K; end; wait c",
        "0 0 0 0",
    ),
    "RLIMIT_DATA is ignored": ("@l = words 64K 64K; @setrlimit 2 l; create fd 0 1M RW OBJECT", "0"),
    "beyond the caller's RLIMIT_AS": (
        "@l = words 512K 512K; @setrlimit 9 l; create fd 0 1M RW OBJECT; create fd 0 512K RW OBJECT",
        "ENOMEM 0",
    ),
    "one object across the boundary of two slots": (
        '@unlink "/sys/fs/mshare/r"; @g = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; ftruncate g u+u;'
        "create g u-4K 8K RW OBJECT; @w = mmap 2T u+u RW MAP_SHARED|MAP_FIXED g 0; store w+u-4K 1; store w+u 2;"
        "load w+u-4K; load w+u; load w+u-8K; load w+u+4K; unmap g u-4K 8K; load w+u",
        "0 0 0 0 1 2 SEGV_MAPERR SEGV_MAPERR 0 SEGV_MAPERR",
    ),
    "LOCKED beyond RLIMIT_MEMLOCK": (
        "@l = words 4K 4K; @setrlimit 8 l; create fd 0 8K RW OBJECT|MAP_LOCKED; @fork c; @setuid 1000;"
        "create fd 16K 8K RW OBJECT|MAP_LOCKED; create fd 16K 4K RW OBJECT; end; wait c",
        "0 EAGAIN 0 0",
    ),
    "bad pointers": (
        "ioctl fd CREATE_MAPPING 0; ioctl fd CREATE_MAPPING 1; ioctl fd UNMAP 0; ioctl fd UNMAP -8",
        "EFAULT " * 4,
    ),
    "other commands": ("ioctl fd 0x7801 0; ioctl fd 0x5401 0; ioctl fd 0x80107800 0", "ENOTTY " * 3),
    "a new object replaces what it overlaps": (
        "@create fd 0 16K RW OBJECT; @w = mmap 0 u RW MAP_SHARED fd 0; @store w 1; @store w+4K 2; @store w+12K 3;"
        "create fd 4K 4K RW OBJECT; load w; load w+4K; load w+12K",
        "0 1 0 3",
    ),
}
CREATING_512G: Table = {
    "a region larger than the address space": (
        '@unlink "/sys/fs/mshare/r"; fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; ftruncate fd 256T;'
        "create fd 100T 4K RW OBJECT; create fd 200T 4K RW OBJECT; mmap 0 256T RW MAP_SHARED fd 0",
        "4 0 0 ENOMEM ENOMEM",
    ),
}

UNMAPPING: Table = {
    "an object, a part of one, several and holes, a hole, all, all again": (
        "unmap fd 8K 4K; unmap fd 12K 4K; unmap fd 0 32K; unmap fd 1M 4K; unmap fd 0 u; unmap fd 0 u",
        "0 " * 6,
    ),
    "bad ranges": (
        "unmap fd 0 0; unmap fd 1 4K; unmap fd u 4K; unmap fd u-4K 8K; unmap fd 0 u+4K; unmap fd -4K 4K; unmap fd 0 -1",
        "EINVAL " * 7,
    ),
    "a size in bytes is rounded up to pages": (
        "@w = mmap 0 u RW MAP_SHARED fd 0; unmap fd 8K 1; load w+8K; load w+12K; unmap fd 8K 5000; load w+12K",
        "0 SEGV_MAPERR 0 0 SEGV_MAPERR",
    ),
    "the rest of an object stays": (
        "@w = mmap 0 u RW MAP_SHARED fd 0; @store w+8K 1; @store w+12K 2; unmap fd 8K 4K; load w+8K; load w+12K",
        "0 SEGV_MAPERR 2",
    ),
}


@pytest.mark.parametrize("level", UNIT)
def test_create_mapping(machine: MakeMachine, level: str) -> None:
    assert results(machine(level=level), CREATING, SIZED) == expected(CREATING, UNIT[level])


@pytest.mark.parametrize("level", UNIT)
def test_unmap(machine: MakeMachine, level: str) -> None:
    assert results(machine(level=level), UNMAPPING, OBJECTS) == expected(UNMAPPING, UNIT[level])


def test_regions_larger_than_the_address_space(machine: MakeMachine) -> None:
    booted = machine(level="pud")
    assert results(booted, CREATING_512G, SIZED) == expected(CREATING_512G, booted.unit)


class Memory(Recorder):
    """Pages that are promised, and pages of objects, at each mark."""

    def __init__(self, booted: Booted) -> None:
        super().__init__(booted)
        self.promised: dict[int, int] = {}
        self.pages: dict[int, int] = {}

    def note_mark(self, task: object, number: int) -> None:
        kernel = self.booted.kernel
        self.promised[number] = kernel.mm_context.commit.pages
        self.pages[number] = kernel.frames.used[FrameKind.CACHE]


def test_pages_of_an_anonymous_object_go_with_all_of_it(machine: MakeMachine) -> None:
    booted = machine()
    memory = Memory(booted)
    booted.calls(
        '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd 1G; @w = mmap 2T 1G RW MAP_SHARED fd 0;'
        "@mark 0; @create fd 0 64K RW OBJECT; @touch w 64K; @mark 1; @unmap fd 0 32K; @mark 2;"
        "@unmap fd 32K 32K; @mark 3"
    )
    assert [memory.pages[n] - memory.pages[0] for n in range(4)] == [0, 16, 16, 0]


@pytest.mark.parametrize("level", UNIT)
def test_what_is_promised(machine: MakeMachine, level: str) -> None:
    """Committed_AS: the object's size until it is unmapped; NORESERVE nothing, the window nothing."""
    booted = machine(level=level)
    memory = Memory(booted)
    booted.calls(
        f'@u = say {booted.unit}; @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd u; @mark 0;'
        "@create fd 0 1M RW OBJECT; @mark 1; @mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @mark 2; @unmap fd 0 1M; @mark 3;"
        "@create fd 0 1M RW OBJECT|MAP_NORESERVE; @mark 4; @unmap fd 0 u; @mark 5"
    )
    assert [memory.promised[n] - memory.promised[0] for n in range(6)] == [0, 256, 256, 0, 0, 0]


@pytest.mark.parametrize(
    ("mode", "answers"),
    [
        (Overcommit.GUESS, ["create = ENOMEM", "create = 0"]),
        (Overcommit.ALWAYS, ["create = 0", "create = 0"]),
        (Overcommit.NEVER, ["create = ENOMEM", "create = ENOMEM"]),
    ],
)
def test_an_object_of_512_gib(machine: MakeMachine, mode: Overcommit, answers: list[str]) -> None:
    booted = machine(level="pud")
    booted.kernel.mm_context.commit.mode = mode
    assert (
        booted.calls(
            '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd 512G; create fd 0 512G RW OBJECT;'
            "create fd 0 512G RW OBJECT|MAP_NORESERVE"
        )
        == answers
    )


def test_so_many_objects_and_no_more(machine: MakeMachine) -> None:
    """vm.max_map_count holds for the host mm: 65530 there, and one more fits."""
    booted = machine()
    assert booted.kernel.mm_context.max_map_count == 65530  # which takes a quarter of a minute to reach
    booted.kernel.mm_context.max_map_count = 60
    assert booted.calls(
        f'@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd {GIB}; @at = say 0;'
        "repeat 60; @create fd at 4K RW OBJECT; @at = say at+4K; end; create fd at 4K RW OBJECT;"
        "create fd at+4K 4K RW OBJECT; unmap fd 0 4K; create fd 8M 4K RW OBJECT"
    ) == ["create = 0", "create = ENOMEM", "unmap = 0", "create = 0"]


def test_a_memfd_that_is_sealed_against_writing(machine: MakeMachine) -> None:
    lines = machine().calls(
        '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd 1G; @m = memfd_create "m" 2; @ftruncate m 8K;'
        "syscall 72 m 1033 8; create fd 0 4K RW MAP_SHARED|MAP_FIXED m; create fd 0 4K PROT_READ MAP_SHARED|MAP_FIXED m"
    )
    assert lines == ["syscall = 0", "create = EPERM", "create = 0"]


MEMINFO = '"/proc/meminfo"'
LOCKED: Table = {
    "VmLck of every process stays 0": (
        "create fd 0 64K RW OBJECT|MAP_LOCKED; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @touch w 64K;"
        'field "/proc/self/status" "VmLck"; @fork c; @scan w 64K; field "/proc/self/status" "VmLck"; end; @wait c',
        "0 0 0",
    ),
    "its pages are Mlocked when they are touched": (
        f'create fd 0 64K RW OBJECT|MAP_LOCKED; field {MEMINFO} "Mlocked"; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;'
        f'load w; @touch w+4K 8K; field {MEMINFO} "Mlocked"; @fork c; @scan w 16K; end; @wait c;'
        f'field {MEMINFO} "Mlocked"; unmap fd 0 u; field {MEMINFO} "Mlocked"',
        "0 0 0 12 16 0 0",
    ),
}
POPULATED: Table = {
    "POPULATE, and LOCKED, touch nothing (Shmem)": (
        f'@a = field {MEMINFO} "Shmem"; create fd 0 64K RW OBJECT|MAP_POPULATE|MAP_LOCKED;'
        f'@b = field {MEMINFO} "Shmem"; say b-a; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @store w 1;'
        f'@b = field {MEMINFO} "Shmem"; say b-a',
        "0 0 4",
    ),
}
COMMITTED: Table = {
    "Committed_AS": (
        f'@a = field {MEMINFO} "Committed_AS"; create fd 0 1M RW OBJECT; @b = field {MEMINFO} "Committed_AS"; say b-a;'
        f'@mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @b = field {MEMINFO} "Committed_AS"; say b-a; unmap fd 0 1M;'
        f'@b = field {MEMINFO} "Committed_AS"; say b-a; create fd 0 1M RW OBJECT|MAP_NORESERVE;'
        f'@b = field {MEMINFO} "Committed_AS"; say b-a',
        "0 1024 1024 0 0 0 0",
    ),
}


@pytest.mark.parametrize("level", UNIT)
def test_what_meminfo_says(machine: MakeMachine, level: str) -> None:
    table = LOCKED | POPULATED | COMMITTED
    assert results(machine(level=level), table, SIZED) == expected(table, UNIT[level])

"""Mapping a region: windows, as observed with the third series: mshare-observed.md, section 4.

``fd`` is a region of one unit ``u`` with objects at 8K (8K, RW) and 20K (8K, read only).
"""

from __future__ import annotations

import pytest

from tests.booted import UNIT, MakeMachine
from tests.sharing.tables import OBJECTS, Table, expected, results

MAPPING: Table = {
    "how long": (
        "mmap 0 4K RW MAP_SHARED fd 0; mmap 0 u-4K RW MAP_SHARED fd 0; mmap 0 u+u RW MAP_SHARED fd 0;"
        "w = mmap 2T u-1 RW MAP_SHARED|MAP_FIXED fd 0; load w+8K",
        "EINVAL EINVAL EINVAL 0x20000000000 0",
    ),
    "private": ("mmap 0 u RW MAP_PRIVATE fd 0", "EINVAL"),
    "the kernel chooses: aligned, from the top": (
        "@v = mmap 0 u RW MAP_SHARED fd 0; @w = mmap 0 u RW MAP_SHARED fd 0; mod v u; say v-w-u; store v+8K 5;"
        "load w+8K",
        "0 0 0 5",
    ),
    "a hint": (
        "mmap 5T u RW MAP_SHARED fd 0; @v = mmap 6T+4K u RW MAP_SHARED fd 0; say v-6T-u;"
        "@w = mmap 5T u RW MAP_SHARED fd 0; mod w u;"
        "load w+8K; load w-8",
        "0x50000000000 0 0 0 SEGV_MAPERR",
    ),
    "fixed": (
        "mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"
        "mmap 2T u RW MAP_SHARED|MAP_FIXED_NOREPLACE fd 0; mmap 2T+4K u RW MAP_SHARED|MAP_FIXED fd 0;"
        "mmap 2T+1 u RW MAP_SHARED|MAP_FIXED fd 0; mmap 4T u RW MAP_SHARED|MAP_FIXED_NOREPLACE fd 0",
        "0x20000000000 0x20000000000 EEXIST EINVAL EINVAL 0x40000000000",
    ),
    "over other mappings": (
        "@p = mmap 2T+64K 64K RW PRIVATE|MAP_FIXED -1 0; @store p 1; w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"
        "load p; load w+8K",
        "0x20000000000 SEGV_MAPERR 0",
    ),
    "the file's offset is ignored": (
        "mmap 2T u RW MAP_SHARED|MAP_FIXED fd 4K; store 2T+8K 7; mmap 4T u RW MAP_SHARED|MAP_FIXED fd 512G; load 4T+8K;"
        "mmap 0 u RW MAP_SHARED fd 1",
        "0x20000000000 0 0x40000000000 7 EINVAL",
    ),
    "the file's offset: any multiple of a page": (
        "mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0x4000000000000000; mmap 0 u RW MAP_SHARED fd 2048; load 2T+8K;"
        "mmap 2T u RW MAP_SHARED|MAP_FIXED fd u",
        "0x20000000000 EINVAL 0 0x20000000000",
    ),
    "a hint that is taken, and one within a window": (
        "@v = mmap 5T u RW MAP_SHARED fd 0; @x = mmap v u RW MAP_SHARED fd 0; mod x u;"
        "@y = mmap v+4K u RW MAP_SHARED fd 0; say y-v-u; munmap v u; mmap 5T u RW MAP_SHARED fd 0",
        "0 0 0 0x50000000000",
    ),
    "MAP_32BIT has no effect": (
        "@x = mmap 0 u RW MAP_SHARED|0x40 fd 0; @y = mmap 0 u RW MAP_SHARED fd 0; say x-y-u",
        "0",
    ),
    "/proc/self/maps prints the file's offset": (
        "@mmap 2T u RW MAP_SHARED|MAP_FIXED fd 4K; @mmap 4T u PROT_READ MAP_SHARED|MAP_FIXED fd 512G; maps 2T 1;"
        "maps 4T 1",
        "0-U rw-s 1000 0-U r--s 8000000000",
    ),
    "several windows in one process": (
        "@a = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @b = mmap 4T u PROT_READ MAP_SHARED|MAP_FIXED fd 0;"
        "@c = mmap 6T u RW MAP_SHARED|MAP_FIXED fd 0; store a+8K 1; load b+8K; store c+12K 2; load a+12K; munmap a u;"
        "load a+8K; load b+8K; load c+8K",
        "0 1 0 2 0 SEGV_MAPERR 1 1",
    ),
    "anything over a window, and a window over anything": (
        "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @p = mmap 2T+u 4K RW PRIVATE|MAP_FIXED -1 0; @store p 5;"
        "mmap 2T u+u RW PRIVATE|MAP_FIXED|MAP_NORESERVE -1 0; load p; load 2T+8K;"
        "mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; load 2T+8K; load 2T+u",
        "0x20000000000 0 0 0x20000000000 0 0",
    ),
    "mapping needs no memory of its own": (
        "@l = words 64K 64K; @setrlimit 2 l; mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0",
        "0x20000000000",
    ),
    "flags": (
        "mmap 2T u RW MAP_SHARED_VALIDATE|MAP_FIXED fd 0; mmap 2T u RW MAP_SHARED_VALIDATE|MAP_FIXED|0x80000 fd 0;"
        "mmap 0 u RW MAP_SHARED|MAP_HUGETLB fd 0; mmap 2T u RW MAP_SHARED|MAP_FIXED|MAP_NORESERVE|MAP_LOCKED|0x40 fd 0;"
        "mmap 2T u RW MAP_SHARED|MAP_FIXED|MAP_GROWSDOWN fd 0",
        "0x20000000000 EOPNOTSUPP EINVAL 0x20000000000 EINVAL",
    ),
    "POPULATE populates nothing": (
        "w = mmap 2T u RW MAP_SHARED|MAP_FIXED|MAP_POPULATE fd 0; @v = bytes 8; mincore w+8K 4K v; load v; load w+8K",
        "0x20000000000 0 0 0",
    ),
    "descriptors for reading, or writing, only": (
        'r = open "/sys/fs/mshare/r" O_RDONLY; @w = open "/sys/fs/mshare/r" O_WRONLY;'
        "mmap 2T u PROT_READ MAP_SHARED|MAP_FIXED r 0;"
        "mmap 0 u RW MAP_SHARED r 0; mmap 0 u PROT_WRITE MAP_SHARED w 0; mmap 4T u PROT_NONE MAP_SHARED|MAP_FIXED r 0;"
        "mmap 4T u PROT_READ|PROT_EXEC MAP_SHARED|MAP_FIXED r 0",
        "4 0x20000000000 EACCES EACCES 0x40000000000 0x40000000000",
    ),
    "beyond RLIMIT_AS": ("@l = words u u; @setrlimit 9 l; mmap 0 u RW MAP_SHARED fd 0", "ENOMEM"),
}


@pytest.mark.parametrize("level", UNIT)
def test_mapping(machine: MakeMachine, level: str) -> None:
    assert results(machine(level=level), MAPPING, OBJECTS) == expected(MAPPING, UNIT[level])


#: Only where the unit is 512 GiB, as it was there.
MAPPING_512G: Table = {
    "the kernel chooses: from the top, at multiples of 512 GiB": (
        "@a = mmap 0 u RW MAP_SHARED fd 0; @b = mmap 0 u RW MAP_SHARED fd 0; @c = mmap 0 u RW MAP_SHARED fd 0;"
        "mod a 512G; say a-b-512G; say b-c-512G",
        "0 0 0",
    ),
    "a hint is rounded up": ("mmap 3T+1G u RW MAP_SHARED fd 0", "0x38000000000"),
    "fixed": ("mmap 2T+1 u RW MAP_SHARED|MAP_FIXED fd 0; mmap 2T+1G u RW MAP_SHARED|MAP_FIXED fd 0", "EINVAL EINVAL"),
    "how long": (
        "mmap 0 4096 RW MAP_SHARED fd 0; mmap 0 512G-4K RW MAP_SHARED fd 0; mmap 0 1T RW MAP_SHARED fd 0;"
        "mmap 2T 512G-1 RW MAP_SHARED|MAP_FIXED fd 0",
        "EINVAL EINVAL EINVAL 0x20000000000",
    ),
    "large regions": (
        '@unlink "/sys/fs/mshare/r"; @g = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; ftruncate g 64T;'
        '@x = mmap 0 64T RW MAP_SHARED g 0; mod x 512G; @unlink "/sys/fs/mshare/r";'
        '@g = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; ftruncate g 127T+512G; mmap 0 127T+512G RW MAP_SHARED g 0;'
        '@unlink "/sys/fs/mshare/r"; @g = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; ftruncate g 256T;'
        "mmap 0 256T RW MAP_SHARED g 0",
        "0 0 0 ENOMEM 0 ENOMEM",
    ),
    "until the address space is full": (
        # 256 slots but the first, with the program, and the last, with the stack; a gap must have room for the unit
        # wherever it begins (vm_unmapped_area), so that a single slot is none
        "@w = mmap 0 u RW MAP_SHARED fd 0; repeat 252; @x = mmap 0 u RW MAP_SHARED fd 0; end; mod x u; store w+8K 3;"
        "load x+8K; mmap 0 u RW MAP_SHARED fd 0; mmap 0 u RW MAP_SHARED fd 0; munmap w u; mmap 0 u RW MAP_SHARED fd 0",
        "0 0 3 ENOMEM ENOMEM 0 ENOMEM",
    ),
}


def test_windows_of_512_gib(machine: MakeMachine) -> None:
    booted = machine(level="pud")
    assert results(booted, MAPPING_512G, OBJECTS) == expected(MAPPING_512G, booted.unit)

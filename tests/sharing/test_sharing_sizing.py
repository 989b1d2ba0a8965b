"""The size of a region, as observed with the third series: mshare-observed.md, section 2.

``fd`` is a fresh region file, ``u`` the unit.
"""

from __future__ import annotations

import pytest

from tests.booted import UNIT, MakeMachine
from tests.sharing.tables import FRESH, Table, expected, results

#: fstat, then st_size.
SIZE = "@syscall 5 fd st; load st+48"
DEAD = "ftruncate fd u; create fd 0 4K RW OBJECT; mmap 0 u RW MAP_SHARED fd 0"

SIZING: Table = {
    "one unit": (f"ftruncate fd u; {SIZE}", "0 U"),
    "several units": (f"ftruncate fd u+u+u; {SIZE}", "0 3U"),
    "blocks stay 0": ("ftruncate fd u; @syscall 5 fd st; load st+64", "0 0"),
    "not a multiple": (
        "ftruncate fd 1; ftruncate fd 4K; ftruncate fd u-1; ftruncate fd u+4K; ftruncate fd 1M",
        "EINVAL " * 5,
    ),
    "negative": ("ftruncate fd -1; ftruncate fd -4K; syscall 77 fd 0x8000000000000000", "EINVAL " * 3),
    "twice": (f"ftruncate fd u; ftruncate fd u; ftruncate fd u+u; ftruncate fd 0; {SIZE}", "0 EINVAL EINVAL EINVAL U"),
    "twice, by path or fallocate": (
        f'ftruncate fd u; truncate "/sys/fs/mshare/r" u; fallocate fd 0 0 u; {SIZE}',
        "0 EINVAL EINVAL U",
    ),
    "by path": (f'truncate "/sys/fs/mshare/r" u; {SIZE}', "0 U"),
    "0 is a size, and the region is dead": (f"ftruncate fd 0; {DEAD}; unmap fd 0 4K", "0 EINVAL EINVAL EINVAL EINVAL"),
    "read-only descriptor": (
        'd = open "/sys/fs/mshare/r" O_RDONLY; ftruncate d u; fallocate d 0 0 u; ftruncate fd u',
        "4 EINVAL EBADF 0",
    ),
    "O_TRUNC on a sized file": ('ftruncate fd u; open "/sys/fs/mshare/r" O_RDWR|O_TRUNC', "0 EINVAL"),
    "O_TRUNC on an unsized file": (f'open "/sys/fs/mshare/r" O_RDWR|O_TRUNC; {DEAD}', "4 EINVAL EINVAL EINVAL"),
    "O_TRUNC and O_CREAT on an unsized file": (
        f'open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_TRUNC 0600; {DEAD}',
        "4 EINVAL EINVAL EINVAL",
    ),
    "O_TRUNC when it is made": (
        '@unlink "/sys/fs/mshare/r"; fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_TRUNC 0600; ftruncate fd u',
        "4 0",
    ),
    "over RLIMIT_FSIZE": (
        "@on 25 1; @l = words 4096 4096; setrlimit 1 l; ftruncate fd u; fallocate fd 0 0 u",
        "0 EFBIG EFBIG",
    ),
    "fallocate": (f"fallocate fd 0 0 u; {SIZE}", "0 U"),
    "fallocate: not a multiple, nothing, negative": (
        "fallocate fd 0 0 1; fallocate fd 0 0 u-1; fallocate fd 0 0 u+4K; fallocate fd 0 0 0; fallocate fd 0 0 -4K",
        "EINVAL " * 5,
    ),
    "fallocate: offset": ("fallocate fd 0 4K u; fallocate fd 0 u u; fallocate fd 0 -4K u", "EINVAL " * 3),
    "fallocate: modes": ("fallocate fd 1 0 u; fallocate fd 3 0 u; fallocate fd 0x10 0 u", "EOPNOTSUPP " * 3),
}
SIZING_512G: Table = {
    f"{call} {size}": (f"{call} fd {arguments}{size}; {SIZE}; @syscall 5 fd st; load st+64", f"0 {value} 0")
    for call, arguments in (("ftruncate", ""), ("fallocate", "0 0 "))
    for size, value in {
        "512G": "0x8000000000",
        "1T": "0x10000000000",
        "64T": "0x400000000000",
        "127T+512G": "0x7f8000000000",
        "128T": "0x800000000000",
        "256T": "0x1000000000000",
        "0x4000000000000000": "0x4000000000000000",
        "0x7fffff8000000000": "0x7fffff8000000000",
    }.items()
} | {
    f"ftruncate {size}": (f"ftruncate fd {size}; fallocate fd 0 0 {size}", "EINVAL EINVAL")
    for size in ("1", "4096", "2M", "1G", "256G", "512G-1", "512G+4096", "768G")
}
UNSIZED: Table = {
    "nothing works before there is a size": (
        "create fd 0 4K RW OBJECT; unmap fd 0 4K; ioctl fd 1 0; mmap 0 u RW MAP_SHARED fd 0; ioctl fd CREATE_MAPPING 0",
        "EINVAL " * 5,
    ),
}


@pytest.mark.parametrize("level", UNIT)
def test_sizing(machine: MakeMachine, level: str) -> None:
    table = SIZING | UNSIZED
    assert results(machine(level=level), table, FRESH) == expected(table, UNIT[level])


def test_sizes_of_512_gib_and_more(machine: MakeMachine) -> None:
    booted = machine(level="pud")
    assert results(booted, SIZING_512G, FRESH) == expected(SIZING_512G, booted.unit)

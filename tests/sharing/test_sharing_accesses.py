"""What an access gives: value, or signal, si_code and si_addr, as observed: mshare-observed.md, section 5.

``w`` is a window at 2 TiB on a region of one unit ``u`` with objects at 8K (8K, RW) and 20K (8K, read only).
"""

from __future__ import annotations

import pytest

from tests.booted import UNIT, MakeMachine
from tests.sharing.tables import WINDOW, Table, expected, results

ACCESSING: Table = {
    "holes: before, between, after, the rest": (
        "load w; load w+7K; store w+16K 1; load w+28K; load w+1M; store w+u-8 1; jump w; jump w+u-4K",
        "SEGV_MAPERR " * 8,
    ),
    "around the window": (
        "load w-8; load w+u; load w-4; load w-1; store w-1 1; load w+u+1; jump w+u",
        "SEGV_MAPERR " * 7,
    ),
    "si_addr where an access begins before what is not there": (
        "@create fd 0 4K RW OBJECT; load w-4; load w+4K-4; store w+4K-4 1; load w+4K-1; load w+16K-4; load w+20K-4;"
        "store w+20K-4 1; @store w 0; @v = mmap 6T+u u RW MAP_SHARED|MAP_FIXED fd 0; load v+4K-4; load v+4K",
        "SEGV_MAPERR SEGV_MAPERR at +4 SEGV_MAPERR at +4 SEGV_MAPERR at +1 SEGV_MAPERR at +4 SEGV_MAPERR SEGV_MAPERR"
        " SEGV_MAPERR at +4 SEGV_MAPERR",
    ),
    "the last page": ("@create fd u-4K 4K RW OBJECT; store w+u-8 9; load w+u-8; load w+u-4", "0 9 SEGV_MAPERR at +4"),
    "an object: read, write, execute": ("load w+8K; store w+8K 1; load w+8K; jump w+8K", "0 0 1 SEGV_ACCERR"),
    "a read-only object": (
        "store w+20K 1; load w+20K; store w+20K 1; load w+20K; jump w+20K; jump w+24K",
        "SEGV_ACCERR 0 SEGV_ACCERR 0 SEGV_ACCERR SEGV_ACCERR",
    ),
    "no rights": ("@create fd 0 4K 0 OBJECT; load w; store w 1; jump w", "SEGV_ACCERR " * 3),
    "write-only and execute-only objects can be read": (
        "@create fd 0 4K PROT_WRITE OBJECT; @create fd 4K 4K PROT_EXEC OBJECT; load w; store w 1; load w; load w+4K;"
        "store w+4K 1",
        "0 0 1 0 SEGV_ACCERR",
    ),
    "the window's own rights do not count": (
        "@v = mmap 4T u PROT_READ MAP_SHARED|MAP_FIXED fd 0; @x = mmap 6T u PROT_NONE MAP_SHARED|MAP_FIXED fd 0;"
        "store v+8K 1; load v+8K; store x+12K 2; load x+12K; load x+8K; store v+20K 1",
        "0 1 0 2 1 SEGV_ACCERR",
    ),
    "execution": (
        "@create fd 0 4K RWX OBJECT; store w 0xc3; jump w;"
        "@x = mmap 4T u PROT_READ|PROT_EXEC MAP_SHARED|MAP_FIXED fd 0; jump x;"
        "jump x+8K",
        "0 0 0 SEGV_ACCERR",
    ),
    "another user, with a window of a descriptor for reading": (
        '@fork c; @setuid 1000; @r = open "/sys/fs/mshare/r" O_RDONLY;'
        "v = mmap 4T u PROT_READ MAP_SHARED|MAP_FIXED r 0; store v+8K 6;"
        "create r 0 4K RW OBJECT; unmap r 0 4K; end; @wait c; load w+8K",
        "0x40000000000 0 0 0 6",
    ),
    "a file: within, beyond its end, truncated, grown again": (
        '@m = memfd_create "m" 0; @ftruncate m 4K; @pwrite m "A" 1 0; @create fd 0 8K RW MAP_SHARED|MAP_FIXED m;'
        "load w; load w+4K;"
        "store w 0x42; @b = bytes 8; pread m b 1 0; load b; ftruncate m 0; load w; ftruncate m 8K; load w; load w+4K",
        "65 BUS_ADRERR 0 1 66 0 BUS_ADRERR 0 0 0",
    ),
    "a file: a hole is punched": (
        '@m = memfd_create "m" 0; @ftruncate m 8K; @create fd 0 8K RW MAP_SHARED|MAP_FIXED m; store w 1; store w+4K 2;'
        "fallocate m 3 0 4K; load w; load w+4K",
        "0 0 0 0 2",
    ),
    "a file that is closed, and without a name": (
        '@m = open "/tmp/gone" O_RDWR|O_CREAT 0600; @ftruncate m 4K; @create fd 0 4K RW MAP_SHARED|MAP_FIXED m;'
        '@unlink "/tmp/gone";'
        "close m; store w 3; load w",
        "0 0 3",
    ),
    "write(2) from it, to a pipe: an untouched page, a hole, across an object's end": (
        "@f = bytes 8; @pipe2 f 0; store w+8K 1; write 5 w+8K 8; write 5 w+12K 8; write 5 w 8; write 5 w+16K-4 8",
        "0 8 8 EFAULT EFAULT",
    ),
    "write(2) from it": (
        '@m = memfd_create "m" 0; store w+8K 1; write m w+8K 8; write m w+12K 8; write m w 8; write m w+16K-8 16;'
        "write m w+16K-8 8",
        "0 8 8 EFAULT 8 8",
    ),
    "read(2) into it": (
        '@z = open "/dev/zero" O_RDONLY; store w+8K 1; read z w+8K 8; load w+8K; read z w+20K 8; read z w 8;'
        "read z w+12K 8",
        "0 8 0 EFAULT EFAULT 8",
    ),
    "a path, and a stack, in it": (
        "store w+8K 0x706d742f; open w+8K O_RDONLY; open w O_RDONLY; text w+8K",
        "0 4 EFAULT /tmp",
    ),
    "one object across a slot boundary": (
        '@g = open "/sys/fs/mshare/two" O_RDWR|O_CREAT 0600; @unlink "/sys/fs/mshare/two"; @ftruncate g u+u;'
        "create g u-4K 8K RW OBJECT;"
        "@v = mmap 8T u+u RW MAP_SHARED|MAP_FIXED g 0; store v+u-4 0x1122334455667788; load v+u-4; load v+u-8K;"
        "load v+u+4K",
        "0 0 0x1122334455667788 SEGV_MAPERR SEGV_MAPERR",
    ),
    "one object in two regions, twice in one, and mapped": (
        '@m = memfd_create "m" 0; @ftruncate m 4K; @create fd 0 4K RW MAP_SHARED|MAP_FIXED m;'
        "@create fd 4K 4K RW MAP_SHARED|MAP_FIXED m;"
        '@p = mmap 0 4K RW MAP_SHARED m 0; @g = open "/sys/fs/mshare/two" O_RDWR|O_CREAT 0600;'
        '@unlink "/sys/fs/mshare/two";'
        "@ftruncate g u; @create g 0 4K RW MAP_SHARED|MAP_FIXED m; @v = mmap 8T u RW MAP_SHARED|MAP_FIXED g 0;"
        "store w 1; load w+4K; load p; load v; store v 2; load w; load p; store p 3; load w+4K; load v",
        "0 1 1 1 0 2 2 0 3 3",
    ),
}


@pytest.mark.parametrize("level", UNIT)
def test_accesses(machine: MakeMachine, level: str) -> None:
    assert results(machine(level=level), ACCESSING, WINDOW) == expected(ACCESSING, UNIT[level])

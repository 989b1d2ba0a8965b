"""The file interface, call by call: what a real kernel with the third series answered (mshare-observed.md, 2 to 6).

Each table row is a script for the guest ``calls`` and its results.  ``fd`` is a fresh region file, ``u`` the unit
where a
table says so, the region has one unit, or an object and a window ``w`` too.
"""

from __future__ import annotations

import pytest

from tests.booted import UNIT, Booted, MakeMachine

Table = dict[str, tuple[str, str]]

FRESH = '@st = bytes 144; @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_EXCL 0644'
SIZED = FRESH + "; @ftruncate fd u"
OBJECT = SIZED + "; @create fd 8K 8K RW OBJECT; @create fd 20K 8K PROT_READ OBJECT"
WINDOW = OBJECT + "; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0"
#: fstat, then st_size.
SIZE = "@syscall 5 fd st; load st+48"
DEAD = "ftruncate fd u; create fd 0 4K RW OBJECT; mmap 0 u RW MAP_SHARED fd 0"


def results(booted: Booted, table: Table, before: str) -> dict[str, str]:
    """What every row gives, in a process and with a region of its own."""
    found = {}
    for name, (script, _) in table.items():
        lines = booted.calls(f'@u = say {booted.unit}; {before}\n{script}\n@unlink "/sys/fs/mshare/r"')
        found[name] = " ".join(line.split(" = ", 1)[1] for line in lines)
    return found


def expected(table: Table, unit: int) -> dict[str, str]:
    """What must come, with U for the unit and N for the length of its decimal text with a newline."""
    values = {"U": hex(unit), "3U": hex(3 * unit), "N": str(len(str(unit)) + 1)}
    return {name: " ".join(values.get(word, word) for word in result.split()) for name, (_, result) in table.items()}


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
#: Only where the unit is 512 GiB, as it was there.
SIZING_512G: Table = {
    f"ftruncate {size}": (f"ftruncate fd {size}; {SIZE}", f"0 {value}")
    for size, value in {
        "512G": "0x8000000000",
        "1T": "0x10000000000",
        "64T": "0x400000000000",
        "128T-512G": "0x7f8000000000",
        "128T": "0x800000000000",
        "256T": "0x1000000000000",
        "0x4000000000000000": "0x4000000000000000",
        "0x7fffff8000000000": "0x7fffff8000000000",
    }.items()
} | {
    f"ftruncate {size}": (f"ftruncate fd {size}; fallocate fd 0 0 {size}", "EINVAL EINVAL")
    for size in ("1", "4096", "2M", "1G", "256G", "512G-1", "512G+4096", "768G")
}

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
    "beyond the caller's RLIMIT_AS": (
        "@l = words 512K 512K; @setrlimit 9 l; create fd 0 1M RW OBJECT; create fd 0 512K RW OBJECT",
        "ENOMEM 0",
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
UNSIZED: Table = {
    "nothing works before there is a size": (
        "create fd 0 4K RW OBJECT; unmap fd 0 4K; ioctl fd 1 0; mmap 0 u RW MAP_SHARED fd 0; ioctl fd CREATE_MAPPING 0",
        "EINVAL " * 5,
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

ACCESSING: Table = {
    "holes: before, between, after, the rest": (
        "load w; load w+7K; store w+16K 1; load w+28K; load w+1M; store w+u-8 1",
        "SEGV_MAPERR " * 6,
    ),
    "around the window": ("load w-8; load w+u; load w-4", "SEGV_MAPERR SEGV_MAPERR SEGV_MAPERR"),
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

TABLES: dict[str, tuple[Table, str]] = {
    "the size": (SIZING, FRESH),
    "before there is a size": (UNSIZED, FRESH),
    "MSHAREFS_CREATE_MAPPING": (CREATING, SIZED),
    "MSHAREFS_UNMAP": (UNMAPPING, OBJECT),
    "mmap of the file": (MAPPING, OBJECT),
    "accesses": (ACCESSING, WINDOW),
}


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("name", TABLES)
def test_the_file_interface(machine: MakeMachine, name: str, level: str) -> None:
    table, before = TABLES[name]
    assert results(machine(level=level), table, before) == expected(table, UNIT[level])


def test_sizes_of_512_gib_and_more(machine: MakeMachine) -> None:
    booted = machine(level="pud")
    assert results(booted, SIZING_512G, FRESH) == expected(SIZING_512G, booted.unit)
    assert results(booted, CREATING_512G, FRESH) == expected(CREATING_512G, booted.unit)

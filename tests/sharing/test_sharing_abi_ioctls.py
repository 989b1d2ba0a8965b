"""abi=rfc3, y1 and y2: the postings of September 2024, January and April 2025, whose objects come by ioctl
(spec/mshare.md, 1.4 and 1.5).

``fd`` is a fresh region file.  A region of rfc3 and y1 has an address, here 2 TiB, and two units; one of y2 has a size.
What a row of y2 does not say is as in the third series (test_sharing_objects and its like).
"""

from __future__ import annotations

import pytest

from tests.booted import UNIT, MakeMachine
from tests.sharing.tables import Table, expected, results

FRESH = '@b = bytes 64; @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_EXCL 0600'
SIZED = FRESH + "; @set_size fd 2T u+u"
OBJECT = SIZED + "; @create_at fd 2T+8K 8K RW OBJECT; @create_at fd 2T+20K 8K PROT_READ OBJECT"
WINDOW = OBJECT + "; @w = mmap 2T u+u RW MAP_SHARED|MAP_FIXED fd 0"
INFO = "ioctl fd GET_SIZE b; load b; load b+8"
DEAD = "mmap 2T u+u RW MAP_SHARED|MAP_FIXED fd 0; create_at fd 2T 4K RW OBJECT"

#: Where rfc3 and y1 agree.
SIZING: Table = {
    "the range": (f"{INFO}; set_size fd 2T u+u; {INFO}", "0 0 0 0 0 0x20000000000 2U"),
    "bad pointers": (
        "ioctl fd GET_SIZE 0; ioctl fd SET_SIZE 0; ioctl fd GET_SIZE 16; ioctl fd SET_SIZE 16",
        "EFAULT " * 4,
    ),
    "twice": (f"@set_size fd 2T u; set_size fd 2T u; set_size fd 4T u+u; {INFO}", "EINVAL EINVAL 0 0x20000000000 U"),
    "not aligned": (
        f"set_size fd 2T+4K u; set_size fd 2T u-4K; set_size fd 2T 4K; set_size fd 2T+1 u; {INFO}",
        "EINVAL EINVAL EINVAL EINVAL 0 0 0",
    ),
    "nothing works before": (f"{DEAD}; @w = mmap 0 u RW MAP_SHARED fd 0", "EINVAL EINVAL"),
    "the file's own size has no meaning": (
        "ftruncate fd 4K; ftruncate fd 2G; fallocate fd 0 0 4K; @s = bytes 144; syscall 5 fd s; load s+48;"
        "read fd b 16;"
        "lseek fd 0 0",
        "0 EFBIG EOPNOTSUPP 0 0 EINVAL ESPIPE",
    ),
    "451 is cachestat(2)": (
        '@mmap 8T u RW ANON|MAP_FIXED|MAP_NORESERVE -1 0; mshare "q" 8T u O_RDWR|O_CREAT 0600',
        "EBADF",
    ),
}
SIZING_RFC3: Table = {
    "a start of 0 can be set again, as the posted check has it": (
        f"set_size fd 0 u; set_size fd 0 u+u; set_size fd 2T u; set_size fd 0 u; {INFO}",
        "0 0 0 EINVAL 0 0x20000000000 U",
    ),
    "a size of 0": (f"set_size fd 2T 0; set_size fd 2T u; {INFO}; {DEAD}", "0 EINVAL 0 0x20000000000 0 EINVAL EINVAL"),
    "no command of the later postings": (
        "ioctl fd CREATE_MAPPING b; ioctl fd UNMAP_AT b; ioctl fd 0x7801 0; ioctl fd 0x5401 0",
        "ENOTTY ENOTTY ENOTTY ENOTTY",
    ),
}
SIZING_Y1: Table = {
    "a start of 0": (f"set_size fd 0 u; set_size fd 0 u+u; set_size fd 2T u; {INFO}", "0 EINVAL EINVAL 0 0 U"),
    "a size of 0": ("set_size fd 2T 0; set_size fd 2T u", "EINVAL 0"),
    "no command of the later postings": (
        "ioctl fd CREATE_MAPPING b; ioctl fd 0x7801 0; ioctl fd 0x5401 0; unmap_at fd 2T 4K",
        "ENOTTY ENOTTY ENOTTY EINVAL",
    ),
}

CREATING: Table = {
    "one page, the last page": ("create_at fd 2T 4K RW OBJECT; create_at fd 2T+u+u-4K 4K RW OBJECT", "0 0"),
    "sizes": (
        "create_at fd 2T 0 RW OBJECT; create_at fd 2T 1 RW OBJECT; create_at fd 2T+64K 5000 RW OBJECT",
        "EINVAL 0 0",
    ),
    "outside": (
        "create_at fd 2T-4K 4K RW OBJECT; create_at fd 2T+u+u 4K RW OBJECT; create_at fd 0 4K RW OBJECT;"
        "create_at fd 2T+u+u-4K 8K RW OBJECT; create_at fd 2T+4K u+u RW OBJECT; create_at fd 2T+4K -4K RW OBJECT;"
        "create_at fd -4K 8K RW OBJECT",
        "EINVAL " * 7,
    ),
    "not aligned": ("create_at fd 2T+1 4K RW OBJECT; create_at fd 2T+2048 4K RW OBJECT", "EINVAL EINVAL"),
    "not shared, not fixed": (
        "create_at fd 2T 4K RW 0x32; create_at fd 2T 4K RW 0x30; create_at fd 2T 4K RW ANON;create_at fd 2T 4K RW 0x33",
        "EINVAL " * 4,
    ),
    "a file": (
        '@m = memfd_create "m" 0; create_at fd 2T 4K RW MAP_SHARED|MAP_FIXED m; create_at fd 2T 4K RW OBJECT m;'
        "create_at fd 2T 4K RW OBJECT 0; create_at fd 2T 4K RW MAP_SHARED|MAP_FIXED 99",
        "EINVAL EINVAL EINVAL EINVAL",
    ),
    "no file, without saying so": (
        "create_at fd 2T 4K RW MAP_SHARED|MAP_FIXED; @w = mmap 2T u+u RW MAP_SHARED|MAP_FIXED fd 0; store w 1; load w",
        "0 0 1",
    ),
    "bad pointers": ("ioctl fd CREATE_AT 0; ioctl fd CREATE_AT 16", "EFAULT EFAULT"),
    "through a descriptor for reading": (
        '@r = open "/sys/fs/mshare/r" O_RDONLY; create_at r 2T 4K RW OBJECT; ioctl r GET_SIZE b',
        "0 0",
    ),
}
CREATING_RFC3: Table = {
    "nothing is replaced": (
        "create_at fd 2T 8K RW OBJECT; create_at fd 2T+4K 8K RW OBJECT; create_at fd 2T+8K 4K RW OBJECT",
        "0 EEXIST 0",
    ),
}
CREATING_Y1: Table = {
    "what overlaps is replaced": (
        "@create_at fd 2T 8K RW OBJECT; @w = mmap 0 u+u RW MAP_SHARED fd 0; @store w 1; @store w+4K 2;"
        "create_at fd 2T+4K 4K RW OBJECT; load w; load w+4K",
        "0 1 0",
    ),
    "unmapping": (
        "@create_at fd 2T 16K RW OBJECT; @w = mmap 0 u+u RW MAP_SHARED fd 0; @touch w 16K; unmap_at fd 2T+4K 4K;"
        "load w;"
        "load w+4K; unmap_at fd 2T u+u; load w; unmap_at fd 2T u+u",
        "0 1 SEGV_MAPERR 0 SEGV_MAPERR 0",
    ),
    "unmapping: bad ranges": (
        "unmap_at fd 2T 0; unmap_at fd 2T+1 4K; unmap_at fd 2T-4K 8K; unmap_at fd 2T+u+u 4K; unmap_at fd 2T+u u+4K;"
        "unmap_at fd 2T -1; unmap_at fd 0 4K; ioctl fd UNMAP_AT 0; ioctl fd UNMAP_AT 16",
        "EINVAL " * 7 + "EFAULT EFAULT",
    ),
    "unmapping: a size in bytes is rounded up": (
        "@create_at fd 2T 16K RW OBJECT; @w = mmap 0 u+u RW MAP_SHARED fd 0; unmap_at fd 2T 5000; load w+4K; load w+8K",
        "0 SEGV_MAPERR 0",
    ),
}

MAPPING_RFC3: Table = {
    "all, and a part": (
        "mmap 2T u+u RW MAP_SHARED|MAP_FIXED fd 0; store 2T+8K 7; munmap 2T u+u;"
        "mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"
        "load 2T+8K; load 2T+u; mmap 2T+u u RW MAP_SHARED|MAP_FIXED fd 0; load 2T+u; @create_at fd 2T+u 4K RW OBJECT;"
        "load 2T+u",
        "0x20000000000 0 0 0x20000000000 7 SEGV_MAPERR 2T+U SEGV_MAPERR 0",
    ),
    "outside, or not aligned": (
        "mmap 4T u RW MAP_SHARED|MAP_FIXED fd 0; mmap 2T+u u+u RW MAP_SHARED|MAP_FIXED fd 0;"
        " mmap 2T+4K u RW MAP_SHARED|MAP_FIXED fd 0; mmap 2T u-4K RW MAP_SHARED|MAP_FIXED fd 0;"
        " mmap 0 u RW MAP_SHARED fd 0",
        "EINVAL " * 5,
    ),
    "a hint is used if it is free, and EINVAL comes if not": (
        "mmap 2T u+u RW MAP_SHARED fd 0; mmap 2T u+u RW MAP_SHARED fd 0",
        "0x20000000000 EINVAL",
    ),
    "private is not looked at": (
        "mmap 2T u RW MAP_PRIVATE|MAP_FIXED|MAP_NORESERVE fd 0; store 2T+8K 5; mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"
        "load 2T+8K",
        "0x20000000000 0 0x20000000000 5",
    ),
    "the file's offset is ignored": ("mmap 2T u RW MAP_SHARED|MAP_FIXED fd 4K; store 2T+8K 5", "0x20000000000 0"),
    "the descriptor's mode": (
        '@r = open "/sys/fs/mshare/r" O_RDONLY; mmap 2T u RW MAP_SHARED|MAP_FIXED r 0;'
        " mmap 2T u PROT_READ MAP_SHARED|MAP_FIXED r 0",
        "EACCES 0x20000000000",
    ),
    "the window's rights count while the page is not there": (
        "@mmap 2T u PROT_READ MAP_SHARED|MAP_FIXED fd 0; store 2T+8K 1; load 2T+8K; @fork c;"
        " @mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; store 2T+8K 2; end; @wait c; store 2T+8K 3; load 2T+8K",
        "SEGV_ACCERR 0 0 0 3",
    ),
}
MAPPING_Y1: Table = {
    "the region's address, said or not": (
        "w = mmap 0 u+u RW MAP_SHARED fd 0; munmap w u+u; mmap 2T u+u RW MAP_SHARED fd 0; munmap w u+u;"
        "mmap 2T u+u RW MAP_SHARED|MAP_FIXED fd 0",
        "0x20000000000 0 0x20000000000 0 0x20000000000",
    ),
    "another address or length": (
        "mmap 4T u+u RW MAP_SHARED fd 0; mmap 4T u+u RW MAP_SHARED|MAP_FIXED fd 0; mmap 2T u RW MAP_SHARED fd 0;"
        "mmap 0 4K RW MAP_SHARED fd 0; mmap 2T+4K u+u RW MAP_SHARED fd 0; mmap 0 u+u+u RW MAP_SHARED fd 0",
        "EINVAL " * 6,
    ),
    "busy": (
        "@mmap 2T+64K 4K RW PRIVATE|MAP_FIXED -1 0; mmap 0 u+u RW MAP_SHARED fd 0; mmap 2T u+u RW MAP_SHARED fd 0;"
        "mmap 2T u+u RW MAP_SHARED|MAP_FIXED_NOREPLACE fd 0; mmap 2T u+u RW MAP_SHARED|MAP_FIXED fd 0; load 2T+64K",
        "EEXIST EEXIST EEXIST 0x20000000000 SEGV_MAPERR",
    ),
    "private, or too long": (
        "mmap 0 u+u RW MAP_PRIVATE fd 0; mmap 0 256T RW MAP_SHARED fd 0",
        "EINVAL ENOMEM",
    ),
    "the window's rights never count": (
        "@mmap 2T u+u PROT_READ MAP_SHARED|MAP_FIXED fd 0; store 2T+8K 1; load 2T+8K",
        "0 1",
    ),
    "the descriptor's mode, and the file's offset": (
        '@r = open "/sys/fs/mshare/r" O_RDONLY; mmap 0 u+u RW MAP_SHARED r 0; mmap 0 u+u PROT_READ MAP_SHARED r 4K;'
        "load 2T+8K",
        "EACCES 0x20000000000 0",
    ),
}

#: In the window ``w``.
USING: Table = {
    "accesses": (
        "store w+8K 5; load w+8K; load w; store w+20K 1; load w+20K; load w+u; load w+u+u; jump w+8K",
        "0 5 SEGV_MAPERR SEGV_ACCERR 0 SEGV_MAPERR SEGV_MAPERR SEGV_ACCERR",
    ),
    "another process": (
        '@store w+8K 5; @fork c; @munmap w u+u; @f = open "/sys/fs/mshare/r" O_RDWR; @ioctl f GET_SIZE b; @a = load b;'
        "@n = load b+8; @v = mmap a n RW MAP_SHARED f 0; load v+8K; store v+12K 6; end; @wait c; load w+12K",
        "5 0 6",
    ),
    "fork without mapping again": ("@store w+8K 5; @fork c; load w+8K; store w+8K 6; end; @wait c; load w+8K", "5 0 6"),
    "a part cannot go": (
        "munmap w 4K; munmap w u; mmap w 4K RW PRIVATE|MAP_FIXED -1 0; mprotect w 4K PROT_READ; mremap w u+u u+u+u 1;"
        "mremap w u+u u+u 3 6T; store w+8K 1",
        "EINVAL EINVAL EINVAL EINVAL EFAULT EINVAL 0",
    ),
    "munmap, and again": (
        "@store w+8K 5; munmap w u+u; load w+8K; mmap 2T u+u RW MAP_SHARED|MAP_FIXED fd 0; load w+8K",
        "0 SEGV_MAPERR 0x20000000000 5",
    ),
    "unlink while it is mapped": (
        '@store w+8K 5; unlink "/sys/fs/mshare/r"; open "/sys/fs/mshare/r" O_RDWR; load w+8K; store w+12K 1',
        "0 ENOENT 5 0",
    ),
    "the creator exits": (
        '@fork p; @g = open "/sys/fs/mshare/g" O_RDWR|O_CREAT 0600; @set_size g 8T u; @create_at g 8T 4K RW OBJECT;'
        "@mmap 8T u RW MAP_SHARED|MAP_FIXED g 0; @store 8T 3; end; @wait p;"
        '@g = open "/sys/fs/mshare/g" O_RDWR; @mmap 8T u RW MAP_SHARED|MAP_FIXED g 0; load 8T;'
        'unlink "/sys/fs/mshare/g"',
        "3 0",
    ),
}
USING_RFC3: Table = {
    "mprotect of all (only splits are stopped)": (
        "@store w+8K 5; mprotect w u+u PROT_READ; load w+8K; store w+8K 1; mprotect w u+u RW; store w+8K 1; load w+8K",
        "0 5 SEGV_ACCERR 0 0 1",
    ),
}
USING_Y1: Table = {"mprotect of all": ("mprotect w u+u PROT_READ; mprotect w u+u RW; store w+8K 1", "EINVAL EINVAL 0")}

TABLES = {
    "rfc3: sizing": (SIZING | SIZING_RFC3, FRESH),
    "rfc3: creating": (CREATING | CREATING_RFC3, SIZED),
    "rfc3: mapping": (MAPPING_RFC3, OBJECT),
    "rfc3: using": (USING | USING_RFC3, WINDOW),
    "y1: sizing": (SIZING | SIZING_Y1, FRESH),
    "y1: creating": (CREATING | CREATING_Y1, SIZED),
    "y1: mapping": (MAPPING_Y1, OBJECT),
    "y1: using": (USING | USING_Y1, WINDOW),
}


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("name", TABLES)
def test_regions_with_an_address(machine: MakeMachine, name: str, level: str) -> None:
    table, before = TABLES[name]
    abi, _, _ = name.partition(":")
    assert results(machine(level=level, abi=abi), table, before) == expected(table, UNIT[level])


Y2_FRESH = '@b = bytes 64; @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_EXCL 0600'
Y2_SIZED = Y2_FRESH + "; @ftruncate fd u"
Y2_WINDOW = Y2_SIZED + "; @create fd 8K 8K RW OBJECT; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0"

Y2_SIZING: Table = {
    "the argument is copied in before the size is asked for": (
        "ioctl fd CREATE_MAPPING 0; ioctl fd UNMAP 0; create fd 0 4K RW OBJECT; unmap fd 0 4K; ioctl fd 1 0",
        "EFAULT EFAULT EINVAL EINVAL ENOTTY",
    ),
    "size, once": (
        "ftruncate fd u-4K; ftruncate fd u; ftruncate fd u; fallocate fd 0 0 u; @s = bytes 144; @syscall 5 fd s;"
        "load s+48",
        "EINVAL 0 EINVAL EINVAL U",
    ),
    "no command of the earlier postings": (
        "@ftruncate fd u; ioctl fd GET_SIZE b; ioctl fd CREATE_AT b; ioctl fd UNMAP_AT b",
        "ENOTTY ENOTTY ENOTTY",
    ),
    "SET_SIZE's number is UNMAP's": ("@ftruncate fd u; set_size fd 0 u; set_size fd 2T u", "0 EINVAL"),
}
Y2_CREATING: Table = {
    "zero pages": ("create fd 0 4K RW OBJECT; create fd 0 4K RW MAP_SHARED|MAP_FIXED", "0 0"),
    "no file": (
        '@m = memfd_create "m" 0; create fd 0 4K RW MAP_SHARED|MAP_FIXED m; create fd 0 4K RW OBJECT m;'
        "create fd 0 4K RW OBJECT 0; create fd 0 4K RW MAP_SHARED|MAP_FIXED 99",
        "EINVAL EINVAL EINVAL EINVAL",
    ),
    "MAP_HUGETLB means nothing yet": ("create fd 0 4K RW OBJECT|MAP_HUGETLB", "0"),
    "ranges": (
        "create fd u 4K RW OBJECT; create fd u-4K 8K RW OBJECT; create fd 1 4K RW OBJECT; create fd 0 0 RW OBJECT;"
        "create fd 0 4K RW 0x32; create fd 0 4K RW ANON",
        "EINVAL " * 6,
    ),
    "what overlaps is replaced": ("create fd 0 8K RW OBJECT; create fd 4K 8K RW OBJECT", "0 0"),
    "unmapping": (
        "@create fd 0 8K RW OBJECT; unmap fd 0 4K; unmap fd 0 u; unmap fd u 4K; unmap fd 0 0",
        "0 0 EINVAL EINVAL",
    ),
}
Y2_USING: Table = {
    "windows at any aligned address": (
        "@store w+8K 5; v = mmap 4T u RW MAP_SHARED|MAP_FIXED fd 0; load v+8K;"
        "mmap 4T+4K u RW MAP_SHARED|MAP_FIXED fd 0;"
        "@x = mmap 0 u RW MAP_SHARED fd 0; mod x u; load x+8K; mmap 0 4K RW MAP_SHARED fd 0;"
        "mmap 0 u RW MAP_PRIVATE fd 0",
        "0x40000000000 5 EINVAL 0 5 EINVAL EINVAL",
    ),
    "the window's rights never count": (
        "@mmap 2T u PROT_NONE MAP_SHARED|MAP_FIXED fd 0; store w+8K 1; load w+8K; mprotect w u RW",
        "0 1 EINVAL",
    ),
    "the creator exits, and the region stays": (
        '@fork p; @g = open "/sys/fs/mshare/g" O_RDWR|O_CREAT 0600; @ftruncate g u; @create g 0 4K RW OBJECT;'
        "@v = mmap 0 u RW MAP_SHARED g 0; @store v 3; end; @wait p;"
        '@g = open "/sys/fs/mshare/g" O_RDWR; @v = mmap 0 u RW MAP_SHARED g 0; load v; create g 4K 4K RW OBJECT;'
        'store v+4K 1; unlink "/sys/fs/mshare/g"',
        "3 0 0 0",
    ),
}
Y2_TABLES = {
    "sizing": (Y2_SIZING, Y2_FRESH),
    "creating": (Y2_CREATING, Y2_SIZED),
    "using": (Y2_USING, Y2_WINDOW),
}


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("name", Y2_TABLES)
def test_y2(machine: MakeMachine, name: str, level: str) -> None:
    table, before = Y2_TABLES[name]
    assert results(machine(level=level, abi="y2"), table, before) == expected(table, UNIT[level])


@pytest.mark.parametrize("abi", ["rfc3", "y1", "y2", "v3"])
def test_strict_fd_wants_a_descriptor_for_writing(machine: MakeMachine, abi: str) -> None:
    booted = machine(abi=abi, level="pte", mount_options={"strict-fd": "on"})
    has_offsets = abi in ("y2", "v3")
    size = "@ftruncate fd u" if has_offsets else "@set_size fd 2T u"
    create, at = ("create", "0") if has_offsets else ("create_at", "2T")
    script = (
        f'@u = say 2M; {FRESH}; {size}; @r = open "/sys/fs/mshare/r" O_RDONLY; {create} r {at} 4K RW OBJECT;'
        f' {create} fd {at} 4K RW OBJECT; @unlink "/sys/fs/mshare/r"'
    )
    assert booted.calls(script) == [f"{create} = EACCES", f"{create} = 0"]


@pytest.mark.parametrize(
    ("row", "missing"),
    [
        ("CREATE_MAPPING: EINTR for a fatal signal while it waits for the host mm's lock", "calls that wait for locks"),
        ("UNMAP: EINTR likewise", "calls that wait for locks"),
        ("CREATE_MAPPING (Y3): what a security module refuses is its errno", "security modules"),
        ("a window is passed over by the scan for NUMA balancing", "NUMA nodes"),
    ],
)
def test_what_needs_more_kernel(row: str, missing: str) -> None:
    pytest.skip(f"{row}: the machine has no {missing}")

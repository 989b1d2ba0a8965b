"""Every call on a window that a real kernel was asked (mshare-observed.md, section 6), and what it answered.

``fd`` is a region of one unit with an object of 8 KiB to read and write at 8K and one to read at 20K; ``w`` is a window
on it at 2 TiB.  Nothing has been touched.
"""

from __future__ import annotations

import pytest

from emu.mm.madvise import Advice
from tests.booted import UNIT, MakeMachine
from tests.sharing.tables import Table, expected, results

WINDOW = """
@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT|O_EXCL 0644; @ftruncate fd u
@create fd 8K 8K RW OBJECT; @create fd 20K 8K PROT_READ OBJECT; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0"""
VM_LCK = 'field "/proc/self/status" "VmLck"'

MAPPINGS: Table = {
    "munmap of a part": (
        "munmap w 4K; munmap w+8K 4K; munmap w+1M 4K; munmap w+4K u-4K; munmap w-4K 8K; munmap w+u-4K 8K; load w+8K",
        "EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL 0",
    ),
    "a refused munmap unmaps no neighbour": (
        "@p = mmap w+u 4K RW PRIVATE|MAP_FIXED -1 0; @store p 5; munmap w+u-4K 8K; load p; munmap w+4K u; load p",
        "EINVAL 5 EINVAL 5",
    ),
    "munmap of all, and of more": (
        "@store w+8K 4; munmap w u; load w+8K; mmap w u RW MAP_SHARED|MAP_FIXED fd 0; load w+8K; munmap w-4K u+8K;"
        "load w+8K",
        "0 SEGV_MAPERR 0x20000000000 4 0 SEGV_MAPERR",
    ),
    "a mapping over a part": (
        "mmap w+8K 4K RW PRIVATE|MAP_FIXED -1 0; mmap w 4K RW PRIVATE|MAP_FIXED -1 0;"
        "mmap w+8K 4K RW PRIVATE|MAP_FIXED_NOREPLACE -1 0;"
        "@p = mmap w+8K 4K RW PRIVATE -1 0; store p 1; load w+8K; load p",
        "EINVAL EINVAL EEXIST 0 0 1",
    ),
    "a mapping over all of it": (
        "store w+8K 1; mmap w u RW PRIVATE|MAP_NORESERVE|MAP_FIXED -1 0; load w+8K",
        "0 0x20000000000 0",
    ),
    "mprotect": (
        "mprotect w u PROT_READ; mprotect w u RW; mprotect w+8K 4K PROT_READ; mprotect w 4K PROT_NONE; store w+8K 1",
        "EINVAL EINVAL EINVAL EINVAL 0",
    ),
    "mremap": (
        "mremap w u u+u 1; mremap w u u+u 0; mremap w 0 u 1; mremap w u u-4K 1; mremap w+8K 4K 4K 5; mremap w 4K 8K 1;"
        "mremap w u u 0; mremap w u u 3 8T+4K; load w+8K",
        "EFAULT EFAULT EFAULT EINVAL EINVAL EFAULT 0x20000000000 EINVAL 0",
    ),
    "mremap to another place (which the posted code let through, and which corrupted its tables)": (
        "store w+8K 3; mremap w u u 3 8T; load w+8K; load 8T+8K",
        "0 EINVAL 3 SEGV_MAPERR",
    ),
    "mincore": (
        "@v = bytes 8; store w+8K 1; mincore w+8K 8K v; load v; mincore w 4K v",
        "0 0 1 0",
    ),
    "msync": ("msync w+8K 4K 4; msync w+8K 4K 1; msync w+8K 4K 2", "EINVAL 0 0"),
}

LOCKS: Table = {
    "mlock of a present page, munlock": (
        f"store w+8K 1; mlock w+8K 4K; {VM_LCK}; munlock w+8K 4K; munlock w u; munlock w+1M 4K",
        "0 0 0 0 0 0",
    ),
    "mlock of all": (f"store w+8K 1; mlock w u; mlock2 w u 1; {VM_LCK}; load w+8K", "0 ENOMEM ENOMEM 0 1"),
    "mlock of an untouched page, of a hole": ("mlock w+8K 4K; mlock w+1M 4K; load w+8K", "ENOMEM ENOMEM 0"),
    "mlockall": (
        f"store w+8K 1; mlockall 1; mlockall 2; munlockall; {VM_LCK}; load w+8K; v = mmap 4T u RW MAP_SHARED fd 0",
        "0 0 0 0 0 1 0x40000000000",
    ),
    "MAP_LOCKED and MAP_POPULATE": (
        f"v = mmap 4T u RW MAP_SHARED|MAP_LOCKED fd 0; {VM_LCK}; "
        "x = mmap 8T u RW MAP_SHARED|MAP_POPULATE fd 0; load v+8K",
        "0x40000000000 0 0x80000000000 0",
    ),
    "msync": ("msync w+8K 4K 4; msync w+8K 4K 1; msync w+8K 4K 2", "EINVAL 0 0"),
    "mincore": ("@v = bytes 8; store w+8K 1; mincore w+8K 8K v; load v; mincore w 4K v; load v", "0 0 1 0 0"),
}

#: Accepted for all of it and for a page; only for all of it, since a part would have to be split; and never.
ANYWHERE = ("NORMAL", "WILLNEED", "DONTNEED", "DONTNEED_LOCKED", "DOFORK", "MERGEABLE", "UNMERGEABLE", "KEEPONFORK",
            "COLD", "PAGEOUT")  # fmt: skip
WHOLE = ("RANDOM", "SEQUENTIAL", "DONTFORK", "HUGEPAGE", "NOHUGEPAGE", "DONTDUMP")
NEVER = {
    "FREE": "EINVAL", "DODUMP": "EINVAL", "WIPEONFORK": "EINVAL", "COLLAPSE": "EINVAL", "GUARD_INSTALL": "EINVAL",
    "GUARD_REMOVE": "EINVAL", "REMOVE": "EOPNOTSUPP",
}  # fmt: skip
NUMBER = {advice.name: advice.value for advice in Advice} | {"GUARD_INSTALL": 102, "GUARD_REMOVE": 103}
TOUCHED = "@store w+8K 7; @store w+12K 8; @load w+20K"
CONTENT = "load w+8K; load w+12K; load w+20K"


def advise(name: str, *ranges: str) -> str:
    return "; ".join(f"madvise {where} {NUMBER[name]}" for where in ranges)


ADVICE: Table = {
    **{
        f"madvise {name}, all of it or a part": (
            f"{TOUCHED}; {advise(name, 'w u', 'w+8K 4K', 'w 1M')}; {CONTENT}",
            "0 0 0 7 8 0",
        )
        for name in ANYWHERE
    },
    **{
        f"madvise {name}, only all of it": (
            f"{TOUCHED}; {advise(name, 'w+8K 4K', 'w 1M', 'w+1M 4K', 'w u')}; {CONTENT}",
            "EINVAL EINVAL EINVAL 0 7 8 0",
        )
        for name in WHOLE
    },
    **{
        f"madvise {name}, never": (f"{TOUCHED}; {advise(name, 'w u', 'w+8K 4K')}; {CONTENT}", f"{error} {error} 7 8 0")
        for name, error in NEVER.items()
    },
    "madvise POPULATE_READ and _WRITE": (
        f"store w+8K 7; {advise('POPULATE_READ', 'w+8K 4K', 'w+8K 8K', 'w u', 'w+1M 4K')};"
        f"{advise('POPULATE_WRITE', 'w+8K 4K', 'w+8K 8K')}; load w+8K",
        "0 0 EFAULT EFAULT EFAULT 0 EFAULT 7",
    ),
    "a child without the window (DONTFORK)": (
        f"store w+8K 7; {advise('DONTFORK', 'w u')}; @fork c; load w+8K; end; wait c; load w+8K;"
        f"{advise('DOFORK', 'w u')}; @fork c; load w+8K; end; wait c",
        "0 0 SEGV_MAPERR 0 7 0 7 0",
    ),
}

OTHERS: Table = {
    "remap_file_pages": ("remap_file_pages w 4K 0 0 0; remap_file_pages w u 0 0 0; load w+8K", "EINVAL 0 0"),
    "pkey_mprotect": (
        "pkey_mprotect w u PROT_READ -1; pkey_mprotect w+8K 4K PROT_READ -1; store w+8K 1",
        "EINVAL EINVAL 0",
    ),
    "mseal of a part, of all": (
        "mseal w+8K 4K 0; munmap w u; w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; mseal w u 0; munmap w u; load w+8K",
        "EINVAL 0 0x20000000000 0 EPERM 0",
    ),
    "prctl PR_SET_VMA": ('prctl 0x53564d41 0 w u "name"; prctl 0x53564d41 0 w+8K 4K "name"', "EINVAL EINVAL"),
}

TABLES = {"mappings": MAPPINGS, "locks": LOCKS, "advice": ADVICE, "others": OTHERS}

#: Rows that ask for a part of the kernel which is not here.
SKIPPED = {
    "userfaultfd register: EINVAL": "there is no userfaultfd",
    "mbind of all 0, of a page EINVAL": "there is no NUMA policy",
    "move_pages query: ENOENT in status": "there are no NUMA nodes",
    "ptrace PEEK in a child: EIO where it never touched the slot, else data, EIO in a hole": "there is no ptrace",
}


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("name", TABLES)
def test_calls_on_a_window(machine: MakeMachine, name: str, level: str) -> None:
    assert results(machine(level=level), TABLES[name], WINDOW) == expected(TABLES[name], UNIT[level])


@pytest.mark.parametrize("row", SKIPPED)
def test_rows_that_need_more(row: str) -> None:
    pytest.skip(SKIPPED[row])

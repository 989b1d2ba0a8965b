"""Every call on a window that was tried on a real kernel (mshare-observed.md, section 6), and its result.

``fd`` is a region of one unit with an object of 8 KiB to read and write at 8K and one to read at 20K; ``w`` is a window
on it at 2 TiB.  Nothing has been touched.
"""

from __future__ import annotations

import pytest

from emu.linux.mman import Advice
from emu.machine import Mount
from msharefs.module import MOUNT_POINT
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
    "mremap to another place": (
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
ANYWHERE = ("NORMAL", "WILLNEED", "DONTNEED", "DONTNEED_LOCKED", "DOFORK", "KEEPONFORK", "COLD", "PAGEOUT")  # fmt: skip
WHOLE = ("RANDOM", "SEQUENTIAL", "DONTFORK", "HUGEPAGE", "NOHUGEPAGE", "DONTDUMP")
NEVER = {
    "FREE": "EINVAL", "DODUMP": "EINVAL", "WIPEONFORK": "EINVAL", "COLLAPSE": "EINVAL", "GUARD_INSTALL": "EINVAL",
    "GUARD_REMOVE": "EINVAL", "REMOVE": "EOPNOTSUPP",
    "MERGEABLE": "EINVAL", "UNMERGEABLE": "EINVAL",  # 0 in a kernel that is built with same-page merging
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
    "mbind of a page, of all": (
        "@n = bytes 64; @store n 1; syscall 237 w+8K 4K 1 n 64 0; syscall 237 w u 1 n 64 0; load w+8K",
        "EINVAL 0 0",
    ),
    "move_pages query": (
        "@store w+8K 7; @a = bytes 8; @store a w+8K; @s = bytes 8; syscall 279 0 1 a 0 s 0; load s",
        "0 0xfffffffe",
    ),
    "userfaultfd register": (
        "@f = syscall 323 1; @a = bytes 64; @store a 170; @syscall 16 f 0xc018aa3f a; @store a w; @store a+8 u;"
        "@store a+16 1; syscall 16 f 0xc020aa00 a; @store a+16 2; syscall 16 f 0xc020aa00 a; load w+8K",
        "EINVAL EINVAL 0",
    ),
    "prctl PR_SET_VMA": ('prctl 0x53564d41 0 w u "name"; prctl 0x53564d41 0 w+8K 4K "name"', "EINVAL EINVAL"),
}

#: ``b`` is 64 bytes of this process, ``l`` their iovec; ``present``, ``untouched`` and ``hole`` are iovecs of 8 bytes.
REMOTE_SETUP = """; @b = bytes 64; @l = words b 8; @present = words w+8K 8; @untouched = words w+12K 8
@hole = words w+1M 8; @me = getpid; @store w+8K 7; @m = open "/proc/self/mem" O_RDWR"""
REMOTE: Table = {
    "process_vm_readv": (
        "process_vm_readv me l 1 present 1 0; load b; process_vm_readv me l 1 untouched 1 0;"
        "process_vm_readv me l 1 hole 1 0; load w+12K; process_vm_readv me l 1 untouched 1 0",
        "8 7 EFAULT EFAULT 0 8",
    ),
    "process_vm_writev": (
        "store b 9; process_vm_writev me l 1 present 1 0; load w+8K; process_vm_writev me l 1 untouched 1 0;"
        "process_vm_writev me l 1 hole 1 0; @ro = words w+20K 8; load w+20K; process_vm_writev me l 1 ro 1 0;"
        "load w+20K",
        "0 8 9 EFAULT EFAULT 0 EFAULT 0",
    ),
    "/proc/pid/mem": (
        "pread m b 8 w+8K; load b; pread m b 8 w+12K; pread m b 8 w+1M; store b 9; pwrite m b 8 w+8K; load w+8K;"
        "pwrite m b 8 w+12K; pwrite m b 8 w+1M; load w+12K; pwrite m b 8 w+12K; load w+12K",
        "8 7 EIO EIO 0 8 9 EIO EIO 0 8 9",
    ),
    "another process's window, by the slots that it has touched": (
        "@s = mmap 0 4K RW ANON -1 0; @fork c; await s 1; load w+8K; store s 2; await s 3; end;"
        "process_vm_readv c l 1 present 1 0; store s 1; await s 2; process_vm_readv c l 1 present 1 0; load b;"
        "process_vm_readv c l 1 hole 1 0; store s 3; wait c",
        "EFAULT 0 1 7 0 2 8 7 EFAULT 0 3 0",
    ),
    "vmsplice": (
        "@f = bytes 8; pipe2 f 0; vmsplice 6 present 1 0; vmsplice 6 hole 1 0; vmsplice 6 untouched 1 0; read 5 b 8;"
        "load b",
        "0 8 EFAULT EFAULT 8 7",
    ),
    "futexes: untouched, present, hole": (
        "futex w+12K 1 1; futex w+12K 0 0 0; futex w+8K 1 1; futex w+8K 0 6 0; futex w+1M 1 1; futex w+12K 129 1",
        "EFAULT EFAULT 0 EAGAIN EFAULT 0",
    ),
    "a futex between two processes and two addresses": (
        "@t = words 0 1000000; @fork c; v = mmap 4T u RW MAP_SHARED|MAP_FIXED fd 0; load v+8K; futex v+8K 0 7 0; end;"
        "@syscall 35 t 0; futex w+8K 1 1; wait c",
        "0x40000000000 7 1 0 0",
    ),
    "clear_refs": (
        'c = open "/proc/self/clear_refs" O_WRONLY; write c "1" 1; load w+8K; write c "9" 1; write c "x" 1',
        "5 1 7 EINVAL EINVAL",
    ),
    "system calls with a buffer there": (
        "@f = bytes 8; @pipe2 f 0; write 6 w+8K 8; write 6 w+12K 8; write 6 w+1M 8; write 6 w+16K-4 8; read 5 w+8K 8;"
        "read 5 w+20K 8; read 5 w+1M 8",
        "8 8 EFAULT EFAULT 8 EFAULT EFAULT",
    ),
}
#: The same with gup=resolve, where it makes a difference.
RESOLVED: Table = {
    "process_vm_readv": (
        "process_vm_readv me l 1 present 1 0; process_vm_readv me l 1 untouched 1 0; process_vm_readv me l 1 hole 1 0",
        "8 8 EFAULT",
    ),
    "/proc/pid/mem": ("store b 9; pwrite m b 8 w+12K; pread m b 8 w+16K; load w+12K", "0 8 EIO 9"),
    "futexes": ("futex w+12K 1 1; futex w+1M 1 1", "0 EFAULT"),
    "mlock, POPULATE": (f"mlock w+12K 4K; {advise('POPULATE_WRITE', 'w+8K 8K')}; mlock w u", "0 0 ENOMEM"),
}

TABLES = {
    "mappings": (MAPPINGS, WINDOW), "locks": (LOCKS, WINDOW), "advice": (ADVICE, WINDOW), "others": (OTHERS, WINDOW),
    "the kernel's own accesses": (REMOTE, WINDOW + REMOTE_SETUP),
}  # fmt: skip


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("name", TABLES)
def test_calls_on_a_window(machine: MakeMachine, name: str, level: str) -> None:
    table, before = TABLES[name]
    assert results(machine(level=level), table, before) == expected(table, UNIT[level])


def test_accesses_that_the_posted_kernels_refuse_are_told_of_once(machine: MakeMachine) -> None:
    booted = machine()
    results(booted, REMOTE, WINDOW + REMOTE_SETUP)
    assert [line for line in booted.logged if "had not touched" in line][1:] == []
    assert "gup=resolve" in "".join(booted.logged)


@pytest.mark.parametrize("level", UNIT)
def test_accesses_that_a_mount_option_resolves(machine: MakeMachine, level: str) -> None:
    booted = machine(level=level, mounts=[Mount("msharefs", MOUNT_POINT, f"level={level},gup=resolve")])
    assert results(booted, RESOLVED, WINDOW + REMOTE_SETUP) == expected(RESOLVED, booted.unit)
    assert booted.logged == []


@pytest.mark.parametrize("level", UNIT)
def test_what_a_tracer_reads(machine: MakeMachine, level: str) -> None:
    """PTRACE_PEEKDATA in a child: EIO before it has touched the slot, then data, and EIO in a hole."""
    booted = machine(level=level)
    lines = booted.calls(f"""@u = say {booted.unit}; @b = bytes 64; {WINDOW}
        @fork c; @me = getpid; @syscall 101 0; @syscall 62 me 19; @load w+8K; @syscall 62 me 19; end
        @store w+8K 7; @syscall 61 c b 0 0; syscall 101 2 c w+8K b; @syscall 101 7 c 0 0; @syscall 61 c b 0 0
        syscall 101 2 c w+8K b; load b; syscall 101 2 c w+1M b; @syscall 101 7 c 0 0; wait c""")
    assert [line.split(" = ")[1] for line in lines] == ["EIO", "0", "7", "EIO", "0"]

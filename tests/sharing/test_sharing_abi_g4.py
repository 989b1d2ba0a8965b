"""abi=g4, the calls on descriptors that were described in 2026, with unimmu's own numbers, structs and errors
(docs/mshare-g4.md).

``fd`` is a fresh region; where a table says so, it has two units, or an object of 8 KiB at 8 KiB too, and a window
``w`` on all of it.
"""

from __future__ import annotations

import pytest

import guests
from emu.kernel.sched import StopReason
from emu.kernel.signal_state import Sig
from tests.booted import UNIT, MakeMachine
from tests.sharing.tables import Table, expected, results

FRESH = "@st = bytes 144; @b = bytes 64; @fd = mshare_create 0"
SIZED = FRESH + "; @ftruncate fd u+u"
OBJECT = SIZED + "; @place fd 8K 8K RW OBJECT"
WINDOW = OBJECT + "; @w = mshare_attach fd 0 u+u 2T 1"
#: The flags of an object without MAP_FIXED.
ANYWHERE = "ANON"

CREATING: Table = {
    "descriptors": ("mshare_create 0; mshare_create 02000000; syscall 72 4 1; syscall 72 5 1", "4 5 0 1"),
    "other flags": ("mshare_create 1; mshare_create 04000; mshare_create 02000001; mshare_create -1", "EINVAL " * 4),
    "no descriptor is free": (
        "@l = words 4 4; @setrlimit 7 l; mshare_create 0",
        "EMFILE",
    ),
    "its size: once, of whole units": (
        "syscall 5 fd st; load st+48; ftruncate fd 0; ftruncate fd 4K; ftruncate fd u-4K; ftruncate fd u;"
        "ftruncate fd u;"
        "ftruncate fd u+u; syscall 5 fd st; load st+48; fallocate fd 0 0 u",
        "0 0 EINVAL EINVAL EINVAL 0 EINVAL EINVAL 0 U EOPNOTSUPP",
    ),
    "nothing works without a size": (
        "mshare_attach fd 0 u 0 0; place fd 0 4K RW OBJECT; mshare_unmap fd 0 4K; mshare_protect fd 0 4K PROT_READ;"
        "mshare_advise fd 0 4K 4",
        "EINVAL " * 5,
    ),
    "it is no file to read, write, seek, control or map": (
        "@ftruncate fd u; read fd b 8; write fd b 8; lseek fd 0 0; ioctl fd CREATE_MAPPING b;"
        "mmap 0 u RW MAP_SHARED fd 0",
        "EINVAL EINVAL ESPIPE ENOTTY ENODEV",
    ),
    "the mounted instance has no files": (
        'open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; mkdir "/sys/fs/mshare/d" 0755;'
        '@i = open "/sys/fs/mshare/mshare_info" O_RDONLY; @n = read i b 64; say n-d',
        "EACCES EPERM 0",
    ),
}

WRONG: Table = {
    "no descriptor": (
        "mshare_attach 99 0 u 0 0; place 99 0 4K RW OBJECT; mshare_unmap 99 0 4K; mshare_protect 99 0 4K 1;"
        "mshare_advise 99 0 4K 4",
        "EBADF " * 5,
    ),
    "no region": (
        '@m = memfd_create "m" 0; mshare_attach m 0 u 0 0; place m 0 4K RW OBJECT; mshare_unmap m 0 4K;'
        "mshare_protect m 0 4K 1; mshare_advise m 0 4K 4",
        "EINVAL " * 5,
    ),
    "a descriptor for reading, got through /proc, attaches and changes nothing": (
        '@r = open "/proc/self/fd/3" O_RDONLY; @place fd 0 4K RW OBJECT; @w = mshare_attach r 0 u 0 0; store w 1;'
        "place r 0 4K RW OBJECT; mshare_unmap r 0 4K; mshare_protect r 0 4K 1; mshare_advise r 0 4K 4",
        "0 EBADF EBADF EBADF EBADF",
    ),
}

MAPPING: Table = {
    "at an offset, or where there is room": (
        f"place fd 8K 8K RW OBJECT; place fd 0 8K RW {ANYWHERE}; place fd 0 8K RW {ANYWHERE};"
        f" place fd 1M 4K RW {ANYWHERE}; place fd 1M 4K RW {ANYWHERE}; place fd 0 u+u RW {ANYWHERE}|MAP_NORESERVE",
        "8192 0 16384 0x100000 24576 ENOMEM",
    ),
    "over another object": (
        "@place fd 0 8K RW OBJECT; @w = mshare_attach fd 0 u 0 0; @store w 1; @store w+4K 2; place fd 4K 4K RW OBJECT;"
        " load w; load w+4K; place fd 0 4K RW ANON|MAP_FIXED_NOREPLACE; place fd 8K 4K RW ANON|MAP_FIXED_NOREPLACE",
        "4096 1 0 EEXIST 8192",
    ),
    "ranges": (
        "place fd 0 0 RW OBJECT; place fd 1 4K RW OBJECT; place fd u+u 4K RW OBJECT; place fd u+u-4K 8K RW OBJECT;"
        "place fd -4K 4K RW OBJECT; place fd 0 -4K RW OBJECT; place fd 0 5000 RW OBJECT",
        "EINVAL " * 6 + "0",
    ),
    "rights and flags": (
        "place fd 0 4K 8 OBJECT; place fd 0 4K 0 OBJECT; place fd 4K 4K 7 OBJECT; place fd 0 4K RW 0x32;"
        "place fd 0 4K RW 0x33; place fd 0 4K RW 0x30; place fd 0 4K RW OBJECT|MAP_GROWSDOWN;"
        "place fd 0 4K RW OBJECT|MAP_POPULATE; place fd 0 4K RW OBJECT|MAP_LOCKED; place fd 0 4K RW OBJECT 0",
        "EINVAL 0 4096 EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL",
    ),
    "files": (
        '@m = memfd_create "m" 0; @ftruncate m 8K; @pwrite m "A" 1 4096; place fd 0 4K RW MAP_SHARED|MAP_FIXED m 4K;'
        "@w = mshare_attach fd 0 u 0 0; load w; store w 66; @pread m b 1 4096; load b;"
        "place fd 0 4K RW MAP_SHARED m 100;"
        "place fd 0 4K RW MAP_SHARED fd; place fd 0 4K RW MAP_SHARED 99; place fd 0 4K RW MAP_PRIVATE m;"
        ' @r = open "/proc/self/exe" O_RDONLY; place fd 0 4K RW MAP_SHARED r; place fd 4K 4K PROT_READ MAP_SHARED r',
        "0 65 0 66 EINVAL EINVAL EBADF EINVAL EACCES 4096",
    ),
    "the struct may grow": (
        "@a = words 0 4K 0 0x3100000003 0xffffffff 0 0; mshare_map fd a 40; mshare_map fd a 56; mshare_map fd a 39;"
        "mshare_map fd a 4097; @a = words 0 4K 0 0x3100000003 0xffffffff 1; mshare_map fd a 48; mshare_map fd a 40;"
        "mshare_map fd 0 40; mshare_map fd 16 40; @a = words 0 4K 0 0x3100000003 0x1ffffffff; mshare_map fd a 40",
        "0 0 EINVAL E2BIG E2BIG 0 EFAULT EFAULT EINVAL",
    ),
    "unmapping": (
        "@place fd 0 16K RW OBJECT; @w = mshare_attach fd 0 u 0 0; @touch w 16K; mshare_unmap fd 4K 4K; load w;"
        "load w+4K; mshare_unmap fd 0 u+u; load w; mshare_unmap fd 0 4K; mshare_unmap fd 0 0; mshare_unmap fd 1 4K;"
        "mshare_unmap fd u+u 4K; mshare_unmap fd u+u-4K 8K; mshare_unmap fd 0 -1",
        "0 1 SEGV_MAPERR 0 SEGV_MAPERR 0 EINVAL EINVAL EINVAL EINVAL EINVAL",
    ),
}

ATTACHING: Table = {
    "all, at an address": (
        "mshare_attach fd 0 u+u 2T 1; store 2T+8K 5; load 2T+8K; load 2T; load 2T+u; load 2T+u+u",
        "0x20000000000 0 5 SEGV_MAPERR SEGV_MAPERR SEGV_MAPERR",
    ),
    "a part": (
        "@place fd u 4K RW OBJECT; v = mshare_attach fd u u 2T 1; store v 5; load v+8K; load v+u;"
        "@w = mshare_attach fd 0 u+u 4T 1; load w+u; load w+8K; mshare_detach v; load v; load w+u",
        "0x20000000000 0 SEGV_MAPERR SEGV_MAPERR 5 0 0 SEGV_MAPERR 5",
    ),
    "where the kernel likes: aligned": (
        "@v = mshare_attach fd 0 u 0 0; mod v u; load v+8K; @w = mshare_attach fd 0 u+u 3T+4K 0; say w-3T-u; load w+8K;"
        "@x = mshare_attach fd 0 u+u w 0; mod x u; load x+8K; @y = mshare_attach fd 0 u+u 128T 0; mod y u",
        "0 0 0 0 0 0 0",
    ),
    "ranges": (
        "mshare_attach fd 0 0 2T 1; mshare_attach fd 0 4K 2T 1; mshare_attach fd 4K u 2T 1;"
        "mshare_attach fd u u+u 2T 1;"
        "mshare_attach fd u+u u 2T 1; mshare_attach fd -4K u 2T 1; mshare_attach fd 0 u 2T+4K 1;"
        "mshare_attach fd 0 u 2T 2; mshare_attach fd 0 u 128T 1; @setresuid 1 1 1; mshare_attach fd 0 u 0 1",
        "EINVAL " * 8 + "ENOMEM EPERM",
    ),
    "nothing is replaced": (
        "@p = mmap 2T+64K 4K RW PRIVATE|MAP_FIXED -1 0; store p 1; mshare_attach fd 0 u 2T 1; load p",
        "0 EEXIST 1",
    ),
    "beyond RLIMIT_AS": ("@l = words 1M 1M; @setrlimit 9 l; mshare_attach fd 0 u 0 0", "ENOMEM"),
    "several windows": (
        "@w = mshare_attach fd 0 u 0 0; @v = mshare_attach fd 0 u+u 0 0; store w+8K 5; load v+8K; mshare_detach w;"
        "load w+8K; load v+8K",
        "0 5 0 SEGV_MAPERR 5",
    ),
}

USING: Table = {
    "remap_file_pages does not make a window of a part": (
        "syscall 216 w+4K 8K 0 0 0; syscall 216 w u 0 0 0; load w+8K",
        "EINVAL EINVAL 0",
    ),
    "detaching": (
        "mshare_detach w+4K; mshare_detach 0; mshare_detach w+u; mshare_detach w; mshare_detach w; load w+8K;"
        "@p = mmap 0 4K RW PRIVATE -1 0; mshare_detach p",
        "EINVAL EINVAL EINVAL 0 EINVAL SEGV_MAPERR EINVAL",
    ),
    "munmap of all, and of parts": (
        "munmap w 4K; munmap w u; mmap w 4K RW PRIVATE|MAP_FIXED -1 0; mprotect w u+u PROT_READ; mremap w u+u u+u 3 6T;"
        "munmap w u+u; load w+8K",
        "EINVAL EINVAL EINVAL EINVAL EINVAL 0 SEGV_MAPERR",
    ),
    "a child has the window and the descriptor": (
        "@store w+8K 5; @fork c; load w+8K; store w+8K 6; @v = mshare_attach fd 0 u 8T 1; load v+8K;"
        "place fd 0 4K RW OBJECT; end; @wait c; load w+8K; load w",
        "5 0 6 0 6 0",
    ),
    "other rights, for everybody": (
        "@s = mmap 0 4K RW ANON -1 0; @store w+8K 5; @fork c; @store w+8K 6; @store s 1; @await s 2; store w+8K 7;"
        "store w+12K 7; load w+8K; @store s 3; @await s 4; store w+8K 8; end;"
        "@await s 1; mshare_protect fd 8K 4K PROT_READ; store w+8K 9; @store s 2; @await s 3;"
        " mshare_protect fd 8K 4K RW; @store s 4; @wait c; load w+8K",
        "0 SEGV_ACCERR SEGV_ACCERR 0 6 0 0 8",
    ),
    "rights: what is wrong": (
        "mshare_protect fd 8K 4K 8; mshare_protect fd 1 4K 1; mshare_protect fd 0 4K 1; mshare_protect fd 8K 64K 1;"
        'mshare_protect fd u+u 4K 1; mshare_protect fd 8K 0 1; @m = open "/proc/self/exe" O_RDONLY;'
        "@place fd 0 4K PROT_READ MAP_SHARED|MAP_FIXED m; mshare_protect fd 0 4K RW",
        "EINVAL EINVAL ENOMEM ENOMEM EINVAL EINVAL EACCES",
    ),
    "advice": (
        "@store w+8K 5; mshare_advise fd 8K 4K 4; load w+8K; mshare_advise fd 8K 4K 9; load w+8K;"
        "mshare_advise fd 8K 8K 23; mshare_advise fd 8K 4K 21; mshare_advise fd 8K 4K 99; mshare_advise fd 0 4K 4;"
        "mshare_advise fd 1 4K 4",
        "0 5 0 0 0 0 EINVAL ENOMEM EINVAL",
    ),
}

LIFE: Table = {
    "the owner closes its last descriptor": (
        "@store w+8K 5; @d = dup fd; close fd; load w+8K; close d; load w+8K; mshare_detach w",
        "0 5 0 SEGV_MAPERR 0",
    ),
    "a child's descriptor keeps nothing": (
        "@s = mmap 0 4K RW ANON -1 0; @store w+8K 5; @fork c; load w+8K; @store s 1; @await s 2; load w+8K;"
        "mshare_attach fd 0 u 0 0; place fd 0 4K RW OBJECT; mshare_unmap fd 0 4K; mshare_protect fd 0 4K 1;"
        "mshare_advise fd 0 4K 4; end; @await s 1; @close fd; @store s 2; @wait c",
        "5 SEGV_MAPERR EOWNERDEAD EOWNERDEAD EOWNERDEAD EOWNERDEAD EOWNERDEAD",
    ),
    "a child closes its descriptor": ("@store w+8K 5; @fork c; close fd; load w+8K; end; @wait c; load w+8K", "0 5 5"),
    "the owner exits": (
        "@s = mmap 0 4K RW ANON -1 0; @fork p; @g = mshare_create 0; @ftruncate g u; @place g 0 4K RW OBJECT;"
        " @x = mshare_attach g 0 u 8T 1; @store x 7; @fork c; load x; @store s 1; @await s 2; load x;"
        " mshare_attach g 0 u 0 0; @store s 3; end; @await s 1; end; @wait p; @store s 2; @await s 3",
        "7 SEGV_MAPERR EOWNERDEAD",
    ),
    "without a window, a descriptor and an owner it is gone": ("@mshare_detach w; close fd; mshare_create 0", "0 3"),
}

TABLES = {
    "creating": (CREATING, FRESH),
    "what is wrong": (WRONG, SIZED),
    "mapping": (MAPPING, SIZED),
    "attaching": (ATTACHING, OBJECT),
    "using": (USING, WINDOW),
    "life": (LIFE, WINDOW),
}


@pytest.mark.parametrize("level", UNIT)
@pytest.mark.parametrize("name", TABLES)
def test_what_the_calls_give(machine: MakeMachine, name: str, level: str) -> None:
    table, before = TABLES[name]
    before = f"@d = say {len(str(UNIT[level])) + 1}; {before}"
    assert results(machine(level=level, abi="g4"), table, before, "") == expected(table, UNIT[level])


def test_without_an_instance_there_are_no_calls(machine: MakeMachine) -> None:
    assert machine(abi="v3").calls("mshare_create 0; mshare_attach 3 0 1G 0 0; mshare_detach 0") == [
        "mshare_create = ENOSYS", "mshare_attach = ENOSYS", "mshare_detach = ENOSYS",
    ]  # fmt: skip


def test_a_region_can_outlive_its_owner(machine: MakeMachine) -> None:
    booted = machine(level="pte", abi="g4", mount_options={"owner": "persist"})
    script = (
        f"@u = say 2M; {WINDOW}; @store w+8K 5; close fd; load w+8K; @s = mmap 0 4K RW ANON -1 0;"
        "@fork p; @g = mshare_create 0; @ftruncate g u; @place g 0 4K RW OBJECT; @x = mshare_attach g 0 u 8T 1;"
        "@store x 7;"
        "@fork c; @await s 2; load x; mshare_attach g 0 u 4T 1; load 4T; @store s 3; end; end;"
        "@wait p; @store s 2; @await s 3"
    )
    assert booted.calls(script) == ["close = 0", "load = 5", "load = 7", "mshare_attach = 0x40000000000", "load = 7"]


@pytest.mark.parametrize(("flags", "alive"), [(0, True), (0o2000000, False)])
def test_execve_closes_what_is_marked(machine: MakeMachine, flags: int, alive: bool) -> None:
    """The owner goes on as another program; a region whose descriptor was O_CLOEXEC has ended then, for its child."""
    booted = machine(level="pte", abi="g4")
    program = booted.install(guests.path("calls"))
    lines = booted.calls(
        f"@fd = mshare_create {flags}; @ftruncate fd 2M; @place fd 0 4K RW OBJECT; @w = mshare_attach fd 0 2M 2T 1;"
        "@s = mmap 0 4K RW ANON -1 0; @store w 5; @fork c; @await s 1; repeat 9; @sched_yield; end; load w; end;"
        f'@a = words "calls" "repeat 99; @sched_yield; end" 0; @store s 1; execve "{program}" a 0'
    )
    assert lines == ["load = 5" if alive else "load = SEGV_MAPERR"]


def test_another_process_gets_the_descriptor_from_proc(machine: MakeMachine) -> None:
    booted = machine(level="pte", abi="g4")
    owner = booted.guest("calls", f"@u = say 2M; {WINDOW}; @store w+8K 5; pause")
    assert booted.run() == StopReason.IDLE
    script = f'f = open "/proc/{owner.pid}/fd/3" O_RDWR; @v = mshare_attach f 0 2M 0 0; load v+8K; store v+12K 6'
    assert booted.guest("calls", script)
    assert booted.run() == StopReason.IDLE
    assert booted.stdout == "f = 3\nload = 5\nstore = 0\n"
    maps = booted.kernel.vfs.read_file(f"/proc/{owner.pid}/maps").decode()
    line = next(line for line in maps.splitlines() if line.startswith("20000000000-"))
    assert line.startswith("20000000000-20000400000 rw-s 00000000 ") and line.endswith("/mshare:3 (deleted)")
    booted.send_signal(owner, Sig.KILL)
    booted.finish()


def test_a_change_is_told_to_sharers_alone(machine: MakeMachine) -> None:
    booted = machine(level="pte", abi="g4")
    booted.guest("calls", "@fd = mshare_create 0; @ftruncate fd 2M; pause")
    booted.run()
    policies = {mm.tlb_policy for mm in booted.kernel.mm_context.address_spaces.values() if "mshare" in mm.name}
    assert policies == {"sharers"}
    booted.kill_all()


@pytest.mark.parametrize(("policy", "seen"), [("", "SEGV_MAPERR"), ("all", "SEGV_MAPERR"), ("local", "5")])
def test_what_another_vcpu_sees_of_mshare_unmap(machine: MakeMachine, policy: str, seen: str) -> None:
    """With tlb=local its TLB keeps the page, and the detector says so."""
    options = {"tlb": policy} if policy else {}
    booted = machine(level="pmd", abi="g4", cpus=2, tlb="textbook", check_tlb=True, mount_options=options)
    script = (
        f"@u = say {booted.unit}; {WINDOW}; @store w+8K 5; @s = mmap 0 4K RW ANON -1 0; @fork c; @load w+8K;"
        f"@store s 1;"
        " @await s 2; load w+8K; end; @await s 1; @mshare_unmap fd 8K 4K; @store s 2; @wait c"
    )
    assert booted.calls(script) == [f"load = {seen}"]
    assert bool(booted.stale_translations()) == (policy == "local")

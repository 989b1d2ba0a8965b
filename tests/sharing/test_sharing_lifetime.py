"""Sharing, fork, execve, lifetime and owner, as observed with the third series: mshare-observed.md, section 7.

``P`` is the parent, which makes the region unless a row says otherwise; ``s`` is a page that parent and children share,
on which they take turns.
"""

from __future__ import annotations

from typing import Any

import pytest

from emu.machine import Mount
from msharefs.module import MOUNT_POINT
from tests.booted import UNIT, MakeMachine
from tests.sharing.tables import Table, expected, results

SHMEM = '"/proc/meminfo" "Shmem"'
START = "@s = mmap 0 4K RW ANON -1 0"
R = '"/sys/fs/mshare/r"'
REGION = f"@fd = open {R} O_RDWR|O_CREAT 0644; @ftruncate fd u;"
OBJECT = REGION + "@create fd 0 64K RW OBJECT;"
WINDOW = OBJECT + "@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0;"
#: In a child that was forked before the region was made: its own descriptor and window.
OTHER = f"@fd = open {R} O_RDWR; @v = mmap 6T u RW MAP_SHARED|MAP_FIXED fd 0;"


def turn(n: int) -> str:
    """Wait until the shared word says n."""
    return f"@await s {n};"


def next_turn(n: int) -> str:
    return f"@store s {n};"


SHARING: Table = {
    "a second process at the same address, at another, and where the system chooses": (
        f"@fork c; {turn(1)} @fd = open {R} O_RDWR; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; load w;"
        "@v = mmap 6T u RW MAP_SHARED|MAP_FIXED fd 0; @minor; load v; @x = mmap 0 u RW MAP_SHARED fd 0; load x; minor;"
        f"store x+4K 9; end; {WINDOW} store w 7; {next_turn(1)} @wait c; load w+4K",
        "0 7 7 7 0 0 9",
    ),
    "any process makes an object, others see it at once": (
        f"@fork c; {turn(1)} {OTHER} create fd 128K 4K RW OBJECT; store v+128K 3; end;"
        f"{WINDOW} load w+128K; {next_turn(1)} @wait c; load w+128K",
        "SEGV_MAPERR 0 0 3",
    ),
    "mapped before any object exists": (
        f"@fork c; {turn(1)} {OTHER} load v; {next_turn(2)} {turn(3)} load v; end;"
        f"{REGION} {next_turn(1)} {turn(2)} @create fd 0 4K RW OBJECT; {next_turn(3)} @wait c",
        "SEGV_MAPERR 0",
    ),
    "an object unmapped while another process spins on it": (
        f"@fork c; {turn(1)} {OTHER} @load v; @on 11 0; {next_turn(2)} @await v 1; end;"
        f"{WINDOW} {next_turn(1)} {turn(2)} unmap fd 0 64K; wait c",
        "0 killed SIGSEGV",
    ),
    "an object replaced by another, and by a read-only file": (
        f"@fork c; {turn(1)} {OTHER} load v; {next_turn(2)} {turn(3)} load v; {next_turn(4)} {turn(5)} load v;"
        f"store v 1; end; {WINDOW} @store w 9; {next_turn(1)} {turn(2)} @create fd 0 4K RW OBJECT; {next_turn(3)}"
        f'{turn(4)} @m = open "/tmp/f" O_RDWR|O_CREAT 0600; @pwrite m "A" 1 0; @r = open "/tmp/f" O_RDONLY;'
        f"@create fd 0 4K PROT_READ MAP_SHARED|MAP_FIXED r; {next_turn(5)} @wait c",
        "9 0 65 SEGV_ACCERR",
    ),
    "the creator unmaps its window, and unlinks the name": (
        f"@fork c; {turn(1)} {OTHER} load v; {next_turn(2)} {turn(3)} load v; store v+4K 2; load v+4K; open {R} O_RDWR;"
        f"g = open {R} O_RDWR|O_CREAT|O_EXCL 0600; @st = bytes 144; @syscall 5 g st; load st+48; ftruncate g u+u;"
        "create g 0 4K RW OBJECT; @x = mmap 8T u+u RW MAP_SHARED|MAP_FIXED g 0; load x; store v+8K 4; end;"
        f"{WINDOW} @store w 7; {next_turn(1)} {turn(2)} @munmap w u; @unlink {R}; {next_turn(3)} wait c",
        "7 7 0 2 ENOENT 4 0 0 0 0 0 0",
    ),
    "nobody maps it, no descriptor, the name exists": (
        f"{WINDOW} @store w 7; @munmap w u; @close fd; fd = open {R} O_RDWR;"
        f"w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; load w; munmap w u; close fd; unlink {R}; open {R} O_RDWR",
        "3 0x20000000000 7 0 0 0 ENOENT",
    ),
    "memory stays while there is a name, and unlink frees it (Shmem)": (
        f"@a = field {SHMEM}; {WINDOW} @touch w 16K; @munmap w u; @close fd; @b = field {SHMEM}; say b-a; unlink {R};"
        f"@b = field {SHMEM}; say b-a; open {R} O_RDWR",
        "16 0 0 ENOENT",
    ),
    "memory stays while a descriptor, or another's window, is there": (
        f"{next_turn(0)} @a = field {SHMEM}; {WINDOW} @touch w 16K; @fork c; {turn(1)} load w; {next_turn(2)}"
        f"{turn(3)} end; unlink {R}; @munmap w u; @b = field {SHMEM}; say b-a; {next_turn(1)} {turn(2)} @close fd;"
        f"@b = field {SHMEM}; say b-a; {next_turn(3)} @wait c; @b = field {SHMEM}; say b-a",
        "0 16 1 16 0",
    ),
    "a name made anew is another region": (
        f"{WINDOW} @store w 7; @unlink {R}; g = open {R} O_RDWR|O_CREAT|O_EXCL 0600; ftruncate g u;"
        "create g 0 4K RW OBJECT; v = mmap 4T u RW MAP_SHARED|MAP_FIXED g 0; load v; store v 8; load w",
        "4 0 0 0x40000000000 0 0 7",
    ),
    "fork: the window is inherited; the child's end and its munmap do no harm": (
        f"{WINDOW} @store w 7; fork_ = say 1; @fork c; load w; store w+4K 8; end; @wait c; load w+4K;"
        "@fork d; @load w; munmap w u; load w; end; @wait d; load w; load w+4K",
        "1 7 0 8 0 SEGV_MAPERR 7 8",
    ),
    "fork: what the child adds, the parent sees": (
        f"{WINDOW} @load w; @fork c; create fd 128K 4K RW OBJECT; store w+128K 5; end; @wait c; load w+128K;"
        "@fork d; unmap fd 128K 4K; end; @wait d; load w+128K",
        "0 0 5 0 SEGV_MAPERR",
    ),
    "two regions in one process, side by side": (
        f'{WINDOW} @g = open "/sys/fs/mshare/t" O_RDWR|O_CREAT 0600; @unlink "/sys/fs/mshare/t"; @ftruncate g u;'
        "@create g 0 64K RW OBJECT; @v = mmap 2T+u u RW MAP_SHARED|MAP_FIXED g 0; store w 1; store v 2; load w; load v;"
        "munmap w u+u; load v; w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; load w;"
        "mmap 2T u RW MAP_SHARED|MAP_FIXED g 0; load w",
        "0 0 1 2 0 SEGV_MAPERR 0x20000000000 1 0x20000000000 2",
    ),
    "one memfd in two regions, twice in one, and mapped": (
        f'{WINDOW} @m = memfd_create "m" 0; @ftruncate m 4K; @create fd 0 4K RW MAP_SHARED|MAP_FIXED m;'
        "@create fd 4K 4K RW MAP_SHARED|MAP_FIXED m; @p = mmap 0 4K RW MAP_SHARED m 0;"
        '@g = open "/sys/fs/mshare/two" O_RDWR|O_CREAT 0600; @unlink "/sys/fs/mshare/two"; @ftruncate g u;'
        "@create g 0 4K RW MAP_SHARED|MAP_FIXED m; @v = mmap 8T u RW MAP_SHARED|MAP_FIXED g 0;"
        "store w 1; load w+4K; load p; load v; store v 2; load w; load p; store p 3; load w+4K; load v",
        "0 1 1 1 0 2 2 0 3 3",
    ),
}
#: The owner's exit, with owner=die (third series) and with owner=persist (every other).
OWNER = {
    "the creator exits": (
        f"@fork c; {WINDOW} @store w 7; {next_turn(1)} {turn(2)} end; {turn(1)} {OTHER} load v; {next_turn(2)} @wait c;"
        f"load v; load v+32K; g = open {R} O_RDWR; @st = bytes 144; @syscall 5 g st; load st+48;"
        "mmap 8T u RW MAP_SHARED g 0; unmap g 0 4K; ftruncate g u",
        "7 SEGV_MAPERR SEGV_MAPERR 4 U EINVAL 0 EINVAL",
        "7 7 0 4 U 0x80000000000 0 EINVAL",
    ),
    "the creator is killed": (
        f"@fork c; {WINDOW} @store w 7; {next_turn(1)} @pause; end; {turn(1)} {OTHER} load v; kill c SIGKILL; wait c;"
        "load v; mmap 0 u RW MAP_SHARED fd 0",
        "7 0 killed SIGKILL SEGV_MAPERR EINVAL",
        None,
    ),
    "the creator forks and exits: ownership is not inherited": (
        f"@fork c; {WINDOW} @store w 7; @fork d; {turn(1)} load w; {next_turn(2)} end; end; wait c;"
        f"{next_turn(1)} {turn(2)}",
        "0 SEGV_MAPERR",
        "0 7",
    ),
    "a process that only maps it exits": (
        f"@fork c; {turn(1)} {OTHER} load v; end; {WINDOW} @store w 7; {next_turn(1)} @wait c; load w;"
        "mmap 8T u RW MAP_SHARED|MAP_FIXED fd 0",
        "7 7 0x80000000000",
        "7 7 0x80000000000",
    ),
    "CREATE_MAPPING after the creator is gone": (
        f"@fork c; {WINDOW} {next_turn(1)} {turn(2)} end; {turn(1)} {OTHER} {next_turn(2)} @wait c;"
        "create fd 0 4K RW OBJECT; load v; store v 3; load v; unmap fd 0 u; load v",
        "0 0 0 3 0 SEGV_MAPERR",
        "0 0 0 3 0 SEGV_MAPERR",
    ),
    "the creator exits with a file that it never sized": (
        f"@fork c; @fd = open {R} O_RDWR|O_CREAT 0600; end; wait c; g = open {R} O_RDWR; ftruncate g u;"
        "mmap 0 u RW MAP_SHARED g 0",
        "0 3 0 EINVAL",
        None,
    ),
    "the creator's region outlives its name, and ends with it": (
        f"@fork c; {WINDOW} @store w 7; @unlink {R}; {next_turn(1)} {turn(2)} end; {turn(1)} open {R} O_RDWR;"
        f"{next_turn(2)} wait c",
        "ENOENT 0",
        "ENOENT 0",
    ),
}  # fmt: skip
#: Region made by a thread, the thread ends, the process lives: a real kernel has torn it down by then.
THREAD = f"@thread t; {WINDOW} @store w 7; end; @join t; load w; mmap 8T u RW MAP_SHARED|MAP_FIXED fd 0; unmap fd 0 4K"
PROCESS_OWNS, THREAD_OWNED = ["7", "0x80000000000", "0"], ["SEGV_MAPERR", "EINVAL", "0"]


@pytest.mark.parametrize("level", UNIT)
def test_sharing(machine: MakeMachine, level: str) -> None:
    assert results(machine(level=level), SHARING, START) == expected(SHARING, UNIT[level])


#: 4-level paging, 5-level paging, and several vCPUs, each of which must forget what the owner's end takes away.
MACHINES: dict[str, dict[str, Any]] = {
    "4-levels": {},
    "5-levels": {"la57": True},
    "3-vCPUs": {"cpus": 3, "tlb": "skylake-sp", "check_tlb": True},
}


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.parametrize("owner", ["die", "persist"])
@pytest.mark.parametrize("level", UNIT)
def test_the_owner(machine: MakeMachine, level: str, owner: str, kind: str) -> None:
    rows = {name: (script, a if owner == "die" else b) for name, (script, a, b) in OWNER.items()}
    table: Table = {name: (script, result) for name, (script, result) in rows.items() if result is not None}
    mounts = [Mount("msharefs", MOUNT_POINT, f"level={level},owner={owner}")]
    booted = machine(level=level, mounts=mounts, **MACHINES[kind])
    assert results(booted, table, START) == expected(table, UNIT[level])
    assert kind != "3-vCPUs" or booted.stale_translations() == []


@pytest.mark.parametrize("owner", ["die", "persist"])
def test_execve_keeps_the_region_and_its_owner(machine: MakeMachine, owner: str) -> None:
    """The creator's window is gone, its descriptor is open, and it owns the region until it ends."""
    booted = machine(mounts=[Mount("msharefs", MOUNT_POINT, f"owner={owner}")])
    after = "load 2T; w = mmap 4T 1G RW MAP_SHARED|MAP_FIXED 4 0; load w; store w+4K 3"
    lines = booted.calls(
        f'@m = open "/dev/null" O_RDONLY; @u = say 1G; @fork c; {WINDOW} @store w 7; '
        f'@a = words "x" "{after}" 0; @execve "/bin/calls" a 0; end; wait c; @g = open {R} O_RDWR;'
        "v = mmap 6T 1G RW MAP_SHARED|MAP_FIXED g 0; load v+4K"
    )
    assert lines[:4] == ["load = SEGV_MAPERR", "w = 0x40000000000", "load = 7", "store = 0"]
    ended = ["wait = 0", "v = EINVAL", "load = SEGV_MAPERR"]
    assert lines[4:] == (["wait = 0", "v = 0x60000000000", "load = 3"] if owner == "persist" else ended)


@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.parametrize(
    ("options", "answers"),
    [
        ("", PROCESS_OWNS),
        ("owner=persist", PROCESS_OWNS),
        ("quirk=thread-owner", THREAD_OWNED),
        ("quirk=thread-owner,owner=persist", PROCESS_OWNS),
    ],
)
@pytest.mark.parametrize("level", UNIT)
def test_the_thread_that_made_a_region_ends(
    machine: MakeMachine, level: str, options: str, answers: list[str], cpus: int
) -> None:
    mount = Mount("msharefs", MOUNT_POINT, ",".join(filter(None, (f"level={level}", options))))
    lines = machine(level=level, mounts=[mount], cpus=cpus).calls(f"@u = say {UNIT[level]}; {THREAD}")
    assert [line.split(" = ")[1] for line in lines] == answers


def test_the_region_of_a_thread_ends_with_the_process(machine: MakeMachine) -> None:
    """Whichever thread made it, and whichever thread ends last."""
    booted = machine()
    lines = booted.calls(
        f"@u = say {booted.unit}; {START}; @fork c; @thread t; {WINDOW} @store w 7; end; @join t; @thread v;"
        f"{next_turn(1)} {turn(2)} @syscall 60 0; end; @syscall 60 0; end; {turn(1)} {OTHER} load v; {next_turn(2)}"
        "wait c; load v"
    )
    assert [line.split(" = ")[1] for line in lines] == ["7", "0", "SEGV_MAPERR"]


#: By interface: the owner makes region r and writes 7 to it; how somebody else maps it at the same address.
EARLY = {
    "v1": (
        "@p = mmap 2T 64K RW PRIVATE|MAP_FIXED -1 0; @store p 7; @mshare \"r\" 2T 1G O_CREAT|O_RDWR 0600",
        'mshare "r" 2T 1G O_RDWR 0',
    ),
    "v2": (
        f"@fd = open {R} O_RDWR|O_CREAT 0600; @mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; @store 2T 7",
        f"@fd = open {R} O_RDWR; mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0",
    ),
    "y1": (
        f"@fd = open {R} O_RDWR|O_CREAT 0600; @i = words 2T 1G; @ioctl fd 0x40107801 i;"
        "@c = words 2T 4K 0 0x3100000003 0xffffffff; @ioctl fd 0x40287802 c;"
        "@mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; @store 2T 7",
        f"@fd = open {R} O_RDWR; mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("owner", ["", "die", "persist"])
@pytest.mark.parametrize("abi", EARLY)
def test_the_owner_with_the_early_interfaces(machine: MakeMachine, abi: str, owner: str) -> None:
    """They persist unless the mount says that they die."""
    options = f"abi={abi}" + (f",owner={owner}" if owner else "")
    booted = machine(mounts=[Mount("msharefs", MOUNT_POINT, options)])
    make, attach = EARLY[abi]
    lines = booted.calls(
        f"{START}; @fork c; {make}; {next_turn(1)} {turn(2)} end; {turn(1)} {attach}; load 2T; {next_turn(2)} @wait c;"
        f"load 2T; @munmap 2T 1G; {attach}; load 2T"
    )
    mapped = lines[0].split(" = ")[1]
    assert mapped in ("0", "0x20000000000")
    answers = [line.split(" = ")[1] for line in lines[1:]]
    assert answers == (["7", "SEGV_MAPERR", "EINVAL", "SEGV_MAPERR"] if owner == "die" else ["7", "7", mapped, "7"])

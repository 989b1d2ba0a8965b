"""Scripts that random calls have led to: each once broke the machine, its books, or took too long."""

from __future__ import annotations

from typing import Any

import pytest

from emu.linux.mman import MapFlags, Prot
from emu.mm.mmap import do_mmap
from tests.booted import MakeMachine
from tests.fuzz.player import Player

#: Script, what it prints (without the names of the calls), and options of the machine.
CORNERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "mremap of nothing onto itself": (
        "@p = mmap 2T 64K RW ANON|MAP_FIXED -1 0; mremap p 0 16K 3 p; load p; load p+16K",
        "EFAULT SEGV_MAPERR 0",
        {},
    ),
    "mremap of the beginning to just behind the end": (
        "@p = mmap 2T 3M RW PRIVATE|MAP_FIXED -1 0; @store p 5; q = mremap p 3M 4K 3 p+3M; load q; load p",
        "0x20000300000 5 SEGV_MAPERR",
        {},
    ),
    "mremap of nothing into itself": (
        "@p = mmap 2T 64K RW ANON|MAP_FIXED -1 0; @store p+4K 7; q = mremap p 0 8K 3 p+32K; load q+4K; load p+44K",
        "0x20000008000 7 0",
        {},
    ),
    "a stack that cannot be promised": (
        '@f = open "/proc/sys/vm/overcommit_kbytes" O_RDWR; @g = open "/proc/sys/vm/overcommit_memory" O_RDWR;'
        '@p = mmap 2T 64K RW PRIVATE|MAP_FIXED|MAP_GROWSDOWN -1 0; @store p 5; @write f "4" 1; @write g "2" 1;'
        'load p-8K; load p; @write g "0" 1; load p-8K',
        "SEGV_MAPERR 5 0",
        {},
    ),
    "a program that cannot be read": (
        '@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0755; @close fd; execve "/sys/fs/mshare/a" 0 0',
        "EINVAL",
        {},
    ),
    "a signal while the vfork child runs": (
        "@fork c; @me = getpid; @v = vfork; @kill me 10; @sched_yield; @exit 0; end; wait c;"
        "@fork c; @me = getpid; @v = vfork; @kill me 9; @sched_yield; @exit 0; end; wait c",
        "SIGUSR1 SIGKILL",
        {},
    ),
    "a signal while the vfork child of clone3 runs": (
        "@fork c; @a = words 0x4100 0 0 0 17 0 0 0; @me = getpid; @v = clone3 a 64; @kill me 10; @sched_yield; @exit 0;"
        "end; wait c",
        "SIGUSR1",
        {},
    ),
    "a window where an mremap has failed for want of promises": (
        "@p = mmap 512G 4K RW PRIVATE|MAP_FIXED -1 0; @store p 1; mremap p 4K 64T 3 2T; load p;"
        '@f = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate f 2M; @create f 0 64K RW OBJECT;'
        "@w = mmap 2T 2M RW MAP_SHARED|MAP_FIXED f 0; store w 7; load w",
        "ENOMEM 1 0 7",
        {"level": "pte"},
    ),
    "pagemap of a process that has ended": (
        '@s = bytes 8; @b = bytes 64; @fork c; @pause; end; @g = open "/proc/101/pagemap" 0; pread g b 64 0; @kill c 9;'
        "@wait c; pread g b 64 0",
        "64 0",
        {"la57": True},
    ),
    "mshare of huge pages that are promised": (
        "@p = mmap 512G 4M RW PRIVATE|MAP_FIXED|MAP_HUGETLB -1 0; @store p 7;"
        'mshare "h" p 1G O_RDWR|O_CREAT 0600; load p; store p+2M 8; load p+2M; @q = mmap 0 4M RW ANON|MAP_HUGETLB -1 0;'
        'store q+2M 1; mmap 0 2M RW ANON|MAP_HUGETLB -1 0; mshare_unlink "h"; munmap p 1G',
        "0 7 0 8 0 ENOMEM 0 0",
        {"hugepages": 4},
    ),
    "mshare of huge pages": (
        "@p = mmap 512G 1G RW PRIVATE|MAP_FIXED|MAP_HUGETLB|MAP_NORESERVE -1 0; @store p 7; @store p+4M 8;"
        'mshare "h" p 1G O_RDWR|O_CREAT 0600; load p; load p+4M; @fork c; load p; end; wait c',
        "0 7 8 7 0",
        {"hugepages": 4},
    ),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corner(machine: MakeMachine, name: str) -> None:
    script, expected, options = CORNERS[name]
    lines = machine(**options).calls(script)
    assert [line.rsplit(" ", 1)[1] for line in lines] == expected.split()


def test_audit_of_two_pages_that_are_far_apart(machine: MakeMachine) -> None:
    booted = machine()
    task = booted.guest("spin")
    flags = MapFlags.SHARED | MapFlags.ANONYMOUS | MapFlags.NORESERVE
    at = do_mmap(task.mm, 0, 64 << 40, Prot.READ | Prot.WRITE, flags)
    task.mm.write_u64(at, 1)
    task.mm.write_u64(at + (64 << 40) - 8, 2)
    assert booted.audit() == []


def test_who_is_killed_for_want_of_memory_runs_no_more_though_the_address_space_lives(machine: MakeMachine) -> None:
    """With CLONE_VM it has users still, in which the same fault would be taken again for ever."""
    booted = machine()
    player = Player(booted, 0)
    task = booted.tasks[0]
    player.as_process(task, lambda: player.call(task, 56, 0x100 | 17))
    (child,) = booted.children_of(task)
    assert child.mm is task.mm
    booted.take_frames(0)
    booted.finish(timeout_s=10)
    assert (booted.ending(task), booted.ending(child)) == ("SIGKILL", "SIGKILL")
    booted.give_back_frames()

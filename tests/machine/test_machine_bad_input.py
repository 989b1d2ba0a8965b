"""Calls on memory with arguments that make no sense: an errno or a signal, never an end of the machine."""

from __future__ import annotations

import random

import pytest

import guests
from emu.kernel.sched import StopReason
from tests.booted import MakeMachine

VALUES = (
    "0", "1", "-1", "4096", "a", "a+1", "a+4K", "w", "w+8K", "w+4K", "0x7ffffffff000", "0x800000000000", "-4096",
    "0x8000000000000000", "16", "1G", "3", "7", "64", "b", "1024", "me", "99", "0x80000000",
)  # fmt: skip
#: mmap, mprotect, munmap, brk, mremap, msync, mincore, madvise, fcntl, the mlock and limit families, ids, futex, ...
NUMBERS = (9, 10, 11, 12, 25, 26, 27, 28, 72, 97, 115, 116, 118, 120, 149, 150, 151, 160, 202, 216, 273, 274, 278, 302,
           310, 311, 319, 325, 329, 330, 331, 462)  # fmt: skip
BEFORE = """@a = mmap 0x10000000000 64K RW PRIVATE|MAP_FIXED -1 0; @b = bytes 4096; @me = getpid
@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0644; @ftruncate fd 1G; @create fd 8K 8K RW OBJECT
@w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; @f = bytes 8; @pipe2 f 04000; @t = words 0 1000
"""


def call(chance: random.Random) -> str:
    number = chance.choice(NUMBERS)
    values = [chance.choice(VALUES) for _ in range(6)]
    if number == 202:  # who waits must have a deadline
        values[1:4] = [chance.choice(("0", "1", "3", "4", "5", "9", "10", "128", "265")), values[2], "t"]
    return f"@syscall {number} {' '.join(values)}"


@pytest.mark.parametrize("seed", range(4))
def test_nonsense(machine: MakeMachine, seed: int) -> None:
    chance = random.Random(seed)
    children = "\n".join(f"@fork c; {call(chance)}; {call(chance)}; {call(chance)}; end; @wait c" for _ in range(50))
    booted = machine()
    task = booted.spawn(guests.path("calls"), [f"{BEFORE}{children}\nload a; store w+8K 5; load w+8K"])
    assert booted.run(timeout_s=60) == StopReason.EXITED
    assert (task.exit_code, booted.stdout.splitlines()[-3:]) == (0, ["load = 0", "store = 0", "load = 5"])

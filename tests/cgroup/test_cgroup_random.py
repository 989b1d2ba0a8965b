"""Random processes in random groups: whatever they do, the books of the groups are right, and nothing is left."""

from __future__ import annotations

import os
import random

import pytest

from emu.audit import audit
from emu.linux.errors import LinuxError
from tests.booted import MIB, Booted, MakeMachine
from tests.cgroup.groups import TOP, number

#: UNIMMU_EXHAUSTIVE=1 has more of them.
EXHAUSTIVE = os.environ.get("UNIMMU_EXHAUSTIVE", "0") not in ("", "0")
GROUPS = ("a", "a/b", "a/c", "d", "d/e")
_STEPS = (
    "@touch p {size}K", "@touch s {size}K", "@munmap p+512K+{size}K 64K", "@madvise p {size}K 4",
    "@madvise p {size}K 8", "@pwrite fd p {size}K {offset}K", "@fork x; @touch p {size}K; end; @wait x",
    "@mremap q 64K 32K 0; @mremap q 32K 64K 0", "@touch q 64K", "@ftruncate fd 64K+{offset}K", "@touch f 64K",
    "@thread y; @touch p {size}K; end; @join y", "@mprotect p {size}K PROT_READ; @mprotect p {size}K RW",
)  # fmt: skip
_SETUP = (
    "@p = mmap 0x200000000 1M RW PRIVATE|MAP_FIXED -1 0; @s = mmap 0x300000000 1M RW ANON|MAP_FIXED -1 0;"
    '@q = mmap 0x400000000 64K RW PRIVATE|MAP_FIXED -1 0; @fd = open "/tmp/f" O_RDWR|O_CREAT 0600; @ftruncate fd 512K;'
    "@f = mmap 0x500000000 512K RW MAP_PRIVATE|MAP_FIXED fd 0"
)


def script(chance: random.Random, moves: bool) -> str:
    """What one process does."""
    steps = [_SETUP]
    for _ in range(chance.randrange(5, 25)):
        if moves and chance.random() < 0.3:
            group = chance.choice(GROUPS)
            steps.append(f'@g = open "{TOP}/{group}/cgroup.procs" O_WRONLY; @write g "0" 1; @close g')
        step = chance.choice(_STEPS)
        steps.append(step.format(size=chance.randrange(1, 128) * 4, offset=chance.randrange(64) * 4))
    return "; ".join(steps)


def make_groups(booted: Booted, chance: random.Random) -> None:
    """Groups of which the leaves have limits, or none."""
    vfs = booted.kernel.vfs
    vfs.write_file(f"{TOP}/cgroup.subtree_control", b"+memory +pids")
    for group in GROUPS:
        vfs.mkdir(f"{TOP}/{group}")
    for group in ("a", "d"):
        vfs.write_file(f"{TOP}/{group}/cgroup.subtree_control", b"+memory")
        vfs.write_file(f"{TOP}/{group}/memory.max", chance.choice([b"max", b"512K", b"1M", b"256K"]))
        vfs.write_file(f"{TOP}/{group}/memory.{chance.choice(['high', 'low'])}", chance.choice([b"max", b"200K"]))


@pytest.mark.parametrize("seed", range(12 if EXHAUSTIVE else 4))
def test_the_books_are_right(machine: MakeMachine, seed: int) -> None:
    chance = random.Random(seed)
    booted = machine(swap=(seed % 2) * 16 * MIB)
    make_groups(booted, chance)
    for round_ in range(4):
        for which in range(3):
            booted.guest("calls", script(chance, moves=True), name=f"r{round_}{which}")
        booted.run_until_idle()
        assert audit(booted.kernel) == []
        if chance.random() < 0.5:
            try:
                booted.kernel.vfs.write_file(f"{TOP}/a/memory.reclaim", b"1M")
            except LinuxError as error:
                assert str(error) == "EAGAIN"
    booted.finish()
    booted.calls('@unlink "/tmp/f"')
    for group in GROUPS:
        assert number(booted, f"{group}/memory.current") == number(booted, f"{group}/memory.swap.current") == 0
    assert audit(booted.kernel) == []

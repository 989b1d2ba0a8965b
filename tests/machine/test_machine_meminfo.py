"""What /proc/meminfo counts where, and that it counts each page once."""

from __future__ import annotations

import itertools

from tests.booted import Booted, MakeMachine

NAMES = ("Cached", "Inactive(file)", "Unevictable", "AnonPages", "Mapped", "Shmem", "Committed_AS")
SEEN = "; ".join(f'field "/proc/meminfo" "{name}"' for name in NAMES)


def changes(booted: Booted, *steps: str) -> list[dict[str, int]]:
    """By how many kB each figure changes with each step; those that change by a few pages are left out."""
    script = "; ".join((SEEN, *(f"{step}; {SEEN}" for step in steps)))
    values = [int(line.split(" = ", 1)[1]) for line in booted.calls(script) if line.startswith("field")]
    looks = [values[at : at + len(NAMES)] for at in range(0, len(values), len(NAMES))]
    return [
        {name: new - old for name, old, new in zip(NAMES, before, after, strict=True) if abs(new - old) > 64}
        for before, after in itertools.pairwise(looks)
    ]


def test_memory_that_may_be_dropped_is_on_the_lists_of_files(machine: MakeMachine) -> None:
    steps = "@p = mmap 0 1M RW 0x28 -1 0", "@x = madvise p 1M 23", "@y = munmap p 1M"
    assert changes(machine(), *steps) == [
        {}, {"Inactive(file)": 1024, "AnonPages": 1024}, {"Inactive(file)": -1024, "AnonPages": -1024},
    ]  # fmt: skip


def test_secret_memory_is_no_shared_memory(machine: MakeMachine) -> None:
    steps = (
        "@f = syscall 447 0; @t = ftruncate f 1M; @p = mmap 0 1M RW MAP_SHARED f 0",
        '@z = open "/dev/zero" O_RDONLY; @x = read z p 1M',
    )
    assert changes(machine(), *steps) == [{}, {"Cached": 1024, "Unevictable": 1024, "Mapped": 1024}]


def test_a_page_is_mapped_once_however_often(machine: MakeMachine) -> None:
    steps = (
        '@f = memfd_create "m" 0; @t = ftruncate f 1M; @p = mmap 0 1M RW MAP_SHARED f 0; @x = madvise p 1M 23',
        "@q = mmap 0 1M RW MAP_SHARED f 0; @y = madvise q 1M 23",
        "@z = munmap p 1M",
        "@z = munmap q 1M",
        "@t = ftruncate f 0",
    )
    made = {"Cached": 1024, "Mapped": 1024, "Shmem": 1024, "Committed_AS": 1024}
    gone = {name: -1024 for name in made if name != "Mapped"}
    assert changes(machine(), *steps) == [made, {}, {}, {"Mapped": -1024}, gone]


def test_a_segment_is_promised_at_once(machine: MakeMachine) -> None:
    steps = (
        "@i = syscall 29 0 1M 0600",
        "@p = syscall 30 i 0 0; @x = madvise p 1M 23",
        "@d = syscall 67 p",
        "@r = syscall 31 i 0 0",
    )
    made = {"Cached": 1024, "Mapped": 1024, "Shmem": 1024}
    gone = {name: -1024 for name in (*made, "Committed_AS") if name != "Mapped"}
    assert changes(machine(), *steps) == [{"Committed_AS": 1024}, made, {"Mapped": -1024}, gone]

"""Joining a region, linking and leaving cost the same however many share it.

The cost is counted in lines of Python that the machine runs for it, which no clock disturbs; ``unimmu bench`` measures
the time.
"""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest

from emu.kernel.task import Task
from tests.booted import MIB, UNIT, Booted, MakeMachine

SHARERS = 60
SCRIPT = """
@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd u; @create fd 0 64K RW OBJECT
@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @touch w 64K; @munmap w u
@s = mmap 0 4K RW ANON -1 0; @n = say 0; @load s
repeat SHARERS
@n = say n+1
@fork c
@v = mmap 6T 4K RW PRIVATE|MAP_FIXED -1 0; @store v 1; @load v; @munmap v 4K
@mark 1; @w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @load w; @munmap w u; @mark 2
@w = mmap 2T u RW MAP_SHARED|MAP_FIXED fd 0; @load w; @store s n; @pause
end
@await s n
end
"""


class Lines:
    """Counts the lines that run between marks 1 and 2, for each process."""

    def __init__(self, booted: Booted) -> None:
        self.counts: list[int] = []
        self.where: list[Counter[str]] = []
        booted.marks.listeners.append(self.note)

    def note(self, task: Task, number: int) -> None:
        if number == 1:
            self.where.append(Counter())
            sys.settrace(self.trace)
        else:
            sys.settrace(None)
            self.counts.append(self.where[-1].total())

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.where[-1][f"{frame.f_code.co_filename}:{frame.f_code.co_name}"] += 1
        return self.trace


@pytest.mark.parametrize("level", UNIT)
def test_the_last_sharer_pays_what_the_first_does(machine: MakeMachine, level: str) -> None:
    booted = machine(16 * MIB, level=level)
    lines = Lines(booted)
    before = sys.gettrace()
    try:
        booted.guest("calls", f"@u = say {booted.unit}\n" + SCRIPT.replace("SHARERS", str(SHARERS)))
        booted.run()
    finally:
        sys.settrace(before)
    (region,) = booted.regions
    assert region.sharers == SHARERS == len(lines.counts)
    early, late = lines.where[1], lines.where[-1]
    grown = {place: (early[place], n) for place, n in late.items() if n > early[place] + 2}
    assert lines.counts[-1] <= lines.counts[1] * 1.02, grown

"""Page tables made by hand, and those of machines that have run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import pytest

import guests
from emu.kernel.sched import StopReason
from emu.machine import Machine
from emu.trace.pt.tables import Mapped, PageTablesSnapshot, Space, Table, children, take_tables
from mmu.registers import CR4, CR4_LONG_MODE, Registers
from tests.booted import MIB, machine

__all__ = ["machine"]

#: index -> entry
Rows: TypeAlias = Mapping[int, int]
Sharing3: TypeAlias = Callable[..., PageTablesSnapshot]


def by_hand(
    tables: Mapping[int, Rows],
    *roots: int,
    levels: int = 4,
    mappings: tuple[Mapped, ...] = (),
    regions: tuple[int, ...] = (),
    memory: int = 64 * MIB,
) -> PageTablesSnapshot:
    """A snapshot with these tables, by their address; each root is a process from 100 on, and each of ``regions`` the
    top table of a region.
    """
    made: dict[int, Table] = {}
    todo = [(root, levels) for root in (*roots, *regions)]
    while todo:
        at, level = todo.pop()
        if at >= memory:
            continue
        entries = np.zeros(512, dtype=np.uint64)
        for index, entry in tables[at].items():
            entries[index] = entry
        made[at] = Table(level, entries)
        todo += [(child, level - 1) for _, child in children(level, entries)]
    cr4 = CR4_LONG_MODE | (CR4.LA57 if levels == 5 else 0)
    spaces = [Space("prog", (100 + i,), root, mappings=mappings) for i, root in enumerate(roots)]
    spaces += [Space("host mm of r", (), root) for root in regions]
    return PageTablesSnapshot(("prog", "x"), "now", 7, memory, Registers(cr3=0, cr4=cr4), tuple(spaces), made)


@pytest.fixture
def sharers(machine: Callable[..., Machine]) -> Sharing3:
    """Processes that share 6 MiB and wait."""

    def snapshot(
        mode: str = "mshare", processes: int = 3, size: int = 6 * MIB, **options: object
    ) -> PageTablesSnapshot:
        booted = machine(max(64 * MIB, 2 * size), **options)
        booted.spawn(guests.path("sharers"), [mode, str(processes), str(size)])
        assert booted.run(timeout_s=60) == StopReason.IDLE
        return take_tables(booted, "every process waits", ("sharers", mode))

    return snapshot

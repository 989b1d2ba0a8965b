"""Who shares what is read from the entries; so are the bytes with and without sharing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import guests
from emu.kernel.sched import StopReason
from emu.machine import Machine
from emu.trace.pt.sharing import accounts, find_sharing, spelled, who
from emu.trace.pt.tables import take_tables
from emu.trace.pt.text import bytes_text, sharing_text
from mmu.entries import encode
from tests.booted import MIB
from tests.pt.conftest import Sharing3, by_hand


def test_three_processes_and_the_region(sharers: Sharing3) -> None:
    snapshot = sharers()
    sharing = find_sharing(snapshot)
    (root,) = sharing.roots
    assert (root.level, root.tables, len(root.links)) == (2, 4, 4)
    assert who(snapshot, sharing.spaces_of[root.paddr]) == "processes 100-102 and host mm of sharers"
    assert [min(link.spaces) for link in root.links] == [0, 1, 2, 3]
    for link in root.links[:3]:
        assert link.vaddr == 2 << 40
        entry = int(snapshot.tables[link.entry_paddr & -4096].entries[link.entry_paddr % 4096 // 8])
        assert entry & 0xF_FFFF_FFFF_F000 == root.paddr
    assert len(sharing.shared) == 4


def test_without_sharing_it_is_what_processes_have_that_share_nothing(sharers: Sharing3) -> None:
    shared, apart = (sharers(mode) for mode in ("mshare", "plain"))
    with_sharing, without = (accounts(s, find_sharing(s)) for s in (shared, apart))
    assert with_sharing.as_they_are == len(shared.tables) * 4096
    assert with_sharing.apart == without.as_they_are == without.apart, "as many as processes that share nothing have"
    assert with_sharing.as_they_are < without.as_they_are
    assert [row.shared for row in with_sharing.rows] == [4 * 4096] * 4
    assert sum(row.own for row in with_sharing.rows) + 4 * 4096 == with_sharing.as_they_are


HUGE = "@a = mmap 0 0x600000 3 0x22 -1 0; @madvise a 0x600000 14; @store a+0x200000 7; @store a+0x400000 7; @pause"


@pytest.mark.parametrize(
    ("guest", "arguments", "options"),
    [
        ("sharers", ["mshare", "3", str(6 * MIB)], {}),
        ("sharers", ["mshare", "2", str(6 * MIB)], {"level": "pud", "la57": True}),
        ("calls", [HUGE], {}),
    ],
)
def test_the_kernel_accounts_for_as_many_tables(
    machine: Callable[..., Machine], guest: str, arguments: list[str], options: dict[str, Any]
) -> None:
    """Those that are kept for when a huge page is split, too."""
    booted = machine(**options)
    booted.spawn(guests.path(guest), arguments)
    assert booted.run(timeout_s=60) == StopReason.IDLE
    snapshot = take_tables(booted, "they wait")
    spaces = booted.kernel.mm_context.address_spaces.values()
    found = accounts(snapshot, find_sharing(snapshot))
    assert found.as_they_are == sum(space.tables.table_bytes for space in spaces)
    if guest == "calls":
        assert snapshot.spaces[0].kept > 0


@pytest.mark.parametrize(("level", "tables"), [("pte", 1), ("pmd", 4), ("pud", 5)])
def test_every_level(sharers: Sharing3, level: str, tables: int) -> None:
    roots = find_sharing(sharers(level=level)).roots
    assert [root.tables for root in roots] == [tables] * (3 if level == "pte" else 1)


def test_nested_sharing_is_told_level_by_level() -> None:
    """Two processes share a PUD table, whose PMD table a third one reaches by a PUD table of its own."""
    pointer = {"P": 1, "RW": 1, "US": 1}
    snapshot = by_hand(
        {
            0x1000: {0: encode(4, ADDRESS=0x4000, **pointer)},
            0x2000: {0: encode(4, ADDRESS=0x4000, **pointer)},
            0x3000: {5: encode(4, ADDRESS=0x5000, **pointer)},
            0x4000: {0: encode(3, ADDRESS=0x6000, **pointer)},
            0x5000: {1: encode(3, ADDRESS=0x6000, **pointer)},
            0x6000: {},
        },
        0x1000, 0x2000, 0x3000,
    )  # fmt: skip
    sharing = find_sharing(snapshot)
    pud, pmd = sharing.roots
    assert (pud.paddr, pud.tables, pmd.paddr, pmd.tables) == (0x4000, 2, 0x6000, 1)
    assert [link.spaces for link in pmd.links] == [{0, 1}, {2}]
    assert accounts(snapshot, sharing).apart == 9 * 4096
    assert list(sharing_text(snapshot, sharing))[1:] == [
        "PUD table at 0x4000 and 1 table below it belong to processes 100, 101",
        "    process 100: by the pgd entry at 0x1000, for 0x0",
        "    process 101: by the pgd entry at 0x2000, for 0x0",
        "PMD table at 0x6000 belongs to processes 100-102",
        "    processes 100, 101: by the pud entry at 0x4000, for 0x0",
        "    process 102: by the pud entry at 0x5008, for 0x28040000000",
    ]


def test_nothing_is_shared() -> None:
    snapshot = by_hand({0x1000: {}}, 0x1000)
    sharing = find_sharing(snapshot)
    assert list(sharing_text(snapshot, sharing))[1:] == ["no table belongs to more than one address space"]
    assert list(bytes_text(snapshot, sharing))[-1] == "in all 4 KiB in 1 table; nothing is shared"


def test_processes_are_spelled_as_ranges() -> None:
    assert spelled([100, 101, 102, 105, 107, 108]) == "100-102, 105, 107, 108"

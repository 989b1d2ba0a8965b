"""What a trace tells of page tables, held against the tables themselves, and against traces made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import guests
from emu.kernel.sched import StopReason
from emu.machine import Machine
from emu.trace.batch import Batch
from emu.trace.formats.sink import Sink
from emu.trace.pictures.knowledge import Knowledge
from emu.trace.pictures.rows import Rows
from emu.trace.pt.sharing import Sharing, find_sharing
from emu.trace.pt.tables import PageTablesSnapshot, take_tables
from emu.trace.recorder import Recorder
from emu.trace.schema import Schema
from emu.trace.tabulator import Tabulator
from mmu.event_table import Events
from mmu.events import EventKind
from tests.booted import MIB
from tests.report.conftest import events, rows_of


class Learning(Sink):
    """A recorder's sink that learns at once."""

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        self._schema, self._tabulator = schema, Tabulator(levels)
        self.knowledge, self.last = Knowledge(levels), -1

    def write(self, batch: Batch) -> None:
        self.knowledge.add(Rows(self._tabulator.table(batch), self._schema))
        self.last = int(batch.records["seq"][-1])


def snapshot_of(knowledge: Knowledge, last: int) -> PageTablesSnapshot:
    about: dict[str, Any] = {"command": ("x",), "moment": "now", "instructions": 0, "memory_bytes": 64 * MIB}
    return knowledge.snapshot(last, {}, **about)


def links_of(snapshot: PageTablesSnapshot, sharing: Sharing) -> dict[int, set[tuple[tuple[int, ...], int, int]]]:
    """By shared table: the processes' entries that point at it."""
    return {
        root.paddr: {
            (snapshot.spaces[number].pids, link.entry_paddr, link.vaddr)
            for link in root.links
            for number in link.spaces
            if snapshot.spaces[number].pids
        }
        for root in sharing.roots
    }


@pytest.mark.parametrize("options", [{}, {"la57": True}])
@pytest.mark.parametrize("mode", ["mshare", "plain"])
def test_it_knows_what_is_there(machine: Callable[..., Machine], mode: str, options: dict[str, Any]) -> None:
    booted = machine(64 * MIB, **options)
    sink = Learning()
    recorder = Recorder(booted, sink, command=["sharers"], seed=0, version="0")
    booted.kernel.tracer = recorder
    booted.spawn(guests.path("sharers"), [mode, "3", str(4 * MIB)])
    assert booted.run(timeout_s=60) == StopReason.IDLE
    recorder.flush()
    there = take_tables(booted, "now")
    found = snapshot_of(sink.knowledge, sink.knowledge.moment(sink.last))
    assert sink.knowledge.moment(sink.last) == sink.last
    assert {(s.pids, s.pgd) for s in found.processes} == {(s.pids, s.pgd) for s in there.processes}
    for at, table in found.tables.items():
        assert table.level == there.tables[at].level
        leads = there.tables[at].entries & np.uint64(0xF_FFFF_FFFF_F001)
        known = table.entries != 0
        assert (table.entries[known] & np.uint64(0xF_FFFF_FFFF_F001) == leads[known]).all()
    assert links_of(found, find_sharing(found)) == links_of(there, find_sharing(there))
    recorder.finish()
    booted.kernel.tracer = recorder


# -- by hand -----------------------------------------------------------------------------------------------------------


def walks(*rows: tuple[int, int, int, tuple[int, ...]]) -> Events:
    """Walks: process, CR3, address, and the tables and page to which the entries lead, from the top."""
    records = events(len(rows))
    records["kind"] = EventKind.WALK
    for record, (pid, cr3, vaddr, leads) in zip(records, rows, strict=True):
        record["asid"], record["cr3"], record["vaddr"] = pid, cr3, vaddr
        record["level"] = 5 - len(leads)
        for number, target in enumerate(leads):
            record[f"entry_{4 - number}"] = target | 7 if target else 0
    return records


def learnt(records: Events) -> PageTablesSnapshot:
    knowledge = Knowledge(4)
    for rows in rows_of(records):
        knowledge.add(rows)
    return snapshot_of(knowledge, len(records) - 1)


def test_a_table_that_was_freed_and_is_another_processs_now_is_not_shared() -> None:
    found = learnt(
        walks(
            (100, 0x1000, 0x40_0000, (0x2000, 0x3000, 0x4000, 0x5000)),
            (101, 0x9000, 0x40_0000, (0xA000, 0xB000, 0x4000, 0x6000)),
        )
    )
    sharing = find_sharing(found)
    assert not sharing.roots
    assert sharing.spaces_of[0x4000] == frozenset([1])
    assert found.tables[0x4000].entries[0] == 0x6001


def test_a_page_that_becomes_a_table_is_none_that_is_shared() -> None:
    found = learnt(
        walks(
            (100, 0x1000, 0x40_0000, (0x2000, 0x3000, 0x5000, 0x4000)),
            (100, 0x1000, 0x80_0000, (0x2000, 0x3000, 0x4000, 0x7000)),
            (101, 0x9000, 0x40_0000, (0xA000, 0xB000, 0x4000, 0x6000)),
        )
    )
    assert not find_sharing(found).roots


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_walk_says_which_table_is_shared(level: int) -> None:
    private, shared = (0x2000, 0x3000, 0x4000), (0x12000, 0x13000, 0x14000)
    records = walks(
        (100, 0x1000, 0x40_0000, (*private[: 3 - level], *shared[3 - level :], 0x5000)),
        (101, 0x9000, 0x40_0000, (*(at + 0x8000 for at in private[: 3 - level]), *shared[3 - level :], 0x5000)),
    )
    records["shared_level"] = level
    found = learnt(records)
    (root,) = find_sharing(found).roots
    assert (root.level, root.tables, len(root.links)) == (level, level, 2)


def test_an_entry_that_is_gone_leads_nowhere() -> None:
    found = learnt(
        walks(
            (100, 0x1000, 0x40_0000, (0x2000, 0x3000, 0x4000, 0x5000)),
            (100, 0x1000, 0x40_0000, (0x2000, 0x3000, 0)),
        )
    )
    assert sorted(found.tables) == [0x1000, 0x2000, 0x3000]


def test_the_last_program_of_a_process_counts() -> None:
    found = learnt(
        walks(
            (100, 0x1000, 0x40_0000, (0x2000, 0x3000, 0x4000, 0x5000)),
            (100, 0x9000, 0x40_0000, (0xA000, 0xB000, 0xC000, 0x5000)),
        )
    )
    assert [space.pgd for space in found.spaces] == [0x9000]
    assert sorted(found.tables) == [0x9000, 0xA000, 0xB000, 0xC000]


def test_processes_with_one_cr3_are_one_space() -> None:
    found = learnt(
        walks(
            (100, 0x1000, 0x40_0000, (0x2000, 0x3000, 0x4000, 0x5000)),
            (101, 0x1FFF, 0x40_1000, (0x2000, 0x3000, 0x4000, 0x6000)),
        )
    )
    assert [space.pids for space in found.spaces] == [(100, 101)]
    assert np.flatnonzero(found.tables[0x4000].entries).tolist() == [0, 1]


def test_a_walk_behind_a_cached_entry_is_put_where_an_earlier_one_went() -> None:
    records = walks(
        (100, 0x1000, 0x40_0000, (0x2000, 0x3000, 0x4000, 0x5000)),
        (100, 0x1000, 0x40_1000, (0x6000,)),
        (100, 0x1000, 0x80_0000_0000, (0x7000,)),
    )
    for record in records[1:]:
        record["level"], record["entry_1"], record["entry_4"] = 1, record["entry_4"], 0
    found = learnt(records)
    assert np.flatnonzero(found.tables[0x4000].entries).tolist() == [0, 1]
    assert len(found.tables) == 4  # nobody knows in which table the last one is

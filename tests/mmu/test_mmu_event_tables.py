"""Events go into pandas, Polars and PyArrow as they are drained; a machine has public counters."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import guests
from emu.machine import Machine
from mmu import EVENT, EventKind
from mmu.event_table import EVENT_COLUMNS, EventTable
from tests.mmu.guest import DATA, DATA_PADDR, LOAD, Guest


@pytest.fixture
def events() -> EventTable:
    guest = Guest()
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.program(LOAD)
    guest.mmu.events.enable(*EventKind)
    guest.run(rbx=DATA)
    return guest.mmu.events.drain()


def expected(events: EventTable) -> list[tuple[Any, ...]]:
    return [tuple(event.tolist()) for event in events]


def test_no_field_is_an_array(events: EventTable) -> None:
    names = events.dtype.names or ()
    assert all(events[name].ndim == 1 and type(events[name]) is np.ndarray for name in names)
    assert [name for name in names if name.startswith("entry")] == [f"entry_{level}" for level in range(1, 6)]
    walk = events[events["kind"] == EventKind.WALK][0]
    assert walk["entry_1"] and walk["entry_4"] and not walk["entry_5"]


def test_it_is_the_same_record() -> None:
    assert EVENT_COLUMNS.itemsize == EVENT.itemsize
    record = np.frombuffer(bytes(range(160)), dtype=EVENT)
    (event,) = record.view(EVENT_COLUMNS)
    assert [int(event[f"entry_{level}"]) for level in range(1, 6)] == record["entries"][0].tolist()
    names = set(EVENT.names or ()) - {"entries"}
    assert all(event[name] == record[name][0] for name in names)


def test_a_subscriber_gets_the_same() -> None:
    guest = Guest()
    got: list[Any] = []
    guest.mmu.events.subscribe(got.append)
    guest.mmu.events.enable(EventKind.CR3_LOAD)
    guest.mmu.load_cr3(0x1000)
    guest.mmu.events.flush()
    assert type(got[0]) is EventTable and got[0].dtype == EVENT_COLUMNS


def test_pandas_takes_it(events: EventTable) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame(events)
    assert list(table.columns) == list(events.dtype.names or ())
    assert list(table.itertuples(index=False, name=None)) == expected(events)
    assert (table[table["kind"] == EventKind.FILL]["paddr"] > 0).all()


def test_polars_takes_it(events: EventTable) -> None:
    polars = pytest.importorskip("polars", reason="Polars is not installed")
    table = polars.DataFrame(events)
    assert table.columns == list(events.dtype.names or ()) and table.rows() == expected(events)


def test_pyarrow_takes_it(events: EventTable) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="PyArrow is not installed")
    table = pyarrow.table(events)
    assert table.column_names == list(events.dtype.names or ())
    assert [tuple(row.values()) for row in table.to_pylist()] == expected(events)
    assert pyarrow.table(events[:0]).num_rows == 0


def test_without_pyarrow_there_is_no_arrow_form(events: EventTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
    with pytest.raises(TypeError, match="PyArrow"):
        events.__arrow_c_stream__()


def test_a_machine_has_counters() -> None:
    machine = Machine(16 << 20, modules={}, stdout=lambda data: None)
    before = machine.counters
    machine.spawn(guests.path("hello"))
    machine.run()
    after = machine.counters
    assert set(before) == set(after) and all(after[name] >= before[name] for name in after)
    assert after["instructions"] > 0 and after["fills"] > 0 and after["page_faults"] > 0
    assert after["shootdowns"] == 0, "there is one CPU"

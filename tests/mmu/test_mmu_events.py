"""Event records: the contents of each kind, their order, and that a full ring loses no event that a subscriber waits
for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmu import EventKind, EventRing, PageFault, Registers
from mmu.event_table import EVENT_COLUMNS
from mmu.events import HEADROOM
from mmu.state import MmuState
from tests.mmu.guest import ADD, CODE, CODE_PADDR, DATA, DATA_PADDR, LOAD, OTHER, OTHER_PADDR, STORE, Guest

A, D = 1 << 5, 1 << 6
FAR = 0x1234_5678_9000
FIELDS = set(EVENT_COLUMNS.names or ())
ENTRIES = {f"entry_{level}" for level in range(1, 6)}


def said(record: Any) -> dict[str, Any]:
    """The fields of a record that are not zero, without those that every record has; entries by level."""
    told: dict[str, Any] = {name: int(record[name]) for name in FIELDS - ENTRIES if record[name]}
    told["entries"] = {level: int(record[f"entry_{level}"]) for level in range(1, 6) if record[f"entry_{level}"]}
    for name in ("seq", "kind", "cr3", "rip", "time"):
        told.pop(name, None)
    return told if told["entries"] else {name: value for name, value in told.items() if name != "entries"}


@pytest.fixture
def traced(guest: Guest) -> Guest:
    """The code has been run and is in the TLB; FAR shares no entry with what has been used."""
    guest.tables.map_page(OTHER, OTHER_PADDR, A=1)
    guest.tables.map_page(FAR, DATA_PADDR)
    guest.program(LOAD)
    guest.run(rbx=OTHER)
    guest.mmu.events.enable(*EventKind)
    return guest


# ---- contents


def test_the_events_of_a_first_read(traced: Guest) -> None:
    ram, tables = traced.ram, traced.tables
    before = {level: ram.read_u64(tables.slot(FAR, level)) for level in (4, 3, 2, 1)}
    traced.run(rbx=FAR + 0x123)
    events = traced.mmu.events.drain()
    assert [EventKind(kind).name for kind in events["kind"]] == ["WALK", *["ACCESSED_DIRTY"] * 4, "FILL"]
    assert set(events["cr3"]) == {tables.cr3}
    walk, *updates, fill = events
    page = {"vaddr": FAR, "level": 1, "rights": 5}  # read and execute; write only once it is dirty
    assert said(walk) == page | {"paddr": DATA_PADDR, "entries": before}
    for level, update in zip((4, 3, 2, 1), updates, strict=True):
        changed = {"paddr": tables.slot(FAR, level), "old": before[level], "new": before[level] | A, "length": 8}
        assert said(update) == page | changed | {"level": level}
    assert said(fill) == page | {"paddr": DATA_PADDR}


def test_the_events_of_a_first_write(traced: Guest) -> None:
    traced.run(rbx=DATA)
    traced.program(STORE)
    traced.mmu.events.drain()
    traced.run(rbx=DATA)
    events = traced.mmu.events.drain()
    events = events[events["vaddr"] == DATA]
    assert [EventKind(kind).name for kind in events["kind"]] == ["WALK", "ACCESSED_DIRTY", "FILL"]
    assert set(events["access"]) == {1}
    slot = traced.tables.slot(DATA)
    entry = DATA_PADDR | 7 | A
    assert (said(events[1])["paddr"], said(events[1])["old"], said(events[1])["new"]) == (slot, entry, entry | D)
    assert said(events[2])["rights"] == 7


def test_the_events_of_a_fetch(guest: Guest) -> None:
    guest.program()
    guest.mmu.events.enable(EventKind.FILL)
    guest.run()
    (fill,) = guest.mmu.events.drain()
    assert said(fill) == {"access": 2, "level": 1, "vaddr": CODE, "paddr": CODE_PADDR, "rights": 5}


@pytest.mark.parametrize(("level", "paddr"), [(2, 0x20_0000), (3, 0)])
def test_a_large_page(traced: Guest, level: int, paddr: int) -> None:
    """Unicorn asks for 4 KiB of it; the record tells the page's level, and no entry below it."""
    vaddr = 0x60_0000_0000
    slots = {k: traced.tables.slot(vaddr, k) for k in range(4, level - 1, -1)}
    traced.tables.map_page(vaddr, paddr, level, A=1, D=1)
    before = {k: traced.ram.read_u64(slot) for k, slot in slots.items()}
    traced.run(rbx=vaddr + 0x12_3456)
    events = traced.mmu.events.drain()
    walk, fill = events[0], events[-1]
    page = {"vaddr": vaddr + 0x12_3000, "paddr": paddr + 0x12_3000, "level": level, "rights": 7}
    assert said(walk) == page | {"entries": before}
    assert said(fill) == page


def test_the_events_of_a_fault_that_is_resolved(traced: Guest) -> None:
    """The fault, what the handler did, and the walk that succeeds, in this order."""
    vaddr = OTHER + 0x8000

    def on_page_fault(fault: PageFault) -> bool:
        traced.tables.map_page(vaddr, OTHER_PADDR, A=1)
        traced.mmu.invlpg(vaddr)
        return True

    traced.mmu.on_page_fault = on_page_fault
    above = {level: traced.ram.read_u64(traced.tables.slot(vaddr, level)) for level in (4, 3, 2)}
    traced.run(rbx=vaddr + 8)
    events = traced.mmu.events.drain()
    assert [EventKind(kind).name for kind in events["kind"]] == ["WALK", "FAULT", "FLUSH", "WALK", "FILL"]
    failed, fault, flush, walked, _ = events
    assert said(failed) == {"vaddr": vaddr, "level": 1, "entries": above}
    assert said(fault) == {"vaddr": vaddr, "level": 1}
    assert said(flush) == {"vaddr": vaddr, "length": 0x1000}
    assert said(walked)["entries"] == above | {1: OTHER_PADDR | 7 | A}


def test_the_error_code_of_a_fault(traced: Guest) -> None:
    traced.mmu.registers = Registers(cr3=traced.tables.cr3, cpl=3)
    traced.program(STORE)
    traced.tables.map_page(DATA, DATA_PADDR, RW=0)
    fault, _ = traced.fails(rbx=DATA)
    events = traced.mmu.events.drain()
    (event,) = events[events["kind"] == EventKind.FAULT]
    assert said(event) == {"vaddr": DATA, "access": 1, "level": 1, "cpl": 3, "error_code": 7}
    assert isinstance(fault, PageFault) and fault.error_code == 7


def test_flushes_and_cr3_loads(guest: Guest) -> None:
    mmu = guest.mmu
    mmu.events.enable(*EventKind)
    mmu.load_cr3(0x5000)
    mmu.flush()
    mmu.invlpg(0x1234)
    mmu.flush_range(0x8000, 0x10_0000)
    load, flush, one, many = mmu.events.drain()
    assert EventKind(load["kind"]) == EventKind.CR3_LOAD and said(load) == {"old": 0x1000, "new": 0x5000}
    assert all(event["kind"] == EventKind.FLUSH for event in (flush, one, many))
    assert (said(flush), said(one)) == ({}, {"vaddr": 0x1000, "length": 0x1000})
    assert said(many) == {"vaddr": 0x8000, "length": 0x10_0000}


def test_who_and_when(traced: Guest) -> None:
    state = traced.mmu.state
    state.asid, state.cpu, state.clock, state.cpl = 0xFFFF_FFFF, 7, 1 << 40, 3
    traced.mmu.invlpg(0)
    traced.run(rbx=FAR)
    events = traced.mmu.events.drain()
    assert len(events) == 1 + 6
    assert list(events["kind"][:2]) == [EventKind.FLUSH, EventKind.WALK]
    for name, value in (("asid", 0xFFFF_FFFF), ("cpu", 7), ("clock", 1 << 40), ("cpl", 3)):
        assert set(events[name]) == {value}, name
    assert list(events["seq"]) == list(range(7))


# ---- what is recorded


def test_nothing_is_recorded_until_asked_for(guest: Guest) -> None:
    guest.program(STORE)
    guest.run(rbx=DATA)
    guest.mmu.flush()
    assert len(guest.mmu.events) == 0 == len(guest.mmu.events.drain())


@pytest.mark.parametrize("kind", [kind for kind in EventKind if kind not in (EventKind.ACCESS, EventKind.NOTE)])
def test_one_kind_alone(guest: Guest, kind: EventKind) -> None:
    """Each kind alone records the same as together with all others, except its number."""

    def run(kinds: tuple[EventKind, ...]) -> np.ndarray[Any, Any]:
        guest = Guest()
        guest.mmu.on_page_fault = lambda fault: bool(guest.tables.map_page(fault.vaddr, DATA_PADDR))
        guest.mmu.events.enable(*kinds)
        guest.program(LOAD, ADD, STORE)
        guest.run(rbx=DATA)
        guest.mmu.flush()
        guest.run(rbx=DATA)
        guest.mmu.load_cr3(guest.tables.cr3)
        return guest.mmu.events.drain()

    alone, everything = run((kind,)), run(tuple(EventKind))
    wanted = everything[everything["kind"] == kind]
    assert len(alone) == len(wanted) > 0
    wanted["seq"] = alone["seq"] = 0
    assert alone.tobytes() == wanted.tobytes()


def test_enable_says_all_that_is_wanted(guest: Guest) -> None:
    events = guest.mmu.events
    events.enable(EventKind.WALK, EventKind.FLUSH)
    assert [kind.name for kind in EventKind if events.enabled(kind)] == ["WALK", "FLUSH"]
    events.enable(EventKind.FILL)
    assert [kind.name for kind in EventKind if events.enabled(kind)] == ["FILL"]
    events.enable()
    assert not any(events.enabled(kind) for kind in EventKind)


def test_drain_takes_a_copy(guest: Guest) -> None:
    guest.mmu.events.enable(EventKind.FLUSH)
    guest.mmu.invlpg(0x5000)
    taken = guest.mmu.events.drain()
    for _ in range(100):
        guest.mmu.invlpg(0x6000)
    assert [int(event["vaddr"]) for event in taken] == [0x5000]
    assert len(guest.mmu.events) == 100
    assert list(guest.mmu.events.drain()["seq"]) == list(range(1, 101))


def test_walks_leave_recorded_events_alone(guest: Guest) -> None:
    """Also those that wait in the ring while nothing is recorded any more."""
    guest.mmu.events.enable(*EventKind)
    guest.program(LOAD, STORE)
    guest.run(rbx=DATA)
    count = len(guest.mmu.events)
    guest.mmu.events.enable()
    for _ in range(100):
        guest.mmu.flush()
        guest.run(rbx=DATA)
    guest.mmu.events.enable(EventKind.FLUSH)
    guest.mmu.flush()
    events = guest.mmu.events.drain()
    assert len(events) == count + 1
    assert [EventKind(kind).name for kind in events["kind"][:2]] == ["WALK", "ACCESSED_DIRTY"]
    assert list(events["seq"]) == list(range(count + 1))


# ---- a ring that is full

CAPACITY = 64


def walker(pages: int, ring_capacity: int) -> Guest:
    """A guest that stores to one page after the other; RCX counts them."""
    guest = Guest(ring_capacity=ring_capacity)
    for page in range(pages):
        guest.tables.map_page(OTHER - 0x100_0000 + 0x1000 * page, OTHER_PADDR + 0x1000 * page)
    guest.program(STORE, "4881c300100000", "48ffc9", "75f1")  # add rbx, 0x1000; dec rcx; jnz to the store
    guest.mmu.events.enable(*EventKind)
    return guest


def everything(pages: int) -> np.ndarray[Any, Any]:
    guest = walker(pages, 1 << 15)
    guest.run(rbx=OTHER - 0x100_0000, rcx=pages)
    return guest.mmu.events.drain()


def test_a_subscriber_loses_nothing() -> None:
    pages = 500
    guest = walker(pages, CAPACITY)
    one: list[np.ndarray[Any, Any]] = []
    two: list[np.ndarray[Any, Any]] = []
    guest.mmu.events.subscribe(one.append)
    guest.mmu.events.subscribe(two.append)
    guest.run(rbx=OTHER - 0x100_0000, rcx=pages)
    assert len(one) > 20, "the ring was full many times"
    guest.mmu.events.flush()
    assert len(guest.mmu.events) == 0 == guest.mmu.events.lost
    seen = np.concatenate(one)
    assert seen.tobytes() == np.concatenate(two).tobytes() == everything(pages).tobytes()
    assert list(seen["seq"]) == list(range(len(seen)))
    stores = seen[(seen["kind"] == EventKind.FILL) & (seen["access"] == 1)]
    assert list(stores["vaddr"]) == [OTHER - 0x100_0000 + 0x1000 * page for page in range(pages)]


@pytest.mark.parametrize("kinds", [[*EventKind], [EventKind.WALK], [EventKind.FILL, EventKind.ACCESSED_DIRTY]])
def test_a_filter_that_takes_everything_changes_nothing(kinds: list[EventKind]) -> None:
    """Most fills are recorded the short way, where no filter chooses."""

    def recorded(*, filtered: bool) -> np.ndarray[Any, Any]:
        guest = walker(60, 1 << 15)
        for page in range(60):
            vaddr, paddr = OTHER - 0x100_0000 + 0x1000 * page, OTHER_PADDR + 0x1000 * page
            guest.tables.map_page(vaddr, paddr, A=page & 1, D=page >> 1 & 1, XD=page >> 2 & 1)
        guest.program(STORE, "488b03", "480103", "4881c300100000", "48ffc9", "75ee")  # store, load, add; the next page
        guest.mmu.events.enable(*kinds)
        if filtered:
            guest.mmu.events.choose(addresses=range(1 << 64))
            assert guest.mmu.state.event_filter
        for _ in range(2):
            guest.run(rbx=OTHER - 0x100_0000, rcx=60)
            guest.mmu.flush()
        return guest.mmu.events.drain()

    plain = recorded(filtered=False)
    assert len(plain) >= 60
    assert plain.tobytes() == recorded(filtered=True).tobytes()


def test_without_a_subscriber_the_oldest_are_lost() -> None:
    pages = 500
    guest = walker(pages, CAPACITY)
    guest.run(rbx=OTHER - 0x100_0000, rcx=pages)
    whole = everything(pages)
    lost = guest.mmu.events.lost
    assert lost > 0
    left = guest.mmu.events.drain()
    assert lost + len(left) == len(whole)
    assert left.tobytes() == whole[lost:].tobytes()
    assert len(left) >= HEADROOM


def test_a_full_ring_that_records_nothing_any_more() -> None:
    """Waiting events are not dropped for events without a subscriber."""
    guest = walker(CAPACITY, CAPACITY)
    guest.mmu.events.enable(EventKind.FLUSH)
    while len(guest.mmu.events) <= CAPACITY - HEADROOM:
        guest.mmu.invlpg(0)
    guest.mmu.events.enable()
    guest.run(rbx=OTHER - 0x100_0000, rcx=CAPACITY)
    assert (len(guest.mmu.events), guest.mmu.events.lost) == (CAPACITY - HEADROOM + 1, 0)
    assert set(guest.mmu.events.drain()["kind"]) == {EventKind.FLUSH}


@pytest.mark.parametrize("listening", [False, True])
def test_events_from_python_fill_the_ring_too(listening: bool) -> None:
    guest = Guest(ring_capacity=CAPACITY)
    got: list[np.ndarray[Any, Any]] = []
    if listening:
        guest.mmu.events.subscribe(got.append)
    guest.mmu.events.enable(EventKind.FLUSH)
    for page in range(1000):
        guest.mmu.invlpg(0x1000 * page)
    got.append(guest.mmu.events.drain())
    pages = [int(vaddr) >> 12 for vaddr in np.concatenate(got)["vaddr"]]
    assert pages == list(range(guest.mmu.events.lost, 1000))
    assert (guest.mmu.events.lost == 0) == listening


def test_a_subscriber_that_raises_is_heard() -> None:
    guest = walker(100, CAPACITY)

    def subscriber(_events: object) -> None:
        raise LookupError("the disk is full")

    guest.mmu.events.subscribe(subscriber)
    with pytest.raises(LookupError, match="the disk is full"):
        guest.run(rbx=OTHER - 0x100_0000, rcx=100)


def test_no_fill_writes_more_than_there_is_room_for() -> None:
    """HEADROOM covers a fault and every entry of a walk at once."""
    guest = Guest(ring_capacity=CAPACITY)
    guest.mmu.on_page_fault = lambda fault: bool(guest.tables.map_page(fault.vaddr, DATA_PADDR))
    guest.program(STORE)
    guest.mmu.events.enable(*EventKind)
    most = 0
    for page in range(300):
        before = len(guest.mmu.events), guest.mmu.events.lost
        guest.run(rbx=OTHER - 0x1000 * page * 512)
        most = max(most, len(guest.mmu.events) - before[0] + guest.mmu.events.lost - before[1])
        assert len(guest.mmu.events) <= CAPACITY
    assert most <= HEADROOM


def test_a_ring_by_itself() -> None:
    state = MmuState()
    ring = EventRing(state, 64)
    ring.emit(EventKind.FLUSH, vaddr=1)
    assert len(ring) == 0
    ring.enable(EventKind.FLUSH)
    ring.emit(EventKind.WALK)
    ring.emit(EventKind.FLUSH, vaddr=2**64 - 1, paddr=2, old=3, new=4, length=5)
    ring.flush()
    (event,) = ring.drain()
    assert said(event) == {"vaddr": 2**64 - 1, "paddr": 2, "old": 3, "new": 4, "length": 5}
    assert event.dtype.itemsize == 160


def test_what_borrows_from_a_ring_gets_what_subscribers_get() -> None:
    """Of a ring that begins again at its beginning, too."""
    state = MmuState()
    ring = EventRing(state, 64)
    given: list[bytes] = []
    lent: list[bytes] = []
    ring.subscribe(lambda events: given.append(events.tobytes()))
    ring.lend(lambda events: lent.append(events.tobytes()))
    state.granted, state.kernel_ns, state.asid, state.tid = 7, 1 << 40, 3, 4
    ring.enable(EventKind.FLUSH)
    note, note_words = ring.noter(), ring.noter_of_words()
    for number in range(150):
        ring.emit(EventKind.FLUSH, vaddr=number)
        note(17, 1, 2, code=number, new=2**64 - 1 - number)
        note_words(16, 1, 2, number, range(number, number + 6), 5)
    ring.flush()
    assert b"".join(given) == b"".join(lent)
    assert len(lent) > len(given), "none of the batches was in two pieces"
    events = np.frombuffer(b"".join(lent), EVENT_COLUMNS)
    assert events["seq"].tolist() == list(range(450))
    flush, result, call = events[300:303]
    assert said(flush) == {"vaddr": 100, "asid": 3, "tid": 4, "clock": 7}
    assert said(result) == {"error_code": 100, "new": 2**64 - 101, "asid": 1, "tid": 2, "clock": 7}
    assert int(result["time"]) == 7 + (1 << 40)
    entries = dict(zip(range(1, 6), range(100, 105), strict=True))
    assert said(call) == {
        "error_code": 100, "entries": entries, "old": 105, "size": 5, "asid": 1, "tid": 2, "clock": 7,
    }  # fmt: skip

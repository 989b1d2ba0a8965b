"""The ring that native and Python code write event records to."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from mmu.access_log import LOGGED
from mmu.events import HEADROOM, RECORD_BYTES, EventFilter, EventKind, EventRecord
from mmu.host_array import HostArray
from mmu.state import MmuState

if TYPE_CHECKING:
    from mmu.event_table import Events, EventTable


_ALL_ONES = (1 << 64) - 1
#: What is said of an event of the MMU, and of a note without and with words (:class:`mmu.said.Said`).
_EVENT, _NOTE, _WORDS = struct.Struct("<6Q"), struct.Struct("<6Q"), struct.Struct("<12Q")
#: Where a note begins.
_NOTE_AT = 4 * 8
_MASK = MmuState.event_mask.offset // 8  # type: ignore[attr-defined]


class EventRing:
    """Events in the order in which they happened.

    Nothing is recorded until :meth:`enable`.  A full ring is given to the subscribers before the next event, so they
    lose nothing; with no subscriber the oldest events are dropped and counted in :attr:`lost`.

    A record has the fields of :data:`mmu.event_table.EVENT_COLUMNS`, a numpy structured type of 160 bytes: addresses
    and entries are whole numbers, ``entry_1`` to ``entry_5`` are what a walk read at each level, and ``clock`` counts
    retired instructions.

    >>> from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
    >>> from mmu import EventKind, Mmu, PhysicalMemory
    >>> mmu = Mmu(Uc(UC_ARCH_X86, UC_MODE_64), PhysicalMemory(1 << 20))
    >>> mmu.events.enable(EventKind.CR3_LOAD)
    >>> mmu.load_cr3(0x1000)
    >>> [(EventKind(event["kind"]).name, hex(event["new"])) for event in mmu.events.drain()]
    [('CR3_LOAD', '0x1000')]
    """

    def __init__(self, state: MmuState, capacity: int = 1 << 15) -> None:
        if capacity <= 2 * HEADROOM or capacity & (capacity - 1):
            raise ValueError(f"the capacity of an event ring is a power of two above {2 * HEADROOM}, not {capacity}")
        self._state = state
        self._capacity = capacity
        self._records = HostArray(capacity * RECORD_BYTES, "B")
        self._words: memoryview[int] = memoryview(state).cast("B").cast("Q")
        self._subscribers: list[Callable[[Events], None]] = []
        self._borrowers: list[Callable[[Events], None]] = []
        self._filter = EventFilter()
        self._held: int | None = None
        self.lost = 0
        #: Empties the access log (:mod:`mmu.access_log`), where somebody keeps one.
        self.empty_log: Callable[[], None] | None = None
        state.ring = self._records.address
        state.ring_capacity = capacity
        state.ring_head = 0
        self._taken_to(0)

    def enable(self, *kinds: EventKind) -> None:
        """Record these kinds, and no others (no kind: stop recording)."""
        self._state.event_mask = self._state.event_mask & LOGGED | sum(1 << kind for kind in kinds)

    def enabled(self, kind: EventKind) -> bool:
        """Whether events of this kind are recorded."""
        return bool(self._state.event_mask >> kind & 1)

    def choose(
        self, addresses: range | None = None, levels: Iterable[int] = (), clocks: range | None = None, one_in: int = 1,
        seed: int = 0,
    ) -> None:  # fmt: skip
        """Of the kinds that are enabled, record only events that concern these virtual addresses, walks and faults that
        end at these levels (none: at any), events at these values of the clock, and of what is left one in ``one_in``,
        by chance from ``seed``.

        CR3_LOAD and a flush of everything concern every address.  ValueError for an empty range, or no interval.
        """
        if one_in < 1 or (addresses is not None and not addresses) or (clocks is not None and not clocks):
            raise ValueError("an event filter needs ranges that are not empty, and an interval of 1 or more")
        chosen = self._filter
        chosen.begin, chosen.end = (0, _ALL_ONES) if clocks is None else (clocks.start, clocks.stop)
        chosen.low, chosen.high = (0, _ALL_ONES) if addresses is None else (addresses[0], addresses[-1])
        chosen.levels = sum(1 << level for level in set(levels)) or _ALL_ONES
        chosen.interval = one_in
        chosen.random = ((seed * 2 + 1) * 0x9E37_79B9_7F4A_7C15 & _ALL_ONES) or 1
        plain = addresses is None and chosen.levels == _ALL_ONES and clocks is None and one_in == 1
        self._state.event_filter = 0 if plain else ctypes.addressof(chosen)

    def hold(self) -> int:
        """Keep the last FAULT event, and what follows, in the ring until :meth:`release`; returns its number plus 1."""
        held, self._state.last_fault = self._state.last_fault, 0
        self._held = held - 1 if held else None
        return int(held)

    def release(self, resolved: int, held: int) -> None:
        """Say how the fault was resolved that :meth:`hold` has kept."""
        self._held = None
        if held and self._state.ring_tail < held <= self._state.ring_head:
            at = ((held - 1) % self._capacity) * RECORD_BYTES
            EventRecord.from_address(self._records.address + at).resolved = resolved

    def subscribe(self, subscriber: Callable[[Events], None]) -> None:
        """``subscriber(events)`` gets every later event, in batches, in order."""
        self._subscribers.append(subscriber)

    def lend(self, subscriber: Callable[[Events], None]) -> None:
        """The same, without a copy: the events are the ring's own memory, which holds others once the subscriber has
        returned."""
        self._borrowers.append(subscriber)

    def __len__(self) -> int:
        return int(self._state.ring_head - self._state.ring_tail)

    def _taken_to(self, tail: int) -> None:
        """The events before this one have been taken out."""
        self._state.ring_tail = tail
        #: The number of the last event for which there is room, and for all that a fill may write behind it.
        self._last = tail + self._capacity - HEADROOM

    def _take(self) -> tuple[int, int]:
        """Take out what is there: the numbers of the first event, and of the one behind the last."""
        tail, head = self._state.ring_tail, self._state.ring_head
        if self._held is not None and tail < self._held:
            head = self._held
        self._taken_to(head)
        return tail, head

    def drain(self) -> EventTable:
        """Take out what is there, oldest first (a copy): ``pandas.DataFrame(events)``, ``polars.DataFrame(events)`` and
        ``pyarrow.table(events)`` make a table of it."""
        from mmu.event_table import table_of  # late: most runs record nothing, and need no numpy

        return table_of(self._records.array, *self._take())

    def flush(self) -> None:
        """Hand what is there to the subscribers."""
        if not len(self) or not (self._subscribers or self._borrowers):
            return
        from mmu.event_table import pieces_of, table_of  # late, as above

        taken = self._take()
        for borrower in self._borrowers:
            for piece in pieces_of(self._records.array, *taken):
                borrower(piece)
        if self._subscribers:
            events = table_of(self._records.array, *taken)
            for subscriber in self._subscribers:
                subscriber(events)

    def make_room(self) -> None:
        """Called when the ring is full, or the access log."""
        if self.empty_log is not None:
            self.empty_log()
        if len(self) + HEADROOM <= self._capacity:
            return
        if self._subscribers or self._borrowers:
            self.flush()
            return
        dropped = min(len(self), max(self._capacity // 2, 2 * HEADROOM))
        self.lost += dropped
        self._taken_to(self._state.ring_tail + dropped)

    @functools.cached_property
    def _emitting(self) -> _Saying:
        return _Saying(self._state, "emit")

    def emit(
        self, kind: EventKind, *, vaddr: int = 0, paddr: int = 0, old: int = 0, new: int = 0, length: int = 0
    ) -> None:
        """Record an event from Python, if its kind is enabled."""
        if not self._words[_MASK] >> kind & 1:
            return
        emitting = self._emitting
        _EVENT.pack_into(emitting.bytes, 0, vaddr, paddr, old, length, kind, new)
        while not emitting.say(emitting.said):
            self.make_room()

    def noter(self) -> Note:
        """The function that records events of whoever runs the MMU, whatever is enabled.

        Its arguments are the event's kind, which is NOTE or larger, asid, tid, error_code and new: whatever he says.
        """
        noting, pack, make_room = _Saying(self._state, "note"), _NOTE.pack_into, self.make_room
        room, say, said = noting.bytes, noting.say, noting.said

        def note(kind: int, asid: int, tid: int, code: int = 0, new: int = 0) -> None:
            pack(room, _NOTE_AT, kind, new, asid, tid, code, 0)
            while not say(said):
                make_room()

        return note

    def noter_of_words(self) -> NoteWords:
        """The same with kind, asid, tid, error_code, six words, which are entry_1 to entry_5 and old, and size."""
        noting, pack, make_room = _Saying(self._state, "note"), _WORDS.pack_into, self.make_room
        room, say, said = noting.bytes, noting.say, noting.said

        def note_words(kind: int, asid: int, tid: int, code: int, words: Sequence[int], size: int) -> None:
            pack(room, _NOTE_AT, kind, 0, asid, tid, code, size, *words)
            while not say(said):
                make_room()

        return note_words


class Note(Protocol):
    """What :meth:`EventRing.noter` makes."""

    def __call__(self, kind: int, asid: int, tid: int, code: int = 0, new: int = 0) -> None:
        """Record an event."""


#: What :meth:`EventRing.noter_of_words` makes.
NoteWords = Callable[[int, int, int, int, Sequence[int], int], None]


class _Saying:
    """Native code that writes an event, and what it is told."""

    def __init__(self, state: MmuState, name: str) -> None:
        from mmu.objectcode import load  # late: most runs record nothing
        from mmu.said import Said

        library = load("mmu.said")
        self._said = Said(state=ctypes.addressof(state))
        self.bytes = memoryview(self._said).cast("B")
        self.say = library[name].call
        address = ctypes.addressof(self._said)
        #: A pointer that ctypes need not make anew for each call.
        self.said = ctypes.c_uint64(address) if library.mode == "native" else address

"""Which events are recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.trace.choice import meets, of_processes
from mmu.events import EventKind

if TYPE_CHECKING:
    from mmu.event_ring import EventRing
    from mmu.event_table import Events


class Selection(NamedTuple):
    """Of all events those that fit; None and the empty set exclude nothing.

    ``addresses`` and ``levels`` concern events that have such: walks and faults that end at these levels, and what
    concerns these virtual addresses.  ``clocks``: how many instructions all processes have retired.  Of the MMU's
    events that are left one in ``one_in`` is recorded, by chance from ``seed``; the kernel's are not sampled.
    """

    kinds: frozenset[str] | None = None
    pids: frozenset[int] = frozenset()
    addresses: range | None = None
    levels: frozenset[int] = frozenset()
    clocks: range | None = None
    one_in: int = 1
    seed: int = 0

    def has(self, kind: str) -> bool:
        """Whether events of a kind are recorded at all."""
        return self.kinds is None or kind in self.kinds

    def choose(self, ring: EventRing) -> None:
        """Have a ring choose among the MMU's events, once."""
        ring.choose(self.addresses, self.levels, self.clocks, self.one_in, self.seed)

    def begin(self, ring: EventRing, *, accesses: bool) -> None:
        """Record those of the MMU's events."""
        wanted = [kind for kind in EventKind if kind != EventKind.NOTE and (kind != EventKind.ACCESS or accesses)]
        ring.enable(*(kind for kind in wanted if self.has(kind.name.lower())))

    def takes(self, kind: str, pid: int, tid: int, clock: int, fields: Mapping[str, Any]) -> bool:
        """Whether an event of the kernel is recorded."""
        if not self.has(kind) or not self.takes_of(pid, tid, clock):
            return False
        vaddr = fields.get("vaddr")
        if self.addresses is None or vaddr is None:
            return True
        return meets(vaddr, fields.get("length"), self.addresses[0], self.addresses[-1])

    @property
    def takes_of_all(self) -> bool:
        """Whether what the kernel does is recorded for every process, at any time."""
        return not self.pids and self.clocks is None

    def takes_of(self, pid: int, tid: int, clock: int) -> bool:
        """Whether what the kernel does for a process then is recorded."""
        if self.pids and pid not in self.pids and tid not in self.pids:
            return False
        return self.clocks is None or clock in self.clocks

    def of_processes(self, events: Events) -> Events:
        """The events of a batch that are of the processes; the kernel's are already chosen."""
        if not self.pids:
            return events
        return events[of_processes(events, self.pids) | (events["kind"] >= EventKind.NOTE)]


EVERYTHING = Selection()

"""Counts of events, and of what they say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from emu.trace.stat.codes import Facts

#: A walk that ended in a page fault has mapped no page.
NO_PAGE = 0


@dataclass
class Counts:
    """Counted events: all, or those of a group."""

    levels: int
    events: Counter[str] = field(default_factory=Counter)
    #: Walks by the size of the page, :data:`NO_PAGE` where they ended in a fault.
    page_sizes: Counter[int] = field(default_factory=Counter)
    #: Walks by the level of the last entry that was read, and by that of the entry from a structure cache, 0 for none.
    answered: Counter[int] = field(default_factory=Counter)
    began: Counter[int] = field(default_factory=Counter)
    #: Walks by the level of the highest shared table that was read, 0 for none.
    shared: Counter[int] = field(default_factory=Counter)
    walks_by_access: Counter[str] = field(default_factory=Counter)
    #: Entries that walks read from memory.
    loads: int = 0
    #: What walks, and hits in the L2 TLB, cost, where that is recorded.
    cycles: int = 0
    resolved: Counter[str] = field(default_factory=Counter)
    #: Accesses by kind and by the TLB that answered, 0 for none.
    lookups: Counter[tuple[str, int]] = field(default_factory=Counter)

    def add(self, facts: Facts, number: int) -> None:
        """So many events of which these are the facts."""
        self.events[facts.event] += number
        self.cycles += facts.cycles * number
        if facts.event == "walk":
            self.page_sizes[facts.page_size] += number
            self.answered[facts.level] += number
            self.began[facts.cached_level] += number
            self.shared[facts.shared_level] += number
            self.walks_by_access[facts.access] += number
            self.loads += facts.loads(self.levels) * number
        elif facts.event == "fault":
            self.resolved[facts.resolved] += number
        elif facts.event == "access":
            self.lookups[facts.access, facts.tlb_level] += number

    @property
    def walks(self) -> int:
        """All walks."""
        return self.events["walk"]

    @property
    def shared_walks(self) -> int:
        """Those that read a shared table."""
        return self.walks - self.shared[0]

    @property
    def misses(self) -> int:
        """Accesses that no TLB answered."""
        return sum(number for (_, level), number in self.lookups.items() if level == 0)

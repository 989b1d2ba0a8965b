"""The counts of a region.  Counting costs the same however many sharers there are."""

from __future__ import annotations

from emu.linux.mman import Prot
from mmu.record import field, record

#: The most processes that a region's figures list; pages of further ones count as nobody's.
MAX_PIDS = 4096


@record(eq=False, repr=False)
class Peaks:
    """The peak figures of a region."""

    sharers: int = 0
    pagetable_bytes: int = 0
    resident_bytes: int = 0


@record(eq=False, repr=False)
class Figures:
    """Counts of one region since it was made."""

    links: int = 0
    unlinks: int = 0
    #: Faults that linked a slot, and faults that were resolved in the host mm.
    link_faults: int = 0
    populate_faults: int = 0
    #: Pages added to the region's tables by faults, by pid of the process (0: none).
    pages_by_pid: dict[int, int] = field(default_factory=dict)
    #: The process that made a shared table by the first fault in its slot: host address of the slot -> pid.
    table_makers: dict[int, int] = field(default_factory=dict)
    peaks: Peaks = field(default_factory=Peaks)

    def populated(self, pid: int, pages: int) -> None:
        """Count the pages added by a fault in the host mm on behalf of a process."""
        self.populate_faults += 1
        if pages:
            if pid not in self.pages_by_pid and len(self.pages_by_pid) >= MAX_PIDS:
                pid = 0
            self.pages_by_pid[pid] = self.pages_by_pid.get(pid, 0) + pages


def prot_text(prot: Prot) -> str:
    """``rw-``."""
    bits = ((Prot.READ, "r"), (Prot.WRITE, "w"), (Prot.EXEC, "x"))
    return "".join(letter if prot & bit else "-" for bit, letter in bits)

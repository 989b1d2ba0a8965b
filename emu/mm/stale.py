"""The stale-translation detector: which process changed the entry that a TLB still holds, and why the vCPU was not
told.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.mm.tlbflush import Flush, Flushed
    from mmu.stale import StaleHit

_REMEMBERED = 10_000


@dataclass(frozen=True)
class Change:
    """One change of page tables: address space, range, time (instructions retired), process and vCPU that made it, the
    outcome of its flush, and the vCPUs that were not told although they may hold the old translation.
    """

    mm_serial: int
    mm_name: str
    start: int
    end: int
    clock: int
    pid: int | None
    cpu: int
    outcome: str
    not_told: tuple[int, ...] = ()


class StaleDetector:
    """Remembers the latest changes, and explains each stale hit when it is seen."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque(maxlen=_REMEMBERED)
        #: By vCPU, process, page and frame: the finding, and the number of hits.
        self._found: dict[tuple[int, int, int, int], tuple[str, int]] = {}

    def note(
        self, flush: Flush, clock: int, pid: int | None, cpu: int, outcome: str, not_told: tuple[int, ...]
    ) -> None:
        """Tables have changed."""
        mm = flush.mm
        self._changes.append(Change(mm.serial, mm.name, flush.start, flush.end, clock, pid, cpu, outcome, not_told))

    def hit(self, hit: StaleHit, mm: Flushed | None, cpus: int) -> None:
        """A stale translation was used, in ``mm``."""
        key = (hit.cpu, hit.asid, hit.vaddr >> 12, hit.cached_paddr >> 12)
        text, number = self._found.get(key, ("", 0))
        self._found[key] = (text or self._explain(hit, mm, cpus), number + 1)

    def findings(self) -> list[str]:
        """Every stale translation that was used, a sentence each: the first hit, and the number of further hits."""
        return [
            text + (f" ({number - 1} more hits on it were seen)" if number > 1 else "")
            for text, number in self._found.values()
        ]

    def _explain(self, hit: StaleHit, mm: Flushed | None, cpus: int) -> str:
        fresh = "nothing" if hit.fresh_paddr is None else f"{hit.fresh_paddr:#x}"
        text = (
            f"stale translation: process {hit.asid} on CPU {hit.cpu} {hit.access.name.lower()}s {hit.vaddr:#x} at "
            f"{hit.cached_paddr:#x}, which its TLB holds, but the tables say {fresh}"
        )
        last = self._last_change(hit, mm)
        if last is None:
            return f"{text}; no change of that entry was announced, so CPU {hit.cpu} was never told"
        who = "the kernel" if last.pid is None else f"process {last.pid}"
        on = f" on CPU {last.cpu}" if cpus > 1 else ""
        change = f"{who}{on} changed it at instruction {last.clock} ({last.mm_name}; {last.outcome})"
        return f"{text}; {change}, and CPU {hit.cpu} was not told"

    def _last_change(self, hit: StaleHit, mm: Flushed | None) -> Change | None:
        """The latest change of the entry of which the vCPU was known not to be told, or else the latest of all."""
        places = [] if mm is None else [(mm.serial, hit.vaddr), *mm.linked_from(hit.vaddr)]
        found = [
            change
            for change in self._changes
            if any(change.mm_serial == serial and change.start <= vaddr < change.end for serial, vaddr in places)
        ]
        untold = [change for change in found if hit.cpu in change.not_told]
        return untold[-1] if untold else found[-1] if found else None

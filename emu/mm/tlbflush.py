"""Flushing TLBs: the flush that a change of a page table owes, and the vCPUs that are told of it.

Code that changes an entry gets a :class:`Flush` and must discharge it, by :meth:`Flush.flush` or by stating why none is
needed. The audit reports a forgotten one.

A vCPU keeps its CR3 while others have their turn, and while it idles.  PCIDs are not used: loading CR3 empties the TLB,
so that a vCPU holds translations only of the address space that it has loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Protocol

from emu.mm.frames import FrameAllocator
from emu.mm.pageflags import FrameKind
from emu.mm.pagetable import PageTables, span
from emu.mm.shootdown import OWN, TLB_POLICIES, ShootdownCost, Shootdowns, to_ns
from mmu import Mmu
from mmu.control import SINGLE_PAGE_CEILING
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.linux.clock import Clock
    from emu.linux.tracer import EventTracer
    from mmu.stale import StaleHit

__all__ = ["TLB_POLICIES", "Detector", "Flush", "Flushed", "TlbFlusher"]

_WAS_NOT_PRESENT = "no TLB holds a translation of a not-present entry (SDM vol. 3, 4.10.2.3)"
#: Ranges of addresses to be invalidated; None: everything.
Ranges = list[tuple[int, int]] | None


class Flushed(Protocol):
    """An address space, as far as flushing needs it."""

    name: str
    serial: int
    frames: FrameAllocator
    tables: PageTables
    #: Whether others link to its tables, and which vCPUs are then told of a change.
    shared_tables: bool
    tlb_policy: str

    @property
    def sharers(self) -> Callable[[], Container[object]] | None:
        """The address spaces that link to its tables now."""

    def links_to(self, host: Flushed, start: int, end: int) -> list[tuple[int, int]]:
        """Where [start, end) of a host mm lies in this address space: ranges of addresses."""

    def linked_from(self, address: int) -> list[tuple[int, int]]:
        """If another address space's tables translate this address: that one's serial number, and the address there."""


class Detector(Protocol):
    """A detector that is told of every change of tables, and of every stale translation that was used."""

    def note(
        self, flush: Flush, clock: int, pid: int | None, cpu: int, outcome: str, not_told: tuple[int, ...]
    ) -> None:
        """Tables have changed."""

    def hit(self, hit: StaleHit, mm: Flushed | None, cpus: int) -> None:
        """A stale translation was used, in ``mm``."""

    def findings(self) -> list[str]:
        """Every stale translation that was used, a sentence each."""


class Flush:
    """Translations of [start, end) of an address space may be stale in a TLB."""

    __slots__ = ("_flusher", "end", "mm", "reason", "start")

    def __init__(self, flusher: TlbFlusher, mm: Flushed, start: int, end: int, reason: str) -> None:
        self._flusher = flusher
        self.mm = mm
        self.start = start
        self.end = end
        self.reason = reason
        flusher.pending += 1

    def flush(self) -> None:
        """Invalidate the range on every vCPU that may have the address space loaded."""
        flusher = self._flusher
        flusher.pending -= 1
        not_told = flusher.flush_range(self.mm, self.start, self.end, self.reason)
        if flusher.detector is not None:
            flusher.note(self, f"flushed on CPU {flusher.cpu} only, tlb=local" if not_told else "flushed", not_told)

    def flush_here(self, why: str) -> None:
        """Invalidate the range on the vCPU that made the change only; ``why`` is the argument that others may keep
        their translations.
        """
        assert why
        flusher = self._flusher
        flusher.pending -= 1
        flusher.flush_range_here(self.mm, self.start, self.end)
        if flusher.detector is not None:
            flusher.note(self, f"flushed on this CPU only: {why}")

    def none_needed(self, why: str) -> None:
        """Discharge the obligation without a flush; ``why`` is the argument, for the record."""
        assert why
        self._flusher.pending -= 1
        if self._flusher.detector is not None:
            self._flusher.note(self, f"no flush: {why}")

    # -- the reasons that there are most often ---------------------------------------------------------------------

    def was_not_present(self) -> None:
        """The entries are new."""
        self._flusher.pending -= 1  # done inline: faults are many
        if self._flusher.detector is not None:
            self._flusher.note(self, f"no flush: {_WAS_NOT_PRESENT}")

    def nothing_present(self) -> None:
        """There was no entry to change in the range."""
        self.none_needed("no entry was present")

    def rights_added(self) -> None:
        """The entries only gained rights."""
        self.flush_here("rights were only added: another vCPU walks again before it faults")

    def nothing_changed(self) -> None:
        """A fault found that the entry already allows the access."""
        self.flush_here("nothing was changed: only this vCPU had an old entry")


class TlbFlusher:
    """Knows which address space each vCPU has loaded, and flushes."""

    def __init__(
        self,
        mmu: Mmu,
        cost: ShootdownCost | None = None,
        *,
        current_pid: Callable[[], int | None] = lambda: None,
        tracer: Callable[[], EventTracer | None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        """``current_pid``: the running process, for the record of changes; ``tracer`` is told of shootdowns, which take
        time of ``clock``.
        """
        self._mmu = mmu
        self.cpus = mmu.processors
        self._loaded: list[Flushed | None] = [None] * self.cpus
        #: Frames kept because a vCPU that was not told may still reach them, though their references are gone.
        self._held: list[dict[int, Flushed]] = [{} for _ in range(self.cpus)]
        #: vCPUs that were not told of a change.
        self._untold: set[int] = set()
        #: Flushes that have not been discharged yet.
        self.pending = 0
        self.detector: Detector | None = None
        self.shootdowns = Shootdowns(self.cpus, cost or ShootdownCost())
        self._current_pid = current_pid
        self._tracer = tracer
        self._clock = clock

    @property
    def cpu(self) -> int:
        """The vCPU that has its turn."""
        return self._mmu.processor

    def may_be_held(self, mm: Flushed) -> bool:
        """Whether a vCPU may hold translations of an address space with tables of its own."""
        return self.cpus > 1 or mm is self._loaded[0]

    @property
    def loaded(self) -> Flushed | None:
        """The address space whose PGD is in that vCPU's CR3."""
        return self._loaded[self.cpu]

    def loaded_on(self, cpu: int) -> Flushed | None:
        """The address space whose PGD is in the CR3 of a vCPU."""
        return self._loaded[cpu]

    # -- loading ---------------------------------------------------------------------------------------------------

    def switch_cpu(self, cpu: int, mm: Flushed, pid: int, tid: int) -> None:
        """Let a vCPU have its turn, with the process ``pid``, its thread ``tid`` and its ``mm``."""
        mmu = self._mmu
        if self.cpus > 1 and cpu != mmu.processor:
            mmu.switch_to(cpu, loads_cr3=mm is not self._loaded[cpu])
        state = mmu.state
        state.asid, state.tid = pid, tid
        if mm is not self._loaded[cpu]:
            self._load(cpu, mm)

    def switch_mm(self, mm: Flushed) -> None:
        """Load CR3 (which flushes), unless these tables are loaded already."""
        here = self.cpu
        if mm is not self._loaded[here]:
            self._load(here, mm)

    def _load(self, here: int, mm: Flushed) -> None:
        self._loaded[here] = mm
        self._mmu.load_cr3(mm.tables.pgd_paddr)
        if self._held[here] or self._untold:
            self._release(here)

    @property
    def loads_only(self) -> bool:
        """Whether to load CR3 of the one vCPU is nothing else: no TLB is modelled, and no frame waits for it."""
        nobody_waits = not self._held[0] and not self._untold and self.detector is None
        return self.cpus == 1 and self._mmu.tlb is None and nobody_waits

    def was_loaded(self, mm: Flushed) -> None:
        """Native code has loaded CR3 of the one vCPU."""
        self._loaded[0] = mm
        self._mmu.cr3_was_loaded()

    def leave(self, mm: Flushed) -> None:
        """An address space is about to be taken down: vCPUs that have it loaded without running it unload it, by one
        IPI instead of one for each unmapped range (exit_mmap flushes once).
        """
        if self.cpus == 1:
            return
        receivers: dict[int, Ranges] = {cpu: None for cpu in self._others() if self._loaded[cpu] is mm}
        if receivers:
            self.shootdowns.by_policy[OWN].flushes += 1
            self._shoot(mm, 0, 0, "exit", OWN, receivers)
            for cpu in receivers:
                self._loaded[cpu] = None

    def forget(self, mm: Flushed) -> None:
        """The address space is going away: its tables must not stay loaded."""
        for cpu, loaded in enumerate(self._loaded):
            if loaded is mm:
                self._loaded[cpu] = None
                self._release(cpu)

    # -- flushing --------------------------------------------------------------------------------------------------

    def flush_range(
        self, mm: Flushed, start: int, end: int, reason: str = "", mapped: tuple[int, int] | None = None
    ) -> tuple[int, ...]:
        """Invalidate [start, end) of an address space on every vCPU that may hold translations of it; of shared tables
        as their policy says.  ``mapped``: where all pages of it lie that were mapped.  Returns the vCPUs that should
        have been told but were not.
        """
        if mm.shared_tables:
            return self._flush_shared(mm, start, end, reason)
        if mm is self._loaded[0 if self.cpus == 1 else self._mmu.processor]:
            self._mmu.flush_range(start, end - start, mapped)
        # a vCPU that has not loaded it holds none of its translations: loading CR3 without PCID flushed them
        if self.cpus > 1:
            self.shootdowns.by_policy[OWN].flushes += 1
            self._shoot(
                mm, start, end, reason, OWN, {c: [(start, end)] for c in self._others() if self._loaded[c] is mm}
            )
        return ()

    def flush_range_here(self, mm: Flushed, start: int, end: int) -> None:
        """The same, only on the vCPU that has its turn."""
        if mm.shared_tables:
            self._mmu.flush()
        elif mm is self._loaded[self._mmu.processor]:
            self._mmu.flush_range(start, end - start)

    def _others(self) -> list[int]:
        here = self.cpu
        return [cpu for cpu in range(self.cpus) if cpu != here]

    def _flush_shared(self, mm: Flushed, start: int, end: int, reason: str) -> tuple[int, ...]:
        policy = mm.tlb_policy
        several = self.cpus > 1
        if several:
            self.shootdowns.by_policy[policy].flushes += 1
        receivers: dict[int, Ranges] = {}
        if policy == "sharers":
            receivers.update(self._windows_on_cpus(mm, start, end))
            self._invalidate(receivers.pop(self.cpu, []))
        else:
            self._mmu.flush()
            self._release(self.cpu)
            if policy == "all" and several:
                receivers.update(dict.fromkeys(self._others()))
        if policy == "local" and several:
            return self._keep_stale(mm, start, end, reason)
        self._shoot(mm, start, end, reason, policy, receivers)
        return ()

    def _windows_on_cpus(self, host: Flushed, start: int, end: int) -> dict[int, list[tuple[int, int]]]:
        """Each vCPU that has a sharer loaded, and where the range of the host mm lies in its addresses."""
        sharers = host.sharers() if host.sharers is not None else ()
        found = {}
        for cpu, loaded in enumerate(self._loaded):
            if loaded is not None and loaded in sharers:
                ranges = loaded.links_to(host, start, end)
                if ranges:
                    found[cpu] = ranges
        return found

    def _invalidate(self, ranges: Ranges) -> None:
        if ranges is None:
            self._mmu.flush()
        else:
            for low, high in ranges:
                self._mmu.flush_range(low, high - low)

    def _shoot(self, mm: Flushed, start: int, end: int, reason: str, policy: str, receivers: dict[int, Ranges]) -> None:
        """IPIs to the receivers, which invalidate at once."""
        if not receivers:
            return
        pages = {cpu: _pages(ranges) for cpu, ranges in receivers.items()}
        of_sender, cost = self.shootdowns.count(policy, self.cpu, pages)
        if self._clock is not None:
            self._clock.charge(to_ns(of_sender))
            self._clock.pass_time(to_ns(cost - of_sender))
        most = None if None in pages.values() else max(p for p in pages.values() if p is not None)
        self._tell(mm, start, end, reason, policy, list(receivers), [], most, of_sender, cost)
        for cpu, ranges in receivers.items():
            with self._mmu.on(cpu):
                self._invalidate(ranges)
            if pages[cpu] is None:
                self._release(cpu)

    def _keep_stale(self, mm: Flushed, start: int, end: int, reason: str) -> tuple[int, ...]:
        """The policy "local": the other vCPUs are not told of the change.

        Frames that their TLBs lead to are not reused: the guest may see stale data, but must not reach the kernel's
        tables.
        """
        untold = self._windows_on_cpus(mm, start, end)
        untold.pop(self.cpu, None)
        if not untold:
            return ()
        self._untold.update(untold)
        for cpu, ranges in untold.items():
            self._hold(cpu, mm, ranges)
        self._tell(mm, start, end, reason, "local", [], list(untold), None, 0, 0)
        return tuple(untold)

    def _tell(
        self,
        mm: Flushed,
        start: int,
        end: int,
        reason: str,
        policy: str,
        receivers: list[int],
        not_told: list[int],
        pages: int | None,
        of_sender: int,
        cost: int,
    ) -> None:
        tracer = self._tracer()
        if tracer is None or not tracer.active:
            return
        tracer.event(
            "shootdown", pid=self._current_pid(), sender=self.cpu, receivers=receivers, not_told=not_told, mm=mm.name,
            vaddr=start, length=end - start, pages=pages, reason=reason, policy=policy, sender_cycles=of_sender,
            cost_cycles=cost,
        )  # fmt: skip

    # -- frames that an untold vCPU may still use ------------------------------------------------------------------

    def _hold(self, cpu: int, mm: Flushed, ranges: list[tuple[int, int]]) -> None:
        if not self._mmu.tlbs:
            return  # nothing stale outlives a turn: Unicorn's own translations are dropped when vCPUs take turns
        model, frames, held = self._mmu.tlbs[cpu], mm.frames, self._held[cpu]
        used = set[int]()
        for entries in model.contents().values():
            for entry in entries:
                if _overlaps(ranges, entry.vaddr, entry.vaddr + entry.page_size):
                    first = entry.paddr >> PAGE_SHIFT
                    used.update(range(first, first + (entry.page_size >> PAGE_SHIFT)))
        for level, rows in model.structure_contents().items():
            for _, number, table in rows:
                if _overlaps(ranges, number * span(level), (number + 1) * span(level)):
                    used.add(table >> PAGE_SHIFT)
        for frame in sorted(used - held.keys()):
            if frame < frames.total and frames.kind(frame) > FrameKind.RESERVED:
                frames.get(frame)
                held[frame] = mm

    def empty_untold(self) -> None:
        """Empty the TLB of every vCPU that was not told of a change: the memory that it leads to is about to be reused,
        and huge pages are not kept as frames are.
        """
        for cpu in sorted(self._untold):
            with self._mmu.on(cpu):
                self._mmu.flush()
            self._release(cpu)

    def _release(self, cpu: int) -> None:
        self._untold.discard(cpu)
        held = self._held[cpu]
        if held:
            self._held[cpu] = {}
            for frame, mm in held.items():
                mm.frames.put(frame)

    def held_frames(self) -> list[int]:
        """Frames kept because a vCPU that was not told may still reach them, once for each such vCPU: for the audit."""
        return [frame for held in self._held for frame in held]

    # -- the stale-translation detector ----------------------------------------------------------------------------

    def watch(self, detector: Detector) -> None:
        """Check every modelled TLB hit against the tables, and let ``detector`` record who changes them.

        ValueError without a TLB model.
        """
        self._mmu.check_tlb()
        self.detector = detector

        def stale(hit: StaleHit) -> None:
            detector.hit(hit, self._loaded[hit.cpu], self.cpus)

        self._mmu.on_stale_hit = stale

    def note(self, flush: Flush, outcome: str, not_told: tuple[int, ...] = ()) -> None:
        """Remember a change of tables."""
        assert self.detector is not None
        clock = self._mmu.state.clock
        self.detector.note(flush, clock, self._current_pid(), self.cpu, outcome, not_told)

    def stale_findings(self) -> list[str]:
        """Every stale translation that was used, a sentence each."""
        return [] if self.detector is None else self.detector.findings()


def _overlaps(ranges: list[tuple[int, int]], start: int, end: int) -> bool:
    return any(low < end and start < high for low, high in ranges)


def _pages(ranges: Ranges) -> int | None:
    """How many pages are invalidated one by one; None if everything is invalidated."""
    if ranges is None:
        return None
    sizes = [(high - (low & -PAGE_SIZE) + PAGE_SIZE - 1) >> PAGE_SHIFT for low, high in ranges]
    return None if max(sizes, default=0) > SINGLE_PAGE_CEILING else sum(sizes)

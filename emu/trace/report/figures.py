"""The figures of two snapshots as rows of text, for a terminal and for a page alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emu.trace.report.snapshot import ProcessTables, Snapshot
from emu.trace.report.units import kib, plural
from mmu import WalkStep
from mmu.entries import ADDRESS, describe


@dataclass(frozen=True)
class Grid:
    """A table: ``rows`` are as long as ``headers``; the last ``totals`` of them are sums.  ``note`` explains it."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    totals: int = 0
    note: str = ""

    def shortened(self, most: int) -> Grid:
        """The same with at most ``most`` rows besides the sums; one row stands for those that are left out."""
        body = self.rows[: len(self.rows) - self.totals]
        if len(body) <= most:
            return self
        left_out = (f"{len(body) - most + 1} more", *("..." for _ in self.headers[1:]))
        rows = (*body[: most - 2], left_out, body[-1], *self.rows[len(body) :])
        return replace(self, rows=rows)


def costs(snapshots: Sequence[Snapshot]) -> Grid:
    """What each process has and what happened to it, side by side for each snapshot (of the same processes)."""
    names = [snapshot.label for snapshot in snapshots]
    columns = ("tables", "minor", "#PF", "links")
    rows = [
        (f"{process.pid}", *_cells([_process_figures(s.processes[i]) for s in snapshots]))
        for i, process in enumerate(snapshots[0].processes)
    ]
    regions = [(kib(sum(h.pagetable_bytes for h in s.hosts)) if s.hosts else "-", "-", "-", "-") for s in snapshots]
    sums = [
        (
            kib(s.pagetable_bytes),
            f"{sum(p.minor_faults for p in s.processes):,}",
            f"{sum(p.hardware_faults for p in s.processes):,}",
            f"{sum(p.link_faults for p in s.processes):,}",
        )
        for s in snapshots
    ]
    return Grid(
        "What each process has, and the faults it took",
        ("process", *(f"{column}\n{name}" for column in columns for name in names)),
        (*rows, ("region", *_cells(regions)), ("in all", *_cells(sums))),
        totals=2,
        note="tables: KiB of page tables that it owns; minor: faults resolved from memory; "
        "#PF: page-fault exceptions;\nlinks: shared tables that were linked into its own",
    )


def _process_figures(process: ProcessTables) -> tuple[str, ...]:
    return (
        kib(process.pagetable_bytes),
        f"{process.minor_faults:,}",
        f"{process.hardware_faults:,}",
        f"{process.link_faults:,}",
    )


def _cells(figures: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Column by column, and within a column snapshot by snapshot."""
    return tuple(cell for column in zip(*figures, strict=True) for cell in column)


def machine_work(snapshots: Sequence[Snapshot]) -> Grid:
    """What the MMU did until the snapshot."""
    rows = (
        ("page walks", *(f"{s.walks:,}" for s in snapshots)),
        ("entries read by walks", *(f"{s.walk_loads:,}" for s in snapshots)),
        ("TLB fills", *(f"{s.fills:,}" for s in snapshots)),
        ("seconds on this host", *(f"{s.wall_s:.1f}" for s in snapshots)),
    )
    return Grid("What the MMU did", ("", *(s.label for s in snapshots)), rows)


def _pdpte(process: ProcessTables) -> WalkStep:
    """The entry of the PDPT (PUD) that the process's walk reads: the second step, or with 5 levels the third."""
    return process.walk[max(process.tables) - 3]


def walks(snapshot: Snapshot) -> Grid:
    """Each process's own walk of the range's first address, down to the PMD table that it leads to."""
    rows = []
    for process in snapshot.processes:
        pdpte = _pdpte(process)
        rows.append(
            (
                f"{process.pid}",
                f"{process.tables[max(process.tables)][0]:#x}",
                f"{pdpte.paddr:#x}",
                f"{pdpte.value:#x}",
                f"{pdpte.value & int(ADDRESS):#x}",
            )
        )
    tables = {row[-1] for row in rows}
    if len(tables) == 1 and len(rows) > 1:
        title = f"{snapshot.title}: every walk of {snapshot.start:#x} comes to the same PMD table"
    else:
        found = plural(len(tables), "PMD table", "different PMD tables")
        title = f"{snapshot.title}: the walks of {snapshot.start:#x} come to {found}"
    headers = ("process", "CR3: PGD", "PDPTE at", "its value", "PMD table")
    in_words = describe(3, _pdpte(snapshot.processes[0]).value)
    return Grid(title, headers, tuple(rows), note=f"in words, the first: {in_words}")

"""The founding problem in figures: what page tables a large shared memory costs, with and without sharing them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from emu.kernel.report import describe_process
from emu.trace.report.figures import Grid
from emu.trace.report.snapshot import tables_of_range
from emu.trace.report.units import plural, size_text
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.machine import Machine

#: Bytes of a leaf entry: one maps a page.
ENTRY = 8


@dataclass(frozen=True)
class Group:
    """Processes that use the memory in one way, all alive at the same time; sums over all of them."""

    processes: int
    pagetable_bytes: int  # of all levels, for their programs and stacks too
    leaf_bytes: int  # of their own PTE tables that translate the memory
    minor_faults: int
    link_faults: int
    seconds: float  # from the first fork to the last word read, on this host

    def mean(self, total: float) -> float:
        """A sum for one process."""
        return total / max(self.processes, 1)


@dataclass(frozen=True)
class Sga:
    """What was measured while all processes were alive."""

    size: int
    level: str
    donor_minor_faults: int
    plain: Group
    sharing: Group
    region_leaf_bytes: int
    region_pagetable_bytes: int  # of all levels
    links: int

    def leaf_formula(self, processes: int) -> int:
        """Bytes of leaf tables of so many processes that map all of the memory without sharing tables."""
        return processes * (self.size // PAGE_SIZE) * ENTRY

    @property
    def unshared_bytes(self) -> int:
        """All tables that as many processes as share would have by themselves: from those that were measured."""
        return round(self.plain.mean(self.plain.pagetable_bytes) * self.sharing.processes)

    @property
    def shared_bytes(self) -> int:
        """All tables of the processes that share, and of the region."""
        return self.sharing.pagetable_bytes + self.region_pagetable_bytes

    def as_json(self) -> dict[str, Any]:
        """For ``--json``: what was measured, and what was computed, apart."""
        processes = self.sharing.processes
        return {
            "size_bytes": self.size,
            "level": self.level,
            "processes": processes,
            "interface": "mshare(2) of the first series: a donor's populated mapping becomes the region",
            "measured": {
                "donor_minor_faults": self.donor_minor_faults,
                "plain": asdict(self.plain),
                "sharing": asdict(self.sharing),
                "region_leaf_bytes": self.region_leaf_bytes,
                "region_pagetable_bytes": self.region_pagetable_bytes,
                "links": self.links,
                "shared_pagetable_bytes": self.shared_bytes,
            },
            "computed": {
                "unshared_leaf_bytes": self.leaf_formula(processes),
                "unshared_leaf_formula": f"{processes} * {self.size} / {PAGE_SIZE} * {ENTRY}",
                "unshared_pagetable_bytes": self.unshared_bytes if self.plain.processes else None,
            },
        }


def measure(machine: Machine, start: int, size: int, level: str, seconds: tuple[float, float]) -> Sga:
    """Measure the processes of the guest ``sga`` while all of them wait; ``seconds`` is how long the plain ones and
    the sharers took to start.
    """
    groups: dict[bytes, list[int]] = {b"plain": [0] * 5, b"client": [0] * 5}
    donor_faults = 0
    for task in machine.tasks:
        figures = describe_process(task.group)
        sums = groups.get(task.argv[1])
        if sums is None:
            donor_faults = figures["minor_faults"]
            continue
        own = [1, figures["pagetable_bytes"], 0, figures["minor_faults"], figures["link_faults"]]
        if task.argv[1] == b"plain":
            tables = tables_of_range(machine.ram, task.mm.tables.pgd_paddr, start, start + size)
            own[2] = len(tables[1]) * PAGE_SIZE
        groups[task.argv[1]] = [a + b for a, b in zip(sums, own, strict=True)]
    hosts = [mm for mm in machine.kernel.mm_context.address_spaces.values() if mm.shared_tables]
    return Sga(
        size=size,
        level=level,
        donor_minor_faults=donor_faults,
        plain=_group(groups[b"plain"], seconds[0]),
        sharing=_group(groups[b"client"], seconds[1]),
        region_leaf_bytes=sum(mm.tables.tables[1] for mm in hosts) * PAGE_SIZE,
        region_pagetable_bytes=sum(mm.tables.table_bytes for mm in hosts),
        links=sum(count for _, count in machine.kernel.share_counts.items()),
    )


def _group(sums: list[int], seconds: float) -> Group:
    processes, tables, leaf, minor, links = sums
    return Group(processes, tables, leaf, minor, links, seconds)


def grid(sga: Sga) -> Grid:
    """Side by side: what is measured, and what is computed from it."""
    plain, sharing = sga.plain, sga.sharing
    number = f"{sharing.processes:,}"
    rows = [
        ("processes alive, measured", f"{plain.processes:,}", number),
        ("own tables of one, measured", *(_mean_size(g, g.pagetable_bytes) for g in (plain, sharing))),
        ("  leaf tables of the memory", *(_mean_size(g, g.leaf_bytes) for g in (plain, sharing))),
        ("the region's tables, measured", "-", size_text(sga.region_pagetable_bytes)),
        ("  leaf tables of the memory", "-", size_text(sga.region_leaf_bytes)),
        ("minor faults of one, measured", _mean(plain, plain.minor_faults), _mean(sharing, sharing.minor_faults)),
        ("link faults of one, measured", _mean(plain, plain.link_faults), _mean(sharing, sharing.link_faults)),
        ("seconds to start one, measured", _mean(plain, plain.seconds, 3), _mean(sharing, sharing.seconds, 3)),
        (f"leaf tables of {number}", f"computed: {size_text(sga.leaf_formula(sharing.processes))}",
         f"measured: {size_text(sga.region_leaf_bytes)}"),
        (f"all tables of {number}", f"computed: {size_text(sga.unshared_bytes)}" if plain.processes else "-",
         f"measured: {size_text(sga.shared_bytes)}"),
    ]  # fmt: skip
    return Grid(
        f"{size_text(sga.size)} of shared memory, every page of it mapped",
        ("", "plain MAP_SHARED", "mshare"),
        tuple(rows),
        totals=2,
        note=f"computed leaf tables: {number} x {size_text(sga.size)} / 4 KiB x 8 bytes; all tables: {number} x the"
        f" measured tables of one.\nTo populate it took {sga.donor_minor_faults:,} faults;"
        f" {plural(sga.links, 'entry', 'entries')} of processes link the region's tables.",
    )


def _mean(group: Group, total: float, digits: int = 0) -> str:
    return f"{group.mean(total):,.{digits}f}" if group.processes else "-"


def _mean_size(group: Group, total: int) -> str:
    return size_text(round(group.mean(total))) if group.processes else "-"


def in_words(sga: Sga) -> str:
    """The result in a sentence."""
    processes = plural(sga.sharing.processes, "process", "processes")
    told = f"{size_text(sga.size)} shared by {processes} take {size_text(sga.shared_bytes)} of page tables"
    without = sga.unshared_bytes if sga.plain.processes else sga.leaf_formula(sga.sharing.processes)
    return f"{told} instead of {size_text(without)}: {without / sga.shared_bytes:,.0f} times less."

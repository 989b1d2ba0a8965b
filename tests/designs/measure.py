"""What each design costs: processes that all write every page of one object, and the tables and faults that it takes.

``python -m tests.designs.measure`` prints the table of docs/sharing-designs.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msharefs.module
import sharing.hugetlb_pmd
import sharing.ptshare
from emu.kernel.modules import Init
from emu.machine import Mount
from emu.testing import GuestMachine

MIB = 1 << 20
SIZE = 16 * MIB
PROCESSES = (1, 4, 16)
MODULES: Mapping[str, Init] = {"msharefs": msharefs.module.init, "ptshare": sharing.ptshare.init}
HUGE: Mapping[str, Init] = {"hugetlb_pmd": sharing.hugetlb_pmd.init}
_FILE = '@m = open "/tmp/f" O_RDWR|O_CREAT 0600; @ftruncate m 16M; @p = mmap 2T 16M RW {flags} m 0'
_HUGE = '@m = open "/huge/f" O_RDWR|O_CREAT 0600; @ftruncate m 1G; @p = mmap 2T 1G RW 0x4011 m 0'
_OPEN = '@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd {size}'
_CREATE = "; @create fd 0 16M RW OBJECT"
_WINDOW = "; @p = mmap 2T {size} RW 0x11 fd 0"


class Design(NamedTuple):
    """A way to share: how the first process maps the object, and how the others do."""

    name: str
    entry: str
    unit: str
    first: str
    others: str
    options: Mapping[str, Any]


def _region(level: str, unit: int) -> tuple[str, str]:
    """What the first process does, and what the others do."""
    size = max(unit, SIZE)
    first, others = _OPEN + _CREATE + _WINDOW, _OPEN + _WINDOW
    return first.format(size=size), others.format(size=size)


def _region_design(level: str, entry: str, unit: str, size: int) -> Design:
    return Design(f"msharefs, level={level}", entry, unit, *_region(level, size), {"level": level, "modules": MODULES})


_POOL = {"hugepages": 8, "mounts": [Mount("hugetlbfs", "/huge")]}
DESIGNS = (
    Design("tables of their own (MAP_SHARED)", "-", "-", *(_FILE.format(flags="0x11"),) * 2, {"modules": MODULES}),
    Design(
        "ptshare (MAP_SHARED_PT)", "PMD", "2 MiB", *(_FILE.format(flags="0x200011"),) * 2, {"modules": MODULES}
    ),
    _region_design("pte", "PMD", "2 MiB", 2 * MIB),
    _region_design("pmd", "PUD", "1 GiB", 1 << 30),
    _region_design("pud", "PGD", "512 GiB", 1 << 39),
    Design("huge pages, tables of their own", "-", "-", _HUGE, _HUGE, {"modules": {}, **_POOL}),
    Design("huge pages, hugetlb_pmd", "PUD", "1 GiB", _HUGE, _HUGE, {"modules": HUGE, **_POOL}),
)  # fmt: skip


class Cost(NamedTuple):
    """Kilobytes of page tables beyond those of idle processes, by number of processes; and faults while touching."""

    table_kb: tuple[int, ...]
    first_minor: int
    other_minor: int
    other_link: int


def measure(design: Design) -> Cost:
    """Run it."""
    tables = {}
    faults: list[tuple[int, int]] = []
    for idle in (True, False):
        machine = GuestMachine(memory=96 * MIB, **design.options)
        for number in range(1, max(PROCESSES) + 1):
            script = "" if idle else (design.first if number == 1 else design.others) + "; "
            task = machine.guest("calls", f"@mark 0; {script}@mark 1; {'' if idle else '@touch p 16M; '}@mark 2")
            machine.run_until_mark(task, 1)
            before = task.usage.min_flt, task.usage.link_faults
            machine.run_until_mark(task, 2)
            if not idle:
                faults.append((task.usage.min_flt - before[0], task.usage.link_faults - before[1]))
            tables[idle, number] = machine.pagetable_bytes
        assert machine.close() == []
    assert len(set(faults[1:])) == 1, "every further process pays the same"
    kilobytes = tuple((tables[False, n] - tables[True, n]) >> 10 for n in PROCESSES)
    return Cost(kilobytes, faults[0][0], *faults[1])


def row(design: Design, cost: Cost) -> str:
    """A line of the table."""
    figures = (*cost.table_kb, cost.first_minor, cost.other_minor, cost.other_link)
    return f"| {design.name} | {design.entry} | {design.unit} | {' | '.join(map(str, figures))} |"


def table() -> list[str]:
    """The lines of the table."""
    columns = " | ".join(f"{n} process{'es' if n > 1 else ''}, kB" for n in PROCESSES)
    head = f"| design | linking entry | unit | {columns} | minor faults: first | each other | links: each other |"
    return [head, "|---" * (6 + len(PROCESSES)) + "|", *(row(design, measure(design)) for design in DESIGNS)]


if __name__ == "__main__":
    print("\n".join(table()))

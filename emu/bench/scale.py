"""That the cost of an access does not grow: not with guest memory, and not with the number of processes."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable

from emu.bench.engines import WithMmu
from emu.bench.figure import Aim, Figure, Measurement, Rounds, alternate
from emu.bench.guest import Timer
from emu.bench.loops import CODE, DATA, TABLES, program, touch
from emu.linux.mman import MapFlags, Prot
from emu.mm.address_space import AddressSpace
from emu.mm.mmap import do_mmap
from mmu import Mmu
from mmu.entries import encode
from mmu.memory import PAGE_SIZE

#: Pages that are loaded from one after the other: more than the first level holds.
PAGES = 1024
PRESET = "skylake-sp"
GIB = 1 << 30
MEMORY_SIZES = (1, 16, 256)
PROCESS_NUMBERS = (1, 10, 100, 1000)
_MODES = ("filtered", "exact")
#: In filtered mode a process's loads hit in Unicorn's own cache, which grows: for as much time there are to be more.
_LONGER = {"filtered": 16, "exact": 1}
#: The name of a series of runs that make one pass.
_ONCE = ", one pass"
_GROWTH = Aim(1.25)
_TEXT, _DATA = 0x40_0000, 0x50_0000


class FarEnd(WithMmu):
    """The pages lie at the end of a memory of so many GiB.

    All over it they would cost more in a larger one, of which the host's own TLB holds less.
    """

    def __init__(self, gib: int, tlb: str) -> None:
        super().__init__(gib * GIB, tlb)

    def _attach(self) -> None:
        self.mmu = Mmu(self.uc, self.ram, tlb=self._tlb)
        pud, pmd, code_table, first = (TABLES + i * PAGE_SIZE for i in (1, 2, 3, 4))
        write, end = self.ram.write_u64, self.ram.size
        write(TABLES, encode(4, P=1, RW=1, US=1, A=1, ADDRESS=pud))
        write(pud, encode(3, P=1, RW=1, US=1, A=1, ADDRESS=pmd))
        write(pmd, encode(2, P=1, RW=1, US=1, A=1, ADDRESS=code_table))
        write(code_table + 8 * (CODE // PAGE_SIZE), encode(1, P=1, US=1, A=1, ADDRESS=CODE))
        for page in range(PAGES):
            table = first + page // 512 * PAGE_SIZE
            write(pmd + 8 * (DATA // (512 * PAGE_SIZE) + page // 512), encode(2, P=1, RW=1, US=1, A=1, ADDRESS=table))
            leaf = encode(1, P=1, RW=1, US=1, A=1, D=1, XD=1, ADDRESS=end - (PAGES - page) * PAGE_SIZE)
            write(table + 8 * (page % 512), leaf)
        self.mmu.load_cr3(TABLES)


def memory_sizes(rounds: int, passes: int) -> Measurement:
    """Loads from the same number of pages in memories of 1, 16 and 256 GiB, of which the host has what is touched."""
    subjects: dict[str, Callable[[], float]] = {}
    for mode in _MODES:
        for gib in MEMORY_SIZES:
            engine = FarEnd(gib, "off" if mode == "filtered" else PRESET)
            engine.load(touch(DATA, PAGES, PAGE_SIZE, passes))
            subjects[f"{mode}, {gib} GiB"] = engine.run
    taken = alternate(rounds, subjects)
    figures = [
        figure
        for mode in _MODES
        for figure in _growth(taken, "memory", mode, "GiB", MEMORY_SIZES, "of guest memory", passes * PAGES)
    ]
    return Measurement("guest memory", taken, tuple(figures))


def process_numbers(rounds: int, passes: int) -> Measurement:
    """The same loads by one process of the machine, while so many address spaces are alive.

    Of each run another is taken off that makes one pass only, and so has the same start, page faults and end.
    """
    subjects: dict[str, Callable[[], float]] = {}
    for mode in _MODES:
        for number in PROCESS_NUMBERS:
            timer = Timer(tlb="off" if mode == "filtered" else PRESET)
            timer.machine.kernel.vfs.write_file("/once", _loads(1), 0o755)
            timer.machine.kernel.vfs.write_file("/touch", _loads(passes * _LONGER[mode] + 1), 0o755)
            populate(timer, number - 1)
            subjects[f"{mode}, {number} processes"] = functools.partial(timer.time, "/touch")
            subjects[f"{mode}, {number} processes{_ONCE}"] = functools.partial(timer.time, "/once")
    taken = alternate(rounds, subjects)
    figures = [
        figure
        for mode in _MODES
        for figure in _growth(
            taken, "processes", mode, "processes", PROCESS_NUMBERS, "alive", passes * _LONGER[mode] * PAGES
        )
    ]
    return Measurement("processes", taken, tuple(figures))


def _loads(passes: int) -> bytes:
    """Stores first, or all pages would be the zero page."""
    code = touch(_DATA, PAGES, PAGE_SIZE, 1, store=True) + touch(_DATA, PAGES, PAGE_SIZE, passes)
    return program(code, _TEXT, _DATA, PAGES * PAGE_SIZE)


def populate(timer: Timer, number: int) -> None:
    """Give the machine so many more address spaces, each with a page of its own."""
    context = timer.machine.kernel.mm_context
    flags = MapFlags.PRIVATE | MapFlags.ANONYMOUS | MapFlags.FIXED | MapFlags.POPULATE
    for index in range(number):
        do_mmap(AddressSpace(context, f"idle {index}"), _DATA, PAGE_SIZE, Prot.READ | Prot.WRITE, flags)


def _growth(
    taken: Rounds, name: str, mode: str, unit: str, sizes: tuple[int, ...], what: str, accesses: int
) -> list[Figure]:
    """The cost at the largest size against the smallest, then the cost at each."""
    costs = {}
    for size in sizes:
        series = f"{mode}, {size} {unit}"
        once = taken.get(series + _ONCE, [0.0])
        costs[size] = (statistics.median(taken[series]) - statistics.median(once)) / accesses
    heading = f"{mode} mode: cost of a load with {sizes[-1]} {unit} {what} / with {sizes[0]}"
    figures = [Figure(f"{name}_{mode}_growth", heading, costs[sizes[-1]] / costs[sizes[0]], aim=_GROWTH)]
    for size, cost in costs.items():
        figures.append(Figure(f"{name}_{mode}_{size}_ns", f"  {size} {unit}, {mode} mode", cost * 1e9, "ns"))
    return figures

"""What the MMU costs: a fill with its walk, and code that runs from the TLB."""

from __future__ import annotations

import statistics

from emu.bench.engines import Bare, OwnWalker, WithMmu
from emu.bench.figure import Aim, Figure, Measurement, Rounds, alternate, median_ratio
from emu.bench.guest import MachineLoop
from emu.bench.loops import COMPUTE_INSTRUCTIONS, DATA, compute, touch
from mmu.memory import PAGE_SIZE

#: The range whose pages are touched one after the other: many times what Unicorn's TLB holds (256 entries).
THRASH_BYTES = 64 << 20
_MEMORY = DATA + THRASH_BYTES


def fills(rounds: int, passes: int) -> Measurement:
    """One load from each page of 64 MiB, so that each is a TLB fill with a four-level walk: ours against Unicorn's own.

    The same loop on one page says what the loop itself takes.
    """
    pages = THRASH_BYTES // PAGE_SIZE
    code, idle = (touch(DATA, pages, stride, passes) for stride in (PAGE_SIZE, 0))
    ours, theirs = WithMmu(_MEMORY), OwnWalker(_MEMORY)
    ours_idle, theirs_idle = WithMmu(DATA + PAGE_SIZE), OwnWalker(DATA + PAGE_SIZE)
    for engine, loop in ((ours, code), (theirs, code), (ours_idle, idle), (theirs_idle, idle)):
        engine.load(loop)
    before = ours.mmu.counters.fills
    ours.run()
    seen = ours.mmu.counters.fills - before
    if seen < pages * passes:
        raise RuntimeError(f"bench: {pages * passes} loads made {seen} fills: Unicorn's TLB holds more than it should")
    taken = alternate(
        rounds,
        {
            "mmu": ours.run,
            "unicorn": theirs.run,
            "mmu without misses": ours_idle.run,
            "unicorn without misses": theirs_idle.run,
        },
    )
    loads = pages * passes
    figures = [
        Figure(
            "fill_ratio",
            "fill + 4-level walk: time of a loop of TLB misses, Mmu / Unicorn's UC_TLB_CPU",
            median_ratio(taken["mmu"], taken["unicorn"]),
            aim=Aim(0.7),
        ),
        Figure(
            "fill_net_ratio",
            "  the same without what the loop takes where everything hits",
            median_ratio(*(_net(taken, name) for name in ("mmu", "unicorn"))),
        ),
    ]
    for name, words in (("mmu", "Mmu"), ("unicorn", "UC_TLB_CPU")):
        value = statistics.median(_net(taken, name)) / loads * 1e9
        figures.append(Figure(f"fill_{name}_ns", f"  one fill with its walk, {words}", value, "ns"))
    return Measurement("fills", taken, tuple(figures))


def _net(taken: Rounds, name: str) -> list[float]:
    """What the misses alone took, round by round."""
    return [a - b for a, b in zip(taken[name], taken[f"{name} without misses"], strict=True)]


def computing(rounds: int, turns: int) -> Measurement:
    """Arithmetic, loads and stores within three pages: instructions a second with the Mmu, and without."""
    code = compute(DATA, turns)
    memory = DATA + (16 << 20)
    bare, own, ours = Bare(memory), OwnWalker(memory), WithMmu(memory)
    for engine in (bare, own, ours):
        engine.load(code)
    machine = MachineLoop(turns)
    taken = alternate(rounds, {"mmu": ours.run, "machine": machine.run, "unicorn": own.run, "unpaged": bare.run})
    instructions = turns * COMPUTE_INSTRUCTIONS
    figures = [
        Figure(
            "compute_ratio",
            "compute loop: instructions a second, Mmu / bare Uc with its own paging (UC_TLB_CPU)",
            median_ratio(taken["unicorn"], taken["mmu"]),
            aim=Aim(0.9, at_most=False),
        ),
        Figure(
            "compute_unpaged_ratio",
            "  Mmu / bare Uc without paging (where every page may be executed)",
            median_ratio(taken["unpaged"], taken["mmu"]),
        ),
        Figure(
            "compute_machine_ratio",
            "  the whole machine, which counts instructions a block, / bare Uc with its own paging",
            median_ratio(taken["unicorn"], taken["machine"]),
        ),
    ]
    for name, words in (
        ("mmu", "Mmu"),
        ("machine", "the machine"),
        ("unicorn", "bare Uc with its own paging"),
        ("unpaged", "bare Uc without paging"),
    ):
        mips = instructions / statistics.median(taken[name]) / 1e6
        figures.append(Figure(f"compute_{name}_mips", f"  million instructions a second, {words}", mips, "MIPS"))
    return Measurement("compute", taken, tuple(figures))

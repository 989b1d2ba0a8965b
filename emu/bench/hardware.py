"""What the MMU costs: a fill with its walk, and code that runs from the TLB."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable

from emu.bench.engines import Bare, OwnWalker, WithMmu
from emu.bench.figure import Aim, Figure, Measurement, Rounds, alternate, cpu_seconds, median_ratio
from emu.bench.guest import MachineLoop
from emu.bench.loops import COMPUTE_INSTRUCTIONS, DATA, branches, compute, copies, doubles, touch
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
    machine = MachineLoop(lambda data: compute(data, turns))
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


def counting(rounds: int, numbers: int) -> Measurement:
    """What it costs that the machine counts instructions: CPU time of whole processes, and of a bare Uc that runs the
    same instructions and counts nothing."""
    memory = DATA + (16 << 20)
    subjects, figures = {}, []
    loops: dict[str, tuple[str, float, Callable[[int], bytes]]] = {
        "branches": ("integers with branches", 0.65, lambda data: branches(numbers)),
        "doubles": ("doubles", 0.9, lambda data: doubles(data, numbers * 10)),
        "copies": ("copies of 16 bytes at a time", 0.5, lambda data: copies(data, numbers // 20)),
    }
    for name, (_, _, loop) in loops.items():
        bare = Bare(memory)
        bare.load(loop(DATA))
        subjects[f"{name}, unpaged"] = functools.partial(bare.run, cpu_seconds)
        for fast in (True, False):
            machine = MachineLoop(loop, engine_fast=fast)
            subjects[f"{name}, {'machine' if fast else 'hook'}"] = functools.partial(machine.run, cpu_seconds)
    taken = alternate(rounds, subjects)
    for name, (words, limit, _) in loops.items():
        unpaged, machine_s, hook = (taken[f"{name}, {who}"] for who in ("unpaged", "machine", "hook"))
        figures += [
            Figure(
                f"{name}_machine_ratio",
                f"{words}: CPU time of the whole machine / bare Uc without paging on the same instructions",
                median_ratio(machine_s, unpaged),
                aim=Aim(limit),
            ),
            Figure(
                f"{name}_hook_ratio", "  the same where a hook counts (--engine-fast off)", median_ratio(hook, unpaged)
            ),
        ]
    return Measurement("counting", taken, tuple(figures))

"""What exact mode costs an access, and page walks that Python asks for by the million."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial

import numpy as np

from emu.bench.engines import NativelyHooked, PythonHooked, WithMmu, map_all
from emu.bench.figure import Aim, Figure, Measurement, alternate, cpu_seconds, seconds
from emu.bench.guest import MachineLoop
from emu.bench.loops import DATA, TABLES, chase, compute, touch
from mmu import Access, PhysicalMemory, Registers
from mmu.memory import PAGE_SIZE
from mmu.perf_events import perf_events
from mmu.state import Status
from mmu.translation import Walker

#: A data TLB of two levels, an L1 instruction TLB, and paging-structure caches.
PRESET = "skylake-sp"
_MEMORY = DATA + (16 << 20)
#: Loads and stores of one turn of the compute loop, which is one block: one fetch.
_DATA_ACCESSES, _ACCESSES = 4, 5
#: More pages than the first level of the data TLB has entries, and less than the second has.
_SECOND_LEVEL_PAGES = 512
#: More pages than all levels have.
_MISSING_PAGES = 4096
#: Pages of 64 MiB.
_CHASED_PAGES = 16384


def exact_mode(rounds: int, turns: int) -> Measurement:
    """The compute loop, which the first level holds: each access modelled, or with an empty hook in place of that."""
    code = compute(DATA, turns)
    plain, modelled = WithMmu(_MEMORY), WithMmu(_MEMORY, PRESET)
    native, python = NativelyHooked(_MEMORY), PythonHooked(_MEMORY)
    second_level = WithMmu(_MEMORY, PRESET)
    for engine in (plain, modelled, native):
        engine.load(code)
    python.load(compute(DATA, turns // 16))
    passes = max(1, turns // _SECOND_LEVEL_PAGES)
    second_level.load(touch(DATA, _SECOND_LEVEL_PAGES, PAGE_SIZE, passes))
    taken = alternate(
        rounds,
        {
            "plain": partial(plain.run, cpu_seconds),
            "exact": partial(modelled.run, cpu_seconds),
            "native hook": partial(native.run, cpu_seconds),
            "python hook": lambda: 16 * python.run(cpu_seconds),
            "second level": partial(second_level.run, cpu_seconds),
        },
    )
    _check(modelled, second_level, (rounds + 1) * passes)
    exact, base = taken["exact"], taken["plain"]
    native_cost = [(a - b) / _DATA_ACCESSES for a, b in zip(taken["native hook"], base, strict=True)]
    python_cost = [(a - b) / _DATA_ACCESSES for a, b in zip(taken["python hook"], base, strict=True)]
    exact_cost = [(a - b) / _ACCESSES for a, b in zip(exact, base, strict=True)]
    ratios = [cost / least for cost, least in zip(exact_cost, native_cost, strict=True)]
    gains = [most / cost for most, cost in zip(python_cost, exact_cost, strict=True)]
    loads = passes * _SECOND_LEVEL_PAGES
    figures = (
        Figure(
            "exact_native_ratio",
            f"exact mode ({PRESET}): what an access costs more than without, in empty native memory hooks",
            statistics.median(ratios),
            aim=Aim(3),
        ),
        Figure(
            "exact_python_ratio",
            "  an empty Python memory hook / that",
            statistics.median(gains),
            aim=Aim(8, at_most=False),
        ),
        Figure("exact_ns", "  one access of exact mode", statistics.median(exact_cost) / turns * 1e9, "ns"),
        Figure("native_hook_ns", "  one empty native hook", statistics.median(native_cost) / turns * 1e9, "ns"),
        Figure("python_hook_ns", "  one empty Python hook", statistics.median(python_cost) / turns * 1e9, "ns"),
        Figure(
            "exact_maccesses",
            "  million accesses a second, the program included",
            turns * _ACCESSES / statistics.median(exact) / 1e6,
            "M/s",
            aim=Aim(80, at_most=False),
        ),
        Figure(
            "exact_second_level_ns",
            "  one load that the second level has, with the loop's fetch and 3 instructions",
            statistics.median(taken["second level"]) / loads * 1e9,
            "ns",
        ),
    )
    return Measurement("exact", taken, figures)


def exact_helpers(rounds: int, turns: int) -> Measurement:
    """The compute loop and misses by our own helpers, beside a hook for each load and store; in the machine too."""
    code, passes = compute(DATA, turns), max(1, turns // (8 * _MISSING_PAGES))
    helpers, hooks = (WithMmu(_MEMORY, PRESET, fast=fast) for fast in (True, False))
    machine, hooked_machine = (
        MachineLoop(lambda data: compute(data, turns), PRESET, engine_fast=fast) for fast in (True, False)
    )
    missing, chased = (WithMmu(DATA + pages * PAGE_SIZE, PRESET) for pages in (_MISSING_PAGES, _CHASED_PAGES))
    for engine in (helpers, hooks):
        engine.load(code)
    _lay_chase(chased.ram)
    chased.load(chase(DATA, turns))
    missing.load(touch(DATA, _MISSING_PAGES, PAGE_SIZE, passes))
    taken = alternate(
        rounds,
        {
            "helpers": partial(helpers.run, cpu_seconds),
            "hooks": partial(hooks.run, cpu_seconds),
            "machine": partial(machine.run, cpu_seconds),
            "machine, hooks": partial(hooked_machine.run, cpu_seconds),
            "missing": partial(missing.run, cpu_seconds),
            "chase": partial(chased.run, cpu_seconds),
        },
    )
    if perf_events(helpers.mmu) != perf_events(hooks.mmu):
        raise RuntimeError("bench: both ways are meant to count the same")
    if perf_events(missing.mmu)["dTLB-load-misses"] < rounds * passes * _MISSING_PAGES:
        raise RuntimeError("bench: the loop over all pages is meant to miss")
    if perf_events(chased.mmu)["dTLB-load-misses"] < rounds * turns * 9 // 10:
        raise RuntimeError("bench: the pointer chase is meant to miss")
    figures = (
        Figure(
            "exact_helpers_gain",
            f"exact mode ({PRESET}): the loop with a hook for each load and store / by our own helpers",
            _gain(taken["hooks"], taken["helpers"]),
            aim=Aim(4.2, at_most=False),
        ),
        Figure(
            "exact_run_gain",
            "  as a process of the machine",
            _gain(taken["machine, hooks"], taken["machine"]),
            aim=Aim(2.8, at_most=False),
        ),
        Figure(
            "exact_missing_ns",
            "  one load that no level has, with the loop's fetch and 3 instructions",
            statistics.median(taken["missing"]) / (passes * _MISSING_PAGES) * 1e9,
            "ns",
            aim=Aim(400),
        ),
        Figure(
            "exact_chase_ns",
            "  one load of a pointer chase over the pages of 64 MiB, with the loop's fetch and 2 instructions",
            statistics.median(taken["chase"]) / turns * 1e9,
            "ns",
            aim=Aim(400),
        ),
    )
    return Measurement("exact helpers", taken, figures)


def _lay_chase(ram: PhysicalMemory) -> None:
    """Have each page of 64 MiB hold the address of one in another page, all in one circle, in an order that looks like
    none; in lines of the host's caches that differ."""
    pages = np.random.default_rng(1).permutation(_CHASED_PAGES)
    pages = np.roll(pages, -int(np.flatnonzero(pages == 0)[0]))  # the first page is the first
    places = (DATA + pages * PAGE_SIZE + pages % 64 * 64).tolist()
    for place, following in zip(places, (*places[1:], places[0]), strict=True):
        ram.write_u64(place, following)


def _gain(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The median of the ratios of what was measured one after the other."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def _check(modelled: WithMmu, second_level: WithMmu, passes: int) -> None:
    """RuntimeError if the loops did not do what their figures say."""
    first, second = perf_events(modelled.mmu), perf_events(second_level.mmu)
    if first["dTLB-load-misses"] + first["DTLB_LOAD_MISSES.STLB_HIT"] > first["dTLB-loads"] // 100:
        raise RuntimeError("bench: the compute loop is meant to hit in the first level")
    if second["DTLB_LOAD_MISSES.STLB_HIT"] < (passes - 1) * _SECOND_LEVEL_PAGES // 2:
        raise RuntimeError("bench: the loop over many pages is meant to hit in the second level")


def walks_from_python(rounds: int, number: int) -> Measurement:
    """translate_many over random addresses of 64 MiB in pages of 4 KiB, and translate, one address a call."""
    ram = PhysicalMemory(64 << 20)
    map_all(ram)
    registers = Registers(cr3=TABLES)
    walker = Walker(ram)
    vaddrs = np.random.default_rng(1).integers(0, ram.size, number).astype(np.uint64)
    some = vaddrs[: max(1, number // 500)].tolist()
    outcomes = walker.translate_many(registers, vaddrs, Access.READ)
    if not (np.all(outcomes["status"] == Status.OK) and np.array_equal(outcomes["paddr"], vaddrs)):
        raise RuntimeError("bench: not every address was translated")

    def one_by_one() -> None:
        for vaddr in some:
            walker.translate(registers, vaddr, Access.READ)

    taken = alternate(
        rounds,
        {
            "translate_many": lambda: seconds(lambda: walker.translate_many(registers, vaddrs, Access.READ)),
            "translate": lambda: seconds(one_by_one),
        },
    )
    many = number / statistics.median(taken["translate_many"]) / 1e6
    single = len(some) / statistics.median(taken["translate"]) / 1e6
    return Measurement(
        "walks from Python",
        taken,
        (
            Figure(
                "translate_many_mps",
                "translate_many: million 4-level walks a second",
                many,
                "M/s",
                aim=Aim(5, at_most=False),
            ),
            Figure("translate_mps", "  translate, a call an address", single, "M/s"),
        ),
    )

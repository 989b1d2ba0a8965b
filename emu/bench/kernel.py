"""What a system call and a page fault cost in the machine, as multiples of the least that a Python hook can cost."""

from __future__ import annotations

from functools import partial
from typing import Any

from unicorn import UC_HOOK_BLOCK, Uc

from emu.bench.engines import Bare
from emu.bench.figure import Aim, Figure, Measurement, Rounds, alternate, cpu_seconds, median_difference
from emu.bench.guest import Timer
from emu.bench.loops import DATA, count_down
from mmu.memory import PAGE_SIZE

HOOK = "an empty Python hook (a UC_HOOK_BLOCK that Uc.hook_add installed, on a loop of one block, less the loop itself)"
FAULT = "demand-zero page fault of a write, with zeroing the frame, and giving it back at exit"
_FEW_CALLS = 500
_FEW_PAGES = 64


class _Hooked(Bare):
    """A loop of one block, each turn of which enters an empty Python function."""

    def _attach(self) -> None:
        super()._attach()
        self.uc.hook_add(UC_HOOK_BLOCK, _nothing)


def _nothing(_uc: Uc, _address: int, _size: int, _data: Any) -> None:
    """What the hook calls."""


def traps(rounds: int, calls: int) -> Measurement:
    """getpid round trips and demand-zero faults, each from the difference of two runs; in µs of CPU, and in empty
    hooks."""
    hooked, plain = _Hooked(DATA + PAGE_SIZE), Bare(DATA + PAGE_SIZE)
    for engine in (hooked, plain):
        engine.load(count_down(calls))
    timer = Timer((calls + _FEW_PAGES) * PAGE_SIZE + (32 << 20))
    getpid, touch_pages = timer.install("getpid_loop"), timer.install("touch_pages")

    def time(path: str, number: int) -> float:
        return timer.time(path, [str(number)], measure=cpu_seconds)

    taken = alternate(
        rounds,
        {
            "hook": partial(hooked.run, cpu_seconds),
            "no hook": partial(plain.run, cpu_seconds),
            "getpid": lambda: time(getpid, _FEW_CALLS + calls),
            "getpid, few": lambda: time(getpid, _FEW_CALLS),
            "fault": lambda: time(touch_pages, (_FEW_PAGES + calls) * PAGE_SIZE),
            "fault, few": lambda: time(touch_pages, _FEW_PAGES * PAGE_SIZE),
        },
    )
    return Measurement("traps", taken, _figures(taken, calls))


def _figures(taken: Rounds, calls: int) -> tuple[Figure, ...]:
    hook = median_difference(taken["hook"], taken["no hook"], calls)
    getpid = median_difference(taken["getpid"], taken["getpid, few"], calls)
    fault = median_difference(taken["fault"], taken["fault, few"], calls)
    return (
        Figure("hook_us", HOOK, hook * 1e6, "µs"),
        Figure("getpid_us", "getpid(2), from the guest and back", getpid * 1e6, "µs", aim=Aim(5)),
        Figure("getpid_hooks", "  in empty Python hooks", getpid / hook),
        Figure("fault_us", FAULT, fault * 1e6, "µs", aim=Aim(2.5)),
        Figure("fault_hooks", "  in empty Python hooks", fault / hook),
    )

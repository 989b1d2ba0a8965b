"""What signals, pipes, switches, fork and exec cost in the machine, in CPU time; some beside the host itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import guests
from emu.bench.figure import Aim, Figure, Measurement, alternate, cpu_seconds, median_difference, process_seconds
from emu.bench.guest import Timer

#: The process that forks has written to so much, and another one has made so many mappings.
RESIDENT_MIB, MAPPINGS = 100, 2000
_MEMORY = 512 << 20
_FEW, _HOST = ", few", ", the host"


class _Cost(NamedTuple):
    """What the guest ``costs`` does so many times, against a few times."""

    name: str
    what: str
    words: str
    #: How often, of the calls that are asked for: one of so many.
    of: int
    few: int
    unit: str = "µs"
    aim: Aim | None = None
    #: Parts of which the figure is the cost of one.
    parts: int = 1
    more: str = ""
    #: How many times what the host itself takes for the same program is aimed at, and how much more often it does it.
    beside: float = 0
    host_more: int = 4


_COSTS = (
    _Cost("signal_us", "a signal, delivered and returned from, with the kill(2) that sends it", "signals", 4, 100,
          aim=Aim(20)),
    _Cost("pipe_us", "a byte to another process and back through two pipes: 4 calls, 2 switches", "pipes", 4, 100,
          aim=Aim(20)),
    _Cost("switch_us", "a switch between two threads, with a wake and a wait by futex(2)", "threads", 4, 100,
          aim=Aim(20), parts=2),
    _Cost("io_us", "a read(2) and a write(2) of 512 bytes", "io", 4, 100),
    _Cost("thread_us", "make a thread and join it: 11 calls of musl, 2 switches", "joins", 32, 50, aim=Aim(120)),
    _Cost("fork_ms", f"fork, exit and wait of a process with {RESIDENT_MIB} MiB resident", "forks", 400, 1, "ms",
          aim=Aim(15), more=str(RESIDENT_MIB)),
    _Cost("mappings_ms", f"fork, exit and wait of a process with {MAPPINGS:,} mappings", "mappings", 400, 1, "ms",
          aim=Aim(4), more=str(MAPPINGS)),
    _Cost("program_ms", "fork, exec, exit and wait of a small static program", "programs", 500, 4, "ms",
          beside=7),
)  # fmt: skip


def processes(rounds: int, calls: int) -> Measurement:
    """Each cost from the difference of two runs of the guest ``costs``."""
    timer = Timer(_MEMORY)
    costs = timer.install("costs")

    def run(cost: _Cost, number: int) -> Callable[[], float]:
        words = [cost.words, str(number), *filter(None, [cost.more])]
        return lambda: timer.time(costs, words, measure=cpu_seconds)

    subjects: dict[str, Callable[[], float]] = {}
    for cost in _COSTS:
        subjects[cost.words] = run(cost, cost.few + _number(cost, calls))
        subjects[cost.words + _FEW] = run(cost, cost.few)
        if cost.beside:
            command = [str(guests.path("costs")), cost.words]
            often = cost.few + _number(cost, calls) * cost.host_more
            subjects[cost.words + _HOST] = partial(process_seconds, [*command, str(often)])
            subjects[cost.words + _HOST + _FEW] = partial(process_seconds, [*command, str(cost.few)])
    taken = alternate(rounds, subjects)
    figures = []
    for cost in _COSTS:
        each = median_difference(taken[cost.words], taken[cost.words + _FEW], _number(cost, calls) * cost.parts)
        figures.append(Figure(cost.name, cost.what, each * (1e3 if cost.unit == "ms" else 1e6), cost.unit, cost.aim))
        if cost.beside:
            host, number = cost.words + _HOST, _number(cost, calls) * cost.host_more
            natively = median_difference(taken[host], taken[host + _FEW], number)
            name = f"{cost.words}_host_ratio"
            figures.append(Figure(name, "  the same / the host itself", each / natively, aim=Aim(cost.beside)))
    return Measurement("processes and signals", taken, tuple(figures))


def _number(cost: _Cost, calls: int) -> int:
    return max(2, calls // cost.of)

"""That what concerns one of many things costs the same however many there are: processes, threads, open files, names in
a directory, pipes, mappings, regions, timers.
"""

from __future__ import annotations

import gc
import io
import signal
from collections.abc import Mapping

import guests
from emu.bench.figure import Measurement, cpu_seconds
from emu.bench.growth import growth
from emu.kernel.sched import StopReason
from emu.machine import Machine

#: What is many: for each step that is measured, its name in the guest program `many`, and what it is.
KINDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "processes": {
        "fork": ("processes", "fork, exit and wait of one more child"),
        "switch": ("switches", "a byte to one of the processes and back"),
    },
    "threads": {"create": ("threads", "make and join one more thread")},
    "files": {"open": ("files", "open and close one more file")},
    "entries": {
        "open": ("entries", "open and close a file of a directory"),
        "make": ("names", "make and unlink one more file in a directory"),
    },
    "pipes": {
        "make": ("pipes", "make one more pipe, use it, and close it"),
        "poll": ("polled", "write to one of the pipes that an epoll set watches, wait for it, and read"),
    },
    "vmas": {"map": ("mappings", "map, touch and unmap a page in one process")},
    "regions": {"make": ("regions", "make one more shared region with an object, and unlink it")},
    "timers": {"arm": ("timers", "make, arm and delete one more timer")},
}
#: A process takes more memory of the host than another thing.
_MOST, _MOST_TASKS = 100_000, 10_000
_TASKS = frozenset({"processes", "threads", "regions"})
_LIMITS = {"kernel/threads-max": 1 << 19, "vm/max_map_count": 1 << 20}


class _Machine:
    """A machine in which a program has made so many things of a kind, and waits for a signal to do so many steps."""

    def __init__(self, kind: str, number: int, steps: int) -> None:
        self._machine = Machine((256 << 20) + (number << 16), stdout=io.BytesIO(), stderr=io.BytesIO())
        for name, value in _LIMITS.items():
            self._machine.kernel.vfs.write_file(f"/proc/sys/{name}", str(value).encode())
        self._steps, self._what = steps, f"{kind} {number}"
        self._task = self._machine.spawn(guests.path("many"), [kind, str(number), str(steps)])
        self._run()

    def _run(self) -> None:
        reason = self._machine.run()
        if reason != StopReason.IDLE:
            raise RuntimeError(f"bench: many {self._what} ended as {reason}")

    def time(self) -> float:
        """Seconds of CPU time of a step."""
        self._machine.send_signal(self._task, signal.SIGUSR1)
        return cpu_seconds(self._run) / self._steps


class _Many:
    """So many things of a kind, in a machine for each step."""

    def __init__(self, kind: str, number: int, steps: int) -> None:
        self._machines = {step: _Machine(name, number, steps) for step, (name, _) in KINDS[kind].items()}

    def time(self, step: str) -> float:
        """Seconds of CPU time of a step."""
        return self._machines[step].time()


def many(kind: str, rounds: int, steps: int, *, quick: bool) -> Measurement:
    """The steps of a kind where there is one thing of it, and where there are many."""
    most = 100 if quick else _MOST_TASKS if kind in _TASKS else _MOST
    subjects = {number: _Many(kind, number, steps).time for number in (1, 100, 10_000, 100_000) if number <= most}
    gc.collect()  # now: it looks at them all
    return growth(rounds, kind, {step: what for step, (_, what) in KINDS[kind].items()}, subjects)

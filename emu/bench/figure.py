"""A figure of the suite: what was measured, every round of it, and what we aim at."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Turns that do not count, before the rounds: they find what is cold.
COLD_TURNS = 1

#: Seconds of each round, by what was measured.
Rounds = dict[str, list[float]]


@dataclass(frozen=True)
class Aim:
    """``value`` is the limit; ``at_most`` False: it is the least that we want."""

    value: float
    at_most: bool = True

    def met(self, value: float) -> bool:
        """Whether a figure is within the limit."""
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.value:g}"


@dataclass(frozen=True)
class Figure:
    """One number; ``unit`` is "" for a ratio.  ``what`` is indented where it goes with the figure before."""

    name: str
    what: str
    value: float
    unit: str = ""
    aim: Aim | None = None

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without one, and where a cost, or a rate, which is what a cost divides, came out
        as nothing or less: that is noise.
        """
        if self.aim is None or self.value <= 0:
            return None
        return self.aim.met(self.value)


@dataclass(frozen=True)
class Measurement:
    """Some things measured in turns: the figures, and the seconds of every round that they come from."""

    name: str
    rounds: Rounds
    figures: tuple[Figure, ...]

    def figures_json(self) -> list[dict[str, Any]]:
        """The figures as the ``--json`` file has them."""
        return [
            {
                "name": figure.name,
                "measurement": self.name,
                "what": figure.what.strip(),
                "indented": figure.what.startswith(" "),
                "value": figure.value,
                "unit": figure.unit,
                "aim": figure.aim
                and {"limit": "at most" if figure.aim.at_most else "at least", "value": figure.aim.value},
                "met": figure.met,
            }
            for figure in self.figures
        ]


def alternate(rounds: int, subjects: Mapping[str, Callable[[], float]], *, to_and_fro: bool = False) -> Rounds:
    """Measure the subjects in turns, ``rounds`` times each, after :data:`COLD_TURNS`.

    Turns, so that what disturbs the host for a while disturbs them all; ``to_and_fro``, so that none of two is always
    the one that comes after something large, which has taken the caches.
    """
    for subject in [*subjects.values()] * COLD_TURNS:
        subject()
    results: Rounds = {name: [] for name in subjects}
    order = list(subjects)
    for _ in range(rounds):
        for name in order:
            results[name].append(subjects[name]())
        if to_and_fro:
            order.reverse()
    return results


def seconds(action: Callable[[], object]) -> float:
    """How long the action takes, in seconds."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def cpu_seconds(action: Callable[[], object]) -> float:
    """How much CPU time of this process the action takes, user and system, in seconds."""
    start = time.process_time()
    action()
    return time.process_time() - start


def process_seconds(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """The CPU time of a process and of what it has waited for."""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"bench: {' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def median_ratio(above: list[float], below: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def median_difference(more: list[float], less: list[float], units: int) -> float:
    """The median of the rounds' differences, for one of ``units``."""
    return statistics.median((a - b) / units for a, b in zip(more, less, strict=True))

"""The table of --stats -e, in the manner of perf stat, and as CSV; of one run, or of several with means and spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from emu.cli.running.events import Count, Counts

_NS = 1e9
#: The event of which another one is a part.
_ACCESSES = {
    f"{kind}-misses": (f"{kind}s", f"of all {kind.split('-')[0]} {kind.split('-')[1]}s")
    for kind in ("dTLB-load", "dTLB-store", "iTLB-load")
}


class Figure(NamedTuple):
    """A mean over the runs, and how far it may be off: the standard error of the mean, as perf has it."""

    mean: float
    error: float

    @property
    def spread(self) -> float:
        """The error in percent of the mean."""
        return 100 * self.error / self.mean if self.mean else 0.0


def figure(values: Sequence[float]) -> Figure:
    """The mean of some runs; that of one is exact.

    >>> figure([1.0, 2.0, 3.0])
    Figure(mean=2.0, error=0.5773502691896257)
    """
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Figure(mean, 0.0)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Figure(mean, math.sqrt(variance / len(values)))


class _Row(NamedTuple):
    """One event over all runs."""

    event: Count
    figure: Figure
    #: A number with its unit that says more, as perf has one behind ``#``.
    more: tuple[float, str] | None


class Tally:
    """The counts of all runs of a command."""

    def __init__(self, command: str, runs: int) -> None:
        self._command = command
        self._wanted = runs
        self._runs: list[Counts] = []

    def add(self, counts: Counts) -> None:
        """A run is over."""
        self._runs.append(counts)

    @property
    def complete(self) -> bool:
        """Whether there have been as many runs as there are to be."""
        return len(self._runs) == self._wanted

    def table(self) -> str:
        """As perf stat prints it."""
        several = f" ({len(self._runs)} runs)" if len(self._runs) > 1 else ""
        lines = ["", f" Performance counter stats for '{self._command}'{several}:", ""]
        lines += [self._line(row) for row in self._rows()]
        elapsed, user, system = (self._seconds(name) for name in ("elapsed", "user", "system"))
        if len(self._runs) > 1:
            said = f" {elapsed.mean:17.9f} +- {elapsed.error:.9f} seconds time elapsed"
            return "\n".join([*lines, "", f"{said}  ( +-{elapsed.spread:6.2f}% )", ""])
        lines += ["", f" {elapsed.mean:17.9f} seconds time elapsed", ""]
        return "\n".join([*lines, f" {user.mean:17.9f} seconds user", f" {system.mean:17.9f} seconds sys", ""])

    def csv(self, separator: str) -> str:
        """As perf stat -x prints it: value, unit, event, with several runs the spread, the time that was counted, what
        part of it that was, and a number that says more with its unit.
        """
        counted = round(sum(run.user + run.system for run in self._runs) / len(self._runs))
        lines = []
        for row in self._rows():
            unit, mean = row.event.unit, row.figure.mean
            value = f"{mean:.2f}" if unit == "msec" else f"{mean:.0f}"
            spread = [f"{row.figure.spread:.2f}%"] if len(self._runs) > 1 else []
            more = ["", ""] if row.more is None else [f"{row.more[0]:.3f}".rstrip("0").rstrip("."), row.more[1]]
            lines.append(separator.join([value, unit, row.event.name, *spread, str(counted), "100.00", *more]))
        return "\n".join(lines)

    def _rows(self) -> list[_Row]:
        """The events in their order; one that not every run has (of a pattern) is 0 there."""
        found: dict[str, Count] = {}
        for run in self._runs:
            for count in run.events:
                found.setdefault(count.name, count)
        values = {
            name: figure([_value(run, name) for run in self._runs]) for name in found
        }  # fmt: skip
        return [_Row(count, values[name], self._more(count, values)) for name, count in found.items()]

    def _more(self, count: Count, values: dict[str, Figure]) -> tuple[float, str] | None:
        mean, elapsed = values[count.name].mean, self._seconds("elapsed").mean
        busy = self._seconds("user").mean + self._seconds("system").mean
        if count.unit == "msec":
            return (busy / elapsed, "CPUs utilized") if elapsed else None
        if count.unit:
            return None
        of = _ACCESSES.get(count.name)
        if of is not None and of[0] in values and values[of[0]].mean:
            return 100 * mean / values[of[0]].mean, f"% {of[1]}"
        if not busy:
            return None
        rate = mean / busy
        scale, letter = next((pair for pair in ((1e9, "G"), (1e6, "M"), (1e3, "K")) if rate >= pair[0]), (1.0, ""))
        return rate / scale, f"{letter}/sec"

    def _line(self, row: _Row) -> str:
        unit = row.event.unit
        value = f"{row.figure.mean:,.2f}" if unit == "msec" else f"{row.figure.mean:,.0f}"
        more = "" if row.more is None else f" # {_said(*row.more)}"
        spread = f" ( +-{row.figure.spread:6.2f}% )" if len(self._runs) > 1 else ""
        return f"{value:>18} {unit:4} {row.event.name:25}{more}{spread}".rstrip()

    def _seconds(self, name: str) -> Figure:
        return figure([getattr(run, name) / _NS for run in self._runs])


def _said(number: float, unit: str) -> str:
    return f"{number:7.2f}{unit:26}" if unit.startswith("%") else f"{number:8.3f} {unit:24}"


def _value(run: Counts, name: str) -> float:
    return next((count.value for count in run.events if count.name == name), 0.0)

"""In which functions walks, misses and faults were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emu.trace.pictures.rows import Rows
from emu.trace.stat.programs import NO_SYMBOLS, Programs

#: What is counted at each instruction.
MEASURES = ("walks", "misses", "faults")
_PAGE = 1 << 12


@dataclass(frozen=True)
class Function:
    """Where events were: a function, or a page of code; ``counts`` are of MEASURES."""

    program: str
    name: str
    counts: tuple[int, ...]


class Functions:
    """Counts events by program and instruction."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        #: By the number of the image, and by rip.
        self._counts: dict[int, dict[int, list[int]]] = {}
        self._of: dict[int, int] = {}

    def path_of(self, pid: int) -> str:
        """The last program of a process, or ""."""
        return self.programs.images[self._of[pid]].path if pid in self._of else ""

    def add(self, rows: Rows, measured: Sequence[npt.NDArray[np.intp]]) -> None:
        """Count a batch; ``measured`` are the places of each of MEASURES."""
        numbers, rip = self.programs.images_of(rows.batch), rows["rip"]
        pids, last = np.unique(rows["pid"][::-1], return_index=True)
        self._of.update(zip(pids.tolist(), numbers[::-1][last].tolist(), strict=True))
        for measure, places in enumerate(measured):
            for number in np.unique(numbers[places]).tolist():
                found, counts = np.unique(rip[places[numbers[places] == number]], return_counts=True)
                of = self._counts.setdefault(number, {})
                for at, count in zip(found.tolist(), counts.tolist(), strict=True):
                    of.setdefault(at, [0] * len(MEASURES))[measure] += count

    def busiest(self) -> list[Function]:
        """All functions in which something was, those with the most first."""
        sums: dict[tuple[str, str], Counter[int]] = {}
        for number, by_rip in self._counts.items():
            functions, places = self.programs.functions(number, np.array([*by_rip], np.uint64))
            for (rip, counts), place in zip(by_rip.items(), places.tolist(), strict=True):
                name, path = functions[place]
                shown = _name(rip) if name == NO_SYMBOLS else name
                sums.setdefault((path, shown), Counter()).update(dict(enumerate(counts)))
        found = [
            Function(path, name, tuple(counts[i] for i in range(len(MEASURES))))
            for (path, name), counts in sums.items()
        ]
        return sorted(found, key=lambda one: (*(-count for count in one.counts), one.program, one.name))

    def sources(self) -> list[str]:
        """Where the names of functions are from, and why there are none."""
        used = self.programs.sources
        return [*(f"{path}: symbols of {file}" for path, file in used.items()), *self.programs.remarks()]


def _name(rip: int) -> str:
    return f"page {rip & -_PAGE:#x}" if rip else "no code has run yet"

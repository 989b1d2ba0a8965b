"""Which program each event was in, and the functions of those programs that the host has."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import guests
from emu.trace.pictures.rows import Rows

#: What is counted at each instruction.
MEASURES = ("walks", "misses", "faults")
_PAGE = 1 << 12


@dataclass(eq=False)
class Program:
    """A program that a process ran: its path in the machine, and its first instruction (0: not known)."""

    path: str
    entry: int = 0
    #: By rip: walks, misses, faults.
    counts: dict[int, list[int]] = field(default_factory=dict)


class Programs:
    """Follows exec and fork, and counts events by program and instruction."""

    def __init__(self) -> None:
        self.all: list[Program] = [Program("")]
        self._of: dict[int, int] = {}

    def path_of(self, pid: int) -> str:
        """The last program of a process, or ""."""
        return self.all[self._of.get(pid, 0)].path

    def add(self, rows: Rows, measured: Sequence[npt.NDArray[np.intp]]) -> None:
        """Count a batch; ``measured`` are the places of each of MEASURES."""
        numbers = self._numbers(rows)
        rip = rows["rip"]
        for measure, places in enumerate(measured):
            for number in np.unique(numbers[places]).tolist():
                found, counts = np.unique(rip[places[numbers[places] == number]], return_counts=True)
                of = self.all[number].counts
                for at, count in zip(found.tolist(), counts.tolist(), strict=True):
                    of.setdefault(at, [0] * len(MEASURES))[measure] += count

    def _numbers(self, rows: Rows) -> npt.NDArray[np.int64]:
        """The program of each event."""
        pids = rows["pid"]
        found = np.zeros(rows.count, np.int64)
        for pid in np.unique(pids).tolist():
            number = self._of.get(pid, 0)
            if number:
                found[pids == pid] = number
                self._see_entry(number, rows["rip"][pids == pid])
        changes = [*((at, "exec", fields) for at, fields in rows.fields("exec"))]
        changes += [(at, "fork", fields) for at, fields in rows.fields("fork")]
        for at, kind, fields in sorted(changes, key=lambda change: change[0]):
            if kind == "exec":
                pid, number = int(pids[at]), len(self.all)
                self.all.append(Program(fields["path"]))
            else:
                pid, number = fields["child"], self._of.get(int(pids[at]), 0)
            self._of[pid] = number
            later = np.flatnonzero(pids[at + 1 :] == pid) + at + 1
            found[later] = number
            self._see_entry(number, rows["rip"][later])
        return found

    def _see_entry(self, number: int, rips: npt.NDArray[np.uint64]) -> None:
        program = self.all[number]
        if not program.entry and (known := np.flatnonzero(rips)).size:
            program.entry = int(rips[known[0]])


# -- functions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Function:
    """Where events were: a function, or a page of code; ``counts`` are of MEASURES."""

    program: str
    name: str
    counts: tuple[int, ...]


def functions_of(
    programs: Programs, files: Mapping[str, str], command: str = ""
) -> tuple[list[Function], dict[str, str]]:
    """The functions in which events were, the busiest first; and by the program's path, the file of the host that has
    its symbols.

    ``files`` are such files by the name of the program; others are looked for among the guests that come with unimmu,
    and on the host at the same path, or where ``command`` says, by which the first was run.  A file with another entry
    point is another program.
    """
    sums: dict[tuple[str, str], Counter[int]] = {}
    used: dict[str, str] = {}
    for program in programs.all:
        if not program.counts:
            continue
        symbols = next(_matching(program, files, command), None)
        if symbols is not None:
            used[program.path] = symbols.file
        for rip, counts in program.counts.items():
            name = (symbols.name(rip) if symbols is not None else None) or f"page {rip & -_PAGE:#x}"
            if rip == 0:
                name = "no code has run yet"
            sums.setdefault((program.path, name), Counter()).update(dict(enumerate(counts)))
    found = [
        Function(path, name, tuple(counts[i] for i in range(len(MEASURES)))) for (path, name), counts in sums.items()
    ]
    return sorted(found, key=lambda one: (*(-count for count in one.counts), one.program, one.name)), used


def _matching(program: Program, files: Mapping[str, str], command: str) -> Iterator[Symbols]:
    name = os.path.basename(program.path)
    candidates = [files[name]] if name in files else []
    if program.path == f"/bin/{name}" and name in guests.NAMES:
        candidates.append(str(guests.path(name)))
    candidates += [path for path in (program.path, command) if path and os.path.basename(path) == name]
    for candidate in candidates:
        symbols = read_symbols(candidate, program.entry)
        if symbols is not None:
            yield symbols


class Symbols:
    """The functions of a program that stands at ``base``."""

    def __init__(self, file: str, base: int, functions: list[tuple[int, int, str]]) -> None:
        self.file = file
        self._base = base
        self._functions = sorted(functions)

    def name(self, rip: int) -> str | None:
        """The function at an address."""
        at = rip - self._base
        place = bisect_right(self._functions, (at, 1 << 64, "")) - 1
        if place < 0:
            return None
        start, size, name = self._functions[place]
        return name if at < start + max(size, 1) else None


def read_symbols(path: str, entry: int) -> Symbols | None:
    """The functions of an ELF file whose first instruction was at ``entry``; None if it has none, or is another one."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    if not Path(path).is_file():
        return None
    try:
        with open(path, "rb") as file:
            elf = ELFFile(file)
            interpreted = any(segment["p_type"] == "PT_INTERP" for segment in elf.iter_segments())
            moves = elf["e_type"] == "ET_DYN"
            base = entry - elf["e_entry"] if moves else 0
            if (moves and (interpreted or base % _PAGE)) or (not interpreted and entry != elf["e_entry"] + base):
                return None
            functions = [*_functions(elf)]
    except (OSError, ELFError, ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError):
        return None  # what pyelftools raises of damaged files
    return Symbols(path, base, functions) if functions else None


def _functions(elf: Any) -> Iterator[tuple[int, int, str]]:
    for section in (".symtab", ".dynsym"):
        symbols = elf.get_section_by_name(section)
        for symbol in () if symbols is None else symbols.iter_symbols():
            if symbol["st_info"]["type"] in ("STT_FUNC", "STT_GNU_IFUNC") and symbol["st_value"]:
                yield symbol["st_value"], symbol["st_size"], symbol.name

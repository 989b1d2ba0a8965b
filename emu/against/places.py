"""The mappings of an address space by what they are, so that addresses of two runs can be compared."""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass, replace

from emu.against.record import Where

#: A mapping: the program, the interpreter, the heap, the stack, or (task, n) for the n-th that a task has made.
Label = tuple[object, ...]
HEAP, STACK = ("heap",), ("stack",)


@dataclass(frozen=True)
class Area:
    """A part of a mapping: where it is, and what."""

    start: int
    end: int
    label: Label
    #: Where the mapping begins, which may have lost its first part since.
    base: int
    file: str = ""
    #: The offset in the file at ``start``.
    offset: int = 0


class Places:
    """The mappings of one address space."""

    def __init__(self, areas: list[Area], heap: int) -> None:
        self._areas = sorted(areas, key=lambda area: area.start)
        self._starts = [area.start for area in self._areas]
        #: Where the heap begins.
        self._heap = heap
        self._heap_end = heap

    def copy(self) -> Places:
        """Those of a child (fork)."""
        made = Places(self._areas, self._heap)
        made._heap_end = self._heap_end
        return made

    def _at(self, address: int) -> Area | None:
        found = bisect_right(self._starts, address) - 1
        return self._areas[found] if found >= 0 and address < self._areas[found].end else None

    def name(self, address: int) -> object:
        """An address as (mapping, offset); the offset in the stack is an accident.  None stands for NULL, "nothing" for
        an address where nothing is mapped.
        """
        if not address:
            return None
        if self._heap <= address <= self._heap_end:
            return HEAP, address - self._heap
        area = self._at(address)
        if area is None:
            before = self._at(address - 1)  # the end of a mapping belongs to it
            if before is None:
                return "nothing"
            area = before
        return (STACK, 0) if area.label == STACK else (area.label, address - area.base)

    def where(self, address: int) -> Where:
        """The file and the offset in it of code."""
        area = self._at(address)
        return (
            Where(area.file, address - area.start + area.offset)
            if area is not None and area.file
            else Where("", address)
        )

    def add(self, start: int, length: int, label: Label, file: str = "", offset: int = 0) -> None:
        """Something is mapped, over what was there."""
        end = start + (length + 0xFFF & -0x1000)
        self.remove(start, length)
        at = bisect_right(self._starts, start)
        self._areas.insert(at, Area(start, end, label, start, file, offset))
        self._starts.insert(at, start)

    def remove(self, start: int, length: int) -> None:
        """Nothing is mapped there any more."""
        end = start + (length + 0xFFF & -0x1000)
        first = bisect_right(self._starts, start) - 1
        first = max(first, 0)
        last = bisect_right(self._starts, end - 1)
        rest = []
        for area in self._areas[first:last]:
            if area.end <= start or area.start >= end:
                rest.append(area)
                continue
            if area.start < start:
                rest.append(replace(area, end=start))
            if area.end > end:
                rest.append(replace(area, start=end, offset=area.offset + end - area.start))
        self._areas[first:last] = rest
        self._starts[first:last] = [area.start for area in rest]

    def move(self, old: int, old_length: int, new: int, new_length: int) -> None:
        """mremap: the mapping keeps what it is."""
        area = self._at(old)
        label = ("nothing",) if area is None else area.label
        self.remove(old, old_length)
        self.add(new, new_length, label)

    def grow_heap(self, end: int) -> None:
        """brk."""
        self._heap_end = max(end, self._heap)


def areas_of(maps: bytes, program: str) -> list[Area]:
    """The mappings of a program that is about to start, as /proc/PID/maps has them."""
    areas: list[Area] = []
    bases: dict[str, int] = {}
    for line in os.fsdecode(maps).splitlines():
        words = line.split(maxsplit=5)
        start, end = (int(word, 16) for word in words[0].split("-"))
        path = words[5] if len(words) > 5 else ""
        if path.startswith("["):
            if path != "[heap]":
                areas.append(Area(start, end, STACK if path == "[stack]" else (path,), start))
            continue
        path = path or next(reversed(bases), "")  # the rest of a segment, which no file holds
        base = bases.setdefault(path, start)
        kind = "program" if path == program else "interpreter"
        areas.append(Area(start, end, (kind,), base, path, int(words[2], 16)))
    return areas

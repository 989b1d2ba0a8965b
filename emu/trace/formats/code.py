"""Where code is: the function and the file of an instruction, as the events tell them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emu.trace.batch import Note
from emu.trace.stat.files import Files
from emu.trace.stat.image import Mapping as Mapped


class Code:
    """What code each process has mapped, from its exec and mmap, or from those of the one that forked it."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self._files = Files(header)
        self._mapped: dict[int, tuple[Mapped, ...]] = {}
        self._known: dict[tuple[Mapped, int], str] = {}

    def told(self, pid: int, note: Note) -> None:
        """An event of process ``pid``."""
        if note.kind == "exec":
            self._mapped[pid] = ()
        elif note.kind == "fork":
            self._mapped[note.fields["child"]] = self._mapped.get(pid, ())
        elif note.kind == "mmap" and (mapped := Mapped.of(note.fields)) is not None:
            self._mapped[pid] = (*mapped.apart(self._mapped.get(pid, ())), mapped)

    def place(self, pid: int, rip: int) -> str:
        """``symbol+offset (file)`` as perf script says it."""
        for mapped in self._mapped.get(pid, ()):
            if mapped.start <= rip < mapped.end:
                found = self._known.get((mapped, rip))
                if found is None:
                    found = self._known[mapped, rip] = f"{self._symbol(mapped, rip)} ({mapped.path})"
                return found
        return "[unknown] ([unknown])"

    def _symbol(self, mapped: Mapped, rip: int) -> str:
        elf = mapped.symbols(self._files.find(mapped.path))
        if elf is None:
            return "[unknown]"
        address = rip - elf.bias(mapped.start, mapped.offset) & (1 << 64) - 1
        place = int(elf.places(np.array([address], np.uint64))[0])
        return "[unknown]" if place < 0 else f"{elf.name(place)}+{address - elf.begin(place):#x}"

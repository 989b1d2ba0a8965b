"""A program in one process, with the files whose code it has mapped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emu.kernel.layout import ELF_ET_DYN_BASE
from emu.trace.stat.symbols import Elf

#: How far above ELF_ET_DYN_BASE the kernel puts programs (MMAP_RND_BITS), and the largest of them.
_RANDOM = 1 << 41
#: Instructions among which the entry is sought: a program's own resolvers of functions may run before.
_TRIED = 1 << 12


@dataclass(frozen=True)
class Mapping:
    """Code of a file, as an mmap event tells of it."""

    start: int
    end: int
    offset: int
    path: str
    build_id: str

    @classmethod
    def told(cls, detail: str | None) -> Mapping | None:
        """From the fields of the event as text; None where they make no sense."""
        try:
            return cls.of(json.loads(detail or ""))
        except (ValueError, RecursionError):
            return None

    @classmethod
    def of(cls, fields: Any) -> Mapping | None:
        """From the fields of the event as JSON has them; None where they make no sense."""
        try:
            start, length, offset = int(fields["start"], 16), int(fields["length"]), int(fields["offset"])
            path, build_id = str(fields["path"]), str(fields.get("build_id", ""))
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        fits = 0 <= start < start + length < 1 << 64 and 0 <= offset < 1 << 64
        return cls(start, start + length, offset, path, build_id) if fits else None

    def apart(self, others: Iterable[Mapping]) -> tuple[Mapping, ...]:
        """Those in whose place this one is not."""
        return tuple(one for one in others if one.end <= self.start or self.end <= one.start)

    def symbols(self, elf: Elf | None) -> Elf | None:
        """A file of this path, unless it is another one than was mapped."""
        return None if elf is None or (self.build_id and self.build_id != elf.build_id) else elf


@dataclass
class Image:
    """A program in one process since one execve, and in those that it forked since.

    ``executed``: an event told of the execve, so that the first file that is mapped is the program.
    """

    path: str
    elf: Elf | None
    #: What is added to the addresses of the file; None as long as nobody knows.
    base: int | None = None
    #: Whether the user says that this is the file.
    given: bool = False
    executed: bool = True
    settled: bool = False
    #: Whether the file is not what ran: another program has its path.
    other: bool = False
    mappings: list[Mapping] = field(default_factory=list)
    #: The file of the program, as its mapping has it.
    program: str = ""

    def __post_init__(self) -> None:
        if self.elf is None or self.base is not None:
            self.settled = True
        elif not self.elf.position_independent and (self.given or self.elf.interpreted):
            self.base, self.settled = 0, True

    def learn(self, rips: npt.NDArray[np.uint64]) -> None:
        """Find the base from where it ran first: at its entry."""
        assert self.elf is not None
        if self.elf.interpreted:
            here = (rips >= np.uint64(ELF_ET_DYN_BASE)) & (rips < np.uint64(ELF_ET_DYN_BASE + _RANDOM))
            rips = rips[here]
        if not len(rips):
            return
        if self.elf.position_independent:
            low, bases = int(rips.min()), (self.elf.base_from(rip) for rip in dict.fromkeys(rips[:_TRIED].tolist()))
            self.base = next((b for b in bases if b is not None and b <= low < b + self.elf.end), None)
        elif int(rips[0]) == self.elf.entry:
            self.base = 0
        self.settled, self.other = True, self.base is None

    def map(self, mapping: Mapping) -> None:
        """Code has been mapped, where none was."""
        if self.executed and not self.program and not mapping.path.startswith("["):
            self.program = mapping.path
        self.mappings.append(mapping)

    def is_another(self, mapping: Mapping) -> bool:
        """Whether the file of this path here is not the program that is mapped; it is given up then."""
        if self.elf is None or self.given or mapping.path != self.program or not mapping.build_id:
            return False
        if self.elf.build_id == mapping.build_id:
            return False
        self.base, self.settled, self.other = None, True, True
        return True

    def has_room(self, mapping: Mapping) -> bool:
        """Whether nothing was ever mapped there."""
        return len(mapping.apart(self.mappings)) == len(self.mappings)

    def with_mapping(self, mapping: Mapping) -> Image:
        """The same after this has taken the place of others."""
        return replace(self, mappings=[*mapping.apart(self.mappings), mapping])

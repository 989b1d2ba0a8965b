"""An attack: a generator of hostile input for one part of unimmu, and what became of it."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tests.fuzz.room import HOST_MIB, Room


@dataclass(frozen=True)
class Mended:
    """A fault that an attack has found: what was wrong, and the test that holds its cure (file::name)."""

    what: str
    test: str


class Attack(ABC):
    """One kind of hostile input.

    A case follows from its seed alone.  It runs in a process and a directory of its own, and gives one word for how it
    ended; whatever is wrong is a :class:`tests.fuzz.room.Finding`, or any other exception.
    """

    name: ClassVar[str]
    #: What is attacked, and by what: two cells of the table in docs/robustness.md.
    target: ClassVar[str]
    means: ClassVar[str]
    #: How many cases there are by default; the suite runs a third: some seconds.
    cases: ClassVar[int]
    #: MiB that a case may take beyond what the process has before, commands that it runs included.
    memory_mib: ClassVar[int] = 64 + HOST_MIB
    mended: ClassVar[Sequence[Mended]] = ()

    def prepare(self, room: Room) -> None:
        """What all cases have in common, made once, in a directory that stays until the last one is over."""

    @abstractmethod
    def run(self, chance: random.Random, room: Room) -> str:
        """One case."""

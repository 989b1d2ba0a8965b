"""The entries that a walk read, and the record of a walk that ended in a page fault."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar

from mmu.entries import describe
from mmu.record import record
from mmu.shown import ShownInHex

#: :class:`mmu.state.FailedWalk`.
_FAILED = Struct("<14Q")


@record(frozen=True, repr=False)
class WalkStep(ShownInHex):
    """One entry that a walk read: its level, its physical address, its value before the walk touched it."""

    _hexadecimal: ClassVar[frozenset[str]] = frozenset(("paddr", "value"))

    level: int
    paddr: int
    value: int

    def __str__(self) -> str:
        return f"[{self.paddr:#x}] = {self.value:#018x}  {describe(self.level, self.value)}"


def failed_steps(record: bytes) -> tuple[WalkStep, ...]:
    """What a walk read until it ended, top level first: from the bytes of a :class:`mmu.state.FailedWalk`."""
    top, lowest, *words = _FAILED.unpack(record)
    return tuple(WalkStep(level, words[level], words[6 + level]) for level in range(top, lowest - 1, -1))

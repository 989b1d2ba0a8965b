"""How much a run takes of what could go on for long: some cases of each kind, or every one with UNIMMU_EXHAUSTIVE=1."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

EXHAUSTIVE = os.environ.get("UNIMMU_EXHAUSTIVE", "0") not in ("", "0")


def by_default(few: T, whole: T) -> T:
    """``few``, or ``whole`` where every case is wanted: a number of seeds or of steps, or a list of cases."""
    return whole if EXHAUSTIVE else few


def in_turn(cases: Iterable[T], ways: Sequence[U], number: int, *, always: Sequence[U] = ()) -> list[tuple[T, U]]:
    """Each case in ``number`` of the ways, the next ones for the next case, and in those of ``always``; or in all."""
    pairs = []
    for at, case in enumerate(cases):
        turns = [ways[(at * number + n) % len(ways)] for n in range(by_default(number, len(ways)))]
        pairs += [(case, way) for way in dict.fromkeys([*turns, *always])]
    return pairs

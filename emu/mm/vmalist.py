"""VMAs in the order of their addresses, in pieces: a search by bisection takes no longer with ten thousand than with
ten, and an insertion moves what is behind it in one piece only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar


class Placed(Protocol):
    """What has a place: a VMA."""

    start: int


Vma = TypeVar("Vma", bound=Placed)
#: A piece with more VMAs becomes two.
_MOST = 1024


class VmaList(Generic[Vma]):
    """The VMAs, which do not overlap; where one begins is not changed while it is here."""

    def __init__(self) -> None:
        self._pieces: list[list[Vma]] = []
        #: Where each VMA of a piece begins, and where the first of each piece does.
        self._starts: list[list[int]] = []
        self._firsts: list[int] = []
        #: How many there are.
        self.number = 0

    def at_or_below(self, address: int) -> Vma | None:
        """The highest VMA that begins at the address or below it."""
        piece = bisect_right(self._firsts, address) - 1
        return self._pieces[piece][bisect_right(self._starts[piece], address) - 1] if piece >= 0 else None

    def above(self, address: int) -> Vma | None:
        """The lowest VMA that begins above the address."""
        piece = bisect_right(self._firsts, address) - 1
        if piece >= 0:
            starts = self._starts[piece]
            at = bisect_right(starts, address)
            if at < len(starts):
                return self._pieces[piece][at]
        piece += 1
        return self._pieces[piece][0] if piece < len(self._pieces) else None

    def beside(self, vma: Vma) -> tuple[Vma | None, Vma | None]:
        """The VMAs below and above one of them."""
        piece = bisect_right(self._firsts, vma.start) - 1
        vmas = self._pieces[piece]
        at = bisect_right(self._starts[piece], vma.start) - 1
        below = vmas[at - 1] if at else self._pieces[piece - 1][-1] if piece else None
        if at + 1 < len(vmas):
            return below, vmas[at + 1]
        return below, self._pieces[piece + 1][0] if piece + 1 < len(self._pieces) else None

    def between(self, start: int, end: int) -> list[Vma]:
        """The VMAs that begin in [start, end), lowest first."""
        piece, last = max(bisect_right(self._firsts, start - 1) - 1, 0), bisect_right(self._firsts, end - 1) - 1
        if piece >= last:
            if last < 0:
                return []
            starts = self._starts[last]
            return self._pieces[last][bisect_right(starts, start - 1) : bisect_right(starts, end - 1)]
        found = self._pieces[piece][bisect_right(self._starts[piece], start - 1) :]
        for whole in self._pieces[piece + 1 : last]:
            found += whole
        return found + self._pieces[last][: bisect_right(self._starts[last], end - 1)]

    def downwards(self, address: int | None) -> Iterator[Vma]:
        """The VMAs that begin below the address (None: all), highest first."""
        piece = len(self._pieces) - 1
        if address is not None:
            piece = bisect_right(self._firsts, address - 1) - 1
            if piece >= 0:
                yield from self._pieces[piece][: bisect_right(self._starts[piece], address - 1)][::-1]
            piece -= 1
        for at in range(piece, -1, -1):
            yield from reversed(self._pieces[at])

    def add(self, vma: Vma) -> tuple[Vma | None, Vma | None]:
        """Insert it in its place, and return the VMAs below and above."""
        if not self._pieces:
            self._pieces, self._starts, self._firsts = [[]], [[]], [vma.start]
        piece = max(bisect_right(self._firsts, vma.start) - 1, 0)
        vmas, starts = self._pieces[piece], self._starts[piece]
        at = bisect_right(starts, vma.start)
        below = vmas[at - 1] if at else self._pieces[piece - 1][-1] if piece else None
        if at < len(vmas):
            above: Vma | None = vmas[at]
        else:
            above = self._pieces[piece + 1][0] if piece + 1 < len(self._pieces) else None
        vmas.insert(at, vma)
        starts.insert(at, vma.start)
        self.number += 1
        if len(vmas) > _MOST:
            half = len(vmas) // 2
            self._pieces[piece : piece + 1] = vmas[:half], vmas[half:]
            self._starts[piece : piece + 1] = starts[:half], starts[half:]
            self._firsts.insert(piece + 1, starts[half])
        self._firsts[piece] = self._starts[piece][0]
        return below, above

    def add_run(self, run: list[Vma]) -> tuple[Vma | None, Vma | None]:
        """Insert several between which there are no others, lowest first; returns the VMAs below and above."""
        if len(run) > 1 and self._pieces:
            piece = max(bisect_right(self._firsts, run[0].start) - 1, 0)
            vmas, starts = self._pieces[piece], self._starts[piece]
            at = bisect_right(starts, run[0].start)
            if len(vmas) + len(run) <= _MOST and at < len(vmas):  # neither a new piece nor between two of them
                below = vmas[at - 1] if at else self._pieces[piece - 1][-1] if piece else None
                above = vmas[at]
                vmas[at:at] = run
                starts[at:at] = [vma.start for vma in run]
                self.number += len(run)
                self._firsts[piece] = starts[0]
                return below, above
        added = [self.add(vma) for vma in run]
        return added[0][0], added[-1][1]

    def extend(self, vmas: list[Vma]) -> None:
        """Insert several that begin above all others, lowest first."""
        done = 0
        while done < len(vmas):
            if not self._pieces or len(self._pieces[-1]) >= _MOST:
                self._pieces.append([])
                self._starts.append([])
                self._firsts.append(vmas[done].start)
            some = vmas[done : done + _MOST - len(self._pieces[-1])]
            self._pieces[-1] += some
            self._starts[-1] += [vma.start for vma in some]
            done += len(some)
        self.number += len(vmas)

    def remove_run(self, run: list[Vma]) -> None:
        """Take several out, between which there are no others; lowest first."""
        done = 0
        while done < len(run):
            piece = bisect_right(self._firsts, run[done].start) - 1
            vmas, starts = self._pieces[piece], self._starts[piece]
            at = bisect_right(starts, run[done].start) - 1
            number = min(len(run) - done, len(vmas) - at)
            assert vmas[at] is run[done] and vmas[at + number - 1] is run[done + number - 1], "VmaList: no run"
            del vmas[at : at + number], starts[at : at + number]
            done += number
            self._cut(piece, number)

    def remove(self, vma: Vma) -> None:
        """Take it out."""
        piece = bisect_right(self._firsts, vma.start) - 1
        vmas, starts = self._pieces[piece], self._starts[piece]
        at = bisect_right(starts, vma.start) - 1
        assert vmas[at] is vma, "VmaList.remove: it is not there"
        del vmas[at], starts[at]
        self._cut(piece, 1)

    def _cut(self, piece: int, number: int) -> None:
        """So many have been taken out of a piece."""
        self.number -= number
        if self._pieces[piece]:
            self._firsts[piece] = self._starts[piece][0]
        else:
            del self._pieces[piece], self._starts[piece], self._firsts[piece]

    def listed(self) -> list[Vma]:
        """All of them, in a list of their own."""
        return list(chain.from_iterable(self._pieces))

    def __iter__(self) -> Iterator[Vma]:
        for piece in self._pieces:
            yield from piece

    def __len__(self) -> int:
        return self.number

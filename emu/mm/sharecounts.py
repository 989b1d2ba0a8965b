"""How many address spaces share a table of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class ShareCounts:
    """How many entries of other address spaces point at a table, by the table's frame."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        #: By frame, where somebody wants to know: whether there is a table with sharers.
        self._marks: memoryview | None = None

    def mark(self, marks: memoryview | None) -> None:
        """Keep a byte for each frame, 1 where it has a table with sharers; None: no more."""
        self._marks = marks
        if marks is not None:
            for frame in self._counts:
                marks[frame] = 1

    def inc(self, frame: int) -> None:
        """One more sharer."""
        self._counts[frame] = self._counts.get(frame, 0) + 1
        if self._marks is not None:
            self._marks[frame] = 1

    def dec(self, frame: int) -> None:
        """One sharer less."""
        left = self._counts[frame] - 1
        if left:
            self._counts[frame] = left
        else:
            del self._counts[frame]
            if self._marks is not None:
                self._marks[frame] = 0

    def __getitem__(self, frame: int) -> int:
        return self._counts.get(frame, 0)

    def __len__(self) -> int:
        return len(self._counts)

    def items(self) -> list[tuple[int, int]]:
        """(frame, count) of every table with sharers."""
        return list(self._counts.items())

"""Spaces: whose address spaces those of a stream are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from emu.lab.batch import Batch


class Spaces:
    """The process of each address space: the first that was seen in it.

    A process has one at a time, and another one after each execve.
    """

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}
        #: By process, its address spaces in the order in which they came.
        self._of: dict[int, list[int]] = {}

    def take(self, batch: Batch) -> None:
        """Take the accesses of a batch."""
        for at in np.flatnonzero(np.diff(batch.space, prepend=batch.space[:1] + 1)):
            space, pid = int(batch.space[at]), int(batch.pid[at])
            if space not in self._pids:
                self._pids[space] = pid
                self._of.setdefault(pid, []).append(space)

    def pid(self, space: int) -> int:
        """The process; 0 if the stream says none."""
        return self._pids.get(space, 0)

    def name(self, space: int) -> str:
        """The process, and that it had another address space before: ``101 after execve``, ``101 after 2 execve``."""
        pid = self.pid(space)
        before = self._of[pid].index(space) if pid else 0
        return f"{pid} after {f'{before} ' if before > 1 else ''}execve" if before else f"{pid}"

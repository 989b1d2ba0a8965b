"""Where the events of a trace go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from emu.trace.batch import Batch
from emu.trace.schema import Schema

#: Takes a piece of the file.
Write = Callable[[bytes], object]


class Sink(ABC):
    """Writes a trace in one format.  First :meth:`begin`, then each batch in its order, then :meth:`end`.

    Events of the kernel of the kinds ``told`` it has to know even where they are not chosen
    (:attr:`emu.trace.batch.Note.chosen`).
    """

    told: frozenset[str] = frozenset()

    @abstractmethod
    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        """``header`` says what was run on what machine, which has tables of so many ``levels``."""

    @abstractmethod
    def write(self, batch: Batch) -> None:
        """More events."""

    def flush(self) -> None:
        """Write what has been collected."""

    def end(self) -> None:
        """There are no more."""
        self.flush()


class Pieces:
    """Collects small pieces of a file, and writes many at once."""

    #: What is collected before it is written, in bytes.
    BUFFER = 1 << 20

    def __init__(self, write: Write) -> None:
        self._write = write
        self._pieces: list[bytes] = []
        self._length = 0

    def put(self, piece: bytes) -> None:
        """More of the file."""
        self._pieces.append(piece)
        self._length += len(piece)
        if self._length > self.BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected."""
        if self._pieces:
            self._write(b"".join(self._pieces))
            self._pieces.clear()
            self._length = 0

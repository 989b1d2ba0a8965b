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
    """Writes a trace in one format.  First :meth:`begin`, then each batch in its order, then :meth:`end`."""

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

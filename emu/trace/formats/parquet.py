"""A trace as Parquet, each column encoded as it becomes smallest, with zstd."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emu.trace.batch import Batch
from emu.trace.encoder import Encoder
from emu.trace.formats.pages import MAGIC, Pages
from emu.trace.formats.sink import Sink, Write
from emu.trace.schema import Schema

#: Events of a row group.
ROWS = 1 << 18
#: Of the texts of a row group, which otherwise ends sooner.
_MOST_CHARACTERS = 1 << 26
#: The key of the file's metadata that has the header, as JSON.
HEADER = b"unimmu-trace"
#: What the other Parquet files of ours have there, the streams of accesses of --record (emu/lab/stream_file.py).
STREAM = b"unimmu-stream"
#: Those that only rise; all others are best as dictionaries.
_RISING = ("seq", "clock", "time")
#: By which readers leave row groups out.
_SOUGHT = ("seq", "clock", "time", "vaddr", "pid")


class Parquet(Sink):
    """Writes row groups."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._at = 0

    def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
        self._header = header
        self._encoder = Encoder(levels, ROWS, plain=_RISING)
        self._pages = Pages(ROWS, _SOUGHT)
        self._put(MAGIC)

    def write(self, batch: Batch) -> None:
        for piece in batch.cut(ROWS - self._encoder.rows, ROWS):
            self._encoder.add(piece)
            if self._encoder.rows == ROWS or self._encoder.length >= _MOST_CHARACTERS:
                self.flush()

    def flush(self) -> None:
        if self._encoder.rows:
            self._put(self._pages.group(self._at, [*self._encoder.columns()]))
            self._encoder.clear()

    def end(self) -> None:
        self.flush()
        writer = f"unimmu version {self._header['unimmu']}"
        self._put(self._pages.end(self._at, {HEADER: json.dumps(self._header).encode()}, writer))

    def _put(self, piece: bytes) -> None:
        self._write(piece)
        self._at += len(piece)

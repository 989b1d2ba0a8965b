"""Access streams by the names of their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from emu.lab.batch import (
    BATCH,
    CONTROL,
    EVERY_PCID,
    FIELDS,
    GLOBALS,
    Batch,
    Controls,
    Op,
    Register,
    StreamError,
    controls_of,
)

Reader = Callable[[str, Sequence[str]], Iterator[Batch]]


def _recorded(path: str, fields: Sequence[str]) -> Iterator[Batch]:
    from emu.lab.stream_file import read

    return read(path, fields)


#: By the end of the name.
READERS: Mapping[str, Reader] = {".parquet": _recorded}


def open_stream(path: str | os.PathLike[str], fields: Sequence[str] = tuple(FIELDS)) -> Iterator[Batch]:
    """The batches of a file, whose name ends as :data:`READERS` has it.

    ``fields``: what the caller wants, which may cost much less than all; the other arrays are of zeros.  "page" in
    place of "vaddr": the first address of the 4K page.  :class:`StreamError` if the file is no such stream, OSError if
    it cannot be read.
    """
    name = os.fspath(path)
    for suffix, reader in READERS.items():
        if name.endswith(suffix):
            return reader(name, fields)
    raise StreamError(f"{name}: no access stream by its name; one ends in {', '.join(READERS)}")


__all__ = [
    "BATCH",
    "CONTROL",
    "EVERY_PCID",
    "FIELDS",
    "GLOBALS",
    "READERS",
    "Batch",
    "Controls",
    "Op",
    "Register",
    "StreamError",
    "controls_of",
    "open_stream",
]

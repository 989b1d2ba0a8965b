"""Access streams by the names of their files."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import cast

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
#: By the end of the name: the reader, a function of a module of this package.
READERS: Mapping[str, str] = {
    ".parquet": "stream_file:read",
    ".csv": "foreign.addresses:read_csv",
    ".lackey": "foreign.lackey:read",
    ".champsim": "foreign.champsim:read",
    ".champsimtrace": "foreign.champsim:read",
    ".memtrace": "foreign.memtrace:read",
    ".trace": "foreign.memtrace:read",
}
_COMPRESSED = {".parquet": (), ".csv": (), ".memtrace": (".gz", ".zip"), ".trace": (".gz", ".zip")}


def open_stream(path: str | os.PathLike[str], fields: Sequence[str] = tuple(FIELDS)) -> Iterator[Batch]:
    """The batches of a file, whose name ends as :data:`READERS` has it, perhaps with .gz or .xz behind that.

    ``fields``: what the caller wants, which may cost much less than all; the other arrays may be of zeros.  "page" in
    place of "vaddr": the first address of the 4K page will do.  :class:`StreamError` if the file is no such stream,
    OSError if it cannot be read.
    """
    return _reader(os.fspath(path))(os.fspath(path), fields)


def has_tables(path: str | os.PathLike[str]) -> bool:
    """Whether a stream tells of its page tables: whether it was recorded here.  Raises as :func:`open_stream`."""
    return _reader(os.fspath(path)) is _function(READERS[".parquet"])


def _function(where: str) -> Reader:
    module, _, name = where.partition(":")
    return cast(Reader, getattr(import_module(f"emu.lab.{module}"), name))


def _reader(name: str) -> Reader:
    for suffix, where in READERS.items():
        if name.endswith((suffix, *(suffix + more for more in _COMPRESSED.get(suffix, (".gz", ".xz"))))):
            if not stat.S_ISREG(os.stat(name).st_mode):
                raise StreamError(f"{name}: not a regular file, which can be read twice")
            with open(name, "rb"):
                pass  # pyarrow's own words for one that cannot be read are long
            return _function("foreign.addresses:read_parquet" if _is_plain(name) else where)
    raise StreamError(f"{name}: no access stream by its name; one ends in {', '.join(READERS)}")


def _is_plain(name: str) -> bool:
    """Whether this is a Parquet file that was not recorded here."""
    if not name.endswith(".parquet"):
        return False
    from emu.lab.stream_file import is_recorded

    return not is_recorded(name)


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
    "has_tables",
    "open_stream",
]

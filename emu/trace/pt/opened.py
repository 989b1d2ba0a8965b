"""Files that hold page tables, by what they begin with."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emu.trace.pt.file import from_json

if TYPE_CHECKING:
    from emu.trace.pt.tables import PageTablesSnapshot


def open_tables(path: str, roots: Sequence[int] = ()) -> PageTablesSnapshot:
    """The page tables of a file: what `unimmu pt --save` wrote, or a dump of a machine's memory.

    ``roots``: the physical addresses of top tables, besides those that the file names.
    :class:`emu.trace.pt.file.BadSnapshot` if it is no such file, OSError if it cannot be read.
    """
    return from_json(pathlib.Path(path).read_bytes())

"""Files that hold page tables, by what they begin with."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emu.trace.pt.file import from_json

if TYPE_CHECKING:
    from emu.trace.pt.dump import Dump
    from emu.trace.pt.tables import PageTablesSnapshot

_ELF, _CORE_AT, _CORE = b"\x7fELF", 16, b"\x04\x00"
_KDUMP = (b"KDUMP   ", b"makedumpfile\0\0\0\0")


def holds_tables(path: str) -> bool:
    """Whether a file is one of page tables, or a dump, and no program: it begins with a brace, or as a core file or a
    dump of kdump does.  OSError if it cannot be read."""
    with open(path, "rb") as file:
        head = file.read(18)
    return head.startswith(b"{") or path.endswith(".json") or _opener(head) is not None


def open_tables(path: str, roots: Sequence[int] = ()) -> PageTablesSnapshot:
    """The page tables of a file: what `unimmu pt --save` wrote, or those of a dump of a machine's memory.

    ``roots``: the physical addresses of top tables in a dump, besides those that vCPUs had loaded.
    :class:`emu.trace.pt.file.BadSnapshot` if it is no such file, OSError if it cannot be read.
    """
    with open(path, "rb") as file:
        opener = _opener(file.read(18))
    if opener is None:
        return from_json(pathlib.Path(path).read_bytes())
    from emu.trace.pt.dump import tables_of

    dump = opener(path)
    try:
        return tables_of(dump, pathlib.Path(path).name, roots)
    finally:
        dump.close()


def _opener(head: bytes) -> Callable[[str], Dump] | None:
    """What reads a dump that begins so; None if it is none."""
    if head.startswith(_ELF) and head[_CORE_AT:] == _CORE:
        from emu.trace.pt.elfdump import ElfDump

        return ElfDump
    if head.startswith(_KDUMP):
        from emu.trace.pt.kdump import KdumpDump

        return KdumpDump
    return None

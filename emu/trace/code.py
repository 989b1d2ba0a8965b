"""Mappings of files that may be executed: what a trace says of them, so that functions have names (perf's MMAP2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.fs.dentry import d_path
from emu.linux.buildid import build_id_parse
from emu.linux.mman import Prot
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma


class MappedCode(NamedTuple):
    """Where a part of a file is mapped."""

    start: int
    length: int
    offset: int
    path: str
    build_id: str

    @property
    def fields(self) -> dict[str, Any]:
        """Those of the event."""
        return {name: value for name, value in self._asdict().items() if name != "build_id" or value}


def mapped_code(mm: AddressSpace, start: int, end: int) -> Iterator[MappedCode]:
    """All of an address space that meets [start, end)."""
    for vma in mm.vmas.overlapping(start, end):
        if vma.prot & Prot.EXEC and (path := _path(vma)):
            yield MappedCode(vma.start, vma.length, vma.pgoff << PAGE_SHIFT, path, _build_id(mm, vma))


def _path(vma: Vma) -> str:
    """As /proc/PID/maps has it; empty for memory without a file."""
    name = vma.ops.name(vma)
    path = getattr(vma.file, "path", None)
    return name if name or path is None else d_path(path)


def _build_id(mm: AddressSpace, vma: Vma) -> str:
    """Of the file, if its first page, which is in memory once a loader has read it, has one (build_id_parse)."""
    frame = None if vma.page_cache is None else vma.page_cache.find(0)
    if frame is None:
        return ""
    page = mm.frames.read(frame, 0, PAGE_SIZE)
    return build_id_parse(lambda size, offset: page[offset : offset + size]).hex()

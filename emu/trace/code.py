"""Mappings of files that may be executed: what a trace says of them, so that functions have names (perf's MMAP2)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.fs.dentry import d_path
from emu.linux.mman import Prot
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: Of Elf64_Ehdr: e_phoff, e_phentsize, e_phnum; of Elf64_Phdr: p_type, p_offset, p_filesz; Elf64_Nhdr.
_EHDR, _PHDR, _NHDR = Struct("<32xQ14xHH"), Struct("<I4xQ16xQ"), Struct("<III")
_PT_NOTE, _NT_GNU_BUILD_ID = 4, 3
_PHDR_SIZE = 56
#: The longest build ID (BUILD_ID_SIZE_MAX).
_MOST = 20


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
    return "" if frame is None else build_id(mm.frames.read(frame, 0, PAGE_SIZE))


def build_id(page: bytes) -> str:
    """The build ID in the first page of an ELF file, in hexadecimal digits; empty if there is none."""
    if page[:6] != b"\x7fELF\2\1" or len(page) < _EHDR.size:
        return ""
    at, size, number = _EHDR.unpack_from(page)
    for header in range(at, at + number * size, max(size, 1)):
        if size != _PHDR_SIZE or header + size > len(page):
            return ""
        kind, begin, length = _PHDR.unpack_from(page, header)
        if kind == _PT_NOTE and (found := _in_notes(page[begin : begin + length])):
            return found
    return ""


def _in_notes(notes: bytes) -> str:
    at = 0
    while at + _NHDR.size <= len(notes):
        name_size, size, kind = _NHDR.unpack_from(notes, at)
        name = at + _NHDR.size
        begin = name + (name_size + 3 & -4)
        if (
            kind == _NT_GNU_BUILD_ID
            and notes[name : name + name_size] == b"GNU\0"
            and 0 < size <= min(_MOST, len(notes) - begin)
        ):
            return notes[begin : begin + size].hex()
        at = begin + (size + 3 & -4)
    return ""

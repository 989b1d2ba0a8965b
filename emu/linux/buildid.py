"""The build ID of an ELF file (lib/buildid.c)."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

#: Of Elf64_Ehdr: e_ident to EI_DATA, e_phoff, e_phentsize, e_phnum; of Elf64_Phdr: p_type, p_offset, p_filesz.
_EHDR, _PHDR, _NHDR = Struct("<6s26xQ14xHH"), Struct("<I4xQ16xQ16x"), Struct("<III")
_PT_NOTE, _NT_GNU_BUILD_ID = 4, 3
#: The longest one (BUILD_ID_SIZE_MAX), and as much of a note segment as is looked at.
_LONGEST, _MOST = 20, 4096
#: No file has a byte at 2^63 (loff_t).
_END = 1 << 63


def build_id_parse(read: Callable[[int, int], bytes]) -> bytes:
    """The build ID in the notes of a file, of which ``read(size, offset)`` gives a part; empty if there is none."""
    head = read(_EHDR.size, 0)
    if len(head) < _EHDR.size:
        return b""
    ident, table, size, number = _EHDR.unpack(head)
    if ident != b"\x7fELF\2\1":
        return b""
    for at in range(table, table + number * size, max(size, 1)):
        header = read(_PHDR.size, at) if at < _END - _PHDR.size else b""
        if len(header) < _PHDR.size:
            return b""
        kind, begin, length = _PHDR.unpack(header)
        if kind == _PT_NOTE and begin < _END - _MOST and (found := _in_notes(read(min(length, _MOST), begin))):
            return found
    return b""


def _in_notes(notes: bytes) -> bytes:
    at = 0
    while at + _NHDR.size <= len(notes):
        name_size, size, kind = _NHDR.unpack_from(notes, at)
        name = at + _NHDR.size
        begin = name + (name_size + 3 & -4)
        ours = kind == _NT_GNU_BUILD_ID and notes[name : name + name_size] == b"GNU\0"
        if ours and 0 < size <= min(_LONGEST, len(notes) - begin):
            return notes[begin : begin + size]
        at = begin + (size + 3 & -4)
    return b""

"""A dump of physical memory as an ELF core file, as QEMU's dump-guest-memory writes it, and Linux's /proc/vmcore is.

Where memory is stands in the segments' physical addresses.  Their virtual ones are not believed: without ``-p`` QEMU
writes the physical ones there, and with it some that are wrong.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from typing import NamedTuple

from emu.trace.pt.dump import MOST_NOTES, Dump, Notes, notes_in
from emu.trace.pt.file import BadSnapshot
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

#: Of the header and a program header (System V ABI; elf.h).
_HEADER, _SEGMENT = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
_X86_64, _CORE = 62, 4
_LOAD, _NOTE = 1, 4
#: In e_phnum: the number of segments is in sh_info of the first section.
_PN_XNUM, _SH_INFO_AT = 0xFFFF, 44


class _Piece(NamedTuple):
    """Physical memory [begin, end) that is at an offset of the file."""

    begin: int
    end: int
    offset: int


class ElfDump(Dump):
    """The file.  :class:`BadSnapshot` if it is no such dump, OSError if it cannot be read."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY)
        try:
            self._size = os.fstat(self._file).st_size
            pieces, self.notes = self._segments()
        except BaseException:
            self.close()
            raise
        self._pieces = _disjoint(pieces)
        self._begins = [piece.begin for piece in self._pieces]
        self.memory_bytes = self._pieces[-1].end if self._pieces else 0

    def _segments(self) -> tuple[list[_Piece], Notes]:
        header = self._read(0, _HEADER.size, "header")
        ident, kind, machine, _, _, at, sections, _, _, size, number, *_ = _HEADER.unpack(header)
        if ident[:6] != b"\x7fELF\x02\x01" or kind != _CORE or machine != _X86_64:
            raise BadSnapshot("it is no ELF core file of x86-64, as dump-guest-memory writes it")
        if number == _PN_XNUM:
            (number,) = struct.unpack("<I", self._read(sections + _SH_INFO_AT, 4, "section header"))
        if size != _SEGMENT.size or at + number * size > self._size:
            raise BadSnapshot(f"its {number} program headers are cut off, or not of {_SEGMENT.size} bytes")
        pieces, notes = list[_Piece](), Notes((), five_levels=False)
        for segment in _SEGMENT.iter_unpack(self._read(at, number * size, "program headers")):
            kind, _, offset, vaddr, paddr, length, _, _ = segment
            if kind == _NOTE and length <= MOST_NOTES:
                notes = notes_in(self._read(offset, length, "notes"))
            elif kind == _LOAD:
                if paddr >> 52 or offset + length > self._size:
                    raise BadSnapshot(f"the segment at {paddr:#x} is cut off, or at no physical address")
                self.by_virtual |= vaddr not in (0, paddr)
                pieces.append(_Piece(paddr, paddr + length, offset))
        return pieces, notes

    def _read(self, offset: int, size: int, what: str) -> bytes:
        data = os.pread(self._file, size, offset) if offset < self._size else b""
        if len(data) != size:
            raise BadSnapshot(f"it is cut off, within its {what}")
        return data

    def page(self, frame: int) -> bytes | None:
        """As :meth:`Dump.page`; a frame of which the file has a part is not there."""
        paddr = frame << PAGE_SHIFT
        at = bisect_right(self._begins, paddr) - 1
        if at < 0 or paddr + PAGE_SIZE > self._pieces[at].end:
            return None
        return self._read(self._pieces[at].offset + paddr - self._pieces[at].begin, PAGE_SIZE, "memory")

    def close(self) -> None:
        """As :meth:`Dump.close`."""
        os.close(self._file)


def _disjoint(pieces: list[_Piece]) -> list[_Piece]:
    """In their order, each address once: with -p the same memory may be there at several virtual addresses."""
    found: list[_Piece] = []
    for piece in sorted(pieces):
        end = found[-1].end if found else 0
        if piece.end > end:
            begin = max(piece.begin, end)
            found.append(_Piece(begin, piece.end, piece.offset + begin - piece.begin))
    return found

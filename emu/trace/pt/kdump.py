"""A dump of physical memory in the format of kdump, as QEMU's dump-guest-memory -z and makedumpfile write it.

A file that was written to a pipe is "flattened": pieces, each with the offset where it belongs.  Pages are compressed
one by one; those that zlib has compressed, or nobody, are read.
"""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_right

import numpy as np

from emu.trace.pt.dump import MOST_NOTES, Dump, Notes, notes_in
from emu.trace.pt.file import BadSnapshot
from mmu.memory import PAGE_SIZE

SIGNATURE, FLATTENED = b"KDUMP   ", b"makedumpfile\0\0\0\0"
#: Where the pieces of a flattened file begin, and the head of each: offset and size.
_FLAT_HEADER, _PIECE = 4096, struct.Struct(">qq")
#: Of the header (include/diskdump_mod.h of makedumpfile): block size, blocks of the sub-header, of the bitmaps, frames.
_HEADER_AT, _HEADER = 428, struct.Struct("<iiII")
#: Of the sub-header: where the notes are, and how many frames there are, in 64 bits.
_NOTES_AT, _FRAMES_AT = 48, 96
#: Of a page: offset, size, how it is compressed, and what the kernel knew of it.
_PAGE = struct.Struct("<QIIQ")
_RAW, _ZLIB = 0, 1
_COMPRESSED = {2: "lzo", 4: "snappy", 0x20: "zstd"}
#: Bytes of the bitmap that are counted together.
_STEP = 64
_MOST_FRAMES = 1 << 40
_BITS = np.array([number.bit_count() for number in range(256)], np.uint8)


class KdumpDump(Dump):
    """The file.  :class:`BadSnapshot` if it is no such dump, OSError if it cannot be read."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY)
        try:
            self._size = os.fstat(self._file).st_size
            self._begins, self._pieces = list[int](), list[tuple[int, int]]()
            if os.pread(self._file, len(FLATTENED), 0) == FLATTENED:
                self._find_pieces()
            self._read_headers()
        except BaseException:
            self.close()
            raise

    def _find_pieces(self) -> None:
        at, pieces = _FLAT_HEADER, list[tuple[int, int, int]]()
        while True:
            head = os.pread(self._file, _PIECE.size, at)
            if len(head) < _PIECE.size:
                raise BadSnapshot("the flattened file is cut off")
            offset, size = _PIECE.unpack(head)
            if offset < 0:
                break
            at += _PIECE.size
            if size < 0 or at + size > self._size:
                raise BadSnapshot(f"a piece of the flattened file, of {size} bytes, is cut off")
            if pieces and pieces[-1][0] + pieces[-1][1] == offset and pieces[-1][2] + pieces[-1][1] == at:
                offset, size, at = pieces[-1][0], pieces[-1][1] + size, pieces[-1][2]
                pieces.pop()
            pieces.append((offset, size, at))
            at += size
        pieces.sort()
        self._begins = [offset for offset, _, _ in pieces]
        self._pieces = [(size, at) for _, size, at in pieces]

    def _read_headers(self) -> None:
        if self._read(0, len(SIGNATURE), "header") != SIGNATURE:
            raise BadSnapshot("it is no dump in kdump's format")
        block, sub, bitmaps, frames = _HEADER.unpack(self._read(_HEADER_AT, _HEADER.size, "header"))
        if block != PAGE_SIZE or sub < 1:
            raise BadSnapshot(f"its blocks have {block} bytes, and its header {sub} more; 4096 and 1 are read")
        header = self._read(block, _FRAMES_AT + 8, "header")
        at, size = struct.unpack_from("<QQ", header, _NOTES_AT)
        (frames_64,) = struct.unpack_from("<Q", header, _FRAMES_AT)
        frames = max(frames, frames_64)
        if frames > _MOST_FRAMES or size > MOST_NOTES or bitmaps * block // 2 * 8 < frames:
            raise BadSnapshot(f"its header says {frames} frames, {bitmaps} blocks of bitmaps and {size} bytes of notes")
        self.notes = notes_in(self._read(at, size, "notes")) if size else Notes((), five_levels=False)
        self.memory_bytes = frames * PAGE_SIZE
        begin = (1 + sub) * block
        self._described = begin + bitmaps * block
        half = bitmaps * block // 2
        bitmap = np.frombuffer(self._read(begin + half, -(-frames // 8), "bitmap"), np.uint8)
        self._bitmap = np.concatenate((bitmap, np.zeros(-len(bitmap) % _STEP, np.uint8)))
        self._before = np.concatenate(([0], np.cumsum(_BITS[self._bitmap].reshape(-1, _STEP).sum(1, dtype=np.int64))))

    def _read(self, offset: int, size: int, what: str) -> bytes:
        """So many bytes of the file that was flattened, or is not."""
        if not self._pieces:
            data = os.pread(self._file, size, offset) if offset < self._size else b""
        else:
            parts = []
            while size:
                number = bisect_right(self._begins, offset) - 1
                length, at = self._pieces[number] if number >= 0 else (0, 0)
                inside = offset - self._begins[number]
                if number < 0 or inside >= length:
                    break
                parts.append(os.pread(self._file, min(size, length - inside), at + inside))
                if not parts[-1]:
                    break
                offset, size = offset + len(parts[-1]), size - len(parts[-1])
            data = b"".join(parts)
            size += len(data)
        if len(data) != size:
            raise BadSnapshot(f"it is cut off, within its {what}")
        return data

    def page(self, frame: int) -> bytes | None:
        """As :meth:`Dump.page`."""
        byte, bit = frame >> 3, frame & 7
        if byte >= len(self._bitmap) or not self._bitmap[byte] >> bit & 1:
            return None
        first = byte // _STEP * _STEP
        number = int(self._before[byte // _STEP]) + int(_BITS[self._bitmap[first:byte]].sum(dtype=np.int64))
        number += (int(self._bitmap[byte]) & ((1 << bit) - 1)).bit_count()
        described = self._read(self._described + number * _PAGE.size, _PAGE.size, "table of pages")
        offset, size, flags, _ = _PAGE.unpack(described)
        if size > PAGE_SIZE:
            raise BadSnapshot(f"frame {frame:#x} has {size} bytes in it")
        data = self._read(offset, size, "memory")
        if flags == _ZLIB:
            try:
                data = zlib.decompressobj().decompress(data, PAGE_SIZE + 1)
            except zlib.error as error:
                raise BadSnapshot(f"frame {frame:#x}: {error}") from None
        elif flags != _RAW:
            raise BadSnapshot(f"its pages are compressed by {_COMPRESSED.get(flags, flags)}; zlib is read")
        if len(data) != PAGE_SIZE:
            raise BadSnapshot(f"frame {frame:#x} has {len(data)} bytes")
        return data

    def close(self) -> None:
        """As :meth:`Dump.close`."""
        os.close(self._file)

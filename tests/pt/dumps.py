"""Dumps of memory as QEMU writes them: an ELF core file, and kdump's format, flattened or not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

PAGE = 4096
CR0, CR4 = 0x8005_0033, 0x6B0


def qemu_note(cr3: int, cr0: int = CR0, cr4: int = CR4, version: int = 1) -> bytes:
    """The note of a vCPU."""
    state = struct.pack("<II", version, 440) + bytes(384) + struct.pack("<6Q", cr0, 0, 0, cr3, cr4, 0)
    return _note(b"CORE", 1, bytes(336)) + _note(b"QEMU", 0, state)


def vmcoreinfo(text: str) -> bytes:
    """The note with what a kernel says of itself."""
    return _note(b"VMCOREINFO", 0, text.encode())


def _note(owner: bytes, kind: int, described: bytes) -> bytes:
    owner += b"\0"
    padded = owner + bytes(-len(owner) % 4)
    return struct.pack("<III", len(owner), len(described), kind) + padded + described + bytes(-len(described) % 4)


def elf_dump(pages: Mapping[int, bytes], notes: bytes, *, many: bool = False, virtual: int = 0) -> bytes:
    """Frames and their bytes, a segment each, ``virtual`` above its physical address.

    ``many``: the number of segments is where QEMU puts it if it is more than the header has room for.
    """
    number = len(pages) + 1
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        4,
        62,
        1,
        0,
        192,
        64,
        0,
        64,
        56,
        0xFFFF if many else number,
        64,
        2,
        1,
    )
    section = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, number, 0, 0)
    at = 192 + 56 * number
    segments = [struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(notes), len(notes), 0)]
    at += len(notes)
    for frame, data in pages.items():
        segments.append(
            struct.pack("<IIQQQQQQ", 1, 0, at, frame * PAGE + virtual, frame * PAGE, len(data), len(data), 0)
        )
        at += len(data)
    return header + section + section[:64] + b"".join([*segments, notes, *pages.values()])


def kdump_pieces(pages: Mapping[int, bytes], notes: bytes, *, flags: int = 1) -> list[tuple[int, bytes]]:
    """(offset, bytes) of the parts of a kdump file; every second page is not compressed."""
    frames = max(pages) + 1
    blocks = -(-frames // 8 // PAGE) or 1
    header = bytearray(PAGE)
    header[:12] = b"KDUMP   " + struct.pack("<i", 6)
    struct.pack_into("<iiiII", header, 424, 1, PAGE, 1, 2 * blocks, min(frames, 0xFFFF_FFFF))
    bitmap = bytearray(blocks * PAGE)
    for frame in pages:
        bitmap[frame >> 3] |= 1 << (frame & 7)
    at = (2 + 2 * blocks) * PAGE + 24 * len(pages)
    sub = bytearray(PAGE)
    struct.pack_into("<QQ", sub, 48, at, len(notes))
    struct.pack_into("<Q", sub, 96, frames)
    pieces = [(0, bytes(header)), (PAGE, bytes(sub)), (2 * PAGE, bytes(bitmap)), ((2 + blocks) * PAGE, bytes(bitmap))]
    pieces.append((at, notes))
    at += len(notes)
    described = []
    for number, frame in enumerate(sorted(pages)):
        packed = zlib.compress(pages[frame]) if number % 2 == 0 else pages[frame]
        described.append(struct.pack("<QIIQ", at, len(packed), flags if number % 2 == 0 else 0, 0))
        pieces.append((at, packed))
        at += len(packed)
    pieces.append(((2 + 2 * blocks) * PAGE, b"".join(described)))
    return pieces


def flattened(pieces: Sequence[tuple[int, bytes]]) -> bytes:
    """The file as it goes to a pipe."""
    head = struct.pack(">16sqq", b"makedumpfile", 1, 1)
    return b"".join(
        [head + bytes(PAGE - len(head)), *(struct.pack(">qq", at, len(data)) + data for at, data in pieces),
         struct.pack(">qq", -1, -1)]
    )  # fmt: skip


def in_place(pieces: Sequence[tuple[int, bytes]]) -> bytes:
    """The file as it is on a disk."""
    whole = bytearray(max(at + len(data) for at, data in pieces))
    for at, data in pieces:
        whole[at : at + len(data)] = data
    return bytes(whole)

"""Loops that a plugin of QEMU's is told of, besides those of emu/bench/loops.py."""

from __future__ import annotations

import struct


def random_stores(data: int, turns: int) -> bytes:
    """Stores to 4096 pages from ``data`` on, in the order of a linear congruence.

    mov eax, 1; 1: imul eax, eax, 1664525; add eax, 1013904223; mov edx, eax; shr edx, 20; shl edx, 12; mov [rbx+rdx],
    rax; dec rcx; jne 1b.
    """
    body = bytes.fromhex("69c00d661900055ff36e3c89c2c1ea14c1e20c4889041348ffc9")
    begin = b"\xbb" + struct.pack("<I", data) + b"\xb9" + struct.pack("<I", turns) + b"\xb8\1\0\0\0"
    return begin + body + b"\x0f\x85" + struct.pack("<i", -len(body) - 6)

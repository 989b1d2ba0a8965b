"""Numbers at which arithmetic goes wrong, and damage to bytes."""

from __future__ import annotations

import random
from collections.abc import Callable

WORD = (1 << 64) - 1
#: Sizes and addresses around every limit that there is: pages, tables, the ends of what is canonical, of 31, 32, 63 and
#: 64 bits.
EDGES = sorted({
    (base + offset) & WORD
    for base in (0, 1 << 12, 1 << 16, 1 << 21, 1 << 30, 1 << 31, 1 << 32, 1 << 39, 1 << 47, 1 << 48, 1 << 56, 1 << 63)
    for offset in (-4096, -8, -1, 0, 1, 8, 4096)
})  # fmt: skip


def edge(chance: random.Random) -> int:
    """A number of 64 bits: mostly one of the edges."""
    return chance.choice(EDGES) if chance.random() < 0.85 else chance.getrandbits(chance.choice((8, 16, 32, 64)))


def small(chance: random.Random) -> int:
    """A small number, rarely another."""
    return chance.randrange(16) if chance.random() < 0.7 else edge(chance)


def _flip(chance: random.Random, data: bytearray) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _byte(chance: random.Random, data: bytearray) -> None:
    data[chance.randrange(len(data))] = chance.choice((0, 0xFF, 0x7F, 0x80, chance.randrange(256)))


def _cut(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 2, 8, 100, len(data)))]


def _double(chance: random.Random, data: bytearray) -> None:
    at, size = chance.randrange(len(data)), chance.choice((1, 4, 60, 500))
    data[at:at] = data[at : at + size]


def _insert(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.choice((1, 3, 40)))


def _overwrite(chance: random.Random, data: bytearray) -> None:
    at, size = chance.randrange(len(data)), chance.choice((2, 8, 64))
    data[at : at + size] = chance.choice((bytes(size), b"\xff" * size, chance.randbytes(size)))


_DAMAGE: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip, _flip, _byte, _byte, _cut, _double, _insert, _overwrite,
)  # fmt: skip


def damaged(chance: random.Random, data: bytes) -> bytes:
    """The bytes with a few changes of any kind."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 12))):
        if changed:
            chance.choice(_DAMAGE)(chance, changed)
    return bytes(changed)

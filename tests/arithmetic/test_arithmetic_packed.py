"""PCMPxSTRx, PHADD, PHSUB, DPPS and DPPD, held against what the manual says in words."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

from emu.arithmetic import dot, horizontal, strings
from emu.arithmetic.extended import DE, IE, OE, PE, UE
from emu.arithmetic.wide import Wide


def wide(data: bytes) -> Wide:
    return Wide(*reversed(struct.unpack("<2Q", data)))


def elements(data: bytes, imm: int) -> list[int]:
    return list(struct.unpack({0: "16B", 1: "<8H", 2: "16b", 3: "<8h"}[imm & 3], data))


def expected(a: bytes, b: bytes, length_a: int, length_b: int, imm: int) -> list[bool]:
    """IntRes2 (SDM vol. 2, 4.1.3 to 4.1.6): whether each comparison is true, with what is beyond the ends forced."""
    first, second = elements(a, imm), elements(b, imm)
    size = len(first)

    def compare(i: int, j: int, mode: int) -> bool:
        if i < length_a and j < length_b:
            if mode == 1:
                return second[j] >= first[i] if i % 2 == 0 else second[j] <= first[i]
            return first[i] == second[j]
        if mode in (0, 1):
            return False
        if mode == 2:
            return i >= length_a and j >= length_b
        return i >= length_a

    mode = imm >> 2 & 3
    found = []
    for j in range(size):
        if mode == 0:
            found.append(any(compare(i, j, 0) for i in range(size)))
        elif mode == 1:
            found.append(any(compare(i, j, 1) and compare(i + 1, j, 1) for i in range(0, size, 2)))
        elif mode == 2:
            found.append(compare(j, j, 2))
        else:
            found.append(all(compare(i, i + j, 3) for i in range(size - j)))
    if imm & 0x10:
        return [not each if not imm & 0x20 or j < length_b else each for j, each in enumerate(found)]
    return found


@pytest.mark.parametrize("imm", range(0, 0x80, 3))
def test_strings(imm: int) -> None:
    draw = random.Random(imm)
    for _ in range(40):
        a, b = (bytes(draw.choice(b"\0aabbz\xff") for _ in range(16)) for _ in range(2))
        if draw.random() < 0.5:
            b = b[: draw.randrange(16)].ljust(16, b"a")
        length_a, length_b = strings.length_to_zero(wide(a), imm), strings.length_to_zero(wide(b), imm)
        assert length_a == next((n for n, each in enumerate(elements(a, imm)) if each == 0), len(elements(a, imm)))
        found = strings.matches(wide(a), wide(b), length_a, length_b, imm)
        bits = expected(a, b, length_a, length_b, imm)
        size = len(bits)
        assert [bool(found.bits >> j & 1) for j in range(size)] == bits
        flags = any(bits) * strings.CF | (length_b < size) * strings.ZF | (length_a < size) * strings.SF
        assert found.flags == flags | bits[0] * strings.OF
        places = [j for j, each in enumerate(bits) if each] or [size]
        assert strings.index(found.bits, imm) == places[-1 if imm & 0x40 else 0]
        each = [(0xFF if size == 16 else 0xFFFF) if bit else 0 for bit in bits]
        whole = struct.pack("16B" if size == 16 else "<8H", *each)
        mask = strings.mask(found.bits, imm)
        assert mask == (wide(whole) if imm & 0x40 else Wide(0, sum(bit << j for j, bit in enumerate(bits))))


def test_a_match_that_the_end_cuts_off() -> None:
    found = strings.matches(wide(b"needle".ljust(16, b"\0")), wide(b"0123456789abcnee"), 6, 16, 0x0C)
    assert strings.index(found.bits, 0x0C) == 13


@pytest.mark.parametrize(
    ("register", "is_wide", "imm", "length"),
    [
        (5, False, 0, 5), (0xFFFFFFFB, False, 0, 5), (0xFFFFFFFB, True, 0, 16), (0xFFFFFFFF_FFFFFFFD, True, 0, 3),
        (1 << 31, False, 0, 16), (1 << 63, True, 1, 8), (9, False, 1, 8), (0x100000002, False, 0, 2), (0, True, 0, 0),
    ],
)  # fmt: skip
def test_explicit_lengths(register: int, is_wide: bool, imm: int, length: int) -> None:
    assert strings.explicit_length(register, is_wide, imm) == length


@pytest.mark.parametrize("opcode", [1, 2, 3, 5, 6, 7])
def test_sums_of_neighbours(opcode: int) -> None:
    draw = random.Random(opcode)
    kind = "<2i" if opcode & 3 == 2 else "<4h"
    for _ in range(200):
        data = bytes(draw.choice((0, 0x7F, 0x80, 0xFF, draw.getrandbits(8))) for _ in range(8))
        values = struct.unpack(kind, data)
        sums = [a - b if opcode & 4 else a + b for a, b in zip(values[::2], values[1::2], strict=True)]
        if opcode & 3 == 3:
            sums = [max(-0x8000, min(0x7FFF, each)) for each in sums]
        bits = 64 // len(values)
        result = sum((each & (1 << bits) - 1) << bits * n for n, each in enumerate(sums))
        assert horizontal.folded(int.from_bytes(data, "little"), opcode) == result


def singles(draw: random.Random) -> tuple[Wide, np.ndarray]:
    values = np.array([draw.uniform(-3, 3) * 2.0 ** draw.randrange(-70, 60) for _ in range(4)], dtype=np.float32)
    return wide(values.tobytes()), values


def test_dot_products_of_singles() -> None:
    draw = random.Random(1)
    for _ in range(300):
        (a, x), (b, y) = singles(draw), singles(draw)
        with np.errstate(all="ignore"):
            p = x * y
            total = (p[0] + p[1]) + (p[2] + p[3])
        found = dot.dpps(a, b, 0xFF, 0x1F80)
        assert wide(np.array([total] * 4, dtype=np.float32).tobytes()) == (found.high, found.low)


def test_dot_products_of_doubles() -> None:
    draw = random.Random(2)
    for _ in range(300):
        x, y = (np.array([draw.uniform(-3, 3) * 2.0 ** draw.randrange(-600, 400) for _ in range(2)]) for _ in range(2))
        with np.errstate(all="ignore"):
            p = x * y
            total = p[0] + p[1]
        found = dot.dppd(wide(x.tobytes()), wide(y.tobytes()), 0x31, 0x1F80)
        assert Wide(0, int(np.float64(total).view(np.uint64))) == (found.high, found.low)


def single(number: float) -> int:
    return int(np.float32(number).view(np.uint32))


@pytest.mark.parametrize(
    ("a", "b", "mxcsr", "product", "flags"),
    [
        (single(1.5), single(-2.0), 0x1F80, single(-3.0), 0),
        (1, single(1.0), 0x1F80, 1, DE), (1, single(1.0), 0x1FC0, 0, 0), (1, single(1.0), 0x9F80, 0, DE | UE | PE),
        (0x00800001, single(0.5), 0x1F80, 0x00400000, UE | PE), (0x00800001, single(0.5), 0x5F80, 0x00400001, UE | PE),
        (0x7F7FFFFF, single(2.0), 0x1F80, 0x7F800000, OE | PE), (0x7F7FFFFF, single(2.0), 0x7F80, 0x7F7FFFFF, OE | PE),
        (0x7F800000, 0, 0x1F80, 0xFFC00000, IE), (0x7FC00005, single(1.0), 0x1F80, 0x7FC00005, 0),
        (single(1.0), 0xFF800005, 0x1F80, 0xFFC00005, IE), (0x7FC00005, 0xFF800006, 0x1F80, 0x7FC00005, IE),
    ],
)  # fmt: skip
def test_products_at_the_edges(a: int, b: int, mxcsr: int, product: int, flags: int) -> None:
    assert dot.multiplied(a, b, False, mxcsr) == (product, flags)


def test_sums_at_the_edges() -> None:
    assert dot.added(single(1.0), single(-1.0), False, 0x1F80) == (0, 0)
    assert dot.added(single(1.0), single(-1.0), False, 0x3F80) == (0x80000000, 0)
    assert dot.added(0x80000000, 0x80000000, False, 0x1F80) == (0x80000000, 0)
    assert dot.added(0x7F800000, 0xFF800000, False, 0x1F80) == (0xFFC00000, IE)
    assert dot.added(single(1.0), single(2.0**-60), False, 0x1F80) == (single(1.0), PE)
    assert dot.added(single(1.0), single(2.0**-60), False, 0x5F80) == (single(1.0) + 1, PE)
    assert dot.added(single(1.0), single(-(2.0**-60)), False, 0x7F80) == (single(1.0) - 1, PE)

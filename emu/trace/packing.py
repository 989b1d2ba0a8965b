"""Numbers as Parquet packs them (its Encodings.md), natively: the RLE/bit-packing hybrid, and DELTA_BINARY_PACKED."""

from __future__ import annotations

from mmu.native import entry, load8, load32, load64, native, store8, store32, store64

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_SIGN = 1 << 63
#: Groups of eight whose number is still one byte in the header of a run of such.
_MOST_GROUPS = 63
#: Equal numbers that are worth a run of their own.
_LEAST_RUN = 16
_BLOCK, _MINIBLOCK = 128, 32


@native
def _varint(out: int, value: int) -> int:
    """Write a ULEB128; returns what is behind it."""
    while value > 0x7F:
        store8(out, value & 0x7F | 0x80)
        value >>= 7
        out += 1
    store8(out, value)
    return out + 1


@native
def _zigzag(out: int, value: int) -> int:
    """The same of a number with a sign."""
    return _varint(out, (value << 1 & _ALL_ONES) ^ (_ALL_ONES if value >= _SIGN else 0))


@native
def _eight(out: int, indices: int, count: int, width: int) -> int:
    """Pack eight indices of so many bits, of which there are ``count``; the others are 0."""
    held, bits, at = 0, 0, 0
    while at != 8:
        if at < count:
            held |= load32(indices + at * 4) << bits
        bits += width
        if bits >= 32:
            store32(out, held & 0xFFFF_FFFF)
            held >>= 32
            bits -= 32
            out += 4
        at += 1
    while bits != 0:  # eight numbers are whole bytes
        store8(out, held & 0xFF)
        held >>= 8
        bits -= 8
        out += 1
    return out


@entry("u64", "u64", "u64", "u64", "u64")
def pack_indices(indices: int, count: int, width: int, out: int) -> int:
    """The hybrid of ``count`` uint32 numbers of ``width`` bits, 1 to 32; returns how many bytes it has."""
    begin, at, header, groups = out, 0, 0, 0
    while at < count:
        first, run = load32(indices + at * 4), 1
        twice = first | first << 32
        while at + run + 2 <= count and load64(indices + (at + run) * 4) == twice:
            run += 2
        while at + run < count and load32(indices + (at + run) * 4) == first:
            run += 1
        if run >= _LEAST_RUN:
            out = _varint(out, run << 1)
            held, left = first, (width + 7) >> 3
            while left != 0:
                store8(out, held & 0xFF)
                held >>= 8
                out += 1
                left -= 1
            at += run
            groups = 0
        else:
            if groups == 0 or groups == _MOST_GROUPS:
                header, groups = out, 0
                out += 1
            out = _eight(out, indices + at * 4, min(count - at, 8), width)
            groups += 1
            store8(header, groups << 1 | 1)
            at += 8
    return out - begin


@entry("u64", "u64", "u64", "u64")
def pack_bits(bits: int, count: int, out: int) -> int:
    """The hybrid of ``count`` numbers of one bit, which are a bitmap; returns how many bytes it has."""
    begin, at, header, groups = out, 0, 0, 0
    whole, end = count >> 3, (count + 7) >> 3
    while at < end:
        byte, run = load8(bits + at), 1
        if at < whole and (byte == 0 or byte == 0xFF):
            while at + run < whole and load8(bits + at + run) == byte:
                run += 1
        if run > 1:
            out = _varint(out, run << 4)
            store8(out, byte & 1)
            out += 1
            at += run
            groups = 0
        else:
            if groups == 0 or groups == _MOST_GROUPS:
                header, groups = out, 0
                out += 1
            store8(out, byte)
            out += 1
            groups += 1
            store8(header, groups << 1 | 1)
            at += 1
    return out - begin


@native
def _difference(values: int, at: int) -> int:
    """A number less the one before it, modulo 2**64."""
    return (load64(values + at * 8) + (_ALL_ONES - load64(values + at * 8 - 8)) + 1) & _ALL_ONES


@native
def _bits_of(value: int) -> int:
    """How many bits a number has."""
    bits = 0
    while value != 0:
        value >>= 1
        bits += 1
    return bits


@native
def _miniblock(out: int, values: int, at: int, end: int, least: int, width: int) -> int:
    """Pack 32 differences, each less the ``least``; those from ``end`` on are 0."""
    held, used, stop = 0, 0, at + _MINIBLOCK
    while at != stop:
        value = 0
        if at < end:
            value = (_difference(values, at) + (_ALL_ONES - least) + 1) & _ALL_ONES
        held |= (value << used) & _ALL_ONES
        used += width
        if used >= 64:
            store64(out, held)
            out += 8
            used -= 64
            held = 0 if used == 0 else value >> (width - used)
        at += 1
    if used != 0:  # 32 numbers are whole words of 32 bits
        store32(out, held & 0xFFFF_FFFF)
        out += 4
    return out


@entry("u64", "u64", "u64", "u64")
def pack_deltas(values: int, count: int, out: int) -> int:
    """DELTA_BINARY_PACKED of ``count`` uint64 numbers, one or more; returns how many bytes it has."""
    begin = out
    out = _varint(out, _BLOCK)
    out = _varint(out, _BLOCK // _MINIBLOCK)
    out = _varint(out, count)
    out = _zigzag(out, load64(values))
    at = 1
    while at < count:
        end = min(count, at + _BLOCK)
        least, row = _ALL_ONES, at  # with the sign turned, so that they compare as numbers with a sign do
        while row != end:
            least = min(least, _difference(values, row) ^ _SIGN)
            row += 1
        least ^= _SIGN
        out = _zigzag(out, least)
        widths, mini = out, 0
        out += _BLOCK // _MINIBLOCK
        while mini != _BLOCK // _MINIBLOCK:
            row, largest = at + mini * _MINIBLOCK, 0
            stop = min(end, row + _MINIBLOCK)
            while row < stop:
                largest |= (_difference(values, row) + (_ALL_ONES - least) + 1) & _ALL_ONES
                row += 1
            width = _bits_of(largest)
            store8(widths + mini, width)
            if width != 0:
                out = _miniblock(out, values, at + mini * _MINIBLOCK, end, least, width)
            mini += 1
        at = end
    return out - begin

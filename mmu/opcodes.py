"""The opcode map, as far as it says what an instruction does with its memory operand (SDM vol. 2, appendix A).

Unicorn asks for a load first where an instruction reads and writes its operand, makes an access of 16 bytes in two
pieces, and runs each iteration of a repeated string instruction for itself.  A processor does none of that, and which
instruction it is tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from mmu.host_array import HostArray


class OpcodeMap(IntEnum):
    """Where an opcode stands: one byte, or the last byte behind 0F, 0F 38 or 0F 3A."""

    ONE_BYTE = 0
    TWO_BYTES = 1
    OF_38 = 2
    OF_3A = 3


class Prefix(IntEnum):
    """The mandatory prefix: the last one of F2 and F3, else 66."""

    NONE = 0
    P66 = 1
    PF3 = 2
    PF2 = 3


#: In an entry of the table.  Bits 7:0 are the values of ModRM.reg with which the operand is read and then written;
#: bits 15:8 those with which it has 16 bytes, or the 10 of the x87 format.
WIDE_SHIFT = 8
WIDE_WITH_REX_W = 1 << 16  # only so
STRING = 1 << 17  # a string instruction, which REP repeats
PREFIX = 1 << 18  # no opcode

PREFIXES, OPCODES = len(Prefix), 256
_ALL = 0xFF
_ANY_PREFIX = tuple(Prefix)

Opcodes = Iterable[int]


def _regs(*regs: int) -> int:
    """Some values of ModRM.reg as bits."""
    return sum(1 << reg for reg in regs)


def _span(*bounds: tuple[int, int]) -> list[int]:
    return [opcode for first, last in bounds for opcode in range(first, last + 1)]


#: What reads its memory operand and then writes it: opcodes, prefixes, values of ModRM.reg.
_UPDATES: dict[OpcodeMap, tuple[tuple[Opcodes, tuple[Prefix, ...], int], ...]] = {
    OpcodeMap.ONE_BYTE: (
        ([op + low for op in (0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30) for low in (0, 1)], _ANY_PREFIX, _ALL),
        ((0x80, 0x81, 0x83), _ANY_PREFIX, _regs(0, 1, 2, 3, 4, 5, 6)),  # ADD ... XOR, not CMP
        ((0x86, 0x87), _ANY_PREFIX, _ALL),  # XCHG
        ((0xC0, 0xC1, 0xD0, 0xD1, 0xD2, 0xD3), _ANY_PREFIX, _ALL),  # rotates and shifts
        ((0xF6, 0xF7), _ANY_PREFIX, _regs(2, 3)),  # NOT, NEG
        ((0xFE, 0xFF), _ANY_PREFIX, _regs(0, 1)),  # INC, DEC
    ),
    OpcodeMap.TWO_BYTES: (
        ((0xA4, 0xA5, 0xAC, 0xAD), _ANY_PREFIX, _ALL),  # SHLD, SHRD
        ((0xAB, 0xB3, 0xBB), _ANY_PREFIX, _ALL),  # BTS, BTR, BTC
        ((0xBA,), _ANY_PREFIX, _regs(5, 6, 7)),
        ((0xAE,), (Prefix.NONE,), _regs(4, 6)),  # XSAVE, XSAVEOPT: XSTATE_BV of the header
        ((0xB0, 0xB1), _ANY_PREFIX, _ALL),  # CMPXCHG, which writes also what it finds unequal
        ((0xC0, 0xC1), _ANY_PREFIX, _ALL),  # XADD
        ((0xC7,), _ANY_PREFIX, _regs(1)),  # CMPXCHG8B, CMPXCHG16B
        ((0xC7,), (Prefix.NONE,), _regs(4, 5)),  # XSAVEC, XSAVES
    ),
}
#: What has a memory operand of 16 bytes.
_WIDE: dict[OpcodeMap, dict[Prefix, Opcodes]] = {
    OpcodeMap.TWO_BYTES: {
        Prefix.NONE: [
            *(0x10, 0x11, 0x14, 0x15, 0x28, 0x29, 0x2B, 0x5B, 0xC2, 0xC6),
            *_span((0x51, 0x59), (0x5C, 0x5F)),
        ],
        Prefix.P66: [
            *(0x10, 0x11, 0x14, 0x15, 0x28, 0x29, 0x2B, 0x2C, 0x2D, 0x51, 0x6F, 0x70, 0x7C, 0x7D, 0x7F, 0xC2, 0xC6),
            *_span((0x54, 0x6D), (0x74, 0x76), (0xD0, 0xD5), (0xD8, 0xEF), (0xF1, 0xF6), (0xF8, 0xFE)),
        ],
        Prefix.PF3: (0x12, 0x16, 0x5B, 0x6F, 0x70, 0x7F),
        Prefix.PF2: (0x70, 0x7C, 0x7D, 0xD0, 0xE6, 0xF0),
    },
    OpcodeMap.OF_38: {
        Prefix.P66: [
            *(0x10, 0x14, 0x15, 0x17, 0x40, 0x41),
            *_span((0x00, 0x0B), (0x1C, 0x1E), (0x28, 0x2B), (0x37, 0x3F), (0xDB, 0xDF)),
        ]
    },
    OpcodeMap.OF_3A: {
        Prefix.P66: [0x08, 0x09, *_span((0x0C, 0x0F)), 0x40, 0x41, 0x42, 0x44, *_span((0x60, 0x63)), 0xDF]
    },
}
#: INS, OUTS, MOVS, CMPS, STOS, LODS, SCAS.
STRINGS = (*range(0x6C, 0x70), *range(0xA4, 0xA8), *range(0xAA, 0xB0))
_PREFIXES = (0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3, *range(0x40, 0x50))


def opcode_table() -> HostArray:
    """An entry for each opcode, by map and prefix."""
    table = HostArray((len(OpcodeMap), PREFIXES, OPCODES), "I")

    def mark(number: int, prefixes: Iterable[int], opcodes: Opcodes, bits: int) -> None:
        for prefix in prefixes:
            for opcode in opcodes:
                table.view[number, prefix, opcode] |= bits

    for number, rows in _UPDATES.items():
        for opcodes, prefixes, regs in rows:
            mark(number, prefixes, opcodes, regs)
    for number, by_prefix in _WIDE.items():
        for prefix, opcodes in by_prefix.items():
            mark(number, [prefix], opcodes, _ALL << WIDE_SHIFT)
    one_byte, two_bytes = OpcodeMap.ONE_BYTE, OpcodeMap.TWO_BYTES
    mark(one_byte, _ANY_PREFIX, [0xDB], _regs(5, 7) << WIDE_SHIFT)  # FLD m80, FSTP m80
    mark(one_byte, _ANY_PREFIX, [0xDF], _regs(6) << WIDE_SHIFT)  # FBSTP, which the machine executes
    mark(two_bytes, _ANY_PREFIX, [0xC7], _regs(1) << WIDE_SHIFT | WIDE_WITH_REX_W)  # CMPXCHG16B
    mark(one_byte, _ANY_PREFIX, STRINGS, STRING)
    mark(one_byte, _ANY_PREFIX, _PREFIXES, PREFIX)
    return table

"""How long an instruction is, by its opcode (SDM vol. 2, appendix A), as a table that native code reads.

There are three opcode maps of 256 opcodes: one byte, 0F, 0F 38; a fourth is 0F 3A.  An entry is 16 bits: what follows
the opcode, and whether an instruction of this opcode may be one of those that :mod:`emu.instructions.table` lists.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from enum import IntEnum, IntFlag

from mmu.host_array import HostArray

MAPS = 4
#: Where a code_id has the mode.
MODE_SHIFT = 29
#: The bytes that escape to the maps 1, 2 and 3.
ESCAPES = (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a")


class Follows(IntEnum):
    """What follows an opcode: bits of an entry of the table."""

    MODRM = 1
    BYTE = 2
    #: 4 bytes, 2 with the prefix 66.
    WORDS = 4
    SHORT = 8
    #: WORDS, but 8 bytes with REX.W (MOV r64, imm64).
    QUAD = 16
    #: An address of 8 bytes, 4 with the prefix 67.
    ADDRESS = 32
    #: The immediate operand is there only where the reg field of ModRM is 0 or 1 (TEST, in group 3).
    TEST = 64
    #: No instruction in 64-bit mode, or one of another encoding (VEX, EVEX, XOP), which is never executed.
    NEVER = 128
    #: May be listed in its form with a memory operand, and in any other form.
    LISTED_MEMORY = 256
    LISTED_REGISTER = 512


class Mode(IntFlag):
    """When rows of the table count."""

    ALWAYS = 0
    #: A floating-point exception is not masked.
    UNMASKED = 1
    #: EFLAGS.AC is set.
    ALIGNMENT_CHECK = 2
    #: The process has had a handler for SIGSEGV or SIGBUS.
    CATCHES_FAULTS = 4


_ONE_BYTE: dict[Follows, Iterable[int]] = {
    Follows.MODRM: (
        *(base + n for base in range(0, 0x40, 8) for n in range(4)), 0x63, 0x69, 0x6B, *range(0x80, 0x90), 0xC0, 0xC1,
        0xC6, 0xC7, *range(0xD0, 0xD4), *range(0xD8, 0xE0), 0xF6, 0xF7, 0xFE, 0xFF,
    ),
    Follows.BYTE: (
        *range(4, 0x40, 8), 0x6A, 0x6B, *range(0x70, 0x81), 0x82, 0x83, 0xA8, *range(0xB0, 0xB8), 0xC0, 0xC1, 0xC6,
        0xC8, 0xCD, *range(0xE0, 0xE8), 0xEB, 0xF6,
    ),
    Follows.WORDS: (*range(5, 0x40, 8), 0x68, 0x69, 0x81, 0xA9, 0xC7, 0xE8, 0xE9, 0xF7),
    Follows.SHORT: (0xC2, 0xC8, 0xCA),
    Follows.QUAD: range(0xB8, 0xC0),
    Follows.ADDRESS: range(0xA0, 0xA4),
    Follows.TEST: (0xF6, 0xF7),
    Follows.NEVER: (0x62, 0xC4, 0xC5, 0xD4, 0xD5),
}  # fmt: skip
_NO_MODRM_0F = (
    *range(0x04, 0x0D), 0x0E, *range(0x30, 0x38), 0x77, *range(0x80, 0x90), *range(0xA0, 0xA3), *range(0xA8, 0xAB),
    *range(0xC8, 0xD0),
)  # fmt: skip
_0F: dict[Follows, Iterable[int]] = {
    Follows.MODRM: [n for n in range(256) if n not in _NO_MODRM_0F],
    Follows.BYTE: (0x0F, *range(0x70, 0x74), 0xA4, 0xAC, 0xBA, 0xC2, 0xC4, 0xC5, 0xC6),
    Follows.WORDS: range(0x80, 0x90),
}
_0F38: dict[Follows, Iterable[int]] = {Follows.MODRM: range(256)}
_0F3A: dict[Follows, Iterable[int]] = {Follows.MODRM: range(256), Follows.BYTE: range(256)}


_MODRM_ONE_BYTE = frozenset(_ONE_BYTE[Follows.MODRM])


def has_modrm(opcode_map: int, opcode: int) -> bool:
    """Whether a ModRM byte follows the opcode."""
    if opcode_map > 1:
        return True
    return opcode not in _NO_MODRM_0F if opcode_map else opcode in _MODRM_ONE_BYTE


def lengths() -> HostArray:
    """The table, with nothing listed."""
    table = HostArray((MAPS, 256), "H")
    table.bytes[:] = _lengths()
    return table


@functools.cache  # an engine has some, and a process may have many engines
def _lengths() -> bytes:
    table = HostArray((MAPS, 256), "H")
    for number, rows in enumerate((_ONE_BYTE, _0F, _0F38, _0F3A)):
        for follows, opcodes in rows.items():
            bits = int(follows)
            for opcode in opcodes:
                table.view[number, opcode] |= bits
    return bytes(table.bytes)

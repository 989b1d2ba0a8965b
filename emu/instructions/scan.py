"""Native code that goes through the instructions of a block."""

from __future__ import annotations

from emu.instructions.opcodes import Follows
from mmu.native import entry, load8, native

#: The longest instruction (SDM vol. 2, 2.3.11).
LONGEST = 15
_LISTED = Follows.LISTED_MEMORY | Follows.LISTED_REGISTER
_MAP_BYTES = 512
ENDS_INSIDE = 1 << 62
#: Which prefixes there are, as bits of what :func:`measure` finds.
OPERAND_SIZE, ADDRESS_SIZE, LOCK, REPNE, REP, REX, REX_W = 1, 2, 4, 8, 16, 32, 64
NOT_REX_W = 0xBF


@native
def _entry_of(table: int, opcode_map: int, opcode: int) -> int:
    at = table + opcode_map * _MAP_BYTES + opcode * 2
    return load8(at) | load8(at + 1) << 8


@native
def _prefix(byte: int) -> int:
    """The bit of a legacy prefix; 128 for one that matters to no length, 0 for another byte."""
    if byte == 0x66:
        return OPERAND_SIZE
    if byte == 0x67:
        return ADDRESS_SIZE
    if byte == 0xF0:
        return LOCK
    if byte == 0xF2:
        return REPNE
    if byte == 0xF3:
        return REP
    if byte & 0xE7 == 0x26 or byte == 0x64 or byte == 0x65:
        return 128
    return 0


@native
def _displacement(modrm: int, sib: int) -> int:
    """How many bytes of SIB and displacement follow a ModRM byte."""
    mod, rm = modrm >> 6, modrm & 7
    if mod == 3:
        return 0
    number = 1 if rm == 4 else 0
    if mod == 1:
        return number + 1
    if mod == 2 or rm == 5 or (rm == 4 and sib & 7 == 5):
        return number + 4
    return number


@native
def _immediate(follows: int, prefixes: int, modrm: int) -> int:
    """How many bytes of immediate operands there are."""
    if follows & Follows.TEST != 0 and modrm & 0x30 != 0:
        return 0
    number = 1 if follows & Follows.BYTE != 0 else 0
    if follows & Follows.SHORT != 0:
        number += 2
    if follows & Follows.QUAD != 0 and prefixes & REX_W != 0:
        number += 8
    elif follows & (Follows.WORDS | Follows.QUAD) != 0:
        number += 2 if prefixes & (OPERAND_SIZE | REX_W) == OPERAND_SIZE else 4
    if follows & Follows.ADDRESS != 0:
        number += 4 if prefixes & ADDRESS_SIZE != 0 else 8
    return number


@native
def _measure(code: int, room: int, table: int) -> int:
    """See :func:`measure`."""
    at, prefixes = 0, 0
    while at < room and (_prefix(load8(code + at)) != 0 or load8(code + at) & 0xF0 == 0x40):
        if load8(code + at) & 0xF0 == 0x40:  # as the engine has it, the last one counts wherever it stands
            prefixes = prefixes & NOT_REX_W | REX | (REX_W if load8(code + at) & 8 != 0 else 0)
        else:
            prefixes |= _prefix(load8(code + at))
        at += 1
    opcode_map = 0
    if at < room and load8(code + at) == 0x0F:
        opcode_map = 1
        at += 1
        if at < room and load8(code + at) & 0xFD == 0x38:
            opcode_map = 2 if load8(code + at) == 0x38 else 3
            at += 1
    if at >= room:
        return 0
    follows = _entry_of(table, opcode_map, load8(code + at))
    length, modrm, listed = at + 1, 0xC0, follows & Follows.LISTED_REGISTER
    if follows & Follows.MODRM != 0:
        if length >= room:
            return 0
        modrm = load8(code + length)
        if opcode_map == 1 and load8(code + at) & 0xFC == 0x20:
            modrm |= 0xC0  # MOV of control and debug registers
        if modrm >> 6 != 3:
            listed = follows & Follows.LISTED_MEMORY
        sib = load8(code + length + 1) if length + 1 < room else 0
        length += 1 + _displacement(modrm, sib)
    length += _immediate(follows, prefixes, modrm)
    if follows & Follows.NEVER != 0:
        return length | at << 8 | opcode_map << 16 | (prefixes & 0x7F) << 24 | 3 << 32
    if length > room or length > LONGEST:
        return 0
    seen = 1 if listed != 0 or prefixes & LOCK != 0 else 0
    return length | at << 8 | opcode_map << 16 | (prefixes & 0x7F) << 24 | seen << 32


@entry("u64", "u64", "u64", "u64")
def measure(code: int, room: int, table: int) -> int:
    """One instruction, of which ``room`` bytes are there: its length, where its opcode is (bits 8 to 15), the opcode's
    map (16 to 23), its prefixes (24 to 31), and whether it may be listed (bit 32), and is never executed (bit 33): then
    the length is that up to the opcode.  0 if it is longer than that.
    """
    return _measure(code, room, table)


@entry("u64", "u64", "u64", "u64", "u64")
def find_listed(code: int, start: int, end: int, table: int) -> int:
    """The first offset from ``start`` on, below ``end``, of an instruction that may be listed; ``end`` if there is
    none.  Where an instruction has not its end before ``end``, the engine has ended the block.
    """
    at = start
    while at < end:
        found = _measure(code + at, end - at, table)
        if found == 0:
            return end
        if found >> 32 != 0:
            return at
        at += found & 0xFF
    return end


@native
def look(code: int, end: int, table: int) -> int:
    """See :func:`look_through`."""
    at, number, seen = 0, 0, 0
    while at < end:
        found = _measure(code + at, end - at, table)
        number += 1
        seen |= found >> 32
        if found == 0:
            return number | seen << 63 | ENDS_INSIDE
        at += found & 0xFF if found >> 33 == 0 else end - at
    return number | seen << 63


@entry("u64", "u64", "u64", "u64")
def look_through(code: int, end: int, table: int) -> int:
    """How many instructions the block of so many bytes has; in bit 63, whether one of them may be listed; in bit 62,
    whether it ends within an instruction.  Behind what is never executed nothing counts.
    """
    return look(code, end, table)

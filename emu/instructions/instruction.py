"""One instruction, taken apart (SDM vol. 2, chapter 2)."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from emu.instructions.opcodes import ESCAPES, has_modrm
from emu.instructions.scan import ADDRESS_SIZE, LOCK, OPERAND_SIZE, REX_W

NO_REGISTER = 16
_RSP, _RBP = 4, 5
_FS, _GS = 0x64, 0x65


class MemoryOperand(NamedTuple):
    """Where a memory operand is: registers by number (16: none); an address relative to RIP is in ``displacement``."""

    base: int
    index_register: int
    scale: int
    displacement: int
    #: 0x64 or 0x65, the prefix of FS or GS; 0 for none.
    segment: int
    #: The bits that the address has.
    bits: int

    @property
    def on_stack(self) -> bool:
        """Whether SS is its segment, so that an address that is not canonical is #SS and not #GP."""
        return self.segment == 0 and self.base in (_RSP, _RBP)


class Instruction:
    """The instruction at the beginning of ``code``, which stands at ``address``; ``found`` is what
    :func:`emu.instructions.scan.measure` says of it."""

    def __init__(self, address: int, code: bytes, found: int) -> None:
        self.address, self.code = address, code[: found & 0xFF]
        self.opcode_at, self.opcode_map, self.prefixes = found >> 8 & 0xFF, found >> 16 & 0xFF, found >> 24 & 0x7F

    @property
    def length(self) -> int:
        """In bytes."""
        return len(self.code)

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + len(self.code) & 0xFFFF_FFFF_FFFF_FFFF

    @property
    def opcode(self) -> int:
        """The last byte of the opcode."""
        return self.code[self.opcode_at]

    @property
    def modrm(self) -> int:
        """The ModRM byte, where there is one."""
        return self.code[self.opcode_at + 1]

    @cached_property
    def _all_prefixes(self) -> bytes:
        return self.code[: self.opcode_at - len(ESCAPES[self.opcode_map])]

    @cached_property
    def legacy(self) -> bytes:
        """The legacy prefixes, as they stand there."""
        return bytes(byte for byte in self._all_prefixes if byte & 0xF0 != 0x40)

    @cached_property
    def rex(self) -> int:
        """The REX prefix, or 0."""
        return next((byte for byte in reversed(self._all_prefixes) if byte & 0xF0 == 0x40), 0)

    @cached_property
    def mandatory(self) -> int:
        """The prefix that is part of an SSE opcode: 0xF3, 0xF2, 0x66, or 0."""
        repeats = [byte for byte in self.legacy if byte in (0xF2, 0xF3)]
        return repeats[-1] if repeats else 0x66 if self.prefixes & OPERAND_SIZE else 0

    @property
    def locked(self) -> bool:
        """LOCK."""
        return bool(self.prefixes & LOCK)

    @property
    def wide(self) -> bool:
        """REX.W."""
        return bool(self.prefixes & REX_W)

    @property
    def operand_bytes(self) -> int:
        """The operand size of an integer instruction that is not one of bytes: 2, 4 or 8."""
        return 8 if self.wide else 2 if self.prefixes & OPERAND_SIZE else 4

    @property
    def has_modrm(self) -> bool:
        """Whether there is a ModRM byte."""
        return has_modrm(self.opcode_map, self.opcode)

    @property
    def is_memory(self) -> bool:
        """Whether ModRM, which is there, names a memory operand."""
        return self.modrm >> 6 != 3

    @property
    def digit(self) -> int:
        """The reg field of ModRM, where it extends the opcode."""
        return self.modrm >> 3 & 7

    @property
    def reg(self) -> int:
        """The register that the reg field names."""
        return self.modrm >> 3 & 7 | (self.rex & 4) << 1

    @property
    def rm(self) -> int:
        """The register that the r/m field names, where it names one."""
        return self.modrm & 7 | (self.rex & 1) << 3

    @property
    def immediate(self) -> int:
        """An immediate operand of one byte, which is the last one."""
        return self.code[-1]

    @property
    def operands_end(self) -> int:
        """The offset behind ModRM, SIB and displacement."""
        mod, rm, at = self.modrm >> 6, self.modrm & 7, self.opcode_at + 2
        if mod == 3:
            return at
        base = rm
        if rm == 4:
            base = self.code[at] & 7
            at += 1
        return at + (1 if mod == 1 else 4 if mod == 2 or base == 5 else 0)

    @cached_property
    def memory(self) -> MemoryOperand:
        """The memory operand, where ModRM names one."""
        mod, rm, at = self.modrm >> 6, self.modrm & 7, self.opcode_at + 2
        base, index, scale = rm | (self.rex & 1) << 3, NO_REGISTER, 1
        if rm == 4:
            sib = self.code[at]
            at += 1
            base = sib & 7 | (self.rex & 1) << 3
            index, scale = sib >> 3 & 7 | (self.rex & 2) << 2, 1 << (sib >> 6)
            index = NO_REGISTER if index == 4 else index
        size = (0, 1, 4)[mod]
        displacement = 0
        if mod == 0 and (rm == 5 or (rm == 4 and base & 7 == 5)):
            size = 4
            base = NO_REGISTER
            displacement = self.end if rm == 5 else 0
        displacement += int.from_bytes(self.code[at : at + size], "little", signed=True)
        bits = 0xFFFF_FFFF if self.prefixes & ADDRESS_SIZE else 0xFFFF_FFFF_FFFF_FFFF
        segments = [byte for byte in self.legacy if byte in (_FS, _GS)]
        return MemoryOperand(base, index, scale, displacement & bits, segments[-1] if segments else 0, bits)

"""What native code is told of an instruction: one number, for ``Hit.number``."""

from __future__ import annotations

from enum import IntEnum

from mmu.native import inlined


class Outcome(IntEnum):
    """What became of an instruction."""

    DONE = 0
    FAULT = 1  # its access to memory has failed, and nothing has changed
    MISALIGNED = 2  # its operand in memory is not aligned: #GP(0)
    UNMASKED = 3  # a floating-point exception that is not masked: #XM


class Code(IntEnum):
    """Which instruction."""

    FSIN = 0
    FCOS = 1
    FSINCOS = 2
    FPTAN = 3
    FPATAN = 4
    F2XM1 = 5
    FYL2X = 6
    FYL2XP1 = 7
    FPREM = 8
    FPREM1 = 9
    FXTRACT = 10
    FSCALE = 11
    FLDL2T = 12
    FLDL2E = 13
    FLDPI = 14
    FLDLG2 = 15
    FLDLN2 = 16
    FXAM = 17
    FISTTP = 18
    FBSTP = 19
    FNSTENV = 20
    PCMPESTRM = 21
    PCMPESTRI = 22
    PCMPISTRM = 23
    PCMPISTRI = 24
    DPPS = 25
    DPPD = 26
    HORIZONTAL = 27  # PHADD and PHSUB of an XMM register and itself
    HORIZONTAL_MMX = 28
    MMX = 29  # another SSSE3 instruction with MMX registers, before the engine executes it
    NEG = 30
    CMPXCHG = 31


def packed(
    code: Code,
    *,
    bits: int = 0,
    first: int = 0,
    second: int = 0,
    memory: bool = False,
    immediate: int = 0,
    wide: bool = False,
) -> int:
    """The number of an instruction: the size of its operand, the numbers of its registers, whether the other operand is
    in memory, the last byte (of HORIZONTAL: the opcode), and REX.W.
    """
    return code | bits << 8 | first << 16 | second << 24 | memory << 32 | wide << 33 | immediate << 40


@inlined
def code_of(number: int) -> int:
    """A :class:`Code`."""
    return number & 0xFF


@inlined
def bits_of(number: int) -> int:
    """The size of the operand."""
    return (number >> 8) & 0xFF


@inlined
def first_of(number: int) -> int:
    """The register that is the destination."""
    return (number >> 16) & 0xFF


@inlined
def second_of(number: int) -> int:
    """The register that is the source."""
    return (number >> 24) & 0xFF


@inlined
def is_in_memory(number: int) -> bool:
    """Whether the source is in memory."""
    return (number >> 32) & 1 != 0


@inlined
def is_wide(number: int) -> bool:
    """Whether REX.W is there."""
    return (number >> 33) & 1 != 0


@inlined
def immediate_of(number: int) -> int:
    """The immediate operand."""
    return (number >> 40) & 0xFF

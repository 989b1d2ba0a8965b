"""PHADDW, PHADDD, PHADDSW, PHSUBW, PHSUBD and PHSUBSW of a register and itself."""

from __future__ import annotations

from mmu.native import cold

_SIGN_16 = 0x8000


@cold
def _saturated(a: int, b: int, subtract: bool) -> int:
    """The sum or difference of two signed words, kept within a signed word."""
    # each moved by 2^15, so that nothing is below 0
    first, second = a ^ _SIGN_16, b ^ _SIGN_16
    total = first + 0x10000 - second if subtract else first + second  # of a and b, moved by 2^16
    if total < 0x8000:
        return 0x8000
    return 0x7FFF if total > 0x17FFF else total & 0xFFFF


@cold
def folded(half: int, opcode: int) -> int:
    """Of 64 bits of a register, the 32 that the instruction 0F 38 ``opcode`` makes of pairs of neighbours."""
    operation, subtract = opcode & 3, opcode & 4 != 0
    if operation == 2:
        low, high = half & 0xFFFF_FFFF, half >> 32
        return (low + (1 << 32) - high) & 0xFFFF_FFFF if subtract else (low + high) & 0xFFFF_FFFF
    result, place = 0, 0
    while place < 2:
        pair = half >> (32 * place)
        a, b = pair & 0xFFFF, (pair >> 16) & 0xFFFF
        if operation == 3:
            word = _saturated(a, b, subtract)
        elif subtract:
            word = (a + (1 << 16) - b) & 0xFFFF
        else:
            word = (a + b) & 0xFFFF
        result |= word << (16 * place)
        place += 1
    return result

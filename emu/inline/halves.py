"""The second 8 bytes of an aligned operand of 16, which lie in the page of the first: the engine looks for their
translation again, and need not.

Where the TLB has the page of the first 8 bytes, RDI points to the translation; where it has not, the function that is
called in the engine's place (:mod:`emu.inline.stubs`) leaves 0 there::

    mov rdi, address              nop ...
    shr rdi, 6                    mov rsi, address
    and rdi, [rbp+...]            test rdi, rdi
    add rdi, [rbp+...]            je slow
    lea rsi, [address+7]
    and rsi, 0xfffffffffffff000
    cmp rsi, [rdi]
    mov rsi, address
    jne slow
    add rsi, [rdi+0x20]           add rsi, [rdi+0x20]

What is on the left becomes what is on the right, if the few instructions in between are known, leave RDI alone, and add
8 to the address.
"""

from __future__ import annotations

from emu.inline.sites import pad
from mmu.native import load8, load32, load64, native, store8

_RDI, _NONE = 7, 16
_LOW_24, _LOW_56 = (1 << 24) - 1, (1 << 56) - 1
#: shr rdi, 6; add rsi, [rdi+0x20]; and rsi, 0xfffffffffffff000.
_SHIFT, _ADD, _AND = 0x06EFC148, 0x20770348, 0xFFFFF000E68148
#: So many instructions may be between both.
_MOST_BETWEEN = 6


@native
def _register(at: int) -> int:
    """The register that an instruction with a REX prefix names in the reg field."""
    return (load8(at + 2) >> 3 & 7) | (load8(at) & 4) << 1


@native
def _other_register(at: int) -> int:
    """And in the r/m field."""
    return (load8(at + 2) & 7) | (load8(at) & 1) << 3


@native
def _compared(at: int) -> int:
    """The length of cmp rsi, [rdi] or cmp rsi, [rdi+8] there; 0 if there is none."""
    if load32(at) & _LOW_24 == 0x373B48:
        return 3
    return 4 if load32(at) == 0x08773B48 else 0


@native
def _behind_access(at: int, address: int) -> int:
    """Where the code goes on behind the ``jne`` of an access; 0 if it is none of 8 bytes, or changes the register that
    has the address."""
    if load32(at) != _ADD or load8(at + 4) & 0xFB != 0x48 or load8(at + 6) & 0xC7 != 0x06:
        return 0
    if load8(at + 5) == 0x89:  # mov [rsi], register
        return at + 7
    register = _register(at + 4)
    return at + 7 if load8(at + 5) == 0x8B and register != address and register != _RDI else 0


@native
def _find_second(at: int, address: int) -> int:
    """Where the second access begins: mov rdi, register, which has the address and 8; 0 if there is something else."""
    second, left = _NONE, _MOST_BETWEEN
    while left != 0:
        prefix, opcode, operand = load8(at), load8(at + 1), load8(at + 2)
        if prefix & 0xF8 != 0x48:
            return 0
        short, long = operand & 0xC7 == 0x45, operand & 0xC7 == 0x85
        length, changed, in_frame = 7 if long else 4, _NONE, prefix & 1 == 0 and (short or long)
        if opcode == 0x8B and operand >= 0xC0:  # mov register, register
            length, changed = 3, _register(at)
            if changed == _RDI:
                return at if second != _NONE and _other_register(at) == second else 0
        elif opcode == 0x8B and in_frame:  # mov register, [rbp+...]
            changed = _register(at)
        elif opcode == 0x83 and operand & 0xF8 == 0xC0:  # add register, ...
            changed = _other_register(at)
            if changed == address and second == _NONE and load8(at + 3) == 8:
                second, changed = address, _NONE
        elif opcode == 0x8D and operand & 0xC0 == 0x40:  # lea register, [register+...]
            changed, base = _register(at), _other_register(at)
            if operand & 7 == 4:
                if load8(at + 3) != 0x24:
                    return 0
                length = 5
            if base == address and second == _NONE and load8(at + length - 1) == 8 and changed != _RDI:
                second, changed = changed, _NONE
        elif opcode != 0x89 or not in_frame:  # mov [rbp+...], register
            return 0
        if changed == _RDI or changed == address:  # noqa: SIM109 (native code has no tuples)
            return 0
        if changed != _NONE and changed == second:
            return 0
        at, left = at + length, left - 1
    return 0


@native
def shorten_second(compares: int, jumps: int) -> bool:
    """Have the access that follows use the translation of the first one, which compares here, and jumps there to where
    the TLB does not help; whether it does."""
    kind, address = _compared(compares), (load8(jumps - 1) & 7) | (load8(jumps - 3) & 1) << 3
    at = _behind_access(jumps + 6, address)
    if at == 0:
        return False
    begin = _find_second(at, address)
    if begin == 0 or load32(begin + 3) != _SHIFT:
        return False
    second = _other_register(begin)
    at = begin + 7
    if load32(at) & _LOW_24 != 0x7D2348 or load32(at + 4) & _LOW_24 != 0x7D0348:  # and, add rdi, [rbp+...]
        return False
    at += 8
    if load8(at) != 0x48 | second >> 3 or load8(at + 1) != 0x8D or load8(at + 2) != 0x70 | second & 7:
        return False  # lea rsi, [register+...]
    at += 3
    if second & 7 == 4:
        if load8(at) != 0x24:
            return False
        at += 1
    if load8(at) != 7 or load64(at + 1) & _LOW_56 != _AND or _compared(at + 8) != kind or kind == 0:
        return False
    at += 8 + kind
    if load32(at) & _LOW_24 != 0xF08B48 | second >> 3 | (second & 7) << 16:  # mov rsi, register
        return False
    if load8(at + 3) != 0x0F or load8(at + 4) != 0x85 or load32(at + 9) != _ADD:
        return False
    _write(begin, at + 3, second)
    return True


@native
def _write(begin: int, jumps: int, second: int) -> None:
    pad(begin, jumps - 6)
    at = jumps - 6
    store8(at, 0x48 | second >> 3)
    store8(at + 1, 0x8B)
    store8(at + 2, 0xF0 | second & 7)
    store8(at + 3, 0x48)  # test rdi, rdi
    store8(at + 4, 0x85)
    store8(at + 5, 0xFF)
    store8(jumps + 1, 0x84)  # je

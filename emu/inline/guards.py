"""Aligned operands of 16 bytes that blocks guard themselves: the engine's code for the access finds a misaligned one.

The engine loads or stores 16 bytes as two times 8, the first of them like this where its TLB has the page::

    lea rsi, [address+7]                 lea rsi, [address+0]
    and rsi, 0xfffffffffffff000          and rsi, 0xfffffffffffff00f
    cmp rsi, [rdi]                       cmp rsi, [rdi]
    mov rsi, address                     mov rsi, address
    jne slow                             jne slow
    ...                                  ...
    slow: mov rdi, rbp                   slow: mov rdi, rbp
    mov edx, kind                        mov edx, kind
    lea rcx, [here]                      lea rcx, [here]
    call load                            call load_aligned

In blocks that count themselves the second 8 bytes need no look at the TLB any more (:mod:`emu.inline.halves`).

What is on the left becomes what is on the right, which costs nothing where the operand is aligned, and else raises #GP
before the access, at this very instruction (SDM vol. 2, 2.4).  Which code is an instruction's, the engine says itself:
behind the code of a block are, for each of its instructions, by how much its address, a word of flags, and the end of
its code are higher than those of the one before, in LEB128.
"""

from __future__ import annotations

import ctypes

from emu.engine.records import GUARDED, Guards, KnownBlock
from emu.inline.halves import shorten_second
from emu.inline.sites import SIZE, Inline, code_of_call, have_stubs, put_distance, signed
from mmu.native import entry, load8, load32, load64, native, store8
from mmu.unicorn_abi import TB_BEFORE_CODE, TB_CODE_SIZE

_GUARDS_BYTES = ctypes.sizeof(Guards)
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_LOW_56 = (1 << 56) - 1
_LOW_24 = (1 << 24) - 1
#: and rsi, 0xfffffffffffff000; the byte that becomes 0x0f.
_NOT_GUARDED, _MASK_BYTE = 0xFFFFF000E68148, 3


@native
def _skip(at: int) -> int:
    """Where a number in LEB128 ends."""
    while load8(at) & 0x80 != 0:
        at += 1
    return at + 1


@native
def _value(at: int) -> int:
    """A number in signed LEB128 that is none below 0, and below 2**20; 2**32 for another one."""
    value = load8(at) & 0x7F
    if load8(at) & 0x80 == 0:
        return value if value & 0x40 == 0 else 1 << 32
    value |= (load8(at + 1) & 0x7F) << 7
    if load8(at + 1) & 0x80 == 0:
        return value if value & 1 << 13 == 0 else 1 << 32
    value |= (load8(at + 2) & 0x7F) << 14
    return value if load8(at + 2) & 0xC0 == 0 else 1 << 32


@native
def _guard_call(at: int, function: int, other: int, guarded: int, opcode: int, indirect: int) -> bool:
    """Have a call or jump of the engine's function, or of what stands in its place, lead to the one that guards."""
    if load8(at) == opcode:
        target = (at + 5 + signed(load32(at + 1))) & _ALL_ONES
        if target == guarded:
            return True
        if target != function and target != other:
            return False
        put_distance(at + 1, guarded)
        return True
    if load8(at) == 0xFF and load8(at + 1) == indirect:
        target = load64(at + 6 + load32(at + 2))
        if target != function and target != other:
            return False
        store8(at, opcode)
        put_distance(at + 1, guarded)
        store8(at + 5, 0x90)
        return True
    return False


@native
def _guard_slow(inline: Inline, at: int) -> bool:
    """The same for the code that goes on where the TLB does not help."""
    if load32(at) & _LOW_24 != 0xFD8B48:  # mov rdi, rbp
        return False
    at += 3
    if load8(at) == 0xBA and load32(at + 5) & _LOW_24 == 0x0D8D48:  # mov edx, kind; lea rcx, [here]
        return _guard_call(at + 12, inline.load, inline.other_load, inline.load_aligned, 0xE8, 0x15)
    if load8(at) & 0xFB == 0x48 and load8(at + 1) == 0x8B and load8(at + 2) & 0xF8 == 0xD0:  # mov rdx, value
        at += 3
    elif load8(at) & 0xFB == 0x49 and load8(at + 1) == 0x8B and load8(at + 2) & 0xF8 == 0xD0:
        at += 3
    if load8(at) != 0xB9 or load32(at + 5) & _LOW_24 != 0x058D4C:  # mov ecx, kind; lea r8, [here]
        return False
    if load8(at + 12) != 0x41 or load8(at + 13) != 0x50:  # push r8
        return False
    return _guard_call(at + 14, inline.store, inline.other_store, inline.store_aligned, 0xE9, 0x25)


@native
def _guard_access(inline: Inline, at: int, code: int, end: int) -> bool:
    """Guard the access whose ``and`` is there; the block's code is from ``code`` to ``end``."""
    adds, compares = load8(at - 1), at + 7
    if load8(at - 3) != 0x8D or load8(at - 2) & 0xF8 != 0x70 or load8(at - 4) & 0xFE != 0x48:
        if load32(at - 5) != 0x24748D49:  # lea rsi, [r12+...]
            return False
    if adds != 7 and not (adds == 0 and load8(at + _MASK_BYTE) == 0x0F):
        return False
    jumps = at + 7
    if load32(jumps) & _LOW_24 == 0x373B48:  # cmp rsi, [rdi]
        jumps += 3
    elif load32(jumps) == 0x08773B48:  # cmp rsi, [rdi+8]
        jumps += 4
    else:
        return False
    if load8(jumps) & 0xFE != 0x48 or load8(jumps + 1) != 0x8B or load8(jumps + 2) & 0xF8 != 0xF0:  # mov rsi, address
        return False
    jumps += 3
    slow = (jumps + 6 + signed(load32(jumps + 2))) & _ALL_ONES
    if load8(jumps) != 0x0F or load8(jumps + 1) != 0x85 or slow < code or slow >= end:  # jne slow
        return False
    if not _guard_slow(inline, slow):
        return False
    store8(at - 1, 0)
    store8(at + _MASK_BYTE, 0x0F)
    if inline.shortens != 0 and shorten_second(compares, jumps):
        inline.shortened += 1
    return True


@native
def _guard_first(inline: Inline, begin: int, stop: int, code: int, end: int) -> int:
    """Guard the first access of an instruction, whose code is from ``begin`` to ``stop``; where it is, or 0."""
    at = begin + 5
    while at < stop:
        found = load64(at) & _LOW_56
        if found == _NOT_GUARDED or found == GUARDED:  # noqa: SIM109 (native code has no tuples)
            return at if _guard_access(inline, at, code, end) else 0
        at += 1
    return 0


@entry("u64", Inline, "u64", KnownBlock)
def guard_operands(inline: Inline, returns_to: int, block: KnownBlock) -> int:
    """Have the code that has called the hook guard the aligned operands of its block; 1 if it does.  Some are perhaps
    guarded if it does not."""
    guards, size = Guards.from_address(block.guards), block.key & SIZE
    code = code_of_call(inline, returns_to, block.address, size)
    if code == 0 or not have_stubs(inline, returns_to):
        return 0
    end = code + load64(code - TB_BEFORE_CODE + TB_CODE_SIZE)
    at, stop, offset, wanted, done = end, code, 0, block.guards + _GUARDS_BYTES, 0
    while done < guards.number:
        begin = stop if stop > returns_to else returns_to
        offset += _value(at)
        at = _skip(_skip(at))
        stop += _value(at)
        at = _skip(at)
        if stop > end or offset > load64(wanted):
            return 0
        if offset == load64(wanted):
            found = _guard_first(inline, begin, stop, code, end)
            if found == 0:
                return 0
            if done == 0:
                guards.first = found
            wanted, done = wanted + 8, done + 1
    guards.returns_to = returns_to
    inline.guarded += done
    return 1

"""Blocks that count themselves: the hook of a block rewrites the code that has called it.

The engine begins the code of each block with a call of the hook, and a call that looks whether emulation is to stop::

    mov rdi, engine        mov edi, count
    mov rsi, address       mov dword [rdi+8], number           # the last block
    mov edx, size          add qword [rdi], instructions       # the clock
    mov rcx, trap          mov rax, [rdi]
    call on_block          cmp rax, [rdi+limit]
                           jb next
                           call [rdi+32]                       # reached(count)
    mov rdi, engine        mov rdi, engine
    xor esi, esi           xor esi, esi
    call check             call check
    next:                  next:

The code on the left, of which each byte is compared, becomes that on the right, as long as it is; the rest is a jump.
With them go the looks for a stop behind each access to memory, which the engine makes for hooks that stop emulation
there: the machine has none, and its code that is stopped elsewhere has to be at an exact point.

At a helper's call the engine keeps nothing in the registers that are changed.  Where a slice ends, or something is to
be done before a block (:class:`emu.hooks.TrapState` has ``aside``), the limit is reached, and the hook decides as ever.

Only a block counts itself that is plain: it has no listed instruction, none with REP at its end, and the engine makes
its code anew whenever the guest's changes.  What is listed depends on the mode, which the engine's code does not
(:class:`emu.instructions.opcodes.Mode`).  In the modes that few programs ever enter the limit is always reached.  In
the usual one, code that would be listed in a process that catches faults has a limit of its own.
"""

from __future__ import annotations

import ctypes

from emu.hooks import FAR, INLINE_BLOCK_BYTES, Count, InlineBlock, KnownBlock, TrapState
from emu.instructions.opcodes import MODE_SHIFT, Mode
from emu.instructions.plain import PlainBlocks
from emu.instructions.scan import look
from mmu.native import entry, load8, load32, load64, native, store8, store32, store64
from mmu.state import CODE_VIEW_BYTES, CODE_VIEWS, CodeView, fields
from mmu.unicorn_abi import STORES_RIP, TB_BEFORE_CODE, TB_CODE, TB_CODE_SIZE, TB_PC, TB_SIZE

#: So many blocks can count themselves before all code is forgotten.
MOST_BLOCKS = 1 << 18
#: After so many that are not as expected, and none that is, there are no more attempts.
MOST_MISSED = 1000
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_UPPER = 0xFFFF_FFFF_0000_0000
_PAGE, _OFFSET = 0x1000, 0xFFF
_SIZE = 0x7FFF_FFFF
_MOST_INSTRUCTIONS = 0x7FFF_FFFF
#: In the call of a function by the engine's table of constants, how far that can be.
_TABLE_REACH = 1 << 20
#: Registers by number.
_RCX, _RDX, _RSI, _RDI = 1, 2, 6, 7
#: Where the fields are that the code works on.
_BLOCK, _LIMIT, _LIMIT_UNCAUGHT, _REACHED = (
    getattr(Count, name).offset for name in ("block", "limit", "limit_uncaught", "reached")
)


class Inline(ctypes.Structure):
    """What the entry point knows.  Every field is a uint64."""

    trap: int  # host address of the TrapState
    engine: int  # uc_struct
    hook: int  # host address of on_block
    check: int  # and of helper_check_exit_request
    count: int  # of the Count
    blocks: int  # of InlineBlock[MOST_BLOCKS]; the first one is none
    number: int  # of them
    plain: int  # host address of PlainBlocks
    caught: int  # of the opcode table of a process that catches faults
    made: int  # how many blocks have been changed
    short: int  # how many had no room
    missed: int  # how many were not as expected
    looks: int  # how many looks for a stop have gone

    _fields_ = fields(__annotations__)


# -- what is there -----------------------------------------------------------------------------------------------------


@native
def _signed(number: int) -> int:
    """A 32-bit number with its sign."""
    return number | _UPPER if number >> 31 != 0 else number


@native
def _begin_of_constant(end: int, register: int, value: int) -> int:
    """Where the instruction begins that ends there and loads a register with a value, in one of the engine's ways; 0
    if there is none."""
    if value >> 32 == 0:  # mov r32, imm32
        return end - 5 if load8(end - 5) == 0xB8 + register and load32(end - 4) == value else 0
    if load8(end - 10) == 0x48 and load8(end - 9) == 0xB8 + register and load64(end - 8) == value:  # mov r64, imm64
        return end - 10
    if load8(end - 7) != 0x48:
        return 0
    if load8(end - 6) == 0xC7 and load8(end - 5) == 0xC0 + register and _signed(load32(end - 4)) == value:
        return end - 7
    if load8(end - 6) == 0x8D and load8(end - 5) == register * 8 + 5:  # lea r64, [rip+...]
        return end - 7 if (end + _signed(load32(end - 4))) & _ALL_ONES == value else 0
    return 0


@native
def _begin_of_call(end: int, function: int) -> int:
    """Where a call of this function begins that ends there; 0 if there is none."""
    if load8(end - 5) == 0xE8:
        return end - 5 if (end + _signed(load32(end - 4))) & _ALL_ONES == function else 0
    if load8(end - 6) == 0xFF and load8(end - 5) == 0x15 and load32(end - 4) < _TABLE_REACH:
        return end - 6 if load64(end + load32(end - 4)) == function else 0
    return 0


@native
def _begin(inline: Inline, end: int, address: int, size: int) -> int:
    """Where the code begins that calls the hook for this block and goes on at ``end``; 0 if that is not so."""
    at = _begin_of_call(end, inline.hook)
    if at != 0:
        at = _begin_of_constant(at, _RCX, inline.trap | FAR)
    if at != 0:
        at = _begin_of_constant(at, _RDX, size)
    if at != 0:
        at = _begin_of_constant(at, _RSI, address)
    return _begin_of_constant(at, _RDI, inline.engine) if at != 0 else 0


@native
def _end_of_check(inline: Inline, begin: int) -> int:
    """The end of the code that looks whether emulation is to stop; 0 if there is none."""
    at = 0
    if _begin_of_constant(begin + 5, _RDI, inline.engine) == begin:
        at = begin + 5
    elif _begin_of_constant(begin + 10, _RDI, inline.engine) == begin:
        at = begin + 10
    elif _begin_of_constant(begin + 7, _RDI, inline.engine) == begin:
        at = begin + 7
    if at == 0 or load8(at) != 0x33 or load8(at + 1) != 0xF6:  # xor esi, esi
        return 0
    if _begin_of_call(at + 7, inline.check) == at + 2:
        return at + 7
    return at + 8 if _begin_of_call(at + 8, inline.check) == at + 2 else 0


@native
def _code_of_block(begin: int, address: int, size: int) -> int:
    """Where the code of the block begins that goes on with the call of the hook; 0 if it is not this block's."""
    code = begin
    while code > begin - STORES_RIP:
        code -= 1
        block = code - TB_BEFORE_CODE
        if load64(block + TB_CODE) == code and load64(block + TB_PC) == address:
            return code if load8(block + TB_SIZE) | load8(block + TB_SIZE + 1) << 8 == size else 0
    return 0


# -- what it becomes ---------------------------------------------------------------------------------------------------


@native
def _length(inline: Inline, instructions: int) -> int:
    """How long the code is that counts a block."""
    return (5 if inline.count >> 32 == 0 else 10) + 23 + (0 if instructions < 0x80 else 3)


@native
def _write(inline: Inline, begin: int, end: int, goes_on: int, number: int, instructions: int, limit: int) -> None:
    at = begin
    if inline.count >> 32 == 0:
        store8(at, 0xB8 + _RDI)
        store32(at + 1, inline.count)
        at += 5
    else:
        store8(at, 0x48)
        store8(at + 1, 0xB8 + _RDI)
        store64(at + 2, inline.count)
        at += 10
    store8(at, 0xC7)  # mov dword [rdi+8], number
    store8(at + 1, 0x47)
    store8(at + 2, _BLOCK)
    store32(at + 3, number)
    at += 7
    store8(at, 0x48)  # add qword [rdi], instructions
    store8(at + 2, 0x07)
    if instructions < 0x80:
        store8(at + 1, 0x83)
        store8(at + 3, instructions)
        at += 4
    else:
        store8(at + 1, 0x81)
        store32(at + 3, instructions)
        at += 7
    store32(at, 0x48078B48)  # mov rax, [rdi]; cmp rax, [rdi+limit]
    store8(at + 4, 0x3B)
    store8(at + 5, 0x47)
    store8(at + 6, limit)
    store8(at + 7, 0x72)  # jb next
    store8(at + 8, goes_on - (at + 9))
    store8(at + 9, 0xFF)  # call [rdi+32]
    store8(at + 10, 0x57)
    store8(at + 11, _REACHED)
    at += 12
    if end == at + 1:
        store8(at, 0x90)
    elif end != at:
        store8(at, 0xEB)
        store8(at + 1, end - (at + 2))


@native
def _follows_access(at: int) -> bool:
    """Whether the instruction that ends there is the engine's access to memory, of 2 to 5 bytes: before it stands
    add rsi, [rdi+0x20]."""
    length: int = 2
    while length <= 5:
        if load32(at - length - 4) == 0x20770348:
            return True
        length += 1
    return False


@native
def _skip_looks(inline: Inline, begin: int, end: int) -> None:
    """Have the code no longer look for a stop behind its accesses to memory."""
    at = begin
    while at + 2 < end:
        if load8(at + 1) == 0xBF or load8(at) == 0xBF or load8(at + 1) == 0x8D:
            goes_on = _end_of_check(inline, at)
            if goes_on != 0 and goes_on <= end and _follows_access(at):
                store8(at, 0xEB)
                store8(at + 1, goes_on - (at + 2))
                inline.looks += 1
                at = goes_on - 1
        at += 1


@native
def _is_plain_caught(inline: Inline, space: int, address: int, size: int) -> bool:
    """Whether a block that is plain is so too in a process that catches faults; False where that is not known."""
    if space >> MODE_SHIFT == Mode.CATCHES_FAULTS:
        return True
    known, page, offset = PlainBlocks.from_address(inline.plain), address >> 12, address & _OFFSET
    view = CodeView.from_address(known.code_views + ((page + space * 37) & (CODE_VIEWS - 1)) * CODE_VIEW_BYTES)
    if view.page != page + 1 or view.space != space or offset + size > _PAGE:
        return False
    return look(known.ram + view.frame * _PAGE + offset, size, inline.caught) >> 62 == 0


@entry("u64", Inline, "u64", KnownBlock)
def count_inline(inline: Inline, returns_to: int, block: KnownBlock) -> int:
    """Have a plain block count itself from now on; ``returns_to``: where its code goes on behind the hook.  1 if it
    does."""
    trap = TrapState.from_address(inline.trap)
    space, instructions = trap.code_id, block.instructions
    mode = space >> MODE_SHIFT
    if mode != Mode.ALWAYS and mode != Mode.CATCHES_FAULTS:
        return 0
    if instructions == 0 or instructions > _MOST_INSTRUCTIONS or inline.number == MOST_BLOCKS:
        return 0
    size = block.key & _SIZE
    begin = _begin(inline, returns_to, block.address, size)
    goes_on = _end_of_check(inline, returns_to)
    code = 0 if begin == 0 else _code_of_block(begin, block.address, size)
    if code == 0 or goes_on == 0:
        inline.missed += 1
        if inline.missed >= MOST_MISSED and inline.made == 0:
            trap.inline = 0
        return 0
    if returns_to - begin < _length(inline, instructions):
        inline.short += 1
        return 0
    number, limit = inline.number, _LIMIT
    if not _is_plain_caught(inline, space, block.address, size):
        limit = _LIMIT_UNCAUGHT
    made = InlineBlock.from_address(inline.blocks + number * INLINE_BLOCK_BYTES)
    made.address, made.size, made.instructions = block.address, size, instructions
    _write(inline, begin, returns_to, goes_on, number, instructions, limit)
    _skip_looks(inline, goes_on, code + load64(code - TB_BEFORE_CODE + TB_CODE_SIZE))
    inline.number += 1
    inline.made += 1
    return 1

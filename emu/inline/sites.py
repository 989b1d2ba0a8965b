"""Blocks that count themselves: the hook of a block rewrites the code that has called it.

The engine begins the code of each block with a call of the hook, and a call that looks whether emulation is to stop::

    mov [rbp+rip], address        mov dword [block], number        # the last block
    mov rdi, engine               sub qword [unused], instructions
    mov rsi, address              jb stub
    mov edx, size                 nop ...
    mov rcx, trap
    call on_block
    mov rdi, engine
    xor esi, esi
    call check
    next:                         next:

The code on the left, of which each byte is compared, becomes that on the right, as long as it is.  The stub, which lies
near (:mod:`emu.inline.stubs`), asks the hook, which decides as ever where a slice ends, or something is to be done
before a block (:class:`emu.engine.records.TrapState` has ``aside``), and looks whether emulation is to stop.  Then RIP
is stored.

And where a block ends with a conditional branch, whose both ways the engine leads to the next block by a jump that it
changes, it changes the branch itself for one of them::

    jne 1f                        jne the next block
    jmp the next block            jmp the next block
    ...                           ...
    1: jmp the next block         1: jmp 2f
    2: ...                        2: ...

At a helper's call the engine keeps nothing in the registers that are changed.

Only a block counts itself that is plain: it has no listed instruction, none with REP at its end, and the engine makes
its code anew whenever the guest's changes.  What is listed depends on the mode, which the engine's code does not
(:class:`emu.instructions.opcodes.Mode`).  In the modes that few programs ever enter the limit is always reached.  In
the usual one, code that would be listed in a process that catches faults has places of its own.
"""

from __future__ import annotations

import ctypes

from emu.engine.records import FAR, INLINE_BLOCK_BYTES, PLACES, Count, Guards, InlineBlock, KnownBlock, TrapState
from emu.instructions.opcodes import MODE_SHIFT, Mode
from emu.instructions.plain import PlainBlocks
from emu.instructions.scan import look
from mmu.native import call3, entry, load8, load32, load64, native, store8, store64
from mmu.state import CODE_VIEW_BYTES, CODE_VIEWS, CodeView, fields
from mmu.unicorn_abi import (
    STORES_RIP,
    TB_BEFORE_CODE,
    TB_CODE,
    TB_CODE_SIZE,
    TB_JUMPS,
    TB_PC,
    TB_RESETS,
    TB_SIZE,
)

#: So many blocks can count themselves before all code is forgotten.
MOST_BLOCKS = 1 << 18
#: From one function for PALIGNR to the next, and how many there are: from 32 bytes on nothing is left.
PALIGNR_BYTES, PALIGNR_NUMBER = 32, 32
#: After so many that are not as expected, and none that is, there are no more attempts.
MOST_MISSED = 1000
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_UPPER = 0xFFFF_FFFF_0000_0000
_PAGE, _OFFSET = 0x1000, 0xFFF
#: The bits of a KnownBlock's key that are its size.
SIZE = 0x7FFF_FFFF
_MOST_INSTRUCTIONS = 0x7FFF_FFFF
#: In the call of a function by the engine's table of constants, how far that can be.
_TABLE_REACH = 1 << 20
#: Registers by number.
_RCX, _RDX, _RBX, _RSI, _RDI = 1, 2, 3, 6, 7
_LOW_56 = (1 << 56) - 1
#: Where the fields are that the code works on.
_BLOCK, _UNUSED = (getattr(Count, name).offset for name in ("block", "unused"))
#: How far a jump goes; less than the engine's code is long.
_REACH = (1 << 31) - (1 << 28)
#: Before the end of its block a branch is behind so much at least; and so much may be before a jump, to align it.
_MOST_BEFORE, _MOST_PADDING = 63, 3


class Inline(ctypes.Structure):
    """What the entry point knows.  Every field is a uint64."""

    trap: int  # host address of the TrapState
    engine: int  # uc_struct
    hook: int  # host address of on_block
    check: int  # and of helper_check_exit_request
    make_stubs: int  # make_stubs(record, near, 0) sets the next fields
    stubs: int  # host address of what is called where a limit is reached; 0: not yet made
    load: int  # host address of the engine's load of 8 bytes where its TLB does not help
    store: int  # and of its store
    other_load: int  # what the engine calls in their place once there was a machine in exact mode, or 0
    other_store: int
    load_aligned: int  # those for 16 bytes that must be aligned
    store_aligned: int
    palignr: int  # host address of the engine's function for PALIGNR of 16 bytes; 0 if that is to stay
    shifts: int  # and of ours for each immediate operand, PALIGNR_BYTES from one to the next
    find: int  # host address of the engine's function that finds the code where a jump leads
    finds: int  # and of ours; 0: the engine's stays
    count: int  # of the Count
    blocks: int  # of InlineBlock[MOST_BLOCKS]; the first one is none
    number: int  # of them
    plain: int  # host address of PlainBlocks
    caught: int  # of the opcode table of a process that catches faults
    made: int  # how many blocks have been changed
    short: int  # how many had no room
    missed: int  # how many were not as expected
    guarded: int  # how many operands are guarded by the code itself
    shortens: int  # whether the second 8 bytes of a guarded operand use the translation of the first
    shortened: int  # how many do
    straight: int  # how many conditional branches lead to the next block
    found: int  # how many indirect jumps and returns find the next block by our function

    _fields_ = fields(__annotations__)


# -- what is there -----------------------------------------------------------------------------------------------------


@native
def signed(number: int) -> int:
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
    if load8(end - 6) == 0xC7 and load8(end - 5) == 0xC0 + register and signed(load32(end - 4)) == value:
        return end - 7
    if load8(end - 6) == 0x8D and load8(end - 5) == register * 8 + 5:  # lea r64, [rip+...]
        return end - 7 if (end + signed(load32(end - 4))) & _ALL_ONES == value else 0
    return 0


@native
def _begin_of_call(end: int, function: int) -> int:
    """Where a call of this function begins that ends there; 0 if there is none."""
    if load8(end - 5) == 0xE8:
        return end - 5 if (end + signed(load32(end - 4))) & _ALL_ONES == function else 0
    if load8(end - 6) == 0xFF and load8(end - 5) == 0x15 and load32(end - 4) < _TABLE_REACH:
        return end - 6 if load64(end + load32(end - 4)) == function else 0
    return 0


@native
def _end_of_call(begin: int, function: int) -> int:
    """Where a call of this function ends that begins there; 0 if there is none."""
    if _begin_of_call(begin + 5, function) == begin:
        return begin + 5
    return begin + 6 if _begin_of_call(begin + 6, function) == begin else 0


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
def _stores_rip(at: int, end: int, address: int) -> bool:
    """Whether the code from ``at`` to ``end`` stores RIP."""
    if end - at == 11:  # mov qword [rbp+0x80], imm32
        return load64(at) & _LOW_56 == 0x8085C748 and signed(load32(at + 7)) == address
    if load64(end - 7) & _LOW_56 != 0x809D8948:  # mov [rbp+0x80], rbx
        return False
    return _begin_of_constant(end - 7, _RBX, address) == at


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
    return _end_of_call(at + 2, inline.check)


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


@native
def code_of_call(inline: Inline, returns_to: int, address: int, size: int) -> int:
    """Where the code of this block begins, if it calls the hook first, and goes on at ``returns_to``; 0 if that is not
    so."""
    begin = _begin(inline, returns_to, address, size)
    if begin == 0 or _end_of_check(inline, returns_to) == 0:
        return 0
    code = _code_of_block(begin, address, size)
    return code if code != 0 and _stores_rip(code, begin, address) else 0


# -- what it becomes ---------------------------------------------------------------------------------------------------


@native
def _put(at: int, code: int, length: int) -> int:
    """Write so many bytes, the lowest first; where they end."""
    while length != 0:
        store8(at, code & 0xFF)
        at, code, length = at + 1, code >> 8, length - 1
    return at


@native
def pad(at: int, end: int) -> None:
    """Fill up with instructions that do nothing, as few as there can be (SDM vol. 2, NOP)."""
    while end - at > 9:
        at = _put(at, 0x841F0F2E66, 10)
    if end - at > 7:
        at = _put(_put(at, 0x66, end - at - 8), 0x841F0F, 8)
    while end - at > 1:
        at = _put(at, 0x66, 1)
    if end != at:
        store8(at, 0x90)


@native
def reaches(at: int, target: int) -> bool:
    """Whether a jump from there reaches a host address."""
    return target != 0 and (target - at < _REACH if target > at else at - target < _REACH)


@native
def put_distance(at: int, target: int) -> int:
    """Write how far it is from behind these 4 bytes to a host address; where they end."""
    return _put(at, (target | 1 << 63) - (at + 4), 4)


@native
def _length(inline: Inline, instructions: int) -> int:
    """How long the code is that counts a block."""
    return (26 if inline.count >> 31 == 0 else 28) + (0 if instructions < 0x80 else 3)


@native
def _write(inline: Inline, begin: int, end: int, goes_on: int, number: int, instructions: int, place: int) -> None:
    """``end``: where the hook that runs returns to; ``place``: where from the Count on it takes its instructions."""
    takes = 0x83 if instructions < 0x80 else 0x81
    if inline.count >> 31 == 0:  # an address that is short
        at = _put(_put(begin, 0x2504C7, 3), inline.count + _BLOCK, 4)  # mov dword [block], number
        at = _put(_put(at, number, 4), 0x252C0048 | takes << 8, 4)  # sub qword [place], instructions
        at = _put(at, inline.count + place, 4)
    else:
        at = _put(_put(begin, 0x48 | (0xB8 + _RDI) << 8, 2), inline.count, 8)  # mov rdi, count
        at = _put(_put(at, 0x47C7 | _BLOCK << 16, 3), number, 4)  # mov dword [rdi+block], number
        at = _put(at, 0x6F0048 | takes << 8 | place << 24, 4)  # sub qword [rdi+place], instructions
    at = _put(at, instructions, 1 if instructions < 0x80 else 4)
    at = put_distance(_put(at, 0x820F, 2), inline.stubs)  # jb stub
    pad(at, end)
    pad(end, goes_on)


@native
def _is_padding(at: int, end: int) -> bool:
    """Whether there is at most one instruction there, which does nothing."""
    if at == end:
        return True
    while end - at > 1 and load8(at) == 0x66:
        at += 1
    return end - at == 1 and load8(at) == 0x90


@native
def _lead_straight(inline: Inline, code: int) -> None:
    """Have the conditional branch at the end of a block lead to the next block, as its jump there does; the engine
    changes the branch from now on in place of that jump, which leads to what asks for the next block."""
    block = code - TB_BEFORE_CODE
    end, one, other = code + load64(block + TB_CODE_SIZE), code + load64(block + TB_JUMPS), load64(block + TB_JUMPS + 8)
    resets, target = code + (load32(block + TB_RESETS) >> 16), code + other
    if one < code + _MOST_BEFORE or one + 4 > target or target + 4 > end or resets != target + 4:
        return
    if load8(one - 1) != 0xE9 or load8(target - 1) != 0xE9:  # jmp
        return
    branch = one - 1
    while branch > one - 5 and load8(branch - 6) != 0x0F:
        branch -= 1
    if load8(branch - 6) != 0x0F or load8(branch - 5) & 0xF0 != 0x80 or not _is_padding(branch, one - 1):  # jcc
        return
    to = (branch + signed(load32(branch - 4))) & _ALL_ONES
    if to > target - 1 or target - 1 - to > _MOST_PADDING or not _is_padding(to, target - 1):
        return
    put_distance(branch - 4, (target + 4 + signed(load32(target))) & _ALL_ONES)
    store64(block + TB_JUMPS + 8, branch - 4 - code)
    _put(target, 0, 4)
    inline.straight += 1


@native
def _shorten_calls(inline: Inline, begin: int, end: int) -> None:
    """Have PALIGNR call ours."""
    at = begin
    while at + 10 <= end:
        if load8(at) == 0xB9 and load8(at + 5) == 0xE8 and load32(at + 1) < PALIGNR_NUMBER:  # mov ecx, number; call
            if (at + 10 + signed(load32(at + 6))) & _ALL_ONES == inline.palignr:
                put_distance(at + 6, inline.shifts + load32(at + 1) * PALIGNR_BYTES)
                at += 9
        at += 1


@native
def _shorten_jump(inline: Inline, begin: int, end: int) -> None:
    """Have an indirect jump or a return call ours: the last instructions of the block, in the code before that of
    accesses that the TLB does not help."""
    at = begin
    while at + 10 <= end:
        if load8(at) == 0x48 and load8(at + 1) == 0x8B and load8(at + 2) == 0xFD:  # mov rdi, rbp
            goes_on = _end_of_call(at + 3, inline.find)
            if goes_on != 0 and load8(goes_on) == 0xFF and load8(goes_on + 1) == 0xE0:  # jmp rax
                store8(at + 3, 0xE8)
                pad(put_distance(at + 4, inline.finds), goes_on)
                inline.found += 1
        at += 1


@native
def have_stubs(inline: Inline, near: int) -> bool:
    """Whether code there can jump to the stubs; they are made now where there are none yet."""
    if inline.stubs == 0 and inline.make_stubs != 0:
        call3(inline.make_stubs, near, 0, 0)
    return reaches(near, inline.stubs)


@native
def _is_plain_caught(inline: Inline, space: int, block: KnownBlock) -> bool:
    """Whether a block that may count itself may do so in a process that catches faults, too; False where that is not
    known."""
    if space >> MODE_SHIFT == Mode.CATCHES_FAULTS:
        return True
    if block.guards != 0:
        return Guards.from_address(block.guards).caught != 0
    address, size = block.address, block.key & SIZE
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
    size = block.key & SIZE
    code = code_of_call(inline, returns_to, block.address, size)
    if code == 0:
        inline.missed += 1
        if inline.missed >= MOST_MISSED and inline.made == 0:
            trap.inline = 0
        return 0
    if returns_to - code < _length(inline, instructions):
        inline.short += 1
        return 0
    if not have_stubs(inline, returns_to):
        return 0
    number = inline.number
    place = _UNUSED + (number & (PLACES - 1)) * 8
    if not _is_plain_caught(inline, space, block):
        place += PLACES * 8
    made = InlineBlock.from_address(inline.blocks + number * INLINE_BLOCK_BYTES)
    goes_on = _end_of_check(inline, returns_to)
    made.address, made.size, made.instructions, made.goes_on = block.address, size, instructions, goes_on
    made.unused = inline.count + place
    _write(inline, code, returns_to, goes_on, number, instructions, place)
    _lead_straight(inline, code)
    end = code + load64(code - TB_BEFORE_CODE + TB_CODE_SIZE)
    if inline.palignr != 0:
        _shorten_calls(inline, goes_on, end)
    if inline.finds != 0:
        _shorten_jump(inline, goes_on, end)
    inline.number += 1
    inline.made += 1
    return 1

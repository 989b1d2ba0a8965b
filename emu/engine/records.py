"""The records that native hooks share with Python: the time slice, blocks of code that are known, and what is done with
single instructions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from mmu.state import UNUSED, WordArray, fields


class TrapReason(IntEnum):
    """Why a hook stopped emulation."""

    NONE = 0
    SLICE = 1
    SYSCALL = 2
    ANEW = 3  # the block is to be entered again, perhaps as another piece
    REFUSED = 4  # an instruction raises an exception
    DONE = 5  # an instruction has been executed: to go on behind it


class HitKind(IntEnum):
    """What is done before a piece of which the first instruction is listed."""

    CALL = 0  # a function is called: 0 means that the piece may run, anything else that emulation stops
    ALIGNED = 1  # and if its memory operand is not aligned


class TrapState(ctypes.Structure):
    """The record that the hooks share with :class:`emu.cpu.cpu.Cpu`.  Every field is a uint64."""

    limit: int  # the slice ends when so many instructions are retired; 0 while something must be done before that
    reason: int
    count: int  # host address of the Count
    rflags: int  # at a system call
    rflags_at: int  # host address of the field above
    reg_read: int  # host address of uc_reg_read
    emu_stop: int  # host address of uc_emu_stop
    new_block: int  # host address of new(uc, address, size): makes it known; 0: it is to be entered anew
    table: int  # host address of the table of known blocks
    block: int  # the address of the last block that the hook counted
    code_id: int  # distinguishes code of different programs at the same address
    registers: int  # host address of the general registers
    aside: int  # the limit plus 1 while something must be done before the next block; else 0
    goes_on: int  # the address at which a block that was counted goes on, plus 1; else 0
    ahead: int  # how many of its instructions from there on are counted, or from the one that is a Hit
    fetched: int  # host address of MmuState.fetched
    patched: int  # how many bytes of code stand in for the guest's while a piece is translated
    patched_at: int  # their host address
    patched_old: int  # the guest's
    last_end: int  # where the string instruction with REP ends that ran last
    last_clock: int  # and the clock behind it: while that stands, it goes on
    iterations: int  # of such instructions, but their first ones
    plain: int  # host address of plain(record, address, size), which makes a block known unless it answers 0; 0: nobody
    plain_record: int  # and of its record
    answer: int  # host address of answer(uc, fast_path, 0), asked for each system call first; 0: nobody
    fast_path: int  # host address of its record
    open: int  # all ones while code counts itself that is plain in any process; else 0
    open_uncaught: int  # and code that is plain only in a process that does not catch faults
    inline: int  # host address of inline(record, return address, block): has a block count itself; 0: nobody
    inline_record: int  # and of its record
    guard: int  # host address of guard(inline_record, return address, block): has a block guard its operands
    returns_to: int  # where the code goes on that has called the hook; 0 where that counts itself

    _fields_ = fields(__annotations__)


class Count(ctypes.Structure):
    """What code that counts itself works on (:mod:`emu.inline.sites`): MmuState from ``granted`` on.  Every field is a
    uint64, or an array of them.

    A block takes its instructions from one place of ``unused``, and asks us where that has not so many.  Blocks have
    different places so that one need not wait for what the one before it has stored.
    """

    granted: int  # instructions retired, and all that is unused: no more than the slice's limit
    unused: WordArray  # PLACES for all code, then as many for code that is plain only where faults are not caught
    lent: int  # whether there are any
    last: int  # host address of the place that had too few last
    block: int  # the number of the block that counted itself last; 0 if the hook counted another one since
    reached: int  # host address of reached(count): called where there are not so many unused
    trap: int  # host address of the TrapState
    engine: int  # uc_struct
    blocks: int  # host address of InlineBlock[]

    _fields_ = fields(__annotations__, unused=ctypes.c_uint64 * UNUSED)


class InlineBlock(ctypes.Structure):
    """A block that counts itself.  Every field is a uint64."""

    address: int
    size: int
    instructions: int
    goes_on: int  # host address of its code behind what counts it
    unused: int  # host address of the place that it takes them from

    _fields_ = fields(__annotations__)


INLINE_BLOCK_BYTES = ctypes.sizeof(InlineBlock)
#: Places to take unused instructions from, a power of 2.
PLACES = UNUSED // 2
UNCAUGHT = Count.unused.offset + PLACES * 8  # type: ignore[attr-defined]


class KnownBlock(ctypes.Structure):
    """A block of code that was looked through once.  Every field is a uint64."""

    address: int
    key: int  # code_id << 32 | size in bytes; with SPECIAL if one of the fields from ``goes_on`` on says anything
    instructions: int  # from here to the end of the block; with ENDS_REPEATING and REPEATS
    before: int  # of these, in this piece
    goes_on: int  # where the block goes on, plus 1, with STOPS; 0 if this is all
    hit: int  # host address of the Hit of the first instruction, or 0
    code: int  # host address of a CodeCopy, if the code may change unseen, or 0
    guards: int  # host address of what is known of its aligned operands, which it is to guard itself, or 0

    _fields_ = fields(__annotations__)


class Hit(ctypes.Structure):
    """What is done with one instruction.  Every field is a uint64."""

    kind: int
    function: int  # host address of call(uc, hit, address)
    otherwise: int  # the same, or 0: called where the first one does not return 0
    mask: int  # of the bits that are 0 in an aligned address
    base: int  # number of a general register; 16 for none
    index_register: int
    scale: int
    displacement: int  # with the address of the next instruction, if it is relative to that
    segment: int  # host address of the segment's base, or 0
    bits: int  # that addresses have
    number: int  # for the function
    engine: int  # host address of an Engine, for native code that executes an instruction

    _fields_ = fields(__annotations__)


class Guards(ctypes.Structure):
    """The aligned operands of a block that is to guard them itself; their instructions' offsets from its beginning
    follow, each as a uint64.  Every field is a uint64."""

    number: int
    caught: int  # whether nothing else in the block is listed where the process catches faults
    returns_to: int  # where the code goes on behind the hook that guarded them last
    first: int  # host address of GUARDED in it, if it is still that code

    _fields_ = fields(__annotations__)


def guards_of(offsets: Sequence[int], *, caught: bool) -> Any:
    """A record of Guards, and behind it these offsets."""
    return (ctypes.c_uint64 * (4 + len(offsets)))(len(offsets), caught, 0, 0, *offsets)


class CodeCopy(ctypes.Structure):
    """The bytes of a block when it was looked through, and where they are.  Every field is a uint64."""

    copy: int  # host address
    code: int  # host address
    length: int
    next_page: int  # host address of what lies in the next page
    next_length: int

    _fields_ = fields(__annotations__)


#: How many known blocks there may be; the table is direct-mapped by address.
TABLE_ENTRIES = 1 << 18
BLOCK_BYTES = ctypes.sizeof(KnownBlock)
SPECIAL = 1 << 31
NOT_SPECIAL = 0xFFFF_FFFF_7FFF_FFFF
#: Emulation stops where the block goes on, as the engine would execute what has been executed.
STOPS, NOT_STOPS = 1 << 63, (1 << 63) - 1
NO_REGISTER = 16
#: Goes with the address that the engine is to give on_block, so that the instruction that does so has always the length
#: of one with any address.
FAR = 1 << 62
#: The last instruction of a block is a string instruction with REP; and it is the only one.
ENDS_REPEATING, REPEATS = 1 << 32, 1 << 33
#: and rsi, 0xfffffffffffff00f: the engine's code for an access that is guarded (:mod:`emu.inline.guards`).
GUARDED = 0xFFFFF00FE68148

"""The machine's native hooks: the time slice, counted in instructions, and the system-call trap."""

from __future__ import annotations

import ctypes
from enum import IntEnum

from unicorn.x86_const import UC_X86_REG_RFLAGS

from mmu.native import call1, call3, entry, load64, store64
from mmu.state import fields


class TrapReason(IntEnum):
    """Why a hook stopped emulation."""

    NONE = 0
    SLICE = 1
    SYSCALL = 2


class TrapState(ctypes.Structure):
    """The record that the hooks share with :class:`emu.cpu.Cpu`.  Every field is a uint64."""

    budget: int  # instructions left in this slice
    reason: int
    clock: int  # host address of the count of retired instructions
    rflags: int  # at a system call
    rflags_at: int  # host address of the field above
    reg_read: int  # host address of uc_reg_read
    emu_stop: int  # host address of uc_emu_stop
    count_block: int  # host address of count(uc, address, size) -> instructions (and REPEATS), asked once per block
    table: int  # host address of the table of known blocks
    code_id: int  # distinguishes code of different programs at the same address
    last_end: int  # where the block ends that was run last
    iterations: int  # of string instructions with REP, but their first ones

    _fields_ = fields(__annotations__)


class KnownBlock(ctypes.Structure):
    """A block of code that was counted once.  Every field is a uint64."""

    address: int
    key: int  # code_id << 32 | size in bytes
    instructions: int
    repeats: int  # it is one string instruction with REP

    _fields_ = fields(__annotations__)


#: What count_block adds for a block that is one string instruction with REP.
REPEATS = 1 << 32
#: How many known blocks there may be; the table is direct-mapped by address.
TABLE_ENTRIES = 1 << 15
BLOCK_BYTES = ctypes.sizeof(KnownBlock)


@entry("void", "u64", "u64", "u32", TrapState)
def on_block(uc: int, address: int, size: int, trap: TrapState) -> None:
    """UC_HOOK_BLOCK: count the block's instructions, or stop before it where the slice is used up (an exact point).

    The engine runs each iteration of a repeated string instruction as a block: one instruction, and one more of the
    slice for each.
    """
    if trap.budget == 0:
        trap.reason = TrapReason.SLICE
        call1(trap.emu_stop, uc)
        return
    number = (address ^ (address >> 15)) & (TABLE_ENTRIES - 1)
    block = KnownBlock.from_address(trap.table + number * BLOCK_BYTES)
    key = (trap.code_id << 32) | size
    if block.address == address and block.key == key:
        instructions = block.instructions
    else:
        counted = call3(trap.count_block, uc, address, size)
        instructions = counted & (REPEATS - 1)
        block.address = address
        block.key = key
        block.instructions = instructions
        block.repeats = counted & REPEATS
    end = address + size
    if block.repeats == 0 or end != trap.last_end:
        store64(trap.clock, load64(trap.clock) + instructions)
    else:
        trap.iterations += 1
    trap.last_end = end
    if trap.budget > instructions:
        trap.budget -= instructions
    else:
        trap.budget = 0


@entry("void", "u64", TrapState)
def on_syscall(uc: int, trap: TrapState) -> None:
    """UC_HOOK_INSN for SYSCALL: stop emulation and save RFLAGS; RIP will be behind the instruction."""
    call3(trap.reg_read, uc, UC_X86_REG_RFLAGS, trap.rflags_at)
    trap.reason = TrapReason.SYSCALL
    call1(trap.emu_stop, uc)

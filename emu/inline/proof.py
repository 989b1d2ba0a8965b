"""The proof that blocks may count themselves (:mod:`emu.inline.sites`) and guard their operands
(:mod:`emu.inline.guards`), on this very engine and host."""

from __future__ import annotations

import ctypes
import pathlib
from typing import Any, NamedTuple

from unicorn import UC_ARCH_X86, UC_HOOK_BLOCK, UC_HOOK_INTR, UC_MODE_64, Uc
from unicorn import x86_const as x86

from emu.engine.hooks import set_limit
from emu.engine.records import BLOCK_BYTES, FAR, SPECIAL, TABLE_ENTRIES, KnownBlock, TrapReason, TrapState, guards_of
from emu.inline import stubs
from emu.inline.inlining import Inlining
from emu.instructions.plain import PlainBlocks
from mmu import unicorn_abi
from mmu.guard import Guard
from mmu.host_array import HostArray, low_record
from mmu.native import reference_mode
from mmu.objectcode import Library, load
from mmu.selftest import once_for_library
from mmu.state import MmuState

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_NEW_BLOCK = ctypes.CFUNCTYPE(*[ctypes.c_uint64] * 4)


class Unproven(Exception):
    """Something is not as expected here; the message says what."""


def prove(hooks: Library) -> None:
    """Raise :class:`Unproven` unless blocks that count themselves do what the hook does; once for each engine and
    each version of the code."""
    if reference_mode():
        raise Unproven("the hooks run as Python (NUMBA_DISABLE_JIT)")
    code = [hooks.key, *(load(f"emu.inline.{name}").key for name in ("sites", "guards"))]
    code.append(pathlib.Path(stubs.__file__).read_text())
    once_for_library("inline", [__file__], " ".join(code), lambda: _prove(hooks))


def _prove(hooks: Library) -> None:
    plain, inline = (_Trial(hooks, _COUNTED, inline=inline) for inline in (False, True))
    for budget in (1, 2, 3, 5, 100, 7, 1, 10_000, 64):
        expected, found = plain.run(budget), inline.run(budget)
        if expected != found:
            raise Unproven(f"blocks that count themselves have come to {found}, not to {expected}")
        if budget == 100:  # where the branch leads, and where it comes from, is translated again
            plain.forget(_COUNTED[2])
            inline.forget(_COUNTED[2])
        elif budget == 10_000:
            plain.forget(_COUNTED[0])
            inline.forget(_COUNTED[0])
    record = inline.inlining.record
    made, wanted = (record.made, record.straight, record.found), (_MADE, _STRAIGHT, _FOUND if record.finds else 0)
    if plain.inlining.record.made or made != wanted:
        raise Unproven("the code that the engine makes of a block is not as expected")
    guards = _Trial(hooks, _GUARDED, inline=True)
    for copied in (b"1 is copied, all.", b"2 is copied, all."):  # each time the TLB is empty at first
        if not guards.copies(copied[:16]):
            raise Unproven("16 bytes that are loaded and stored do not come out the same")
    record, expected = guards.inlining.record, (0, TrapReason.NONE, 3, 13, 0)
    for base in (x86.UC_X86_REG_RSI, x86.UC_X86_REG_RDI):
        refused = guards.refused(base)
        if (record.made, record.guarded) != (1, 2) or refused != (*expected, _GUARDED_AT[base]):
            raise Unproven(f"a misaligned operand has come to {refused}")


class _Code(NamedTuple):
    """A block of the code of a trial."""

    address: int
    size: int
    instructions: int
    #: Offsets of instructions with an aligned operand.
    guards: tuple[int, ...] = ()


#: inc rax; xor rbx, rax; test al, 3; jne 1f; add rcx, rbx; add [0x1100], rax; 1: inc rdx; jmp r8
_COUNTING = bytes.fromhex("48ffc04831c3a803750a4801d9480105ec00000048ffc241ffe0")
_COUNTED = (_Code(0x1000, 10, 4), _Code(0x100A, 16, 4), _Code(0x1014, 6, 2))
#: Each is translated twice: the second one has the third in it.  One ends with a conditional branch, the others jump to
#: where R8 points: to the first.
_MADE, _STRAIGHT, _FOUND = 6, 2, 4
#: movaps xmm0, [rsi]; movaps [rdi], xmm0; jmp to the beginning
_GUARDING = bytes.fromhex("0f28060f2907ebf8")
_GUARDED = (_Code(0x1080, 8, 3, (0, 3)),)
_OPERANDS = {x86.UC_X86_REG_RSI: 0x1200, x86.UC_X86_REG_RDI: 0x1240}
_GUARDED_AT = {x86.UC_X86_REG_RSI: 0x1080, x86.UC_X86_REG_RDI: 0x1083}


class _Trial:
    """A loop on a scratch engine, which counts them as the machine's does."""

    def __init__(self, hooks: Library, blocks: tuple[_Code, ...], *, inline: bool) -> None:
        self._hooks, self._trap, self._state = hooks, TrapState(), low_record(MmuState)
        uc: Any = Uc(UC_ARCH_X86, UC_MODE_64)
        uc.ctl_set_tcg_buffer_size(16 << 20)
        uc.ctl_exits_enabled(True)
        uc.mem_map(0x1000, 0x1000)
        uc.mem_write(_COUNTED[0].address, _COUNTING)
        uc.mem_write(_GUARDED[0].address, _GUARDING)
        for register, operand in _OPERANDS.items():
            uc.reg_write(register, operand)
        uc.reg_write(x86.UC_X86_REG_R8, blocks[0].address)
        self._uc, self._rip = uc, blocks[0].address
        trap, count = self._trap, MmuState.granted.offset  # type: ignore[attr-defined]
        trap.count = ctypes.addressof(self._state) + count
        trap.emu_stop = unicorn_abi.symbol_address("uc_emu_stop")
        trap.open = trap.open_uncaught = _ALL_ONES
        trap.registers = ctypes.addressof(unicorn_abi.general_registers(uc))
        self._table = HostArray(TABLE_ENTRIES * BLOCK_BYTES // 8, "Q")
        trap.table = self._table.address
        self._operands = [guards_of(block.guards, caught=True) for block in blocks]
        for each, operands in zip(blocks, self._operands, strict=True):
            at = trap.table + ((each.address ^ each.address >> 15) & TABLE_ENTRIES - 1) * BLOCK_BYTES
            block = KnownBlock.from_address(at)
            block.address, block.key, block.instructions = each.address, each.size, each.instructions
            if each.guards:
                block.key, block.guards = each.size | SPECIAL, ctypes.addressof(operands)
        self._views = HostArray(8 << 12, "Q")
        self._plain = PlainBlocks(code_views=self._views.address)
        self._guard = Guard(uc)
        trap.new_block = self._guard.pointer(_NEW_BLOCK, lambda *_: 0)  # of one that does not guard itself
        self.inlining = Inlining(uc, self._guard, trap, hooks, ctypes.addressof(self._plain))
        if inline:
            self.inlining.begin()
        unicorn_abi.hook_add(uc, UC_HOOK_BLOCK, hooks["on_block"].address, ctypes.addressof(trap) | FAR)
        self._vectors: list[int] = []
        uc.hook_add(UC_HOOK_INTR, self._on_interrupt)

    def _on_interrupt(self, uc: Any, vector: int, _data: object) -> None:
        self._vectors.append(vector)
        uc.emu_stop()

    @property
    def clock(self) -> int:
        """How many instructions were counted."""
        return int(self._state.clock)

    def _start(self, budget: int) -> tuple[int, int]:
        trap = self._trap
        set_limit(trap, self.clock + budget)
        trap.reason = TrapReason.NONE
        status = unicorn_abi.emu_start(unicorn_abi.handle(self._uc), self._rip, 0, 0, 0)
        return status, trap.reason

    def forget(self, block: _Code) -> None:
        """Have the engine forget a block."""
        self._uc.ctl_remove_cache(block.address, block.address + 1)

    def run(self, budget: int) -> tuple[int, ...]:
        """Run a slice; where it has come to, with the clock and the registers."""
        uc, started = self._uc, self._start(budget)
        self._rip = uc.reg_read(x86.UC_X86_REG_RIP)
        values = (uc.reg_read(each) for each in (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RBX, x86.UC_X86_REG_RCX))
        stored = int.from_bytes(uc.mem_read(0x1100, 8), "little")
        return *started, self._rip, self.clock, *values, uc.reg_read(x86.UC_X86_REG_RDX), stored

    def copies(self, content: bytes) -> bool:
        """Whether the loop copies these 16 bytes, at first with nothing in the engine's TLB."""
        source, target = _OPERANDS.values()
        self._uc.mem_write(source, content)
        unicorn_abi.flush_tlb(self._uc)
        self.run(10)
        return bytes(self._uc.mem_read(target, 16)) == content

    def refused(self, register: int) -> tuple[int, ...]:
        """Run with a misaligned operand: how it ended, the instructions that were counted, the vector, the error code,
        and RIP."""
        uc, before = self._uc, self.clock
        aligned = uc.reg_read(register)
        uc.reg_write(register, aligned + 8)
        started, context = self._start(10), unicorn_abi.Context(uc)
        context.save()
        ended = *started, self.clock - before, self._vectors.pop(), context.error_code, uc.reg_read(x86.UC_X86_REG_RIP)
        context.exception_delivered()
        context.restore()
        uc.reg_write(register, aligned)
        return ended

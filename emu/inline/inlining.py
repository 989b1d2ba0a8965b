"""Whether blocks count themselves (:mod:`emu.inline.sites`), and the proof that they may, on this very engine and host.

Where somebody installs a hook, everything is as it was without this: the hook may stop emulation anywhere.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from unicorn import UC_ARCH_X86, UC_HOOK_BLOCK, UC_MODE_64, Uc
from unicorn import x86_const as x86

from emu.hooks import BLOCK_BYTES, FAR, TABLE_ENTRIES, Count, InlineBlock, KnownBlock, TrapReason, TrapState, set_limit
from emu.inline.sites import MOST_BLOCKS, MOST_MISSED, Inline
from emu.instructions.listed import with_listed
from emu.instructions.opcodes import Mode
from emu.instructions.plain import PlainBlocks
from mmu import unicorn_abi
from mmu.host_array import HostArray, low_record
from mmu.native import reference_mode
from mmu.objectcode import Library, load
from mmu.selftest import once_for_library
from mmu.state import MmuState

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_WORDS = ctypes.sizeof(InlineBlock) // 8


class Unproven(Exception):
    """Something is not as expected here; the message says what."""


class Inlining:
    """Has the blocks of one engine count themselves, until something comes in between."""

    def __init__(self, uc: Uc, trap: TrapState, hooks: Library, plain: int = 0) -> None:
        """``plain`` is the address of the record of plain blocks."""
        self._uc, self._trap = uc, trap
        #: Why blocks do not count themselves; "" if they do.
        self.why_not = "nobody has asked for it"
        self._blocks = HostArray(MOST_BLOCKS * _WORDS, "Q")
        self._caught = with_listed(Mode.CATCHES_FAULTS)
        self._library = load("emu.inline.sites")
        count = Count.from_address(trap.count)
        count.trap, count.engine = ctypes.addressof(trap), unicorn_abi.handle(uc)
        count.blocks, count.reached = self._blocks.address, hooks["reached"].address
        self.record = Inline(
            trap=count.trap, engine=count.engine, hook=hooks["on_block"].address, count=trap.count,
            check=unicorn_abi.symbol_address("helper_check_exit_request_x86_64"), blocks=count.blocks, number=1,
            plain=plain, caught=self._caught.address,
        )  # fmt: skip

    def begin(self) -> None:
        """From now on blocks count themselves, those that the engine translates from now on."""
        self.why_not = ""
        self._trap.inline_record = ctypes.addressof(self.record)
        self._trap.inline = self._library["count_inline"].address

    def end(self, why: str) -> None:
        """They do not any more, as soon as the engine has forgotten its code; until then the hook decides for each."""
        self.why_not = why
        self._trap.inline = 0

    def forgotten(self) -> None:
        """The engine has forgotten all code."""
        self.record.number = 1

    def is_full(self) -> bool:
        """Whether no more blocks can count themselves."""
        return self.record.number == MOST_BLOCKS

    def state(self) -> str:
        """In words for a user."""
        made, record = f"{self.record.made:,} blocks count themselves", self.record
        if self.why_not:
            return f"a hook counts each block: {self.why_not}"
        if record.missed >= MOST_MISSED and not record.made:
            return "a hook counts each block: the code that the engine made of them is not as expected"
        others = record.short + record.missed
        return made if not others else f"{made} (of {others:,} calls of the hook the code had no room or was unusual)"


# -- proof -------------------------------------------------------------------------------------------------------------


def prove(hooks: Library) -> None:
    """Raise :class:`Unproven` unless blocks that count themselves do what the hook does; once for each engine and
    each version of the code."""
    if reference_mode():
        raise Unproven("the hooks run as Python (NUMBA_DISABLE_JIT)")
    once_for_library("inline", __file__, f"{hooks.key} {load('emu.inline.sites').key}", lambda: _prove(hooks))


def _prove(hooks: Library) -> None:
    plain, inline = (_Trial(hooks, inline=inline) for inline in (False, True))
    for budget in (1, 2, 3, 5, 100, 7, 1, 10_000, 64):
        expected, found = plain.run(budget), inline.run(budget)
        if expected != found:
            raise Unproven(f"blocks that count themselves have come to {found}, not to {expected}")
    record = inline.inlining.record
    if plain.inlining.record.made or record.made != len(_Trial.BLOCKS) or record.looks != _Trial.ACCESSES:
        raise Unproven("the code that the engine makes of a block is not as expected")


class _Trial:
    """A loop on a scratch engine, which counts them as the machine's does."""

    #: inc rax; xor rbx, rax; test al, 3; jne 1f; add rcx, rbx; add [0x1100], rax; 1: inc rdx; jmp to the beginning
    CODE = bytes.fromhex("48ffc04831c3a803750a4801d9480105ec00000048ffc2ebe7")
    #: Address, size and instructions.
    BLOCKS = ((0x1000, 10, 4), (0x100A, 15, 4), (0x1014, 5, 2))
    #: Accesses to memory.
    ACCESSES = 2

    def __init__(self, hooks: Library, *, inline: bool) -> None:
        self._hooks, self._trap, self._state = hooks, TrapState(), low_record(MmuState)
        uc: Any = Uc(UC_ARCH_X86, UC_MODE_64)
        uc.ctl_set_tcg_buffer_size(16 << 20)
        uc.ctl_exits_enabled(True)
        uc.mem_map(0x1000, 0x1000)
        uc.mem_write(0x1000, self.CODE)
        self._uc, self._rip = uc, 0x1000
        trap, count = self._trap, MmuState.clock.offset  # type: ignore[attr-defined]
        trap.count = ctypes.addressof(self._state) + count
        trap.emu_stop = unicorn_abi.symbol_address("uc_emu_stop")
        trap.open = trap.open_uncaught = _ALL_ONES
        self._table = HostArray(TABLE_ENTRIES * BLOCK_BYTES // 8, "Q")
        trap.table = self._table.address
        for address, size, instructions in self.BLOCKS:
            at = trap.table + ((address ^ address >> 15) & TABLE_ENTRIES - 1) * BLOCK_BYTES
            block = KnownBlock.from_address(at)
            block.address, block.key, block.instructions = address, size, instructions
        self._views = HostArray(8 << 12, "Q")
        self._plain = PlainBlocks(code_views=self._views.address)
        self.inlining = Inlining(uc, trap, hooks, ctypes.addressof(self._plain))
        if inline:
            self.inlining.begin()
        unicorn_abi.hook_add(uc, UC_HOOK_BLOCK, hooks["on_block"].address, ctypes.addressof(trap) | FAR)

    def run(self, budget: int) -> tuple[int, ...]:
        """Run a slice; where it has come to, with the clock and the registers."""
        uc, trap, state = self._uc, self._trap, self._state
        set_limit(trap, state.clock + budget)
        trap.reason = TrapReason.NONE
        status = unicorn_abi.emu_start(unicorn_abi.handle(uc), self._rip, 0, 0, 0)
        self._rip = uc.reg_read(x86.UC_X86_REG_RIP)
        values = (uc.reg_read(each) for each in (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RBX, x86.UC_X86_REG_RCX))
        stored = int.from_bytes(uc.mem_read(0x1100, 8), "little")
        return status, trap.reason, self._rip, state.clock, *values, uc.reg_read(x86.UC_X86_REG_RDX), stored


def watch_hooks(uc: Uc, told: Callable[[], object]) -> None:
    """Be told of each hook that is installed from now on."""
    engine: Any = uc
    engine._unimmu_hooked = told
    hook_add = engine.hook_add

    def add(*arguments: Any, **named: Any) -> Any:
        told()
        return hook_add(*arguments, **named)

    engine.hook_add = add

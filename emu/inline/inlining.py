"""Whether blocks count themselves (:mod:`emu.inline.sites`).

Where somebody installs a hook, everything is as it was without this: the hook may stop emulation anywhere.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from unicorn import Uc

from emu.engine.records import Count, InlineBlock, TrapState
from emu.inline.sites import MOST_BLOCKS, MOST_MISSED, Inline
from emu.inline.stubs import Stubs
from emu.instructions.listed import with_listed
from emu.instructions.opcodes import Mode
from mmu import unicorn_abi
from mmu.guard import Guard
from mmu.host_array import HostArray
from mmu.objectcode import Library, load
from mmu.remembered import host_cpu

_HOOK = ctypes.CFUNCTYPE(*[ctypes.c_uint64] * 4)
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_WORDS = ctypes.sizeof(InlineBlock) // 8


class Inlining:
    """Has the blocks of one engine count themselves, until something comes in between."""

    def __init__(self, uc: Uc, guard: Guard, trap: TrapState, hooks: Library, plain: int = 0) -> None:
        """``plain`` is the address of the record of plain blocks."""
        self._uc, self._trap = uc, trap
        #: Why blocks do not count themselves; "" if they do.
        self.why_not = "nobody has asked for it"
        self._blocks = HostArray(MOST_BLOCKS * _WORDS, "Q")
        self._caught = with_listed(Mode.CATCHES_FAULTS)
        self._library, self._guards = load("emu.inline.sites"), load("emu.inline.guards")
        self._stubs: Stubs | None = None
        count = Count.from_address(trap.count)
        count.trap, count.engine = ctypes.addressof(trap), unicorn_abi.handle(uc)
        count.blocks, count.reached = self._blocks.address, hooks["reached"].address
        symbol = unicorn_abi.symbol_address
        self.record = Inline(
            trap=count.trap, engine=count.engine, hook=hooks["on_block"].address, count=trap.count,
            check=symbol("helper_check_exit_request_x86_64"), blocks=count.blocks, number=1, plain=plain,
            caught=self._caught.address, make_stubs=guard.pointer(_HOOK, self._make_stubs),
            load=symbol("helper_le_ldq_mmu_x86_64"), store=symbol("helper_le_stq_mmu_x86_64"),
            find=symbol("helper_lookup_tb_ptr_x86_64"),
            palignr=symbol("helper_palignr_xmm_x86_64") if "ssse3" in host_cpu().split() else 0,
        )  # fmt: skip

    def _make_stubs(self, near: int, _none: int, _nothing: int) -> int:
        record = self.record
        try:
            self._stubs = stubs = Stubs(
                near, engine=record.engine, count=record.count, check=record.check,
                load=record.load, store=record.store,
                raise_exception=unicorn_abi.symbol_address("raise_exception_ra_x86_64"),
                find=record.find, env=self._trap.registers,
            )  # fmt: skip
        except OSError as error:
            record.make_stubs = 0
            if not self.why_not:
                self.end(f"there is no memory for code near the engine's ({error.strerror or error})")
            return 0
        record.load_aligned, record.store_aligned, record.stubs = stubs.load, stubs.store, stubs.reached
        record.shifts, record.finds = stubs.palignr, stubs.find
        return 1

    def begin_to_guard(self) -> None:
        """From now on blocks may guard their aligned operands (:meth:`guards`)."""
        self._trap.inline_record = ctypes.addressof(self.record)
        self._trap.guard = self._guards["guard_operands"].address
        self._learn_helpers()

    def begin(self) -> None:
        """From now on blocks count themselves, those that the engine translates from now on."""
        self.begin_to_guard()
        self.why_not, self.record.shortens = "", 1
        self._trap.inline = self._library["count_inline"].address

    def end(self, why: str) -> None:
        """They do not any more, as soon as the engine has forgotten its code; until then the hook decides for each."""
        self.why_not = why
        self._trap.inline = self.record.shortens = 0

    def guards(self, block: int) -> bool:
        """Whether the code that has called the hook guards the aligned operands of its block, of which the KnownBlock
        is at this host address: one that counts itself does."""
        to, record = self._trap.returns_to, ctypes.addressof(self.record)
        guard = self._guards["guard_operands"].call
        return not to or bool(guard(record, to, block) or (self._learn_helpers() and guard(record, to, block)))

    def _learn_helpers(self) -> bool:
        """Whether the engine calls other functions for its loads and stores than we knew of: those of exact mode."""
        module = sys.modules.get("mmu.helper_table")
        table = None if module is None else module.helper_table.made()
        if table is None or self.record.other_load:
            return False
        self.record.other_load, self.record.other_store = table.record.ours[3], table.record.ours[7]
        return True

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
        if record.made and not record.finds:
            made += ", and find others as slowly as the engine does, whose function is not as expected"
        return made if not others else f"{made} (of {others:,} calls of the hook the code had no room or was unusual)"


def watch_hooks(uc: Uc, told: Callable[[], object]) -> None:
    """Be told of each hook that is installed from now on."""
    engine: Any = uc
    engine._unimmu_hooked = told
    hook_add = engine.hook_add

    def add(*arguments: Any, **named: Any) -> Any:
        told()
        return hook_add(*arguments, **named)

    engine.hook_add = add

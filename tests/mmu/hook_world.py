"""Everything that native hooks touch, at host addresses that stay, so that two libraries can be tried on it in turn."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from emu.engine.records import BLOCK_BYTES, TABLE_ENTRIES, Count, TrapState
from mmu import CR4, EventRing, PhysicalMemory, Registers
from mmu.geometry import Array, Geometry, Kinds, PageSizes, Replacement
from mmu.instruction import InstructionTables
from mmu.latency import Latency, WalkCache
from mmu.model import TlbModel
from mmu.nested import Nested
from mmu.objectcode import Library
from mmu.registers import CR4_LONG_MODE
from mmu.state import MmuState
from mmu.translation import load_registers
from mmu.unicorn_abi import MMU_INDICES, TLB_WINDOW_STRIDE
from mmu.windows import WINDOWS
from tests.mmu.tables import Tables

#: In the upper half; a double that stands for it stands for 2047 more, this one apart from its neighbours no longer.
UPPER = 0xFFFF_8880_0000_0001
#: The first whole number that is no double.
ODD = 2**53 + 1
#: One address a page and more, with neighbours that only their low bits tell apart; canonical for 57 bits.
ADDRESSES = (
    UPPER, UPPER - 1, UPPER + 7, UPPER + 0xFF8, UPPER + 0x1000, UPPER + 0x2000, UPPER + 0x20_0000, UPPER + 0x20_1000,
    UPPER + (1 << 30), ODD, ODD - 1, ODD + 0xFF8, ODD + 0x1000, ODD + 0x20_0000, 0x40_0001, (1 << 56) + 1, 1 << 63,
    2**64 - 1,
)  # fmt: skip
GEOMETRY = Geometry(
    "two of everything",
    (
        Array("L1D", 1, Kinds.DATA, PageSizes.K4, 2, 2, Replacement.TREE_PLRU),
        Array("L1D-large", 1, Kinds.DATA, PageSizes.M2 | PageSizes.G1, 1, 2, Replacement.FIFO),
        Array("L1I", 1, Kinds.FETCH, PageSizes.ALL, 1, 2, Replacement.BIT_PLRU, pcids=0),
        Array("STLB", 2, Kinds.ALL, PageSizes.ALL, 2, 2, Replacement.RANDOM, pcids=2),
    ),
    {2: 2, 3: 1, 4: 2, 5: 1},
    inclusive=True,
    smash_1g=True,
    latency=Latency(7, 1, 2, 200, (WalkCache("L1D", 2, 2, 4), WalkCache("L2", 4, 2, 14))),
)
#: By the levels of the tables, what else there is: these two do not go together.
MORE: dict[int, dict[str, Any]] = {4: {"prefetch_next": True}, 5: {"nested": Nested(1, {2: 2, 3: 1}, tlb=2)}}
_RAM_BYTES = 1 << 20
#: Code: add [rbx], rax; movdqu xmm0, [rbx]; rep movsb.
INSTRUCTIONS = tuple(UPPER - 1 + 0x2000 + 16 * n for n in range(3))
_CODE = (0x8_2000, ("480103", "f30f6f03", "f3a4"))
_U64 = ctypes.c_uint64
_CALLED = {n: ctypes.CFUNCTYPE(_U64, *[_U64] * n) for n in (1, 3, 4, 5, 6)}

Call = Callable[..., Any]


class HookWorld:
    """Memory with tables, a modelled processor, the machine's trap state, and C functions that note their calls."""

    def __init__(self, levels: int) -> None:
        self.ram = PhysicalMemory(_RAM_BYTES)
        cr4 = CR4_LONG_MODE | CR4.PCIDE | CR4.PGE | CR4.PKE | (CR4.LA57 if levels == 5 else 0)
        self.registers = Registers(cr3=0x1000, cr4=cr4)
        self._map(Tables(self.ram, 0x1000, levels))
        for n, code in enumerate(_CODE[1]):
            self.ram.write(_CODE[0] + 16 * n, bytes.fromhex(code))
        self.calls: list[tuple[Any, ...]] = []
        self._keep: list[Any] = []
        self._arrays: list[Any] = []
        self.state, self.trap = MmuState(ram=self.ram.host, ram_bytes=_RAM_BYTES), TrapState()
        self.events = EventRing(self.state, 4096)
        self._fill_state()
        #: Where the instruction is that makes the accesses.
        self.rip = self.array(1)
        self.state.engine_rip = self.rip.ctypes.data
        self._instructions = InstructionTables(self.state)
        self._arrays += [self._instructions.decoded.array, self._instructions.code_pages.array]
        self.model = TlbModel(self.state, replace(GEOMETRY, **MORE[levels]), seed=UPPER)
        self._arrays += self.model._keep
        costs, second = self.model.costs, self.model.second
        assert costs is not None
        self._costs: list[Any] = [costs.record, costs._caches]
        self._arrays += costs._keep
        if second is not None:
            self._costs += [second.record, second._caches]
            self._arrays += [*second._keep, second.memory.array]
        self._fill_trap()
        #: For the engine's TLB windows and victims: none is used.
        self.windows = self.array(MMU_INDICES * TLB_WINDOW_STRIDE // 8)
        #: For results: a uc_tlb_entry, and room for arrays.
        self.scratch = self.array(128)
        self._before = self._snapshot()

    @staticmethod
    def _map(tables: Tables) -> None:
        for i, vaddr in enumerate((UPPER, UPPER + 0x1000, UPPER + 0x2000, ODD, ODD + 0x1000, 0x40_0000)):
            if tables.levels == 5 or vaddr != ODD >> 12 << 12:
                tables.map_page(vaddr & -0x1000, 0x8_0000 + 0x1000 * (i % 5), G=i & 1, PKEY=i, XD=i >> 2)
        tables.map_page(UPPER + 0x20_0000 & -0x20_0000, 0, level=2)
        tables.map_page(UPPER + (1 << 30) & -(1 << 30), 0, level=3, US=1, D=1)

    def array(self, words: int) -> Any:
        """A uint64 array that is part of the world."""
        made = np.zeros(words, dtype=np.uint64)
        self._arrays.append(made)
        return made

    def function(self, name: str, parameters: int, result: int = 0) -> int:
        """A C function that notes its calls."""

        def called(*arguments: int) -> int:
            self.calls.append((name, *arguments))
            return result

        self._keep.append(_CALLED[parameters](called))
        return ctypes.cast(self._keep[-1], ctypes.c_void_p).value or 0

    def _fill_state(self) -> None:
        state, frames = self.state, self.ram.frames
        state.page_of, state.frames, state.windows = self.array(WINDOWS * frames).ctypes.data, frames, WINDOWS
        state.has_code, state.written_epoch = self.array(frames).ctypes.data, self.array(frames).ctypes.data
        state.epoch, state.clock, state.asid = ODD, ODD, 7
        state.make_room = self.function("make_room", 1)
        state.engine_cpu = UPPER  # nobody but the two functions that follow looks there
        state.engine_flush_page = self.function("flush_page", 3)
        state.engine_flush = self.function("flush", 3)
        state.on_stale, state.on_code = self.function("stale", 3), self.function("code", 3)
        state.check = 1
        load_registers(state, self.registers)
        state.pcid = self.registers.pcid

    def _fill_trap(self) -> None:
        trap = self.trap
        count = Count.from_address(self.array(ctypes.sizeof(Count) // 8).ctypes.data)
        trap.count, trap.open, trap.open_uncaught = ctypes.addressof(count), 2**64 - 1, 2**64 - 1
        count.trap, count.blocks = ctypes.addressof(trap), self.array(512).ctypes.data
        trap.emu_stop = self.function("emu_stop", 1)
        trap.reg_read = self.function("reg_read", 3)
        trap.new_block = self.function("new_block", 3)
        trap.rflags_at = ctypes.addressof(trap)
        trap.fetched = self.array(1).ctypes.data
        self.registers_of_guest = self.array(17)
        trap.registers, self.refuse = self.registers_of_guest.ctypes.data, self.function("refuse", 3, result=1)
        trap.table = self.array(TABLE_ENTRIES * BLOCK_BYTES // 8).ctypes.data

    def _buffers(self) -> list[Any]:
        model = self.model
        records = [
            np.frombuffer(memoryview(record).cast("B"), dtype=np.uint8)
            for record in (self.state, self.trap, model._arrays, model._counts, model._caches, *self._costs)
        ]
        return [self.ram.words, self.events._records.array, *records, *self._arrays]

    def _snapshot(self) -> list[Any]:
        return [buffer.copy() for buffer in self._buffers()]

    def told(self, library: Library, story: Callable[[HookWorld, Call], None]) -> tuple[list[Any], list[Any]]:
        """From the beginning: every call of an entry point and of a C function in ``story``, and how it all ends."""
        for buffer, before in zip(self._buffers(), self._before, strict=True):
            buffer[...] = before
        self.calls.clear()

        def call(name: str, *arguments: int) -> Any:
            result = library[name](*arguments)
            self.calls.append((name, arguments, result, self.state.status, bytes(self.state.walked)))
            return result

        story(self, call)
        return list(self.calls), self._snapshot()

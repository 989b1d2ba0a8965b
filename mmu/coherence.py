"""The code that the engine has translated, and what an instruction of it is.

Unicorn keeps translated code by physical address and notices few writes to it: the rules are those of
:func:`mmu.hooks.grant`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING

from mmu import unicorn_abi
from mmu.hooks import PHYSMAP
from mmu.host_array import HostArray
from mmu.instruction import InstructionTables
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access
from mmu.translation import library
from mmu.virtual import VirtualMemory
from mmu.windows import WINDOW_SHIFT

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class TranslatedCode(VirtualMemory):
    """Which frames have translated code, and how that is dropped."""

    def _begin_code(self) -> None:
        frames = self.ram.frames
        self._has_code, self._written_epoch = HostArray(frames, "B"), HostArray(frames, "I")
        self.state.has_code, self.state.written_epoch = self._has_code.address, self._written_epoch.address
        self.has_code = self._has_code.view
        #: Told of each frame of which the translated code was dropped.
        self.on_code_dropped: Callable[[int], None] | None = None

    def _follow_instructions(self) -> None:
        """Memory is mapped, so that the engine has a RIP."""
        self._engine_cpu = unicorn_abi.cpu_state(self.uc)
        self.state.engine_rip = self._engine_cpu + unicorn_abi.ENV_RIP
        self._rip = ctypes.c_uint64.from_address(self.state.engine_rip)
        self._instructions, self._kind_of = InstructionTables(self.state), library()["kind_of"].call

    def code_written(self, frame: int) -> None:
        """Somebody other than the guest changed this frame: drop the code that was translated from it."""
        if self.has_code[frame]:
            self._drop_code(frame)
            unicorn_abi.flush_tlb(self.uc)
            self.state.epoch += 1

    def code_written_many(self, frames: npt.NDArray[np.int64]) -> None:
        """As :meth:`code_written`, for each frame of an array."""
        for frame in frames[self._has_code.array[frames] != 0].tolist():
            self.code_written(frame)

    def forget_code(self, paddr: int) -> None:
        """Have the engine translate the code at a physical address anew, which has not changed."""
        self._remove(paddr, 1)

    def _remove(self, paddr: int, length: int) -> None:
        """Invalidate translated code by physical address: the physmap makes the frame reachable for
        uc_ctl_remove_cache.
        """
        self.state.physmap_open = 1
        try:
            for window in range(self.state.windows or 1):
                start = PHYSMAP + (window << WINDOW_SHIFT) + paddr
                self.uc.ctl_remove_cache(start, start + length)
        finally:
            self.state.physmap_open = 0

    def _drop_code(self, frame: int) -> None:
        self._remove(frame << PAGE_SHIFT, PAGE_SIZE)
        self.has_code[frame] = 0
        if self.on_code_dropped is not None:
            self.on_code_dropped(frame)

    def instruction_at(self, rip: int) -> int:
        """What the instruction is at an address that the engine has fetched: bits of :class:`mmu.instruction.Kind`."""
        return int(self._kind_of(ctypes.addressof(self.state), rip))

    def _moves_code(self, vaddr: int, result: int) -> bool:
        """Whether the handler of a store's fault has given the code that runs another frame: this page is that of RIP,
        or the next one.

        The engine would go on with the block of the old one; a processor fetches anew behind a fault.
        """
        if self.state.access != Access.WRITE:
            return False
        host = self._instructions.code_page(vaddr >> PAGE_SHIFT, self.state.cr3)
        if host in (0, self.ram.host + unicorn_abi.TlbEntry.from_address(result).paddr % (1 << WINDOW_SHIFT)):
            return False
        unicorn_abi.flush_page(self.uc, vaddr)
        return True

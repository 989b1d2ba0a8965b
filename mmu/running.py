"""emu_start of a script, so that only what the guest does is an access.

The engine translates code ahead of running it, and asks for the next page while the instructions before it have not
run; and behind its end it looks up the page of ``until``.  Both would show as fetches of the guest's.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

from unicorn import UC_HOOK_CODE, UcError
from unicorn import x86_const as x86
from unicorn.unicorn_py3.unicorn import uclib

from mmu import unicorn_abi
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access
from mmu.translation import library
from mmu.virtual import VirtualMemory

_CODE = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint64)
_ALL_ONES = (1 << 64) - 1


class Run:
    """One emu_start, in as many pieces as it takes; ``start`` is the engine's own."""

    def __init__(
        self, memory: VirtualMemory, start: Callable[[int, int, int, int], None], until: int, timeout: int, count: int
    ) -> None:
        self._memory, self._start = memory, start
        self._until, self._count = until & _ALL_ONES, count
        self._deadline = time.monotonic_ns() + timeout * 1000 if timeout else 0
        #: The engine has asked for code ahead of time, which it could not have.
        self._ahead = False
        #: An instruction that really has its end in the next page.
        self._crossing: int | None = None
        #: Somebody has called emu_stop.
        self.stopped = False

    def is_ahead(self, vaddr: int) -> bool:
        """Whether this fetch, which cannot be made, is asked for ahead of time.  If so the engine is to be told no."""
        rip = self._rip()
        ahead = vaddr >> PAGE_SHIFT == (rip >> PAGE_SHIFT) + 1 and rip != self._crossing
        self._ahead = self._ahead or ahead
        return ahead

    def run(self, begin: int) -> None:
        """Run to the end; raises what emu_start does."""
        hooks = self._hooks(begin)
        try:
            while self._piece(begin, self._until):
                begin = self._rip()
                border = self._border(begin)
                if border != begin and self._piece(begin, border):
                    border = self._rip()  # its code is other than the tables say
                elif border != begin and self._is_over(border):
                    return
                self._crossing = border if border % PAGE_SIZE else None
                begin = border
        finally:
            for hook in hooks:
                unicorn_abi.hook_del(self._memory.uc, hook)

    def _piece(self, begin: int, until: int) -> bool:
        """One emu_start of the engine's; whether it has ended because code was asked for ahead of time."""
        state = self._memory.state
        self._ahead, state.executed = False, 0
        timeout = max(1, (self._deadline - time.monotonic_ns()) // 1000) if self._deadline else 0
        try:
            self._start(begin, until, timeout, self._count)
        except UcError:
            if not self._ahead:
                raise
        if self._count:
            self._count -= min(state.executed, self._count)
            if self._count == 0:
                self.stopped = True
        return self._ahead and not self.stopped

    def _is_over(self, border: int) -> bool:
        """Whether the run has ended before or at the border, and not because that was reached."""
        guard = self._memory.guard
        return (
            self._rip() != border
            or border == self._until
            or self.stopped
            or guard.failure is not None
            or guard.interruption is not None
            or (self._deadline != 0 and time.monotonic_ns() >= self._deadline)
        )

    def _border(self, begin: int) -> int:
        """Where the last instruction ends that lies in the page of ``begin`` as a whole, of those from there on."""
        memory = self._memory
        if not memory.reaches(begin, Access.FETCH):
            return begin
        code = memory.ram.read(memory.translate(begin, Access.FETCH).paddr, PAGE_SIZE - begin % PAGE_SIZE)
        border = begin
        for address, size, _, _ in memory.decoder.disasm_lite(code, begin):
            border = address + size
        return border

    def _hooks(self, begin: int) -> list[int]:
        """Of the engine: one that counts instructions; one that stands for an ``until`` that cannot be fetched."""
        memory, uc = self._memory, self._memory.uc
        hooks: list[int] = []
        if self._count:
            counter = library()["count_instruction"].address
            hooks.append(unicorn_abi.hook_add(uc, UC_HOOK_CODE, counter, ctypes.addressof(memory.state)))
        last, until = self._until - 1, self._until
        if until and last >> PAGE_SHIFT != begin >> PAGE_SHIFT and not memory.reaches(last, Access.FETCH):
            stop = memory.guard.pointer(_CODE, lambda *_: uclib.uc_emu_stop(uc._uch))
            hooks.append(unicorn_abi.hook_add(uc, UC_HOOK_CODE, stop, 0, begin=until, end=until))
            engine: Any = uc
            engine.ctl_flush_tb()  # what was translated before calls no hook
            self._until = 0
        return hooks

    def _rip(self) -> int:
        return int(self._memory.uc.reg_read(x86.UC_X86_REG_RIP))

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
from mmu.virtual import VirtualMemory

_CODE = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint64)
_ALL_ONES = (1 << 64) - 1
#: Where no instruction begins that could go on in a next page.
_NONE = _ALL_ONES


class Run:
    """One emu_start, in as many pieces as it takes; ``start`` is the engine's own."""

    def __init__(
        self, memory: VirtualMemory, start: Callable[[int, int, int, int], None], until: int, timeout: int, count: int
    ) -> None:
        self._memory, self._start = memory, start
        self._until, self._count = until & _ALL_ONES, count
        self._deadline = time.monotonic_ns() + timeout * 1000 if timeout else 0
        #: The engine has asked for code ahead of time, which it could not have.
        self.ahead = False
        #: Somebody has called emu_stop.
        self.stopped = False

    def run(self, begin: int) -> None:
        """Run to the end; raises what emu_start does."""
        hooks, state = self._hooks(begin), self._memory.state
        outer = state.holds_back, state.crossing
        state.holds_back, state.crossing, state.last_end = 1, _NONE, 0
        try:
            while self._piece(begin, self._until):
                if self.ahead and not self._reach_border():
                    return
                begin = self._rip()
        finally:
            state.holds_back, state.crossing = outer
            for hook in hooks:
                unicorn_abi.hook_del(self._memory.uc, hook)

    def _reach_border(self) -> bool:
        """Run the rest of the page, so that what stands at RIP needs the next one; or is code that has moved.  False if
        the run has ended on the way."""
        begin, state = self._rip(), self._memory.state
        border = self._border(begin)
        if border != begin:
            goes_on = self._piece(begin, border)
            if not goes_on and self._is_over(border):
                return False
            if self._memory.starts_again:
                return True
        border = self._rip()
        state.crossing = border if border % PAGE_SIZE else _NONE
        return True

    def _piece(self, begin: int, until: int) -> bool:
        """One emu_start of the engine's; whether it has ended because code was asked for ahead of time, or because the
        code that runs is elsewhere now."""
        memory = self._memory
        self.ahead = memory.starts_again = False
        timeout = max(1, (self._deadline - time.monotonic_ns()) // 1000) if self._deadline else 0
        try:
            self._start(begin, until, timeout, self._count)
        except UcError:
            if not self.ahead and not memory.starts_again:
                raise
        if self._count:
            self._count -= min(unicorn_abi.instructions_counted(self._memory.uc), self._count)
            if self._count == 0:
                self.stopped = True
        return (self.ahead or memory.starts_again) and not self.stopped

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
        """One that stands for an ``until`` that cannot be fetched, if this is such."""
        memory, uc = self._memory, self._memory.uc
        hooks: list[int] = []
        until = self._until
        if until and (until - 1) >> PAGE_SHIFT != begin >> PAGE_SHIFT and not memory.can_end_in(until - 1):
            stop = memory.guard.pointer(_CODE, lambda *_: uclib.uc_emu_stop(uc._uch))
            hooks.append(unicorn_abi.hook_add(uc, UC_HOOK_CODE, stop, 0, begin=until, end=until))
            engine: Any = uc
            engine.ctl_flush_tb()  # what was translated before calls no hook
            self._until = 0
        return hooks

    def _rip(self) -> int:
        return int(self._memory.uc.reg_read(x86.UC_X86_REG_RIP))

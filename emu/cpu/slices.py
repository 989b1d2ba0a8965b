"""Time slices, which are counted in instructions: when one ends, and who is called within it."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

from emu.cpu.registers import RegisterFile
from emu.engine.records import TrapState
from mmu import Mmu
from mmu.objectcode import load
from mmu.state import MmuState


class Slices(RegisterFile):
    """The slice of what runs on the engine."""

    def __init__(self, mmu: Mmu) -> None:
        """The engine has begun, and its registers are where they will stay."""
        super().__init__(mmu.uc)
        self.mmu = mmu
        granted = ctypes.addressof(mmu.state) + MmuState.granted.offset  # type: ignore[attr-defined]
        self.trap = TrapState(count=granted)
        self._library = load("emu.engine.hooks")
        self._begin_slice, self._limit_slice = (self._library[f"{word}_slice"].call for word in ("begin", "limit"))
        self._trap_at, self._thread = ctypes.addressof(self.trap), threading.get_ident()
        #: When somebody wants to be called, in instructions, and who; and while the engine is only to run up to there,
        #: where the slice ends, as :attr:`spent` has it.
        self._alarm: tuple[int, Callable[[], object]] | None = None
        self._slice_end = 0

    @property
    def clock(self) -> int:
        """Instructions retired since the machine was made."""
        return self.mmu.state.clock

    def retired(self) -> int:
        """The same."""
        return self.mmu.state.clock

    @property
    def spent(self) -> int:
        """What slices are counted in: instructions, and the iterations of those with REP."""
        return self.mmu.state.clock + self.trap.iterations

    @property
    def last_end(self) -> int:
        """Where the string instruction with REP ends that was run last and can go on, which does not count any more; 0
        for none."""
        return self.trap.last_end if self.trap.last_clock == self.clock else 0

    @last_end.setter
    def last_end(self, end: int) -> None:
        self.trap.last_end = self.mmu.state.last_end = end
        if end:
            self.trap.last_clock = self.clock

    def begin_slice(self, left: int) -> None:
        """A slice of so many instructions begins."""
        self._thread = threading.get_ident()
        if self._alarm is not None:
            left = self._up_to_alarm(left)
        self._begin_slice(self._trap_at, left)

    def limit_slice(self, left: int) -> None:
        """Leave no more than so many instructions of the slice."""
        trap, limit = self.trap, self.clock + left
        self._slice_end = min(self._slice_end, self.spent + left)
        self._limit_slice(self._trap_at, min(trap.limit, limit))
        trap.aside = min(trap.aside, limit + 1)

    def end_slice(self) -> None:
        """Stop before the next block, as at the end of a slice; for another thread than that which runs, soon: it must
        not take back what code is counting with."""
        trap = self.trap
        if self._thread == threading.get_ident():
            self._limit_slice(self._trap_at, 0)
        trap.limit = self._slice_end = 0
        trap.aside = min(trap.aside, 1)

    def set_alarm(self, clock: int, call: Callable[[], object]) -> None:
        """Call somebody once, between two blocks of code, as soon as so many instructions have been retired; in turns
        that begin from now on."""
        self._alarm = clock, call

    def _up_to_alarm(self, left: int) -> int:
        assert self._alarm is not None
        before = max(self._alarm[0] - self.clock, 0)
        self._slice_end = self.spent + left if before < left else 0
        return min(before, left)

    def _goes_on(self) -> bool:
        """The slice that the engine was given is over: whether more of it is left, behind the alarm."""
        left = self._slice_end - self.spent
        if left <= 0:
            return False
        if self._alarm is not None and self.clock >= self._alarm[0]:
            call, self._alarm = self._alarm[1], None
            call()
        self._slice_end = 0
        self.begin_slice(left)
        return True

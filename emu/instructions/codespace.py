"""Whose code runs, and in which mode: what is known of a block of code holds for one of these."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING

from unicorn.x86_const import UC_X86_REG_RFLAGS

from emu.engine.records import TrapState
from emu.instructions.blocktable import APART, SPACES, BlockTable
from emu.instructions.opcodes import MODE_SHIFT, Mode
from mmu import Mmu
from mmu.objectcode import load

if TYPE_CHECKING:
    from emu.engine.fpu import Fpu

_RFLAGS_AC = 1 << 18
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
#: No mode yet.
NO_MODE = 0xFFFF_FFFF


class CodeSpace:
    """The ``code_id`` of what runs, with the modes of the control words in its upper bits; and whether code may count
    itself there."""

    def __init__(self, mmu: Mmu, trap: TrapState, fpu: Fpu) -> None:
        self._mmu, self._trap, self._fpu = mmu, trap, fpu
        self._limit_slice = load("emu.engine.hooks")["limit_slice"].call
        #: Modes that there have been.
        self._modes = Mode.ALWAYS
        #: Tells the user.
        self.say_once: Callable[[str], None] = lambda message: None
        #: Whether code that is plain may count itself; the ``code_id`` that TrapState.open is for; and, where the hook
        #: is to look at each block until the engine has forgotten its pages, MmuState.epoch as of when that began.
        self.counts_inline, self._space, self._closed = False, NO_MODE, 0
        self._known = BlockTable(trap)

    def enter(self, code_id: int, *, catches_faults: bool) -> None:
        """The code that runs now is that of an address space, in the mode of the control words."""
        if catches_faults:
            code_id |= Mode.CATCHES_FAULTS << MODE_SHIFT
        if self._modes or self._fpu.unmasks:
            code_id |= self._mode() << MODE_SHIFT
        if code_id != self._space or self._closed:
            self._look_whether_told(code_id)
        self._trap.code_id = code_id
        first = (code_id & SPACES - 1) * APART
        if first != self._known.first:
            self._known.begin_at(first)

    def place(self, code_id: int, *, catches_faults: bool) -> tuple[int, int] | None:
        """What :meth:`enter` sets, ``TrapState.code_id`` and ``table``, as long as code is not forgotten; None where
        that depends on the control words."""
        if self._modes or self._fpu.unmasks:
            return None
        if catches_faults:
            code_id |= Mode.CATCHES_FAULTS << MODE_SHIFT
        return code_id, self._known.begins(code_id)

    def _mode(self) -> Mode:
        mode = Mode.UNMASKED if self._fpu.has_unmasked else Mode.ALWAYS
        return mode | (Mode.ALIGNMENT_CHECK if self._mmu.uc.reg_read(UC_X86_REG_RFLAGS) & _RFLAGS_AC else Mode.ALWAYS)

    def set_mode(self, mode: Mode, on: bool) -> None:
        """The guest is about to do what makes this mode begin or end."""
        bit = mode << MODE_SHIFT
        self._trap.code_id = self._trap.code_id | bit if on else self._trap.code_id & ~bit
        self._begin_space()
        if on and not self._modes & mode:
            self._modes |= mode
            if mode == Mode.UNMASKED:
                self.say_once(
                    "a program unmasks floating-point exceptions: while one is unmasked, its floating-point "
                    "instructions are executed one by one, and take some microseconds each"
                )

    def _look_whether_told(self, code_id: int) -> None:
        """Before code of another ``code_id`` runs than that which ran last, or where the hook looks at each block."""
        self._trap.code_id = code_id
        if code_id != self._space:
            self._begin_space()
        elif self._mmu.state.epoch != self._closed:
            self._closed = 0
            self.open()

    def _begin_space(self) -> None:
        """There is another ``code_id``.  The engine may hold pages of code of which we have not been told for this one:
        until it has forgotten them, the hook looks at each block."""
        state = self._mmu.state
        self._space, self._closed = self._trap.code_id, state.epoch if state.code_epoch == state.epoch else 0
        self.open()

    def open(self) -> None:
        """Let code count itself, if it is plain in the mode that there is now, and we know where it is."""
        trap = self._trap
        mode = trap.code_id >> MODE_SHIFT
        may = self.counts_inline and not self._closed
        trap.open_uncaught = _ALL_ONES if may and mode == Mode.ALWAYS else 0
        trap.open = _ALL_ONES if may and mode in (Mode.ALWAYS, Mode.CATCHES_FAULTS) else 0
        self._limit_slice(ctypes.addressof(trap), trap.limit)

    def flags_restored(self, rflags: int) -> None:
        """The kernel has set RFLAGS."""
        if rflags & _RFLAGS_AC:
            self._modes |= Mode.ALIGNMENT_CHECK

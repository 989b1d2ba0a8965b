"""Tracing of one task by another: system calls of the task that is traced, before and behind which it stops, and which
signals interrupt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.ptracestops import NO_CALL, Event, Options, TraceeStops
from emu.kernel.signal_state import (
    TRAP_BRKPT,
    SaFlags,
    Sig,
    SigAction,
)
from emu.kernel.traced import StopKind
from emu.linux.syscall import Restart
from emu.linux.unistd import NR_EXIT, NR_EXIT_GROUP, NR_RESTART_SYSCALL

if TYPE_CHECKING:
    from emu.linux.errors import Interrupted
    from emu.linux.syscall import Syscall

_WORD = (1 << 64) - 1
_ENOSYS, _EINTR = 38, 4
_EXITS = frozenset({NR_EXIT, NR_EXIT_GROUP})
#: What RAX says of a call that a signal has interrupted, until it is decided whether that starts again
#: (include/linux/errno.h).
_RESTARTS = {Restart.SYS: 512, Restart.NOHAND: 514, Restart.BLOCK: 516}
_SYS, _NOHAND, _BLOCK = (_RESTARTS[kind] for kind in (Restart.SYS, Restart.NOHAND, Restart.BLOCK))


class TraceeCalls(TraceeStops):
    """A traced task that makes system calls."""

    # -- system calls ----------------------------------------------------------------------------------------------

    def enter(self, number: int) -> bool:
        """A system call begins, or goes on behind its stops.  True if the task has stopped."""
        cpu, task = self._kernel.cpu, self.task
        if not self._entered:
            self._filter_told = False
            self.orig_rax = number if number >> 63 == 0 else number - (1 << 64)
        if (self.syscalls or self.emulated) and not self._entered:
            task.syscall_rflags = cpu.trap.rflags
            cpu.syscall_return(-_ENOSYS, task.rip)
            return not self._stop_at_call(StopKind.ENTRY, 1, self._skip if self.emulated else self._enter_again)
        if self.options & Options.TRACEEXIT and self.orig_rax in _EXITS and not self._exit_told:
            self._exit_told = self._entered = True
            task.syscall_rflags = cpu.trap.rflags
            status = cpu.general()[7] & 0xFF
            return not self.stop_for(Event.EXIT, status << 8, self._enter_again)
        self._entered = False
        return False

    @property
    def suspends_seccomp(self) -> bool:
        return bool(self.options & Options.SUSPEND_SECCOMP)

    def tells_filter(self, number: int, data: int) -> bool | None:
        if not self.options & Options.TRACESECCOMP:
            return None
        if self._filter_told:
            self._filter_told = False
            return True
        cpu, task = self._kernel.cpu, self.task
        self._filter_told = self._entered = True
        task.syscall_rflags = cpu.trap.rflags
        cpu.syscall_return(-_ENOSYS, task.rip)
        return self.stop_for(Event.SECCOMP, data, self._enter_again)

    def _stop_at_call(self, kind: StopKind, message: int, then: Callable[[], bool]) -> bool:
        code = Sig.TRAP | (0x80 if self.options & Options.TRACESYSGOOD else 0)
        return self.stop(kind, code, self._own_info(Sig.TRAP, code), then, message=message)

    def _enter_again(self) -> bool:
        """The call goes on with the registers that the tracer has left; the number -1 skips it."""
        cpu, task = self._kernel.cpu, self.task
        self._send_given()
        cpu.trap.rflags = task.syscall_rflags
        if self.orig_rax & 0xFFFFFFFF == 0xFFFFFFFF:
            self._entered = self._filter_told = False
            cpu.syscall_return(cpu.general()[0], task.rip)
            return self.leave()
        registers = cpu.general()
        registers[0] = self.orig_rax & _WORD
        cpu.set_general(registers, cpu.rflags)
        self._entered = task.ptrace is self
        return self._kernel.entry.system_call(task)

    def _skip(self) -> bool:
        """The call is not made, and RAX is as the tracer has left it."""
        cpu, task = self._kernel.cpu, self.task
        self._send_given()
        cpu.trap.rflags = task.syscall_rflags
        cpu.syscall_return(cpu.general()[0], task.rip)
        return self.leave()

    def leave(self) -> bool:
        """A system call is done, and its result is in the registers.  False if the task has stopped."""
        if self.task.ptrace is not self:
            return True
        if self.event is not None:
            return self.stop_first(self.leave)
        if self.syscalls:
            return self._stop_at_call(StopKind.EXIT, 2, self._left)
        if self.stepping and not self.emulated:
            self._trap(TRAP_BRKPT)
        return True

    def _left(self) -> bool:
        self._send_given()
        return True

    # -- calls that signals interrupt ------------------------------------------------------------------------------

    def interrupted(self, call: Syscall, registers: tuple[int, ...], how: Interrupted) -> int:
        """The result of a call that a signal has interrupted, until it is known whether a handler runs."""
        kind = call.restarts_as(registers)
        self.task.restart_block = how.goes_on if kind is Restart.BLOCK else None
        if kind is Restart.BLOCK and how.goes_on is None:
            kind = Restart.NOHAND
        return -_RESTARTS.get(kind, _EINTR) if kind is not None else -_EINTR

    def before_handler(self, action: SigAction) -> None:
        """A handler is about to run: a call that it interrupts starts again behind it, or fails (handle_signal)."""
        wanted = self._wants_restart()
        if wanted == _SYS and action.flags & SaFlags.RESTART:
            self._start_again(self.orig_rax)
        elif wanted:
            self._kernel.cpu.write("rax", -_EINTR)
            self.task.restart_block = None

    def stops_in_handler(self) -> bool:
        """Who steps stops there (signal_setup_done)."""
        if self.stepping:
            self.stop(StopKind.EVENT, Sig.TRAP, self._own_info(Sig.TRAP, Sig.TRAP), None)
        return self.stepping

    def without_handler(self) -> None:
        """No handler runs: the call starts again (arch_do_signal_or_restart)."""
        wanted = self._wants_restart()
        if wanted == _BLOCK:
            self._start_again(NR_RESTART_SYSCALL)
        elif wanted:
            self._start_again(self.orig_rax)

    def _wants_restart(self) -> int:
        if self.orig_rax < 0:
            return 0
        result = -self._kernel.cpu.general()[0] & _WORD
        return result if result in (_SYS, 513, _NOHAND, _BLOCK) else 0

    def _start_again(self, number: int) -> None:
        self._kernel.cpu.write("rax", number)
        self.task.rip -= 2
        self.orig_rax = NO_CALL

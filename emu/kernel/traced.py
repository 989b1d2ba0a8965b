"""What the kernel asks of a task that is traced (``task.ptrace``), whoever implements it (:mod:`emu.kernel.ptrace`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.kernel.debug_registers import DebugRegisters
    from emu.kernel.signal_state import SigAction, SigInfo
    from emu.linux.errors import Interrupted
    from emu.linux.syscall import Syscall


class StopKind(Enum):
    """Where a task is stopped."""

    ENTRY = "before a system call"
    EXIT = "behind a system call"
    SIGNAL = "before a signal is delivered"
    EVENT = "at an event"
    GROUP = "its process is stopped"


class Traced(ABC):
    """The state of a traced task.  Methods that say whether the task goes on have stopped it where it does not."""

    #: The task that traces it.
    tracer: Any
    #: Whether that may be more than the task itself: with CAP_SYS_PTRACE when it began (ptracer_capable).
    privileged: bool
    #: The kind of the stop, None while it runs; and the code for wait(2), 0 once that was told.
    kind: StopKind | None
    code: int
    #: It stops behind one instruction; it is to stop as soon as it can.
    stepping: bool
    trap: bool
    #: Breakpoints and watchpoints.
    debug_registers: DebugRegisters
    #: The number of the system call in which it is, or -1.
    orig_rax: int
    #: Whether something has happened of which the tracer is told before the call goes on.
    event: object | None
    #: How it has ended, if the tracer is to be told: the status word.
    ended_as: int | None

    # -- system calls ----------------------------------------------------------------------------------------------

    @abstractmethod
    def enter(self, number: int) -> bool:
        """A system call begins, or goes on behind its stops.  True if the task has stopped."""

    @abstractmethod
    def leave(self) -> bool:
        """A system call is done, and its result is in the registers.  Whether the task goes on."""

    @property
    @abstractmethod
    def suspends_seccomp(self) -> bool:
        """Filters do not count as long as it is traced (PTRACE_O_SUSPEND_SECCOMP)."""

    @abstractmethod
    def tells_filter(self, number: int, data: int) -> bool | None:
        """A filter says SECCOMP_RET_TRACE: whether the call is made; False if the task has stopped before it, None if
        the tracer does not want to know.
        """

    @abstractmethod
    def stop_first(self, then: Callable[[], bool]) -> bool:
        """The event comes before what the call does further.  False."""

    @abstractmethod
    def interrupted(self, call: Syscall, registers: tuple[int, ...], how: Interrupted) -> int:
        """The result of a call that a signal has interrupted, until it is known whether a handler runs."""

    # -- instructions ----------------------------------------------------------------------------------------------

    @abstractmethod
    def before_step(self) -> bool:
        """An instruction is about to run by itself.  False if a breakpoint there stops it with a signal."""

    @abstractmethod
    def after_step(self) -> bool:
        """It has.  Whether the tracer has asked for it, and gets a signal for that."""

    # -- signals ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def stop_for_signal(self, info: SigInfo, then: Callable[[SigInfo], bool]) -> bool:
        """A signal is about to be delivered: the tracer says which one is, to ``then``.  False."""

    @abstractmethod
    def traps(self) -> bool:
        """On the way to user mode: stop, if the tracer wants it.  Whether it has."""

    @abstractmethod
    def before_handler(self, action: SigAction) -> None:
        """A handler is about to run: a call that it interrupts starts again behind it, or fails."""

    @abstractmethod
    def stops_in_handler(self) -> bool:
        """A handler has its frame: whether the task stops before its first instruction."""

    @abstractmethod
    def without_handler(self) -> None:
        """No handler runs: the call that a signal has interrupted starts again."""

    @abstractmethod
    def tells_exit(self, status: int, then: Callable[[], bool]) -> bool:
        """A signal ends the process: whether the tracer is told first."""

    # -- the process -----------------------------------------------------------------------------------------------

    @abstractmethod
    def stop_of_group(self) -> None:
        """The process is stopped."""

    @abstractmethod
    def continued(self) -> None:
        """SIGCONT has come for the process."""

    @abstractmethod
    def killed(self) -> None:
        """SIGKILL: the task goes on to its end."""

    @abstractmethod
    def forked(self, child: Any, flags: int) -> None:
        """The task has made another one, with these flags of clone(2)."""

    @abstractmethod
    def vfork_done(self, child: Any) -> None:
        """The child of a vfork(2) has memory of its own, or has ended."""

    @abstractmethod
    def executed(self, old_pid: int) -> None:
        """execve(2) has succeeded; ``old_pid``: the number that the thread had before."""

    @abstractmethod
    def ended(self, status: int) -> None:
        """The task has ended; its tracer, who is not its parent or traces a mere thread, is told first."""

    @abstractmethod
    def tracer_ended(self) -> None:
        """Nobody traces the task any more."""

    @abstractmethod
    def unlink(self) -> None:
        """The task is not traced any more."""

"""The interface through which the kernel reports events to a recorder.  This one records nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.tracer import EventTracer

if TYPE_CHECKING:
    from emu.kernel.signal_state import SigInfo
    from emu.kernel.task import Task
    from emu.linux.syscall import Syscall
    from emu.mm.address_space import AddressSpace
    from emu.mm.flags import FaultResult
    from mmu import Access


class Tracer(EventTracer):
    """Base of every recorder; each method receives one kind of event as it happens."""

    #: Whether :meth:`signal` is called also where a task sends itself the same signal again and again.
    each_signal = True
    #: Whether system calls are reported at all (they are the hot path).
    syscalls = False
    #: Whether :meth:`mapped` is called also where :attr:`active` is not set.
    maps = False
    #: Whether native code may resolve page faults without :meth:`fault_begins` and :meth:`fault_ends`, where it says in
    #: the event of the MMU how it has, and what time it is then.
    faults_natively = False

    def syscall_enter(self, task: Task, number: int, call: Syscall | None, arguments: tuple[int, ...]) -> None:
        """A system call begins; ``call`` is None if the number has no row."""

    def syscall_exit(self, task: Task, number: int, call: Syscall | None, result: int) -> None:
        """A system call has its result (negative: -errno)."""

    def signal(self, task: Task, info: SigInfo) -> None:
        """A signal is delivered."""

    def fault_begins(self, mm: AddressSpace, vaddr: int) -> object:
        """A page fault is to be resolved; what is returned is given to :meth:`fault_ends`.  Called only where
        :attr:`active` is set."""

    def fault_ends(self, mm: AddressSpace, vaddr: int, access: Access, result: FaultResult, begun: object) -> None:
        """It has been, or not."""

    def stopped(self, task: Task, signo: int) -> None:
        """A task has stopped, as its process has taken a stop signal."""

    def ignored(self, task: Task, info: SigInfo) -> None:
        """A signal is sent to a task, or to the process that it leads, and ignored: nothing is delivered."""

    def fork(self, parent: Task, child: Task) -> None:
        """A child has been made."""

    def exec(self, task: Task, path: str, argv: tuple[bytes, ...]) -> None:
        """A task has started a new program."""

    def mapped(self, task: Task, start: int, end: int) -> None:
        """A task has made a mapping of a file that may be executed, or has given one that right (perf_event_mmap).

        Called only where :attr:`active` or :attr:`maps` is set.
        """

    def exit(self, task: Task, status: int) -> None:
        """A task ends."""

    def supersede(self, task: Task, leader: Task) -> None:
        """A thread that calls execve is about to take the number of the leader of its process."""

"""Tasks that wait until a program has resolved a page fault, or has read of a change of mappings (fs/userfaultfd.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from emu.kernel.signal_state import Sig
from emu.linux.argument import DIRFD, FD
from emu.linux.errors import LinuxError, NoIntr

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
    from emu.fs.vfs import Vfs
    from emu.kernel.sched import Scheduler
    from emu.kernel.task import Task
    from emu.linux.syscall import Syscall
    from emu.linux.wait import WaitQueue
    from emu.mm.userfault import Userfault, Waiting


class Calls(Protocol):
    """Of a kernel: what it takes to let a call wait in the middle of its work."""

    @property
    def scheduler(self) -> Scheduler:
        """Lets others run."""

    @property
    def cpu(self) -> Cpu:
        """Has the call's arguments."""

    @property
    def vfs(self) -> Vfs:
        """Has the pipes."""

    def find_call(self, number: int) -> Syscall | None:
        """The row of a call."""

    def log_once(self, message: str) -> None:
        """Tell the user."""


def sleep_in_fault(scheduler: Scheduler, task: Task, address: int) -> bool:
    """Put a task to sleep whose own access, at this address, a program is to resolve; it is then tried again.  False if
    the fault is to be a SIGBUS.
    """
    fault, task.mm.userfault = task.mm.userfault, None
    assert fault is not None
    fault.address = address
    queue = fault.begin(task.pid, user=True)
    if queue is None:
        return False

    def then() -> bool:
        if fault.done:
            task.usage.min_flt += 1  # the second attempt; the first was under the VMA's own lock
        fault.end()
        return True

    task.then = then
    scheduler.sleep(task, queue)
    return True


def wait_in_kernel(kernel: Calls, fault: Userfault) -> None:
    """The kernel's own access, for the current task, waits: others run meanwhile.  Only SIGKILL ends the wait.
    LinuxError(EFAULT) if nobody is told of the fault or the task has ended; NoIntr if the run is to end.
    """
    task = kernel.scheduler.current
    if kernel.scheduler.deep:
        kernel.log_once("userfaultfd: too many calls wait for a page at the same time: EFAULT")
        raise LinuxError(errno.EFAULT)
    queue = None if task is None else fault.begin(task.pid, user=False)
    if task is None or queue is None:
        raise LinuxError(errno.EFAULT)
    try:
        if not _wait(kernel, task, queue, lambda: fault.done):
            raise LinuxError(errno.EFAULT)
    finally:
        fault.end()
    task.usage.maj_flt += 1


def wait_event(kernel: Calls, waiting: Waiting) -> None:
    """The current task waits until a monitor has read of its change, or is killed."""
    if kernel.scheduler.current is not None and not kernel.scheduler.deep:
        _wait(kernel, kernel.scheduler.current, waiting.queue, lambda: waiting.done)


def _wait(kernel: Calls, task: Task, queue: WaitQueue, done: Callable[[], bool]) -> bool:
    """False if the task has been killed.  NoIntr if the run is to end."""
    _keep_files(kernel, task)
    pipes, taken = kernel.vfs.pipes, kernel.vfs.pipes.taken
    try:
        while not done():
            if not kernel.scheduler.wait_in_kernel(task, queue):
                raise NoIntr
            if not task.alive or task.signals.pending_mask >> (Sig.KILL - 1) & 1:
                return False
    finally:
        pipes.taken = taken  # which others have read meanwhile
    return True


def _keep_files(kernel: Calls, task: Task) -> None:
    """The files of a call that waits stay open until its turn is over, even if others close them, or the task ends
    (fdget).
    """
    _, number, registers = kernel.cpu.syscall_registers()
    call = kernel.find_call(number)
    types = () if call is None else [each for each in call.arguments if each.in_register]
    fds = {value & 0xFFFFFFFF for kind, value in zip(types, registers, strict=False) if kind in (FD, DIRFD)}
    for fd, file in task.files.items():
        if fd in fds:
            kernel.scheduler.after_turn(task, file.get().put)

"""Tasks that wait until a program has resolved a page fault (fs/userfaultfd.c), and making a userfaultfd."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from emu.fs.userfaultfd import USER_MODE_ONLY, UserfaultDevice, UserfaultFd
from emu.kernel.signal_state import Sig
from emu.linux.capability import SYS_PTRACE
from emu.linux.errors import LinuxError, NoIntr
from emu.linux.fileflags import OpenFlags

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.userfault import Userfault

_CLOEXEC, _NONBLOCK = int(OpenFlags.CLOEXEC), int(OpenFlags.NONBLOCK)


def sys_userfaultfd(kernel: Kernel, task: Task, flags: int) -> int:
    """userfaultfd(2)."""
    allowed = kernel.mm_context.unprivileged_userfaultfd or task.credentials.capable(SYS_PTRACE)
    if not flags & USER_MODE_ONLY and not allowed:
        raise LinuxError(errno.EPERM)
    return _new(kernel, task, flags)


def _new(kernel: Kernel, task: Task, flags: int) -> int:
    if flags & ~(_CLOEXEC | _NONBLOCK | USER_MODE_ONLY):
        raise LinuxError(errno.EINVAL)
    task.files.check_room()
    file = UserfaultFd(kernel.vfs.anon_inode("[userfaultfd]"), flags, task.mm)
    return task.files.open(file, bool(flags & _CLOEXEC))


def open_device(kernel: Kernel, path: Path, flags: int) -> File:
    """Open /dev/userfaultfd."""

    def make(caller: Any, flags: int) -> int:
        return _new(kernel, caller, flags)

    file = UserfaultDevice(path, flags)
    file.make = make
    return file


def sleep_in_fault(kernel: Kernel, task: Task, address: int) -> bool:
    """Put a task to sleep whose own access, at this address, a program is to resolve; it is then tried again.  False if the fault
    is to be a SIGBUS.
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
    kernel.scheduler.sleep(task, queue)
    return True


def wait_in_kernel(kernel: Kernel, fault: Userfault) -> None:
    """The kernel's own access, for the current task, waits: others run meanwhile.  Only SIGKILL ends the wait.
    LinuxError(EFAULT) if nobody is told of the fault or the task has ended; NoIntr if the run is to end.
    """
    task = kernel.current
    queue = None if task is None else fault.begin(task.pid, user=False)
    if task is None or queue is None:
        raise LinuxError(errno.EFAULT)
    try:
        while not fault.done:
            if not kernel.scheduler.wait_in_kernel(task, queue):
                raise NoIntr
            if not task.alive or task.signals.pending_mask >> (Sig.KILL - 1) & 1:
                raise LinuxError(errno.EFAULT)
    finally:
        fault.end()
    task.usage.maj_flt += 1

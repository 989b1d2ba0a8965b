"""userfaultfd(2), and /dev/userfaultfd, which makes one too."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from emu.fs.userfaultfd import USER_MODE_ONLY, UserfaultDevice, UserfaultFd
from emu.linux.argument import Bits
from emu.linux.capability import SYS_PTRACE
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.syscall import DESCRIPTOR, Syscall
from emu.mm.userfault import UserfaultContext

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace

_CLOEXEC, _NONBLOCK = int(OpenFlags.CLOEXEC), int(OpenFlags.NONBLOCK)


def sys_userfaultfd(kernel: Kernel, task: Task, flags: int) -> int:
    """userfaultfd(2): calls that wait for pages go on in the reverse order; where 500 do, others get EFAULT."""
    allowed = kernel.mm_context.unprivileged_userfaultfd or task.credentials.capable(SYS_PTRACE)
    if not flags & USER_MODE_ONLY and not allowed:
        raise LinuxError(errno.EPERM)
    return _new(kernel, task, flags)


def _new(kernel: Kernel, task: Task, flags: int) -> int:
    if flags & ~(_CLOEXEC | _NONBLOCK | USER_MODE_ONLY):
        raise LinuxError(errno.EINVAL)
    context = UserfaultContext(task.mm, user_mode_only=bool(flags & USER_MODE_ONLY))
    return _open(kernel, task, flags, context, task.mm)


def _open(kernel: Kernel, task: Task, flags: int, context: UserfaultContext, mm: AddressSpace) -> int:
    def install(made: UserfaultContext, of: AddressSpace, flags: int) -> int:
        assert kernel.current is not None
        return _open(kernel, kernel.current, flags, made, of)

    task.files.check_room()
    file = UserfaultFd(kernel.vfs.anon_inode("[userfaultfd]"), flags, context, mm, install)
    return task.files.open(file, bool(flags & _CLOEXEC))


def open_device(kernel: Kernel, path: Path, flags: int) -> File:
    """Open /dev/userfaultfd."""

    def make(caller: Any, flags: int) -> int:
        return _new(kernel, caller, flags)

    file = UserfaultDevice(path, flags)
    file.make = make
    return file


_FLAGS = Bits("", name="UFFD_*", O_CLOEXEC=_CLOEXEC, O_NONBLOCK=_NONBLOCK, UFFD_USER_MODE_ONLY=USER_MODE_ONLY)

TABLE = (Syscall(323, "userfaultfd", sys_userfaultfd, (_FLAGS,), DESCRIPTOR),)

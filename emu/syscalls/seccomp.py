"""seccomp: a thread gives up system calls (kernel/seccomp.c)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.kernel.seccomp import ACTIONS, MODE_FILTER, MODE_STRICT, Filter, Instruction, Seccomp
from emu.kernel.seccomp_notify import Listener
from emu.linux.argument import ADDRESS, UINT, Bits, OneOf
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.syscall import NUMBER, Syscall
from emu.mm.kmem import TASK_STRUCT

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_FPROG, _INSTRUCTION = struct.Struct("<H6xQ"), struct.Struct("<HBBI")
#: struct seccomp_notif_sizes.
_SIZES = struct.pack("<3H", 80, 24, 64)
_MAX_INSTRUCTIONS, _MAX_ALL = 4096, (1 << 18) // 8


def set_strict(task: Task) -> None:
    """SECCOMP_SET_MODE_STRICT.  LinuxError(EINVAL) where there are filters."""
    if task.seccomp is not None and task.seccomp.mode != MODE_STRICT:
        raise LinuxError(errno.EINVAL)
    task.seccomp = Seccomp(MODE_STRICT)


def read_program(task: Task, address: int) -> Filter:
    """The program of a struct sock_fprog.  LinuxError(EINVAL), (EFAULT)."""
    length, place = _FPROG.unpack(task.mm.read(address, _FPROG.size))
    if not 0 < length <= _MAX_INSTRUCTIONS:
        raise LinuxError(errno.EINVAL)
    text = task.mm.read(place, length * _INSTRUCTION.size)
    return Filter.of([Instruction(*fields) for fields in _INSTRUCTION.iter_unpack(text)])


_TSYNC, _LOG, _NEW_LISTENER, _TSYNC_ESRCH, _WAIT_KILLABLE = 1, 2, 8, 16, 32
_KNOWN_FLAGS = 0x3F


def set_filter(kernel: Kernel, task: Task, flags: int, address: int) -> int:
    """SECCOMP_SET_MODE_FILTER.  LinuxError(EINVAL), (EACCES) without PR_SET_NO_NEW_PRIVS or CAP_SYS_ADMIN, (ENOMEM).

    With SECCOMP_FILTER_FLAG_TSYNC every thread gets the filters, or the result names one that has others.
    """
    listens = bool(flags & _NEW_LISTENER)
    if flags & ~_KNOWN_FLAGS or (flags & _TSYNC and listens and not flags & _TSYNC_ESRCH):
        raise LinuxError(errno.EINVAL)
    if flags & _WAIT_KILLABLE and not listens:
        raise LinuxError(errno.EINVAL)
    new = read_program(task, address)._replace(logs=bool(flags & _LOG))
    if not (task.credentials.no_new_privs or task.credentials.capable_here(SYS_ADMIN)):
        raise LinuxError(errno.EACCES)
    before = task.seccomp
    if before is not None and before.mode != MODE_FILTER:
        raise LinuxError(errno.EINVAL)
    filters = () if before is None else before.filters
    if listens:
        if any(one.listener is not None for one in filters):
            raise LinuxError(errno.EBUSY)
        task.files.check_room()
        new = new._replace(listener=_listener(kernel, bool(flags & _WAIT_KILLABLE)))
    filters = (*filters, new)
    if sum(len(one.codes) + 4 for one in filters) > _MAX_ALL:
        raise LinuxError(errno.ENOMEM)
    size = len(new.codes) * _INSTRUCTION.size + TASK_STRUCT
    task.charge(size)
    if flags & _TSYNC:
        for other in task.group.threads.values():
            theirs = other.seccomp
            if theirs is not None and (before is None or not _descends(theirs.filters, before.filters)):
                if flags & _TSYNC_ESRCH:
                    raise LinuxError(errno.ESRCH)
                return task.sees(other.pid)
        for other in task.group.threads.values():
            if other is not task:
                other.charge(size)
        for other in task.group.threads.values():
            other.seccomp = Seccomp(MODE_FILTER, filters)
            if task.credentials.no_new_privs:
                other.credentials.no_new_privs = True
    task.seccomp = Seccomp(MODE_FILTER, filters)
    return task.files.open(new.listener, cloexec=True) if isinstance(new.listener, Listener) else 0


def _descends(filters: tuple[Filter, ...], of: tuple[Filter, ...]) -> bool:
    """Whether these are the first of the others: the same, not such as say the same (is_ancestor)."""
    return len(filters) <= len(of) and all(one is other for one, other in zip(filters, of, strict=False))


def _listener(kernel: Kernel, killable: bool) -> Listener:
    """One that hears when the last task that has its filter ends."""

    def users(listener: Listener) -> bool:
        found = (task.seccomp for task in kernel.tasks.values() if task.alive)
        return any(one.listener is listener for seccomp in found if seccomp is not None for one in seccomp.filters)

    made = Listener(kernel.vfs.anon_inode("seccomp notify"), kernel.random, users, killable=killable)
    kernel.thread_exit_hooks.append(lambda task: made.task_ended())
    return made


_ACTION_AVAIL, _NOTIF_SIZES = 2, 3


def sys_seccomp(kernel: Kernel, task: Task, operation: int, flags: int, address: int) -> int:
    """seccomp(2)."""
    if operation == 0:
        if flags or address:
            raise LinuxError(errno.EINVAL)
        set_strict(task)
        return 0
    if operation == 1:
        return set_filter(kernel, task, flags, address)
    if operation not in (_ACTION_AVAIL, _NOTIF_SIZES) or flags:
        raise LinuxError(errno.EINVAL)
    if operation == _ACTION_AVAIL:
        if UINT.read(task.mm, address) not in ACTIONS:
            raise LinuxError(errno.EOPNOTSUPP)
    else:
        task.mm.write(address, _SIZES)
    return 0


_OPERATION = OneOf("SECCOMP_", SET_MODE_STRICT=0, SET_MODE_FILTER=1, GET_ACTION_AVAIL=2, GET_NOTIF_SIZES=3)
_FLAGS = Bits("SECCOMP_FILTER_FLAG_", TSYNC=1, LOG=2, SPEC_ALLOW=4, NEW_LISTENER=8, TSYNC_ESRCH=16)

TABLE = (Syscall(317, "seccomp", sys_seccomp, (_OPERATION, _FLAGS, ADDRESS), NUMBER),)

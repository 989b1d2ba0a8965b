"""Which vCPU a task runs on, and when it lets go of it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.kernel.errors import LinuxError
from emu.syscalls.table import Syscall, s32

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: Bytes of the kernel's own mask: one word, for 64 CPUs.
_MASK_BYTES = 8


def sys_sched_yield(kernel: Kernel, task: Task) -> int:
    """sched_yield(2)."""
    kernel.scheduler.yielded = True
    return 0


def _target(kernel: Kernel, task: Task, pid: int) -> Task:
    if not s32(pid):
        return task
    target = kernel.tasks.get(s32(pid))
    if target is None or not target.alive:
        raise LinuxError(errno.ESRCH)
    return target


def sys_sched_setaffinity(kernel: Kernel, task: Task, pid: int, length: int, mask: int) -> int:
    """sched_setaffinity(2): a task on a vCPU that is not in the mask moves at once."""
    words = task.mm.read(mask, min(length & 0xFFFFFFFF, _MASK_BYTES))
    target = _target(kernel, task, pid)
    if task.credentials.euid not in (0, target.credentials.uid, target.credentials.euid):
        raise LinuxError(errno.EPERM)
    wanted = int.from_bytes(words, "little") & kernel.scheduler.all_cpus
    if not wanted:
        raise LinuxError(errno.EINVAL)
    kernel.scheduler.set_affinity(target, wanted)
    return 0


def sys_sched_getaffinity(kernel: Kernel, task: Task, pid: int, length: int, mask: int) -> int:
    """sched_getaffinity(2); returns how many bytes of the mask it has written."""
    length &= 0xFFFFFFFF
    if length < _MASK_BYTES or length & (_MASK_BYTES - 1):
        raise LinuxError(errno.EINVAL)
    task.mm.write_u64(mask, kernel.scheduler.allowed(_target(kernel, task, pid)))
    return _MASK_BYTES


def sys_getcpu(kernel: Kernel, task: Task, cpu: int, node: int) -> int:
    """getcpu(2): there is one node."""
    for address, value in ((cpu, task.cpu), (node, 0)):
        if address:
            task.mm.write_u32(address, value)
    return 0


TABLE = (
    Syscall(24, "sched_yield", sys_sched_yield),
    Syscall(203, "sched_setaffinity", sys_sched_setaffinity, ("pid", "size", "ptr")),
    Syscall(204, "sched_getaffinity", sys_sched_getaffinity, ("pid", "size", "ptr")),
    Syscall(309, "getcpu", sys_getcpu, ("ptr", "ptr")),
)

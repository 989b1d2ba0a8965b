"""Resource limits of a task, and what they are at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.limits import INFINITY, INR_OPEN_CUR, NR_OPEN, Rlimit

if TYPE_CHECKING:
    from emu.kernel.task import Task

_MLOCK_LIMIT = 8 << 20
#: (soft, hard) of a first process, where they are not infinite.
_INITIAL = {
    Rlimit.STACK: (8 << 20, INFINITY),
    Rlimit.CORE: (0, INFINITY),
    Rlimit.NPROC: (4096, 4096),
    Rlimit.NOFILE: (INR_OPEN_CUR, NR_OPEN),
    Rlimit.MEMLOCK: (_MLOCK_LIMIT, _MLOCK_LIMIT),
    Rlimit.SIGPENDING: (4096, 4096),
    Rlimit.MSGQUEUE: (819200, 819200),
    Rlimit.NICE: (0, 0),
    Rlimit.RTPRIO: (0, 0),
}


def limits_of(task: Task, resource: Rlimit) -> tuple[int, int]:
    """(soft, hard)."""
    return task.limits.get(resource) or _INITIAL.get(resource, (INFINITY, INFINITY))


def soft_limit(task: Task | None, resource: Rlimit) -> int | None:
    """What holds for a task (None: for the kernel itself, the initial value); None if nothing does.

    Who may lock as much as they like (CAP_IPC_LOCK: root) has no limit of locked memory.
    """
    if resource == Rlimit.MEMLOCK and (task is None or task.credentials.euid == 0):
        return None
    soft = (_INITIAL.get(resource, (INFINITY, INFINITY)) if task is None else limits_of(task, resource))[0]
    return None if soft == INFINITY else soft

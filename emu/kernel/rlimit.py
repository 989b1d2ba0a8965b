"""The resource limits that hold for a task (kernel/sys.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.capability import IPC_LOCK
from emu.linux.limits import INFINITY, INIT_RLIMITS, Rlimit

if TYPE_CHECKING:
    from emu.kernel.task import Task

_UNLIMITED = (INFINITY, INFINITY)


def limits_of(task: Task, resource: Rlimit) -> tuple[int, int]:
    """(soft, hard)."""
    return task.group.limits.get(resource) or INIT_RLIMITS.get(resource) or _UNLIMITED


def hard_limit(task: Task | None, resource: Rlimit) -> int | None:
    """The hard limit of a task (None: of the kernel itself, which has the initial one); None if there is no limit."""
    hard = (INIT_RLIMITS.get(resource) or _UNLIMITED if task is None else limits_of(task, resource))[1]
    return None if hard == INFINITY else hard


def soft_limit(task: Task | None, resource: Rlimit) -> int | None:
    """The soft limit of a task (None: of the kernel itself, which has the initial one); None if there is no limit.

    A task that may lock any amount (CAP_IPC_LOCK) has no limit of locked memory.
    """
    if resource == Rlimit.MEMLOCK and (task is None or task.credentials.capable(IPC_LOCK)):
        return None
    own = None if task is None else task.group.limits.get(resource)
    soft = (own or INIT_RLIMITS.get(resource) or _UNLIMITED)[0]
    return None if soft == INFINITY else soft

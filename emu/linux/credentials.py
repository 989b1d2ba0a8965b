"""Whose rights a task has.  There are no capabilities: user 0 may do everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.kernel.task import Task


@dataclass
class Credentials:
    """Real, effective and saved ids; the effective ones decide, for files too."""

    uid: int = 0
    gid: int = 0
    euid: int = 0
    egid: int = 0
    groups: tuple[int, ...] = ()
    suid: int = 0
    sgid: int = 0


def may_access(task: Task, target: Task) -> bool:
    """Whether a task may look into another's memory (__ptrace_may_access): it is the same, root, or the same user in
    every respect.
    """
    who, whose = task.credentials, target.credentials
    if task.tgid == target.tgid or who.euid == 0:
        return True
    users = {who.euid, whose.uid, whose.euid, whose.suid}
    groups = {who.egid, whose.gid, whose.egid, whose.sgid}
    return len(users) == len(groups) == 1

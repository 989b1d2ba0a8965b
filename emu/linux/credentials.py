"""Whose rights a task has.  There are no capabilities: user 0 may do everything."""

from __future__ import annotations

from dataclasses import dataclass


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

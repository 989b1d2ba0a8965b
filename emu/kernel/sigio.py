"""Signals that say that something has happened to a file: SIGIO, or what F_SETSIG chose (send_sigio of fs/fcntl.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from emu.fs.fasync import F_OWNER_PGRP, F_OWNER_TID, URGENT, FileOwner
from emu.kernel.signal_state import SiCode, Sig, SigInfo
from emu.kernel.task import INIT_PID
from emu.linux.fileflags import PollEvents

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_SI_SIGIO = -5
#: Signals whose positive si_code means something of their own (SPECIFIC_SIGS).
_SPECIFIC = (Sig.ILL, Sig.FPE, Sig.SEGV, Sig.BUS, Sig.TRAP, Sig.CHLD, Sig.SYS)
#: si_band for POLL_IN to POLL_HUP (band_table).
_BANDS = tuple(
    int(band)
    for band in (
        PollEvents.IN | PollEvents.RDNORM, PollEvents.OUT | PollEvents.WRNORM | PollEvents.WRBAND,
        PollEvents.IN | PollEvents.RDNORM | 0x400, PollEvents.ERR, PollEvents.PRI | PollEvents.RDBAND,
        PollEvents.HUP | PollEvents.ERR,
    )
)  # fmt: skip


def owner_of(kernel: Kernel, file: File) -> FileOwner:
    """The owner of an open file, which has none before somebody asks."""
    if file.owner is None:
        file.owner = FileOwner(lambda owner, fd, reason: send_sigio(kernel, owner, fd, reason))
    return file.owner


def own(kernel: Kernel, file: File, task: Task) -> None:
    """The process of a task becomes the owner, unless there is one."""
    owner = owner_of(kernel, file)
    if not owner.pid:
        owner.set(1, task.tgid, task.credentials.uid, task.credentials.euid)


def owners(kernel: Kernel, kind: int, pid: int) -> list[Task]:
    """The task, or the leaders of the processes, that an owner means."""
    if kind == F_OWNER_PGRP and pid != INIT_PID:
        return [task for task in kernel.tasks.values() if task.pgid == pid and task.pid == task.tgid]
    task = kernel.find_task(pid)
    return [] if task is None or (kind != F_OWNER_TID and task.pid != task.tgid) else [task]


def send_sigio(kernel: Kernel, owner: FileOwner, fd: int, reason: int) -> None:
    """Tell the owner, as far as whoever named it might signal it (sigio_perm)."""
    for task in owners(kernel, owner.kind, owner.pid):
        ids = task.credentials
        if owner.euid and not {owner.euid, owner.uid} & {ids.suid, ids.uid}:
            continue
        info = _info(owner.signum, fd, reason)
        if owner.kind == F_OWNER_TID:
            kernel.signals.send(task, info.signo, info)
        else:
            kernel.signals.send_to_process(task, info.signo, info)


def _info(signum: int, fd: int, reason: int) -> SigInfo:
    if reason == URGENT:
        return SigInfo(Sig.URG, SiCode.KERNEL)
    if not signum:
        return SigInfo(Sig.IO, SiCode.KERNEL)
    code = _SI_SIGIO if signum in _SPECIFIC else reason
    raw = struct.pack("<iii4xqi", signum, 0, code, _BANDS[reason - 1], fd).ljust(128, b"\0")
    return SigInfo(signum, code, given=raw)

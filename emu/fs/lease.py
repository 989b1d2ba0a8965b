"""File leases: a process is told before somebody else opens its file (fs/locks.c, fcntl(2) F_SETLEASE)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.fasync import POLL_MSG
from emu.fs.file import WouldBlock
from emu.fs.locks import Lease
from emu.linux.capability import LEASE
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.fs.inode import Inode
    from emu.fs.locks import FileLocks
    from emu.linux.caller import Credentials
    from emu.linux.wait import WaitQueue

F_RDLCK, F_WRLCK, F_UNLCK = range(3)
_NS = 1_000_000_000


class LeaseBroken(WouldBlock):
    """A lease stands in the way of an open; after ``deadline``, on the machine's clock, it does not."""

    def __init__(self, queue: WaitQueue, deadline: int | None) -> None:
        super().__init__(queue)
        self.deadline = deadline


def _now(inode: Inode) -> int:
    return inode.sb.resources.clock.now_ns()


def _modify(locks: FileLocks, lease: Lease, kind: int) -> None:
    """lease_modify()."""
    lease.kind = kind
    if kind == F_UNLCK:
        locks.remove_lease(lease)
        if lease.owner.owner is not None:
            lease.owner.owner.signum = 0
    if lease.target is not None and (kind == F_UNLCK or lease.target == kind == F_RDLCK):
        lease.target = lease.ends = None
    locks.changed.wake_all()


def _time_out(inode: Inode, locks: FileLocks) -> None:
    """time_out_leases()."""
    for lease in list(locks.leases):
        if lease.ends is not None and lease.target is not None and lease.ends <= _now(inode):
            _modify(locks, lease, lease.target)


def get_lease(file: File) -> int:
    """F_GETLEASE: what the lease is, or is being broken to."""
    locks = file.inode.locks
    if locks is None:
        return F_UNLCK
    _time_out(file.inode, locks)
    for lease in locks.leases:
        if lease.owner is file:
            return lease.kind if lease.target is None else lease.target
    return F_UNLCK


def set_lease(file: File, fd: int, kind: int, who: Credentials, pid: int) -> None:
    """F_SETLEASE.  LinuxError(EINVAL, EACCES, EAGAIN, ENOLCK)."""
    inode = file.inode
    if kind not in (F_RDLCK, F_WRLCK, F_UNLCK) or inode.is_directory:
        raise LinuxError(errno.EINVAL)
    if who.fsuid != inode.uid and not who.capable_over(LEASE, inode.uid, inode.gid):
        raise LinuxError(errno.EACCES)
    if not inode.is_regular:
        raise LinuxError(errno.EINVAL)
    locks = inode.file_locks()
    _time_out(inode, locks)
    mine = next((lease for lease in locks.leases if lease.owner is file), None)
    if kind == F_UNLCK:
        if mine is None:
            raise LinuxError(errno.EAGAIN)
        _modify(locks, mine, kind)
        return
    if not inode.sb.resources.leases_enabled:
        raise LinuxError(errno.EINVAL)
    _check_opens(file, kind)
    for lease in locks.leases:
        if lease is not mine and (kind == F_WRLCK or lease.target == F_UNLCK):
            raise LinuxError(errno.EAGAIN)
    if mine is None:
        locks.add_lease(Lease(file, fd, kind, pid))
    else:
        _modify(locks, mine, kind)


def _check_opens(file: File, kind: int) -> None:
    """check_conflicting_open(): nobody has it open for writing, or for a write lease at all."""
    inode = file.inode
    broken = any(lease.target == F_UNLCK for lease in inode.file_locks().leases)
    if kind == F_RDLCK:
        conflicts = bool(inode.writers) or broken
    else:
        own_read = int(file.readable and not file.writable)
        conflicts = inode.writers != int(file.writable) or inode.readers != own_read
    if conflicts:
        raise LinuxError(errno.EAGAIN)


def break_lease(inode: Inode, write: bool, nonblocking: bool) -> None:
    """Somebody opens (or truncates) the file: holders of leases in the way are told (__break_lease).

    LeaseBroken while they have not given way, LinuxError(EWOULDBLOCK) if the caller does not wait.
    """
    locks = inode.locks
    if locks is None or not locks.leases:
        return
    _time_out(inode, locks)
    conflicting = [lease for lease in locks.leases if write or lease.kind == F_WRLCK]
    if not conflicting:
        return
    target = F_UNLCK if write else F_RDLCK
    seconds = inode.sb.resources.lease_break_time
    for lease in conflicting:
        if lease.target is None or (write and lease.target != F_UNLCK):
            lease.target = target
            lease.ends = _now(inode) + seconds * _NS if seconds > 0 else None
            if lease.owner.owner is not None:
                lease.owner.owner.send(lease.fd, POLL_MSG)
    if nonblocking:
        raise LinuxError(errno.EWOULDBLOCK)
    raise LeaseBroken(locks.changed, min((lease.ends for lease in conflicting if lease.ends is not None), default=None))

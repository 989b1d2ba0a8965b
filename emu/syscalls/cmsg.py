"""Control messages: what a sender says with them, and what a receiver is told (cmsg(3), net/core/scm.c)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.fs.uring import UringFile
from emu.linux.capability import SETGID, SETUID, SYS_ADMIN, SYS_RESOURCE
from emu.linux.errors import LinuxError
from emu.linux.namespace import OVERFLOW_ID
from emu.net.packet import MSG_CTRUNC, Identity, Message, Received
from emu.net.socket import SO_PASSCRED, SO_PASSPIDFD, SO_TIMESTAMP, SO_TIMESTAMPNS, SOL_SOCKET, Socket
from emu.net.unix import UnixSocket
from emu.syscalls.pidfd import sys_pidfd_open

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

SCM_RIGHTS, SCM_CREDENTIALS, SCM_PIDFD = 1, 2, 4
SCM_MAX_FD = 253
_CMSG, _UCRED = struct.Struct("<Qii"), struct.Struct("<3i")
#: Capabilities with which there is no limit of descriptors on their way.
_UNLIMITED = 1 << SYS_RESOURCE | 1 << SYS_ADMIN


# -- what a sender says ------------------------------------------------------------------------------------------------


def read_control(kernel: Kernel, task: Task, file: Socket, control: bytes, message: Message) -> None:
    """Put what control messages say into a message (__scm_send, ip_cmsg_send).  LinuxError."""
    other: list[tuple[int, int, bytes]] = []
    try:
        for level, kind, body in _messages(control):
            if not isinstance(file, UnixSocket):
                other.append((level, kind, body))
            elif level == SOL_SOCKET:
                _read_for_unix(task, kind, body, message)
        if message.files:
            _check_in_flight(kernel, task, file)
    except LinuxError:
        message.drop()
        raise
    message.control = tuple(other)


def _read_for_unix(task: Task, kind: int, body: bytes, message: Message) -> None:
    if kind == SCM_RIGHTS:
        fds = struct.unpack(f"<{len(body) // 4}i", body[: len(body) // 4 * 4])
        if len(message.files) + len(fds) > SCM_MAX_FD:
            raise LinuxError(errno.EINVAL)
        files = [task.files.get(fd) for fd in fds]
        if any(isinstance(each, UringFile) for each in files):  # it could hold the socket that holds it
            raise LinuxError(errno.EINVAL)
        message.files += [each.get() for each in files]
    elif kind == SCM_CREDENTIALS:
        if len(body) != _UCRED.size:
            raise LinuxError(errno.EINVAL)
        message.claimed = _claimed(task, Identity(*_UCRED.unpack(body)))
    else:
        raise LinuxError(errno.EINVAL)


def _check_in_flight(kernel: Kernel, task: Task, file: Socket) -> None:
    """A user who is not root has at most as many descriptors on their way as a process may have (too_many_unix_fds)."""
    uid = task.credentials.euid
    if not task.credentials.effective & _UNLIMITED and file.net.scm.of_user(uid) > task.files.limit:
        raise LinuxError(errno.ETOOMANYREFS)


def _claimed(task: Task, claim: Identity) -> Identity:
    """Only root says that it is somebody else (scm_check_creds)."""
    who = task.credentials
    claim = claim._replace(pid=task.means(claim.pid), uid=who.down("uid", claim.uid), gid=who.down("gid", claim.gid))
    users, groups = {who.uid, who.euid, who.suid}, {who.gid, who.egid, who.sgid}
    pid_allowed = claim.pid == task.tgid or who.capable_here(SYS_ADMIN)
    uid_allowed = claim.uid in users or who.capable_here(SETUID)
    if not (pid_allowed and uid_allowed and (claim.gid in groups or who.capable_here(SETGID))):
        raise LinuxError(errno.EPERM)
    return claim


def _messages(control: bytes) -> list[tuple[int, int, bytes]]:
    """(level, type, body) of each.  LinuxError(EINVAL)."""
    found, at = [], 0
    while at + _CMSG.size <= len(control):
        length, level, kind = _CMSG.unpack_from(control, at)
        if length < _CMSG.size or at + length > len(control):
            raise LinuxError(errno.EINVAL)
        found.append((level, kind, control[at + _CMSG.size : at + length]))
        at += length + 7 & -8
    return found


# -- what a receiver is told -------------------------------------------------------------------------------------------


class ControlBuffer:
    """msg_control of a receiver: what has no room there, or cannot be stored, is missing, and a flag says so."""

    def __init__(self, task: Task, address: int, room: int) -> None:
        self._task = task
        self._address, self._room = address, room if address else 0
        self._start = self._address
        self.flags = 0

    @property
    def used(self) -> int:
        """How many bytes were stored."""
        return self._address - self._start

    def put(self, level: int, kind: int, body: bytes) -> None:
        """A message, cut off where the room ends (put_cmsg)."""
        if self._room < _CMSG.size:
            self.flags |= MSG_CTRUNC
            return
        length = _CMSG.size + len(body)
        if self._room < length:
            self.flags |= MSG_CTRUNC
            length = self._room
        try:
            self._task.mm.write(self._address, (_CMSG.pack(length, level, kind) + body)[:length])
        except LinuxError:
            return
        self._advance(_CMSG.size + len(body))

    def _advance(self, length: int) -> None:
        step = min(length + 7 & -8, self._room)
        self._address += step
        self._room -= step

    def put_files(self, got: Received, *, cloexec: bool) -> None:
        """SCM_RIGHTS with as many descriptors as there is room for (scm_detach_fds)."""
        files, got.files = got.files, []
        fits = max(0, self._room - _CMSG.size) // 4
        done = 0
        for file in files[:fits]:
            if not self._put_file(file, self._address + _CMSG.size + 4 * done, cloexec=cloexec):
                break
            done += 1
        for file in files[done:]:
            file.put()
        if done:
            try:
                self._task.mm.write(self._address, _CMSG.pack(_CMSG.size + 4 * done, SOL_SOCKET, SCM_RIGHTS))
                self._advance(_CMSG.size + 4 * done)
            except LinuxError:
                pass  # as there: the descriptors are open, and nothing says so
        if done < len(files):
            self.flags |= MSG_CTRUNC

    def _put_file(self, file: File, address: int, *, cloexec: bool) -> bool:
        """Open a descriptor and store its number; whether it could be."""
        files = self._task.files
        try:
            fd = files.install(file, cloexec)
        except LinuxError:
            return False
        try:
            self._task.mm.write(address, fd.to_bytes(4, "little"))
        except LinuxError:
            file.get()
            files.close(fd)
            return False
        return True


def write_control(
    kernel: Kernel, task: Task, file: Socket, got: Received, buffer: ControlBuffer, *, cloexec: bool
) -> None:
    """Tell a receiver what it has asked for, and give it the descriptors."""
    if not got.packets and file.one_message:  # the end
        return
    if file.one_message and got.time:
        if file.option(SO_TIMESTAMPNS):
            buffer.put(SOL_SOCKET, SO_TIMESTAMPNS, struct.pack("<2q", *divmod(got.time, 1_000_000_000)))
        elif file.option(SO_TIMESTAMP):
            seconds, rest = divmod(got.time, 1_000_000_000)
            buffer.put(SOL_SOCKET, SO_TIMESTAMP, struct.pack("<2q", seconds, rest // 1000))
    for level, kind, body in got.control:
        buffer.put(level, kind, body)
    if isinstance(file, UnixSocket) and file.option(SO_PASSCRED):
        buffer.put(SOL_SOCKET, SCM_CREDENTIALS, _UCRED.pack(*seen_identity(task, got.identity)))
    if isinstance(file, UnixSocket) and file.option(SO_PASSPIDFD):
        buffer.put(SOL_SOCKET, SCM_PIDFD, _pidfd_of(kernel, task, got))
    if got.files:
        buffer.put_files(got, cloexec=cloexec)


def _pidfd_of(kernel: Kernel, task: Task, got: Received) -> bytes:
    """A descriptor of the sender's process, or the error in its place."""
    try:
        fd = sys_pidfd_open(kernel, task, got.identity.pid, 0)
    except LinuxError as error:
        fd = -error.errno
    return struct.pack("<i", fd)


def seen_identity(task: Task, who: Identity) -> Identity:
    """Who somebody is as the ids of the caller's namespaces say it."""
    uid, gid = (OVERFLOW_ID if number == -1 else number for number in who[1:])
    return Identity(task.sees(who.pid), task.credentials.shown("uid", uid), task.credentials.shown("gid", gid))

"""POSIX message queues: mq_open, mq_timedsend, mq_notify and their relatives."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from emu.fs.dentry import Path, check_name
from emu.fs.file import File
from emu.fs.operations import check_may_create, check_may_delete, new_owner
from emu.ipc.limits import MQ_PRIO_MAX
from emu.ipc.mqueue import MqAttr, MqMessage, MqueueDirectory, MqueueFile, MqueueInode, Notification
from emu.ipc.mqueuetype import MqueueType
from emu.kernel.rlimit import limits_of
from emu.kernel.signal_state import NSIG, SigInfo
from emu.kernel.timers import Notify
from emu.linux.argument import BUFFER, FD, FILLED, LONG, MODE, SIZE, UINT, Named, Pointer, Scalar, Sometimes
from emu.linux.capability import SYS_RESOURCE
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May, OpenFlags
from emu.linux.layout import LATE_PATH, PATHNAME, TIMESPEC, Struct
from emu.linux.limits import Rlimit
from emu.linux.syscall import BYTES, DESCRIPTOR, Restart, Syscall
from emu.net.netlink import NetlinkSocket
from emu.net.socket import Socket
from emu.syscalls.timers import SIGEVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from emu.fs.namei import PathWalk
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_CREAT, _EXCL, _NONBLOCK = int(OpenFlags.CREAT), int(OpenFlags.EXCL), int(OpenFlags.NONBLOCK)
_SI_MESGQ = -3
_COOKIE_LEN = 32
_WOKENUP, _REMOVED = 1, 2
#: The access that each O_ACCMODE value asks for.
_ACCESS = (int(May.READ), int(May.WRITE), int(May.READ | May.WRITE))
_FLAGS = Scalar("O_*", LONG.width, OpenFlags.descriptor_words)
MQ_ATTR = Struct(
    "mq_attr", mq_flags=_FLAGS, mq_maxmsg=LONG, mq_msgsize=LONG, mq_curmsgs=LONG,
    _1=LONG, _2=LONG, _3=LONG, _4=LONG,
)  # fmt: skip


def _root(kernel: Kernel) -> tuple[Path, MqueueDirectory]:
    kind = kernel.vfs.filesystems["mqueue"]
    assert isinstance(kind, MqueueType)
    mount = kind.own_mount(kernel.vfs.resources)
    root = mount.sb.root
    assert isinstance(root, MqueueDirectory)
    return mount.root_path, root


def _named(kernel: Kernel, task: Task, address: int) -> tuple[PathWalk, Path, MqueueDirectory, str]:
    """A name in the file system (lookup_noperm)."""
    name = PATHNAME.read(task.mm, address)
    if not name:
        raise LinuxError(errno.ENOENT)
    if "/" in name or name in (".", ".."):
        raise LinuxError(errno.EACCES)
    check_name(name)
    place, directory = _root(kernel)
    return kernel.vfs.walker(task), place, directory, name


def sys_mq_open(kernel: Kernel, task: Task, address: int, flags: int, mode: int, attr: int) -> int:
    """mq_open(2)."""
    given = MqAttr(*MQ_ATTR.read(task.mm, attr)[1:3]) if attr else None
    task.files.check_room()
    walker, root, directory, name = _named(kernel, task, address)
    inode = directory.entries.get(name)
    if inode is None:
        if not flags & _CREAT:
            raise LinuxError(errno.ENOENT)
        check_may_create(walker, root)
        inode = directory.create_queue(
            name, new_owner(walker, root, mode), given, task.credentials.uid, limits_of(task, Rlimit.MSGQUEUE)[0],
            privileged=task.credentials.capable(SYS_RESOURCE),
        )  # fmt: skip
    else:
        if flags & _CREAT and flags & _EXCL:
            raise LinuxError(errno.EEXIST)
        if flags & 3 == 3:
            raise LinuxError(errno.EINVAL)
        inode.permission(_ACCESS[flags & 3], walker.who)
    file = inode.open(Path(root.mount, root.dentry.child(name, inode)), flags, task)
    return task.files.open(file, cloexec=True)


def sys_mq_unlink(kernel: Kernel, task: Task, address: int) -> int:
    """mq_unlink(2)."""
    walker, root, directory, name = _named(kernel, task, address)
    inode = directory.entries.get(name)
    if inode is None:
        raise LinuxError(errno.ENOENT)
    check_may_delete(walker, root, Path(root.mount, root.dentry.child(name, inode)), want_directory=False)
    directory.unlink(name, inode)
    root.dentry.drop(name)
    inode.drop_if_unused()
    return 0


def _queue_file(file: File) -> MqueueFile:
    if not isinstance(file, MqueueFile):
        raise LinuxError(errno.EBADF)
    return file


def _deadline(kernel: Kernel, timeout: int | None) -> int | None:
    """A time of day on the machine's clock."""
    return None if timeout is None else timeout - kernel.clock.realtime_ns() + kernel.clock.now_ns()


def sys_mq_timedsend(
    kernel: Kernel, task: Task, fd: int, address: int, size: int, priority: int, timeout: int
) -> Generator[Any, None, int]:
    """mq_timedsend(2)."""
    deadline = _deadline(kernel, TIMESPEC.read(task.mm, timeout) if timeout else None)
    if priority >= MQ_PRIO_MAX:
        raise LinuxError(errno.EINVAL)
    file = _queue_file(task.files.get(fd))
    if not file.writable:
        raise LinuxError(errno.EBADF)
    if size > file.inode.attr.msgsize:
        raise LinuxError(errno.EMSGSIZE)
    message = MqMessage(priority, task.mm.read(address, size) if size else b"")
    return _sent(file, file.send(message, deadline, kernel.clock.now_ns))


def _sent(file: MqueueFile, sending: Generator[Any, None, int]) -> Generator[Any, None, int]:
    """The queue stays open while the call waits."""
    file.get()
    try:
        return (yield from sending)
    finally:
        file.put()


def sys_mq_timedreceive(
    kernel: Kernel, task: Task, fd: int, address: int, size: int, priority: int, timeout: int
) -> Generator[Any, None, int]:
    """mq_timedreceive(2)."""
    deadline = _deadline(kernel, TIMESPEC.read(task.mm, timeout) if timeout else None)
    file = _queue_file(task.files.get(fd))
    if not file.readable:
        raise LinuxError(errno.EBADF)
    if size < file.inode.attr.msgsize:
        raise LinuxError(errno.EMSGSIZE)
    return _sent(file, _receive(kernel, task, file, address, priority, deadline))


def _receive(
    kernel: Kernel, task: Task, file: MqueueFile, address: int, priority: int, deadline: int | None
) -> Generator[Any, None, int]:
    message = yield from file.receive(deadline, kernel.clock.now_ns)
    if priority:
        UINT.write(task.mm, priority, message.priority)
    task.mm.write(address, message.text)
    return len(message.text)


def sys_mq_notify(kernel: Kernel, task: Task, fd: int, address: int) -> int:
    """mq_notify(2)."""
    wish = _wish(kernel, task, address) if address else None
    inode: MqueueInode = _queue_file(task.files.get(fd)).inode
    if wish is None:
        inode.withdraw(task.tgid)
    elif inode.notification is not None:
        raise LinuxError(errno.EBUSY)
    else:
        inode.notification = wish
    inode.atime = inode.ctime = inode.sb.now()
    return 0


def _wish(kernel: Kernel, task: Task, address: int) -> Notification:
    value, signo, how, _ = SIGEVENT.read(task.mm, address)
    if how not in (Notify.NONE, Notify.SIGNAL, Notify.THREAD):
        raise LinuxError(errno.EINVAL)
    if how == Notify.SIGNAL:
        if not 0 <= signo <= NSIG:
            raise LinuxError(errno.EINVAL)
        return Notification(task.tgid, how, signo, _by_signal(kernel, task, signo, value))
    if how == Notify.THREAD:
        cookie = task.mm.read(value, _COOKIE_LEN)
        file = task.files.get(signo)
        if not isinstance(file, Socket):
            raise LinuxError(errno.ENOTSOCK)
        if not isinstance(file, NetlinkSocket):
            raise LinuxError(errno.EINVAL)
        return Notification(task.tgid, how, tell=_by_cookie(file, cookie))
    return Notification(task.tgid, how)


def _by_signal(kernel: Kernel, task: Task, signo: int, value: int) -> Callable[[bool], None]:
    def tell(woken: bool) -> None:
        sender = kernel.current
        if woken and signo and sender is not None:
            pid, uid = sender.tgid, sender.credentials.uid
            kernel.signals.send_to_process(task, signo, SigInfo(signo, _SI_MESGQ, pid=pid, uid=uid, value=value))

    return tell


def _by_cookie(socket: NetlinkSocket, cookie: bytes) -> Callable[[bool], None]:
    """A message to a netlink socket: the cookie, whose last byte says what has happened."""

    def tell(woken: bool) -> None:
        with suppress(LinuxError):  # the socket is full
            socket.from_kernel(cookie[:-1] + bytes([_WOKENUP if woken else _REMOVED]))

    return tell


def sys_mq_getsetattr(kernel: Kernel, task: Task, fd: int, new: int, old: int) -> int:
    """mq_getsetattr(2)."""
    flags = MQ_ATTR.read(task.mm, new)[0] if new else 0
    if flags & ~_NONBLOCK:
        raise LinuxError(errno.EINVAL)
    file = _queue_file(task.files.get(fd))
    inode = file.inode
    before = (file.flags & _NONBLOCK, *inode.attr, len(inode.messages), 0, 0, 0, 0)
    if new:
        file.flags = file.flags & ~_NONBLOCK | flags
        inode.atime = inode.ctime = inode.sb.now()
    if old:
        MQ_ATTR.write(task.mm, old, before)
    return 0


_PRIORITY = Pointer(UINT, written=True, null=True)
_ATTR, _TIMEOUT = Pointer(MQ_ATTR, null=True), Pointer(TIMESPEC, null=True)
_MODE = Sometimes(MODE, lambda flags: flags & _CREAT)

TABLE = (
    Syscall(240, "mq_open", sys_mq_open, (LATE_PATH, Named(OpenFlags), _MODE, _ATTR), DESCRIPTOR),
    Syscall(241, "mq_unlink", sys_mq_unlink, (LATE_PATH,)),
    Syscall(242, "mq_timedsend", sys_mq_timedsend, (FD, BUFFER, SIZE, UINT, _TIMEOUT), restart=Restart.SYS),
    Syscall(
        243, "mq_timedreceive", sys_mq_timedreceive, (FD, FILLED, SIZE, _PRIORITY, _TIMEOUT), BYTES, Restart.SYS,
    ),
    Syscall(244, "mq_notify", sys_mq_notify, (FD, Pointer(SIGEVENT, null=True))),
    Syscall(245, "mq_getsetattr", sys_mq_getsetattr, (FD, _ATTR, Pointer(MQ_ATTR, written=True, null=True))),
)  # fmt: skip

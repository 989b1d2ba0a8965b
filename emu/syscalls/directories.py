"""getdents64, statfs, mount and umount: directories and file systems as a whole."""

from __future__ import annotations

import errno
import stat
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from emu.fs.dentry import Path, encode_name
from emu.fs.notify import Notice
from emu.linux.argument import FD, UINT, Out, Pointer, Shown
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags
from emu.linux.layout import PATH, Layout, Opaque
from emu.linux.likeness import Likeness, Part
from emu.linux.syscall import BYTES, Syscall
from emu.syscalls.paths import resolve

if TYPE_CHECKING:
    from emu.fs.file import DirectoryEntry
    from emu.fs.mount import VfsMount
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: 120 bytes.
STATFS = Layout("statfs", "qqQQQQQiiqqq32x")
#: struct linux_dirent64 up to the name.
DIRENT = struct.Struct("<QqHB")
#: struct linux_dirent up to the name.
OLD_DIRENT = struct.Struct("<QqH")
#: f_flags: ST_VALID, and those that are mount flags under other numbers.
ST_VALID = 0x20
ST_RDONLY = 1
ST_NOSUID = 2
ST_NODEV = 4
ST_NOEXEC = 8
ST_NOATIME = 1024
ST_RELATIME = 4096
ST_NODIRATIME = 2048
ST_NOSYMFOLLOW = 0x2000
#: getdents64 gives at most this many bytes a call, whatever size the guest passes.
DIRENTS_MAX = 1 << 20


def pack_dirent(entry: DirectoryEntry, offset: int) -> bytes:
    """struct linux_dirent64; ``offset`` is where the next entry starts."""
    name = encode_name(entry.name)
    length = DIRENT.size + len(name) + 1 + 7 & ~7
    return (DIRENT.pack(entry.ino, offset, length, stat.S_IFMT(entry.kind) >> 12) + name).ljust(length, b"\0")


def sys_getdents64(kernel: Kernel, task: Task, fd: int, buffer: int, size: int) -> int:
    """getdents64(2): as many whole entries as fit; EINVAL if not even one does."""
    return _list(task, fd, buffer, size, pack_dirent)


def _list(task: Task, fd: int, buffer: int, size: int, pack: Callable[[DirectoryEntry, int], bytes]) -> int:
    file = task.files.get(fd)
    size = min(size, DIRENTS_MAX)
    parts: list[bytes] = []
    used = 0
    entries = file.readdir()
    for number, entry in enumerate(entries):
        record = pack(entry, file.pos + number + 1)
        if used + len(record) > size:
            break
        parts.append(record)
        used += len(record)
    if entries and not parts:
        raise LinuxError(errno.EINVAL)
    task.mm.write(buffer, b"".join(parts))
    file.pos += len(parts)
    file.path.notify(Notice.ACCESS)
    return used


def pack_old_dirent(entry: DirectoryEntry, offset: int) -> bytes:
    """struct linux_dirent: the kind of the entry is in its last byte."""
    name = encode_name(entry.name)
    length = OLD_DIRENT.size + len(name) + 2 + 7 & ~7
    record = (OLD_DIRENT.pack(entry.ino, offset, length) + name).ljust(length - 1, b"\0")
    return record + bytes([stat.S_IFMT(entry.kind) >> 12])


def sys_getdents(kernel: Kernel, task: Task, fd: int, buffer: int, size: int) -> int:
    """getdents(2)."""
    return _list(task, fd, buffer, size, pack_old_dirent)


def _statfs(path: Path) -> tuple[int, ...]:
    s = path.mount.sb.statfs()
    device = path.mount.sb.dev
    return (
        s.type, s.bsize, s.blocks, s.bfree, s.bavail, s.files, s.ffree, device, 0, s.namelen, s.bsize,
        _statfs_flags(path.mount),
    )  # fmt: skip


def _statfs_flags(mount: VfsMount) -> int:
    flags = ST_VALID | (mount.flags & (ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_NOATIME))
    flags |= ST_NOSYMFOLLOW if mount.flags & MountFlags.NOSYMFOLLOW else 0
    flags |= ST_NODIRATIME if mount.flags & MountFlags.NODIRATIME else 0
    if mount.read_only:
        flags |= ST_RDONLY
    if not mount.flags & (MountFlags.NOATIME | MountFlags.STRICTATIME):
        flags |= ST_RELATIME
    return int(flags)


def sys_statfs(kernel: Kernel, task: Task, path: str) -> tuple[int, ...]:
    """statfs(2)."""
    return _statfs(resolve(kernel, task, path)[1])


def sys_fstatfs(kernel: Kernel, task: Task, fd: int) -> tuple[int, ...]:
    """fstatfs(2)."""
    return _statfs(task.files.get_any(fd).path)


class _Entries(Pointer):
    """The entries of a directory.  Of another run their names and kinds are compared, in their order."""

    def __init__(self, name: str, head: struct.Struct) -> None:
        super().__init__(Opaque(name), written=True)
        self._head = head

    def got(self, at: int, call: Shown) -> Iterable[Part]:
        data, names = call.view.peek(call.values[at], call.result or 0), []
        while len(data) >= self._head.size:
            length = self._head.unpack_from(data)[2]
            if length < self._head.size:
                break
            kind = data[self._head.size - 1] if self._head is DIRENT else data[length - 1]
            names.append(b"%d %s" % (kind, data[self._head.size : length].split(b"\0", 1)[0]))
            data = data[length:]
        return (Part("entries", Likeness.EXACT, b"\0".join(names)),)


TABLE = (
    Syscall(78, "getdents", sys_getdents, (FD, _Entries("linux_dirent", OLD_DIRENT), UINT), BYTES),
    Syscall(137, "statfs", sys_statfs, (PATH, Out(STATFS))),
    Syscall(138, "fstatfs", sys_fstatfs, (FD, Out(STATFS))),
    Syscall(217, "getdents64", sys_getdents64, (FD, _Entries("linux_dirent64", DIRENT), UINT), BYTES),
)

"""/proc/PID/ns and /proc/PID/attr: the namespaces of a task (fs/proc/namespaces.c), and a directory of security
modules, of which there is none.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.file import DirectoryEntry, File
from emu.fs.inode import Inode
from emu.fs.libfs import FixedDirectory
from emu.fs.pseudo import LinkFile, MagicLink, TextFile
from emu.fs.superblock import SuperBlock
from emu.kernel.nsfs import path_of
from emu.linux.caller import may_access
from emu.linux.errors import LinuxError
from emu.linux.pidns import PidNamespace
from emu.mm.shmem import SharedAnonymous
from emu.proc.attributes import no_lsm
from emu.proc.piddir import OwnDirectory
from emu.proc.pidfile import LINK_SIZE

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.proc.superblock import ProcSuperBlock

#: Links and the kind of namespace that each shows.
_LINKS = ("cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts")
_ATTRIBUTES = dict.fromkeys(("current", "exec", "fscreate", "keycreate", "sockcreate"), 438) | {"prev": 0o444}


class NsLink(MagicLink):
    """/proc/PID/ns/KIND."""

    def __init__(self, sb: ProcSuperBlock, task: Task, kind: str) -> None:
        super().__init__(sb, partial(_place, sb, task, kind))
        self._task = task

    def get_link(self, caller: Caller[Path] | None) -> Path:
        if caller is not None and not may_access(caller, self._task):
            raise LinuxError(errno.EACCES)
        return super().get_link(caller)


def _place(sb: ProcSuperBlock, task: Task, kind: str) -> Path:
    if not task.alive and kind not in ("pid", "user"):
        raise LinuxError(errno.ENOENT)
    space = sb.kernel.namespaces.of(task, kind)
    if kind == "pid_for_children" and isinstance(space, PidNamespace) and not space.begun:
        raise LinuxError(errno.ENOENT)
    return path_of(sb.kernel, space)


def ns_directory(sb: ProcSuperBlock, task: Task) -> Inode:
    """/proc/PID/ns."""
    directory = FixedDirectory(sb, 0o511)
    for name in _LINKS:
        directory.add(name, NsLink(sb, task, name))
    return directory


def attr_directory(sb: ProcSuperBlock, task: Task) -> Inode:
    """/proc/PID/attr."""
    directory = FixedDirectory(sb)
    for name, mode in _ATTRIBUTES.items():
        text = partial(no_lsm, sb.kernel, task)
        store = partial(_refuse) if mode & 0o200 else None
        directory.add(name, TextFile(sb, text, mode, store=store))
    return directory


def _refuse(data: bytes) -> None:
    raise LinuxError(errno.EINVAL)


class MapFilesDirectory(OwnDirectory):
    """/proc/PID/map_files: a link for each mapped object, by the addresses."""

    def _links(self) -> dict[str, Inode]:
        links: dict[str, Inode] = {}
        for vma in self._task.mm.vmas if self._task.alive else ():
            name = f"{vma.start:x}-{vma.end:x}"
            if isinstance(vma.file, File):
                mode = 0o400 * vma.file.readable | 0o200 * vma.file.writable
                links[name] = MagicLink(self.sb, partial(_path_of, vma.file), mode, LINK_SIZE)
            elif isinstance(vma.page_cache, SharedAnonymous):
                links[name] = _UnnamedLink(self.sb)
        return links

    def lookup(self, name: str) -> Inode:
        inode = self._links().get(name)
        if inode is None:
            raise LinuxError(errno.ENOENT)
        return inode

    def iterate(self) -> Iterable[DirectoryEntry]:
        return [DirectoryEntry(name, inode.ino, inode.kind) for name, inode in self._links().items()]


class _UnnamedLink(LinkFile):
    """The link of shared anonymous memory, which leads nowhere."""

    def __init__(self, sb: SuperBlock) -> None:
        super().__init__(sb, lambda caller: "/dev/zero (deleted)")
        self.mode = stat.S_IFLNK | 0o600
        self.size = LINK_SIZE


def _path_of(file: File) -> Path:
    return file.path


PID_DIRECTORIES = {"attr": attr_directory, "map_files": MapFilesDirectory, "ns": ns_directory}

"""/proc/PID/ns and /proc/PID/attr: the namespaces, of which there is one of each kind (fs/proc/namespaces.c), and a
directory of security modules, of which there is none.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from emu.fs.dentry import Path, unnamed_path
from emu.fs.file import DirectoryEntry, File
from emu.fs.inode import Inode
from emu.fs.libfs import FixedDirectory, PseudoSuperBlock
from emu.fs.pseudo import MagicLink, TextFile
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.linux.caller import may_access
from emu.linux.errors import LinuxError
from emu.proc.attributes import no_lsm

if TYPE_CHECKING:
    from emu.fs.resources import Resources
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.proc.procfs import ProcSuperBlock

NSFS_MAGIC = 0x6E736673
#: The inode numbers of the initial namespaces (PROC_*_INIT_INO).
_INITIAL = {
    "cgroup": 0xEFFFFFFB, "ipc": 0xEFFFFFFF, "mnt": 0xEFFFFFF8, "net": 0xEFFFFFF9, "pid": 0xEFFFFFFC,
    "time": 0xEFFFFFFA, "user": 0xEFFFFFFD, "uts": 0xEFFFFFFE,
}  # fmt: skip
#: Links and the kind of namespace that each shows.
_LINKS = {**{name: name for name in _INITIAL}, "pid_for_children": "pid", "time_for_children": "time"}
_ATTRIBUTES = dict.fromkeys(("current", "exec", "fscreate", "keycreate", "sockcreate"), 438) | {"prev": 0o444}


class NsInode(Inode):
    """A namespace."""

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return File(path, flags)


class NsSuperBlock(PseudoSuperBlock):
    """nsfs."""

    def __init__(self, resources: Resources, fstype: FileSystemType) -> None:
        super().__init__(resources, fstype, NSFS_MAGIC)
        self.namespaces = {kind: NsInode(self, stat.S_IFREG | 0o444, ino=number) for kind, number in _INITIAL.items()}


class NsFs(FileSystemType):
    """The type ``nsfs``."""

    name = "nsfs"

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return NsSuperBlock(resources, self)


class NsLink(MagicLink):
    """/proc/PID/ns/KIND."""

    def __init__(self, sb: ProcSuperBlock, task: Task, kind: str) -> None:
        super().__init__(sb, partial(_place, sb, kind))
        self._task = task

    def get_link(self, caller: Caller[Path] | None) -> Path:
        if caller is not None and not may_access(caller, self._task):
            raise LinuxError(errno.EACCES)
        return super().get_link(caller)


def _place(sb: ProcSuperBlock, kind: str) -> Path:
    mount = sb.kernel.vfs.internal_mount(NsFs())
    spaces = mount.sb
    assert isinstance(spaces, NsSuperBlock)
    inode = spaces.namespaces[kind]
    return unnamed_path(mount, inode, f"{kind}:[{inode.ino}]")


def ns_directory(sb: ProcSuperBlock, task: Task) -> Inode:
    """/proc/PID/ns."""
    directory = FixedDirectory(sb, 0o511)
    for name, kind in _LINKS.items():
        directory.add(name, NsLink(sb, task, kind))
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


class MapFilesDirectory(FixedDirectory):
    """/proc/PID/map_files: a link for each mapped file, by the addresses."""

    def __init__(self, sb: SuperBlock, task: Task) -> None:
        super().__init__(sb, 0o500)
        self._task = task

    def _links(self) -> dict[str, Inode]:
        links: dict[str, Inode] = {}
        for vma in self._task.mm.vmas if self._task.alive else ():
            if isinstance(vma.file, File):
                mode = 0o400 | (0o200 if vma.shared and vma.file.writable else 0)
                links[f"{vma.start:x}-{vma.end:x}"] = MagicLink(self.sb, partial(_path_of, vma.file), mode)
        return links

    def lookup(self, name: str) -> Inode:
        inode = self._links().get(name)
        if inode is None:
            raise LinuxError(errno.ENOENT)
        return inode

    def iterate(self) -> Iterable[DirectoryEntry]:
        return [DirectoryEntry(name, inode.ino, inode.kind) for name, inode in self._links().items()]


def _path_of(file: File) -> Path:
    return file.path


PID_DIRECTORIES = {"attr": attr_directory, "map_files": MapFilesDirectory, "ns": ns_directory}

"""The file system ``cgroup2``: a directory for each control group, and the files of the group in it (kernel/cgroup and
fs/kernfs).
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.dentry import Dentry
from emu.fs.file import ALWAYS_READY, DirectoryEntry, File
from emu.fs.inode import Inode, NewOwner
from emu.fs.notify import Notice
from emu.fs.pseudo import TextFile, TextHandle
from emu.fs.superblock import FileSystemType, SuperBlock, parse_options
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May, PollEvents
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.resources import Resources
    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.cgroup.hierarchy import Hierarchy
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Caller, Credentials

MAGIC = 0x63677270
#: The options of a mount, in the order in which they are shown.
OPTIONS = (
    "nsdelegate", "favordynmods", "memory_localevents", "memory_recursiveprot", "memory_hugetlb_accounting",
    "pids_localevents",
)  # fmt: skip
_MOST_WRITTEN = 4096
_CHANGED = ALWAYS_READY | int(PollEvents.ERR | PollEvents.PRI)
_MODIFY = int(Notice.MODIFY)

#: Makes the text of a file for who reads it, and takes what is written.
Show = Callable[["CgroupHandle"], bytes]
Store = Callable[["CgroupHandle", bytes], None]


def _nothing(handle: CgroupHandle) -> None:
    pass


class FileType(NamedTuple):
    """A file; ``controller``: it is there where this one is."""

    name: str
    show: Show | None = None
    store: Store | None = None
    on_root: bool = True
    controller: str | None = None
    #: Who is in a cgroup namespace may write to the file of its root.
    delegatable: bool = False
    #: Is there only while cgroup.pressure is on.
    of_pressure: bool = False
    #: An open file that has a peak of its own is closed.
    forget: Callable[[CgroupHandle], None] = _nothing

    @property
    def mode(self) -> int:
        """Its permissions (cgroup_file_mode)."""
        return (0o444 if self.show is not None else 0) | (0o200 if self.store is not None else 0)

    def belongs_to(self, group: Cgroup) -> bool:
        """Whether a group has it."""
        if (group.parent is None and not self.on_root) or (self.of_pressure and not group.pressure):
            return False
        return self.controller is None or self.controller in group.states


class CgroupHandle(TextHandle):
    """An open file of a group.  What may be written is decided by who has opened it."""

    inode: CgroupFile

    def __init__(self, path: Path, flags: int) -> None:
        super().__init__(path, flags)
        current = self.inode.sb.kernel.current
        self.opener: Task | None = current
        self.credentials: Credentials | None = None if current is None else current.credentials
        self.top = self.inode.sb.hierarchy.root if current is None else self.inode.sb.hierarchy.top_of(current)
        #: Which of the changes of the text has been read.
        self._read = 0
        #: The peak since this file was written to (memory.peak, memory.swap.peak); None: since ever.
        self.peak: list[int] | None = None

    def pread(self, count: int, pos: int) -> bytes:
        self.inode.check_alive()
        if pos == 0:
            self.inode.reader = self
            self._read = self.inode.event
        return super().pread(count, pos)

    def pwrite(self, data: bytes, pos: int) -> int:
        if len(data) > _MOST_WRITTEN:
            raise LinuxError(errno.E2BIG)
        self.inode.check_alive()
        self.inode.write(self, data)
        return len(data)

    @property
    def pollable(self) -> bool:
        return True

    def poll(self) -> tuple[int, tuple[WaitQueue, ...]]:
        changed = self.inode.group.dead or self._read != self.inode.event
        return _CHANGED if changed else ALWAYS_READY, (self.inode.changes,)

    def release(self) -> None:
        if self.peak is not None:
            self.inode.cft.forget(self)


class CgroupFile(TextFile):
    """A file of a group."""

    sb: CgroupSuperBlock
    handle = CgroupHandle

    def __init__(self, sb: CgroupSuperBlock, group: Cgroup, cft: FileType, owner: tuple[int, int]) -> None:
        super().__init__(sb, self._show, cft.mode, store=lambda data: None)
        self.uid, self.gid = owner
        self.group, self.cft = group, cft
        #: How often the text has changed, beginning with 1, so that nobody has read it yet.
        self.event = 1
        self.changes = WaitQueue()
        #: Who reads.
        self.reader: CgroupHandle | None = None

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        self.check_alive()
        return super().open(path, flags, caller)

    def check_alive(self) -> None:
        """LinuxError(ENODEV): the group, or its controller, is gone."""
        if not self.nlink:
            raise LinuxError(errno.ENODEV)

    def _show(self) -> bytes:
        if self.cft.show is None:
            raise LinuxError(errno.EINVAL)
        assert self.reader is not None
        return self.cft.show(self.reader)

    def write(self, handle: CgroupHandle, data: bytes) -> None:
        """cgroup_file_write()."""
        if self.cft.store is None:
            raise LinuxError(errno.EINVAL)
        hierarchy = self.sb.hierarchy
        delegated = "nsdelegate" in hierarchy.options and handle.top is not hierarchy.root
        if delegated and handle.top is self.group and not self.cft.delegatable:
            raise LinuxError(errno.EPERM)
        self.cft.store(handle, data)

    def changed(self) -> None:
        """The text has changed by itself (kernfs_notify)."""
        self.event += 1
        self.changes.wake_all(int(PollEvents.ERR | PollEvents.PRI))
        if self.sb.resources.file_watches:
            self.notify(_MODIFY)
            self.sb.directory(self.group).notify(_MODIFY, self.cft.name)

    def remove(self) -> None:
        """The group is gone."""
        self.nlink = 0
        self.changes.wake_all(int(PollEvents.ERR | PollEvents.PRI))
        self.drop_if_unused()


class CgroupDirectory(Inode):
    """The directory of a group; None: the root, which is made for the first who looks."""

    sb: CgroupSuperBlock

    def __init__(self, sb: CgroupSuperBlock, group: Cgroup | None, mode: int = 0o755, uid: int = 0, gid: int = 0):
        super().__init__(sb, stat.S_IFDIR | mode & 0o7777, uid, gid)
        self._group = group
        self.nlink = 2
        #: Who owns the files (cgroup_kn_set_ugid).
        self.made_by = uid, gid
        self.files: dict[str, CgroupFile] = {}

    @property
    def group(self) -> Cgroup:
        """The group."""
        if self._group is None:
            self._group = self.sb.hierarchy.root
        return self._group

    def lookup(self, name: str) -> Inode:
        if self.group.dead:
            raise LinuxError(errno.ENOENT)
        child = self.group.children.get(name)
        if child is not None:
            return self.sb.directory(child)
        found = self.files.get(name)
        if found is None:
            kind = self.sb.file_types.get(name)
            if kind is None or not kind.belongs_to(self.group):
                raise LinuxError(errno.ENOENT)
            found = self.files[name] = CgroupFile(self.sb, self.group, kind, self.made_by)
        return found

    def iterate(self) -> Iterable[DirectoryEntry]:
        kinds = [kind for kind in self.sb.file_types.values() if kind.belongs_to(self.group)]
        files = [DirectoryEntry(kind.name, self.lookup(kind.name).ino, stat.S_IFREG) for kind in kinds]
        inside = self.group.children.items()
        return files + [DirectoryEntry(name, self.sb.directory(child).ino, stat.S_IFDIR) for name, child in inside]

    def mkdir(self, name: str, owner: NewOwner) -> Inode:
        group = self.sb.hierarchy.make_group(self.group, name)
        made = CgroupDirectory(self.sb, group, owner.mode, owner.uid, owner.gid)
        self.sb.add(group, made)
        self.nlink += 1
        self.touch()
        return made

    def rmdir(self, name: str, inode: Inode) -> None:
        assert isinstance(inode, CgroupDirectory)
        self.sb.hierarchy.remove_group(inode.group)
        self.nlink -= 1
        self.touch()

    def drop_files(self, names: Iterable[str]) -> None:
        """These files are gone."""
        for name in names:
            file = self.files.pop(name, None)
            if file is not None:
                file.remove()


class CgroupSuperBlock(SuperBlock):
    """The one tree; mounted in a cgroup namespace it begins with the group that is the root there."""

    magic = MAGIC
    keeps_dentries = False

    def __init__(self, kernel: Kernel, fstype: FileSystemType, types: Callable[[], Iterable[FileType]]) -> None:
        super().__init__(kernel.vfs.resources, fstype)
        self.kernel, self._make_types = kernel, types
        self.active = 1  # it stays when it is mounted nowhere
        self.root: CgroupDirectory = CgroupDirectory(self, None, 0o555)
        self._directories: dict[Cgroup, CgroupDirectory] = {}
        self._types: dict[str, FileType] | None = None
        self.options: frozenset[str] = frozenset()

    @property
    def hierarchy(self) -> Hierarchy:
        """The groups."""
        return self.kernel.cgroups

    @property
    def file_types(self) -> dict[str, FileType]:
        """What files there are, by name; the groups exist from the first look on."""
        if self._types is None:
            self._types = {kind.name: kind for kind in self._make_types()}
            hierarchy = self.hierarchy
            self._set_options_of_groups()
            hierarchy.on_remove, hierarchy.on_controllers = self._removed, self._controllers
        return self._types

    def directory(self, group: Cgroup) -> CgroupDirectory:
        """The directory of a group."""
        return self.root if group.parent is None else self._directories[group]

    def add(self, group: Cgroup, directory: CgroupDirectory) -> None:
        """A group has been made."""
        self._directories[group] = directory
        group.on_change = partial(self._changed, directory)
        for state in group.states.values():
            state.on_change = group.on_change

    @staticmethod
    def _changed(directory: CgroupDirectory, name: str) -> None:
        file = directory.files.get(name)
        if file is not None:
            file.changed()

    def _removed(self, group: Cgroup) -> None:
        directory = self._directories.pop(group)
        directory.drop_files(list(directory.files))
        directory.nlink = 0

    def _controllers(self, group: Cgroup, come: Collection[str], go: Collection[str]) -> None:
        """A group has got controllers, or has lost some."""
        for name in come:
            group.states[name].on_change = group.on_change
        gone = [kind.name for kind in self.file_types.values() if kind.controller in go]
        self.directory(group).drop_files(gone)

    def hide(self, group: Cgroup, names: Collection[str]) -> None:
        """These files of a group are not there any more (cgroup_file_show)."""
        self.directory(group).drop_files(names)

    def set_options(self, options: str) -> None:
        """A mount in the initial cgroup namespace sets the options for all (apply_cgroup_root_flags)."""
        self.options = frozenset(parse_options(options, frozenset(OPTIONS)))
        if self._types is not None:
            self._set_options_of_groups()

    def _set_options_of_groups(self) -> None:
        self.hierarchy.options = self.options
        self.hierarchy.memory.recursive = "memory_recursiveprot" in self.options

    def new_root(self) -> Dentry:
        current = self.kernel.current
        if current is None or current.cgroup is None:
            return super().new_root()
        top, dentry = self.hierarchy.top_of(current), super().new_root()
        for group in reversed([group for group in (top, *top.around) if group.parent is not None]):
            dentry = dentry.child(group.name, self.directory(group))
        return dentry

    def show_options(self) -> str:
        return "".join(f",{name}" for name in OPTIONS if name in self.options)

    def remount(self, options: str) -> None:
        self.set_options(options)


class Cgroup2(FileSystemType):
    """The file system type ``cgroup2``; ``types`` gives the files of a group to the first who looks."""

    name = "cgroup2"
    for_users = True
    options = frozenset(OPTIONS)

    def __init__(self, kernel: Kernel, types: Callable[[], Iterable[FileType]]) -> None:
        self._kernel, self._types = kernel, types
        self._tree: CgroupSuperBlock | None = None

    def check_options(self, options: str) -> None:
        if any(parse_options(options, frozenset(OPTIONS)).values()):
            raise LinuxError(errno.EINVAL)

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        self.check_options(options)
        if self._tree is None:
            self._tree = CgroupSuperBlock(self._kernel, self, self._types)
        current = self._kernel.current
        if current is None or current.ns.cgroup.is_initial:
            self._tree.set_options(options)
        return self._tree


def check_may_move(handle: CgroupHandle, source: Cgroup, target: Cgroup, *, threads: bool) -> None:
    """Whether who has opened a file may move tasks between two groups (cgroup_attach_permissions); ``threads``: alone.

    LinuxError(EACCES), (ENOENT) beyond the cgroup namespace, (EOPNOTSUPP, EBUSY).
    """
    assert handle.credentials is not None
    check_move(handle.inode.sb, handle.credentials, handle.top, source, target, threads=threads)


def check_move(
    sb: CgroupSuperBlock, who: Credentials, top: Cgroup, source: Cgroup, target: Cgroup, *, threads: bool
) -> None:  # fmt: skip
    """The same."""
    sb.directory(source.common(target)).lookup("cgroup.procs").permission(May.WRITE, who)
    if "nsdelegate" in sb.hierarchy.options and not (source.is_inside(top) and target.is_inside(top)):
        raise LinuxError(errno.ENOENT)
    sb.hierarchy.check_target(target)
    if threads and source.domain is not target.domain:
        raise LinuxError(errno.EOPNOTSUPP)


def group_of_descriptor(kernel: Kernel, task: Task, fd: int, *, thread: bool) -> Cgroup:
    """The group for CLONE_INTO_CGROUP (cgroup_css_set_fork).  LinuxError(EBADF, ENOENT, EACCES, ...)."""
    inode = task.files.get_any(fd).inode
    if not isinstance(inode, CgroupDirectory):
        raise LinuxError(errno.EBADF)
    target, sb, hierarchy = inode.group, inode.sb, kernel.cgroups
    if target.dead:
        raise LinuxError(errno.ENOENT)
    inode.lookup("cgroup.procs").permission(May.WRITE, task.credentials)
    check_move(sb, task.credentials, hierarchy.top_of(task), hierarchy.of(task), target, threads=thread)
    return target

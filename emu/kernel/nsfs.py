"""nsfs: the files that stand for namespaces (fs/nsfs.c, ioctl_nsfs(2))."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs.dentry import Path, unnamed_path
from emu.fs.file import File
from emu.fs.fileattr import IMMUTABLE
from emu.fs.inode import Attributes, Inode
from emu.fs.libfs import PseudoSuperBlock
from emu.fs.mount import MountNamespace
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.kernel.task import task_of
from emu.linux.argument import U64, UINT, Scalar
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.layout import Layout
from emu.linux.namespace import KINDS, Namespace, UserNamespace, is_inside
from emu.linux.pidns import PidNamespace

if TYPE_CHECKING:
    from emu.fs.resources import Resources
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.mm.kmem import Kmem

NSFS_MAGIC = 0x6E736673
(
    NS_GET_USERNS, NS_GET_PARENT, NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_MNTNS_ID, NS_GET_ID,
) = 0xB701, 0xB702, 0xB703, 0xB704, 0x8008B705, 0x8008B70D  # fmt: skip
NS_GET_PID_FROM_PIDNS, NS_GET_TGID_FROM_PIDNS = 0x8004B706, 0x8004B707
NS_GET_PID_IN_PIDNS, NS_GET_TGID_IN_PIDNS = 0x8004B708, 0x8004B709
_NUMBERS = (NS_GET_PID_FROM_PIDNS, NS_GET_TGID_FROM_PIDNS, NS_GET_PID_IN_PIDNS, NS_GET_TGID_IN_PIDNS)
NS_MNT_GET_INFO, NS_MNT_GET_NEXT, NS_MNT_GET_PREV = 0x8010B70A, 0x8010B70B, 0x8010B70C
_MOUNT_NAMESPACES = (NS_MNT_GET_INFO, NS_MNT_GET_NEXT, NS_MNT_GET_PREV)
#: struct mnt_ns_info: its size, the mounts in the namespace, its number.
MNT_NS_INFO = Layout("mnt_ns_info", "IIQ")
_NUMBER = Scalar("u64", U64)


class NsFile(File):
    """An open namespace."""

    inode: NsInode

    def pread(self, count: int, pos: int) -> bytes:
        raise LinuxError(errno.EINVAL)

    def ioctl(self, caller: Caller[Path], command: int, argument: int) -> int:
        space, kernel, who = self.inode.space, self.inode.sb.kernel, caller.credentials
        if command == NS_GET_USERNS:
            return _opened(kernel, task_of(caller), _owner(kernel, task_of(caller), space))
        if command == NS_GET_PARENT:
            return _opened(kernel, task_of(caller), _parent(kernel, task_of(caller), space))
        if command == NS_GET_NSTYPE:
            return KINDS[space.kind]
        if command == NS_GET_OWNER_UID:
            if space.kind != "user":
                raise LinuxError(errno.EINVAL)
            owner = space.owner if isinstance(space, UserNamespace) else 0
            UINT.write(caller.mm, argument, who.shown("uid", owner))
            return 0
        if command in _MOUNT_NAMESPACES:
            return self._of_mounts(task_of(caller), command, argument)
        if command in _NUMBERS:
            return _number(kernel, task_of(caller), space, command, argument & 0x7FFF_FFFF)
        if command == NS_GET_ID or (command == NS_GET_MNTNS_ID and space.kind == "mnt"):
            _NUMBER.write(caller.mm, argument, kernel.namespaces.id_of(space))
            return 0
        raise LinuxError(errno.EINVAL if command == NS_GET_MNTNS_ID else errno.ENOTTY)

    def _of_mounts(self, task: Task, command: int, address: int) -> int:
        """NS_MNT_GET_INFO, NS_MNT_GET_NEXT and NS_MNT_GET_PREV.  LinuxError(EINVAL, ENOENT)."""
        kernel, space = self.inode.sb.kernel, self.inode.space
        if space.kind != "mnt":
            raise LinuxError(errno.EINVAL)
        made: int | None = None
        if command != NS_MNT_GET_INFO:
            space = _neighbour(kernel, task, space, 1 if command == NS_MNT_GET_NEXT else -1)
            made = _opened(kernel, task, space)
        if address:
            assert isinstance(space, MountNamespace), "a mount namespace is another"
            mounts = len(kernel.vfs.mount_table.of(space))
            MNT_NS_INFO.write(task.mm, address, (MNT_NS_INFO.size, mounts, kernel.namespaces.id_of(space)))
        elif made is None:
            raise LinuxError(errno.EINVAL)
        return made or 0


def _neighbour(kernel: Kernel, task: Task, space: Namespace, step: int) -> Namespace:
    """The mount namespace with the next number up or down that the caller may enter.  LinuxError(ENOENT, EPERM)."""
    namespaces = kernel.namespaces
    if not task.credentials.capable_in(SYS_ADMIN, space.user):
        raise LinuxError(errno.EPERM)
    all_ = sorted((each for each in (namespaces.mnt, *namespaces.others) if each.kind == "mnt"), key=namespaces.id_of)
    for each in all_[all_.index(space) + 1 :] if step > 0 else reversed(all_[: all_.index(space)]):
        if task.credentials.capable_in(SYS_ADMIN, each.user):
            return each
    raise LinuxError(errno.ENOENT)


def _opened(kernel: Kernel, task: Task, space: Namespace) -> int:
    """A descriptor of a namespace."""
    task.files.check_room()
    return task.files.open(open_namespace(kernel, space), cloexec=True)


def _owner(kernel: Kernel, task: Task, space: Namespace) -> Namespace:
    """The user namespace that owns one (ns_get_owner).  LinuxError(EPERM) for one around the caller's."""
    mine = task.credentials.user_ns
    if space is kernel.namespaces.user:
        raise LinuxError(errno.EPERM)
    if not is_inside(space.user, mine):
        raise LinuxError(errno.EPERM)
    return kernel.namespaces.user if space.user is None else space.user


def _parent(kernel: Kernel, task: Task, space: Namespace) -> Namespace:
    """LinuxError(EINVAL) for a kind that is flat, (EPERM) for one around the caller's."""
    if space.kind == "user":
        return _owner(kernel, task, space)
    if space.kind != "pid":
        raise LinuxError(errno.EINVAL)
    if not isinstance(space, PidNamespace) or (task.pid_ns is not None and not _is_inside(space.parent, task.pid_ns)):
        raise LinuxError(errno.EPERM)
    return kernel.namespaces.pid if space.parent is None else space.parent


def _is_inside(space: PidNamespace | None, outer: PidNamespace) -> bool:
    return space is not None and outer in space.around


def _number(kernel: Kernel, task: Task, space: Namespace, command: int, given: int) -> int:
    """The number of a task or its process from or in a PID namespace, as the caller has it.  LinuxError(ESRCH)."""
    if space.kind != "pid":
        raise LinuxError(errno.EINVAL)
    there = space if isinstance(space, PidNamespace) else None
    if command in (NS_GET_PID_IN_PIDNS, NS_GET_TGID_IN_PIDNS):
        found = kernel.find_task(task.means(given))
    else:
        found = kernel.find_task(given if there is None else there.find(given))
    if found is None:
        raise LinuxError(errno.ESRCH)
    pid = found.tgid if command in (NS_GET_TGID_FROM_PIDNS, NS_GET_TGID_IN_PIDNS) else found.pid
    if command in (NS_GET_PID_IN_PIDNS, NS_GET_TGID_IN_PIDNS):
        number = pid if there is None else there.shown(pid)
    else:
        number = task.sees(pid)
    if not number:
        raise LinuxError(errno.ESRCH)
    return number


class NsInode(Inode):
    """A namespace."""

    sb: NsSuperBlock

    def __init__(self, sb: NsSuperBlock, space: Namespace) -> None:
        super().__init__(sb, stat.S_IFREG | 0o444, ino=space.number)
        self.fs_flags = IMMUTABLE
        self.space = space

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return NsFile(path, flags)

    def setattr(self, change: Attributes) -> None:
        raise LinuxError(errno.EPERM)

    def drop_if_unused(self) -> None:
        if not self.open_count:
            self.sb.kernel.namespaces.sweep()


class NsSuperBlock(PseudoSuperBlock):
    """nsfs."""

    bindable = True

    def __init__(self, resources: Resources, fstype: FileSystemType, kernel: Kernel) -> None:
        super().__init__(resources, fstype, NSFS_MAGIC)
        self.kernel = kernel
        self._inodes: dict[Namespace, NsInode] = {}
        kernel.namespaces.kept = self._kept

    def inode_of(self, space: Namespace) -> NsInode:
        """The inode that stands for a namespace."""
        found = self._inodes.get(space)
        if found is None:
            found = self._inodes[space] = NsInode(self, space)
        return found

    def _kept(self) -> set[Namespace]:
        """Those that are open, or mounted somewhere."""
        mounted = {mount.root.inode for mount in self.kernel.vfs.mount_table if mount.sb is self}
        kept = {space for space, inode in self._inodes.items() if inode.open_count or inode in mounted}
        others = self.kernel.namespaces.others
        self._inodes = {space: inode for space, inode in self._inodes.items() if space in kept or space not in others}
        return kept

    def drop(self, size: int, payer: Kmem | None = None) -> None:
        super().drop(size, payer)
        self.kernel.namespaces.sweep()  # a mount is gone


class NsFs(FileSystemType):
    """The type ``nsfs``."""

    name = "nsfs"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return NsSuperBlock(resources, self, self._kernel)


def path_of(kernel: Kernel, space: Namespace) -> Path:
    """The place of the file that stands for a namespace."""
    mount = kernel.vfs.internal_mount(NsFs(kernel))
    assert isinstance(mount.sb, NsSuperBlock), "nsfs is another file system"
    inode = mount.sb.inode_of(space)
    return unnamed_path(mount, inode, f"{space.kind}:[{space.number}]")


def open_namespace(kernel: Kernel, space: Namespace) -> File:
    """That file, open."""
    path = path_of(kernel, space)
    return path.inode.open(path, 0, None)

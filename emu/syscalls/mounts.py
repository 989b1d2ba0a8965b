"""mount, umount2, pivot_root: the tree of mounts."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs import mounting
from emu.linux.argument import ADDRESS, U64, Named
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags, UmountFlags
from emu.linux.layout import LATE_PATH, PATH, PATHNAME, STRING
from emu.linux.syscall import Syscall
from emu.syscalls.paths import resolve

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.superblock import SuperBlock
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

MS_MGC_VAL = 0xC0ED0000


def _optional_text(task: Task, address: int) -> str | None:
    return PATHNAME.read(task.mm, address) if address else None


def check_may_mount(task: Task) -> None:
    """LinuxError(EPERM): who may not change the tree that he is in (may_mount)."""
    if not task.credentials.capable_in(SYS_ADMIN, task.ns.mnt.user):
        raise LinuxError(errno.EPERM)


def sys_mount(kernel: Kernel, task: Task, source: int, target: int, fstype: int, flags: int, data: int) -> int:
    """mount(2)."""
    if flags & 0xFFFF0000 == MS_MGC_VAL:
        flags &= 0xFFFF
    kind = _optional_text(task, fstype)
    device = _optional_text(task, source)
    options = _optional_text(task, data)
    path = resolve(kernel, task, PATHNAME.read(task.mm, target))[1]
    if task.credentials.landlock is not None:
        task.credentials.landlock.check_topology()
    check_may_mount(task)
    try:
        _mount(kernel, task, path, kind, device, flags, options)
    except LinuxError as error:
        if error.detail:  # Linux writes this to its log
            kernel.log_once(f"mount: {error.detail}")
        raise
    return 0


def _mount(
    kernel: Kernel, task: Task, path: Path, kind: str | None, device: str | None, flags: int, options: str | None
) -> None:
    """path_mount()."""
    table, ns = kernel.vfs.mount_table, task.ns.mnt
    if flags & MountFlags.REMOUNT:
        check_may_configure(task, path.mount.sb, flags)
        mounting.remount(table, path, flags, options or "", ns)
    elif flags & MountFlags.BIND:
        source = _source(kernel, task, device)
        mounting.bind(table, source, path, ns, recursive=bool(flags & MountFlags.REC))
    elif flags & mounting.PROPAGATION:
        mounting.change_type(table, path, flags, ns)
    elif flags & MountFlags.MOVE:
        mounting.move(table, _source(kernel, task, device), path, ns)
    elif kind is None:
        raise LinuxError(errno.EINVAL)
    else:
        _mount_new(kernel, task, path, kind, device, flags, options)


def _mount_new(
    kernel: Kernel, task: Task, path: Path, kind: str, device: str | None, flags: int, options: str | None
) -> None:
    """do_new_mount()."""
    check_type(kernel, task, kind)
    if kernel.vfs.mount_table.cross(path).mount.ns is not task.ns.mnt:
        raise LinuxError(errno.EINVAL)
    kernel.vfs.mount(kind, path, options or "", device or "none", flags, task.credentials)


def check_type(kernel: Kernel, task: Task, name: str) -> None:
    """LinuxError(ENODEV), (EPERM): who is root only in a user namespace may not mount this type, or only what belongs
    to a namespace of his own (mount_capable).
    """
    kind = kernel.vfs.filesystems.get(name)
    if kind is None:
        raise LinuxError(errno.ENODEV)
    who, ns = task.credentials, task.ns
    owners = {"proc": task.pid_ns, "sysfs": ns.net, "mqueue": ns.ipc, "cgroup2": ns.cgroup}
    space = owners.get(name)
    owner = who.user_ns if name not in owners else None if space is None else space.user
    if not who.capable_in(SYS_ADMIN, owner if kind.for_users else None):
        raise LinuxError(errno.EPERM)


def check_may_configure(task: Task, sb: SuperBlock, flags: int) -> None:
    """LinuxError(EPERM): a file system of another user namespace cannot be changed (do_remount)."""
    if not flags & MountFlags.BIND and not task.credentials.capable_in(SYS_ADMIN, sb.user):
        raise LinuxError(errno.EPERM)


def _source(kernel: Kernel, task: Task, name: str | None) -> Path:
    """The place that is to be mounted elsewhere."""
    if not name:
        raise LinuxError(errno.EINVAL)
    return resolve(kernel, task, name)[1]


def sys_umount2(kernel: Kernel, task: Task, target: int, flags: int) -> int:
    """umount2(2)."""
    known = UmountFlags.FORCE | UmountFlags.DETACH | UmountFlags.EXPIRE | UmountFlags.NOFOLLOW
    if flags & ~int(known):
        raise LinuxError(errno.EINVAL)
    path = resolve(kernel, task, PATHNAME.read(task.mm, target), not flags & UmountFlags.NOFOLLOW)[1]
    check_may_mount(task)
    path = kernel.vfs.mount_table.cross(path)  # what is mounted on it goes first
    mount = mounting.check_mounted(path, task.ns.mnt)
    if mount.locked:
        raise LinuxError(errno.EINVAL)
    if flags & UmountFlags.FORCE and not task.credentials.capable_in(SYS_ADMIN, mount.sb.user):
        raise LinuxError(errno.EPERM)
    if task.credentials.landlock is not None:
        task.credentials.landlock.check_topology()
    if flags & UmountFlags.EXPIRE and flags & (UmountFlags.FORCE | UmountFlags.DETACH):
        raise LinuxError(errno.EINVAL)
    kernel.vfs.umount(path, flags)
    return 0


def sys_pivot_root(kernel: Kernel, task: Task, new_root: str, put_old: str) -> int:
    """pivot_root(2): every process whose root or directory was the old root gets the new one."""
    check_may_mount(task)
    new, old = (_directory(kernel, task, name) for name in (new_root, put_old))
    if task.credentials.landlock is not None:
        task.credentials.landlock.check_topology()
    root = task.fs.root
    mounting.pivot_root(kernel.vfs.mount_table, root, new, old, task.ns.mnt)
    for other in kernel.with_init():
        if other.alive:
            other.fs.root = new if other.fs.root == root else other.fs.root
            other.fs.cwd = new if other.fs.cwd == root else other.fs.cwd
    return 0


def _directory(kernel: Kernel, task: Task, name: str) -> Path:
    path = resolve(kernel, task, name)[1]
    if not path.inode.is_directory:
        raise LinuxError(errno.ENOTDIR)
    return path


TABLE = (
    Syscall(155, "pivot_root", sys_pivot_root, (PATH, PATH)),
    Syscall(165, "mount", sys_mount, (LATE_PATH, LATE_PATH, STRING, Named(MountFlags, U64), ADDRESS)),
    Syscall(166, "umount2", sys_umount2, (LATE_PATH, Named(UmountFlags))),
)

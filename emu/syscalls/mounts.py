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
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

MS_MGC_VAL = 0xC0ED0000


def _optional_text(task: Task, address: int) -> str | None:
    return PATHNAME.read(task.mm, address) if address else None


def sys_mount(kernel: Kernel, task: Task, source: int, target: int, fstype: int, flags: int, data: int) -> int:
    """mount(2); what is mounted inside a shared mount appears nowhere else."""
    if flags & 0xFFFF0000 == MS_MGC_VAL:
        flags &= 0xFFFF
    kind = _optional_text(task, fstype)
    device = _optional_text(task, source)
    options = _optional_text(task, data)
    walker, path = resolve(kernel, task, PATHNAME.read(task.mm, target))
    if not walker.who.capable(SYS_ADMIN):
        raise LinuxError(errno.EPERM)
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
    if flags & MountFlags.REMOUNT:
        mounting.remount(kernel.vfs, path, flags, options or "")
    elif flags & MountFlags.BIND:
        source = _source(kernel, task, device)
        mounting.bind(kernel.vfs, source, path, recursive=bool(flags & MountFlags.REC))
    elif flags & mounting.PROPAGATION:
        mounting.change_type(kernel.vfs, path, flags)
    elif flags & MountFlags.MOVE:
        mounting.move(kernel.vfs, _source(kernel, task, device), path)
    elif kind is None:
        raise LinuxError(errno.EINVAL)
    else:
        kernel.vfs.mount(kind, path, options or "", device or "none", flags)


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
    walker, path = resolve(kernel, task, PATHNAME.read(task.mm, target), not flags & UmountFlags.NOFOLLOW)
    if not walker.who.capable(SYS_ADMIN):
        raise LinuxError(errno.EPERM)
    mounting.check_mounted(path)
    if flags & UmountFlags.EXPIRE and flags & (UmountFlags.FORCE | UmountFlags.DETACH):
        raise LinuxError(errno.EINVAL)
    kernel.vfs.umount(path, flags)
    return 0


def sys_pivot_root(kernel: Kernel, task: Task, new_root: str, put_old: str) -> int:
    """pivot_root(2): every process whose root or directory was the old root gets the new one."""
    if not task.credentials.capable(SYS_ADMIN):
        raise LinuxError(errno.EPERM)
    new, old = (_directory(kernel, task, name) for name in (new_root, put_old))
    root = task.fs.root
    mounting.pivot_root(kernel.vfs, root, new, old)
    for other in kernel.tasks.values():
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

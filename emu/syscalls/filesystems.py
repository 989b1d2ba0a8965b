"""quotactl, quotactl_fd, ustat, sysfs: old questions about file systems, none of which has quotas."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs.dentry import encode_name
from emu.linux.argument import ADDRESS, FD, HEX32, INT, UINT, Pointer
from emu.linux.errors import LinuxError
from emu.linux.layout import PATHNAME, Layout, Opaque
from emu.linux.syscall import NUMBER, Syscall
from emu.syscalls.paths import resolve

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_MAX_QUOTAS, _Q_SYNC = 3, 0x800001
#: struct ustat: free blocks, free inodes, and two names that are never filled in.
USTAT = Layout("ustat", "i4xQ12x4x")


def sys_quotactl(kernel: Kernel, task: Task, command: int, special: int, ident: int, address: int) -> int:
    """quotactl(2): no block device holds a file system with quotas."""
    if command & 0xFF >= _MAX_QUOTAS:
        raise LinuxError(errno.EINVAL)
    if not special:
        if command >> 8 == _Q_SYNC:
            return 0
        raise LinuxError(errno.ENODEV)
    inode = resolve(kernel, task, PATHNAME.read(task.mm, special))[1].inode
    raise LinuxError(errno.ENODEV if stat.S_ISBLK(inode.mode) else errno.ENOTBLK)


def sys_quotactl_fd(kernel: Kernel, task: Task, fd: int, command: int, ident: int, address: int) -> int:
    """quotactl_fd(2): ENOSYS, as of every file system without quotas."""
    task.files.get_any(fd)
    raise LinuxError(errno.EINVAL if command & 0xFF >= _MAX_QUOTAS else errno.ENOSYS)


def sys_ustat(kernel: Kernel, task: Task, device: int, address: int) -> int:
    """ustat(2)."""
    for mount in kernel.vfs.mount_table:
        if mount.sb.dev == device:
            found = mount.sb.statfs()
            USTAT.write(task.mm, address, (found.bfree & 0x7FFFFFFF, found.ffree))
            return 0
    raise LinuxError(errno.EINVAL)


def sys_sysfs(kernel: Kernel, task: Task, option: int, first: int, second: int) -> int:
    """sysfs(2): numbers and names of file system types."""
    names = list(kernel.vfs.filesystems)
    if option == 1:
        name = PATHNAME.read(task.mm, first)
        if name not in names:
            raise LinuxError(errno.EINVAL)
        return names.index(name)
    if option == 2:
        if first >= len(names):
            raise LinuxError(errno.EINVAL)
        task.mm.write(second, encode_name(names[first]) + b"\0")
        return 0
    if option == 3:
        return len(names)
    raise LinuxError(errno.EINVAL)


TABLE = (
    Syscall(136, "ustat", sys_ustat, (UINT, Pointer(Opaque("ustat"), written=True))),
    Syscall(139, "sysfs", sys_sysfs, (INT, ADDRESS, ADDRESS), NUMBER),
    Syscall(179, "quotactl", sys_quotactl, (HEX32, Pointer(PATHNAME, null=True), UINT, ADDRESS)),
    Syscall(443, "quotactl_fd", sys_quotactl_fd, (FD, HEX32, UINT, ADDRESS)),
)

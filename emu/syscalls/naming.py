"""Calls that make, remove, link and rename names, and those that move a process in the tree."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs import operations
from emu.fs.dentry import d_path, encode_name, is_reachable
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AT_FDCWD, AtFlags, May
from emu.linux.syscall import Syscall, s32
from emu.syscalls.paths import at_path, resolve, resolve_at, start_of, user_path

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task


def sys_mkdirat(kernel: Kernel, task: Task, dirfd: int, address: int, mode: int) -> int:
    """mkdirat(2)."""
    walker, name, start = at_path(kernel, task, dirfd, address)
    operations.mkdir(walker, name, mode, start)
    return 0


def sys_mkdir(kernel: Kernel, task: Task, address: int, mode: int) -> int:
    """mkdir(2)."""
    return sys_mkdirat(kernel, task, AT_FDCWD, address, mode)


def sys_mknodat(kernel: Kernel, task: Task, dirfd: int, address: int, mode: int, device: int) -> int:
    """mknodat(2)."""
    operations.node_kind(mode & 0xFFFF)
    walker, name, start = at_path(kernel, task, dirfd, address)
    operations.mknod(walker, name, mode & 0xFFFF, device & 0xFFFFFFFF, start)
    return 0


def sys_mknod(kernel: Kernel, task: Task, address: int, mode: int, device: int) -> int:
    """mknod(2)."""
    return sys_mknodat(kernel, task, AT_FDCWD, address, mode, device)


def sys_unlinkat(kernel: Kernel, task: Task, dirfd: int, address: int, flags: int) -> int:
    """unlinkat(2)."""
    if flags & 0xFFFFFFFF & ~int(AtFlags.REMOVEDIR):
        raise LinuxError(errno.EINVAL)
    walker, name, start = at_path(kernel, task, dirfd, address)
    if flags & AtFlags.REMOVEDIR:
        operations.rmdir(walker, name, start)
    else:
        operations.unlink(walker, name, start)
    return 0


def sys_unlink(kernel: Kernel, task: Task, address: int) -> int:
    """unlink(2)."""
    return sys_unlinkat(kernel, task, AT_FDCWD, address, 0)


def sys_rmdir(kernel: Kernel, task: Task, address: int) -> int:
    """rmdir(2)."""
    return sys_unlinkat(kernel, task, AT_FDCWD, address, AtFlags.REMOVEDIR)


def sys_symlinkat(kernel: Kernel, task: Task, target: int, dirfd: int, address: int) -> int:
    """symlinkat(2)."""
    text = user_path(task, target)
    walker, name, start = at_path(kernel, task, dirfd, address)
    operations.symlink(walker, text, name, start)
    return 0


def sys_symlink(kernel: Kernel, task: Task, target: int, address: int) -> int:
    """symlink(2)."""
    return sys_symlinkat(kernel, task, target, AT_FDCWD, address)


def sys_linkat(kernel: Kernel, task: Task, old_dirfd: int, old: int, dirfd: int, address: int, flags: int) -> int:
    """linkat(2)."""
    if flags & 0xFFFFFFFF & ~int(AtFlags.SYMLINK_FOLLOW | AtFlags.EMPTY_PATH):
        raise LinuxError(errno.EINVAL)
    how = flags & AtFlags.EMPTY_PATH | (0 if flags & AtFlags.SYMLINK_FOLLOW else AtFlags.SYMLINK_NOFOLLOW)
    _, source = resolve_at(kernel, task, old_dirfd, old, how)
    walker, name, start = at_path(kernel, task, dirfd, address)
    operations.link(walker, source, name, start)
    return 0


def sys_link(kernel: Kernel, task: Task, old: int, address: int) -> int:
    """link(2)."""
    return sys_linkat(kernel, task, AT_FDCWD, old, AT_FDCWD, address, 0)


def sys_renameat2(kernel: Kernel, task: Task, old_dirfd: int, old: int, new_dirfd: int, new: int, flags: int) -> int:
    """renameat2(2)."""
    operations.check_rename_flags(flags & 0xFFFFFFFF)
    walker, old_name, old_start = at_path(kernel, task, old_dirfd, old)
    _, new_name, new_start = at_path(kernel, task, new_dirfd, new)
    operations.rename(walker, old_name, new_name, old_start, new_start, flags & 0xFFFFFFFF)
    return 0


def sys_renameat(kernel: Kernel, task: Task, old_dirfd: int, old: int, new_dirfd: int, new: int) -> int:
    """renameat(2)."""
    return sys_renameat2(kernel, task, old_dirfd, old, new_dirfd, new, 0)


def sys_rename(kernel: Kernel, task: Task, old: int, new: int) -> int:
    """rename(2)."""
    return sys_renameat2(kernel, task, AT_FDCWD, old, AT_FDCWD, new, 0)


def sys_readlinkat(kernel: Kernel, task: Task, dirfd: int, address: int, buffer: int, size: int) -> int:
    """readlinkat(2); an empty name reads the link that dirfd itself was opened on (O_PATH|O_NOFOLLOW)."""
    if s32(size) <= 0:
        raise LinuxError(errno.EINVAL)
    raw = task.mm.read_cstring(address, 4096)
    if raw:
        walker, name, start = at_path(kernel, task, dirfd, address)
        path = walker.resolve(name, start, follow=False)
    else:
        place = start_of(task, dirfd)
        if place is None or not place.dentry.inode.is_symlink:
            raise LinuxError(errno.ENOENT)
        path = place
    text = encode_name(operations.readlink(path, task))[: s32(size)]
    task.mm.write(buffer, text)
    return len(text)


def sys_readlink(kernel: Kernel, task: Task, address: int, buffer: int, size: int) -> int:
    """readlink(2)."""
    return sys_readlinkat(kernel, task, AT_FDCWD, address, buffer, size)


# Where the process stands


def sys_getcwd(kernel: Kernel, task: Task, buffer: int, size: int) -> int:
    """getcwd(2): the length with the final NUL."""
    cwd, root = task.fs.cwd, task.fs.root
    if cwd.dentry.deleted:
        raise LinuxError(errno.ENOENT)
    text = encode_name(d_path(cwd, root)) + b"\0"
    if not is_reachable(cwd, root):
        text = b"(unreachable)" + text
    if len(text) > size:
        raise LinuxError(errno.ERANGE)
    task.mm.write(buffer, text)
    return len(text)


def _enter(task: Task, path: Path) -> Path:
    """A directory that the caller may make its own."""
    inode = path.dentry.inode
    if not inode.is_directory:
        raise LinuxError(errno.ENOTDIR)
    inode.permission(int(May.EXEC), task.credentials)
    return path


def sys_chdir(kernel: Kernel, task: Task, address: int) -> int:
    """chdir(2)."""
    task.fs.cwd = _enter(task, resolve(kernel, task, address)[1])
    return 0


def sys_fchdir(kernel: Kernel, task: Task, fd: int) -> int:
    """fchdir(2)."""
    task.fs.cwd = _enter(task, task.files.get_any(s32(fd)).path)
    return 0


def sys_chroot(kernel: Kernel, task: Task, address: int) -> int:
    """chroot(2)."""
    path = _enter(task, resolve(kernel, task, address)[1])
    if task.credentials.euid != 0:
        raise LinuxError(errno.EPERM)
    task.fs.root = path
    return 0


def sys_umask(kernel: Kernel, task: Task, mask: int) -> int:
    """umask(2)."""
    old, task.fs.umask = task.fs.umask, mask & 0o777
    return old


TABLE = (
    Syscall(79, "getcwd", sys_getcwd, ("buf", "size")),
    Syscall(80, "chdir", sys_chdir, ("path",)),
    Syscall(81, "fchdir", sys_fchdir, ("fd",)),
    Syscall(82, "rename", sys_rename, ("path", "path")),
    Syscall(83, "mkdir", sys_mkdir, ("path", "mode")),
    Syscall(84, "rmdir", sys_rmdir, ("path",)),
    Syscall(86, "link", sys_link, ("path", "path")),
    Syscall(87, "unlink", sys_unlink, ("path",)),
    Syscall(88, "symlink", sys_symlink, ("path", "path")),
    Syscall(89, "readlink", sys_readlink, ("path", "buf", "size")),
    Syscall(95, "umask", sys_umask, ("mode",)),
    Syscall(133, "mknod", sys_mknod, ("path", "mode", "hex")),
    Syscall(161, "chroot", sys_chroot, ("path",)),
    Syscall(258, "mkdirat", sys_mkdirat, ("dirfd", "path", "mode")),
    Syscall(259, "mknodat", sys_mknodat, ("dirfd", "path", "mode", "hex")),
    Syscall(263, "unlinkat", sys_unlinkat, ("dirfd", "path", "hex")),
    Syscall(264, "renameat", sys_renameat, ("dirfd", "path", "dirfd", "path")),
    Syscall(265, "linkat", sys_linkat, ("dirfd", "path", "dirfd", "path", "hex")),
    Syscall(266, "symlinkat", sys_symlinkat, ("path", "dirfd", "path")),
    Syscall(267, "readlinkat", sys_readlinkat, ("dirfd", "path", "buf", "size")),
    Syscall(316, "renameat2", sys_renameat2, ("dirfd", "path", "dirfd", "path", "hex")),
)

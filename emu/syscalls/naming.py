"""Calls that make, remove, link and rename names, and calls that move a process in the tree."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs import operations
from emu.fs.dentry import d_path, encode_name, is_reachable
from emu.linux.argument import DIRFD, FD, FILLED, HEX32, INT, MODE, SIZE, Named, Pointer, Sometimes
from emu.linux.capability import MKNOD, SYS_CHROOT
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AT_FDCWD, AtFlags, May, RenameFlags
from emu.linux.layout import LATE_PATH, PATH, PATHNAME, TEXT
from emu.linux.syscall import BYTES, PERMISSIONS, Syscall
from emu.syscalls.paths import at_path, resolve, resolve_at, start_of
from emu.syscalls.types import FILE_MODE

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task


def sys_mkdirat(kernel: Kernel, task: Task, dirfd: int, path: str, mode: int) -> int:
    """mkdirat(2)."""
    walker, name, start = at_path(kernel, task, dirfd, path)
    operations.mkdir(walker, name, mode, start)
    return 0


def sys_mkdir(kernel: Kernel, task: Task, path: str, mode: int) -> int:
    """mkdir(2)."""
    return sys_mkdirat(kernel, task, AT_FDCWD, path, mode)


def sys_mknodat(kernel: Kernel, task: Task, dirfd: int, address: int, mode: int, device: int) -> int:
    """mknodat(2)."""
    operations.node_kind(mode)
    walker, name, start = at_path(kernel, task, dirfd, PATHNAME.read(task.mm, address))
    operations.mknod(walker, name, mode, device, start)
    return 0


def sys_mknod(kernel: Kernel, task: Task, address: int, mode: int, device: int) -> int:
    """mknod(2)."""
    return sys_mknodat(kernel, task, AT_FDCWD, address, mode, device)


def sys_unlinkat(kernel: Kernel, task: Task, dirfd: int, address: int, flags: int) -> int:
    """unlinkat(2)."""
    if flags & ~int(AtFlags.REMOVEDIR):
        raise LinuxError(errno.EINVAL)
    walker, name, start = at_path(kernel, task, dirfd, PATHNAME.read(task.mm, address))
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


def sys_symlinkat(kernel: Kernel, task: Task, target: str, dirfd: int, path: str) -> int:
    """symlinkat(2)."""
    if not target:
        raise LinuxError(errno.ENOENT)
    walker, name, start = at_path(kernel, task, dirfd, path)
    operations.symlink(walker, target, name, start)
    return 0


def sys_symlink(kernel: Kernel, task: Task, target: str, path: str) -> int:
    """symlink(2)."""
    return sys_symlinkat(kernel, task, target, AT_FDCWD, path)


def sys_linkat(kernel: Kernel, task: Task, old_dirfd: int, old: int, dirfd: int, new: int, flags: int) -> int:
    """linkat(2)."""
    if flags & ~int(AtFlags.SYMLINK_FOLLOW | AtFlags.EMPTY_PATH):
        raise LinuxError(errno.EINVAL)
    how = flags & AtFlags.EMPTY_PATH | (0 if flags & AtFlags.SYMLINK_FOLLOW else AtFlags.SYMLINK_NOFOLLOW)
    _, source = resolve_at(kernel, task, old_dirfd, old, how)
    walker, name, start = at_path(kernel, task, dirfd, PATHNAME.read(task.mm, new))
    operations.link(walker, source, name, start)
    return 0


def sys_link(kernel: Kernel, task: Task, old: int, new: int) -> int:
    """link(2)."""
    return sys_linkat(kernel, task, AT_FDCWD, old, AT_FDCWD, new, 0)


def sys_renameat2(kernel: Kernel, task: Task, old_dirfd: int, old: int, new_dirfd: int, new: int, flags: int) -> int:
    """renameat2(2)."""
    if operations.check_rename_flags(flags) & RenameFlags.WHITEOUT and not task.credentials.capable(MKNOD):
        raise LinuxError(errno.EPERM)
    walker, old_name, old_start = at_path(kernel, task, old_dirfd, PATHNAME.read(task.mm, old))
    try:
        _, new_name, new_start = at_path(kernel, task, new_dirfd, PATHNAME.read(task.mm, new))
    except LinuxError:
        walker.resolve_last(old_name, old_start)  # what is wrong with the old name comes first
        raise
    operations.rename(walker, old_name, new_name, old_start, new_start, flags)
    return 0


def sys_renameat(kernel: Kernel, task: Task, old_dirfd: int, old: int, new_dirfd: int, new: int) -> int:
    """renameat(2)."""
    return sys_renameat2(kernel, task, old_dirfd, old, new_dirfd, new, 0)


def sys_rename(kernel: Kernel, task: Task, old: int, new: int) -> int:
    """rename(2)."""
    return sys_renameat2(kernel, task, AT_FDCWD, old, AT_FDCWD, new, 0)


def sys_readlinkat(kernel: Kernel, task: Task, dirfd: int, address: int, buffer: int, size: int) -> int:
    """readlinkat(2); an empty name reads the link on which dirfd was opened (O_PATH|O_NOFOLLOW)."""
    if size <= 0:
        raise LinuxError(errno.EINVAL)
    name = PATHNAME.read(task.mm, address)
    if name:
        walker, name, start = at_path(kernel, task, dirfd, name)
        path = walker.resolve(name, start, follow=False)
    else:
        place = start_of(task, dirfd)
        if place is None or not place.dentry.inode.is_symlink:
            raise LinuxError(errno.ENOENT)
        path = place
    text = encode_name(operations.readlink(path, task))[:size]
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
    """A directory that the caller may enter."""
    inode = path.dentry.inode
    if not inode.is_directory:
        raise LinuxError(errno.ENOTDIR)
    inode.permission(int(May.EXEC), task.credentials)
    return path


def sys_chdir(kernel: Kernel, task: Task, path: str) -> int:
    """chdir(2)."""
    task.fs.cwd = _enter(task, resolve(kernel, task, path)[1])
    return 0


def sys_fchdir(kernel: Kernel, task: Task, fd: int) -> int:
    """fchdir(2)."""
    task.fs.cwd = _enter(task, task.files.get_any(fd).path)
    return 0


def sys_chroot(kernel: Kernel, task: Task, path: str) -> int:
    """chroot(2)."""
    root = _enter(task, resolve(kernel, task, path)[1])
    if not task.credentials.capable_here(SYS_CHROOT):
        raise LinuxError(errno.EPERM)
    task.fs.root = root
    return 0


def sys_umask(kernel: Kernel, task: Task, mask: int) -> int:
    """umask(2)."""
    old, task.fs.umask = task.fs.umask, mask & 0o777
    return old


#: mknod's device number matters only for block and character devices.
_DEVICE = Sometimes(HEX32, lambda mode: mode & 0o060000 in (0o020000, 0o060000))
_AT_FLAGS = Named(AtFlags)

TABLE = (
    Syscall(79, "getcwd", sys_getcwd, (Pointer(TEXT, written=True), SIZE), BYTES),
    Syscall(80, "chdir", sys_chdir, (PATH,)),
    Syscall(81, "fchdir", sys_fchdir, (FD,)),
    Syscall(82, "rename", sys_rename, (LATE_PATH, LATE_PATH)),
    Syscall(83, "mkdir", sys_mkdir, (PATH, MODE)),
    Syscall(84, "rmdir", sys_rmdir, (LATE_PATH,)),
    Syscall(86, "link", sys_link, (LATE_PATH, LATE_PATH)),
    Syscall(87, "unlink", sys_unlink, (LATE_PATH,)),
    Syscall(88, "symlink", sys_symlink, (PATH, PATH)),
    Syscall(89, "readlink", sys_readlink, (LATE_PATH, FILLED, INT), BYTES),
    Syscall(95, "umask", sys_umask, (MODE,), PERMISSIONS),
    Syscall(133, "mknod", sys_mknod, (LATE_PATH, FILE_MODE, _DEVICE)),
    Syscall(161, "chroot", sys_chroot, (PATH,)),
    Syscall(258, "mkdirat", sys_mkdirat, (DIRFD, PATH, MODE)),
    Syscall(259, "mknodat", sys_mknodat, (DIRFD, LATE_PATH, FILE_MODE, _DEVICE)),
    Syscall(263, "unlinkat", sys_unlinkat, (DIRFD, LATE_PATH, _AT_FLAGS)),
    Syscall(264, "renameat", sys_renameat, (DIRFD, LATE_PATH, DIRFD, LATE_PATH)),
    Syscall(265, "linkat", sys_linkat, (DIRFD, LATE_PATH, DIRFD, LATE_PATH, _AT_FLAGS)),
    Syscall(266, "symlinkat", sys_symlinkat, (PATH, DIRFD, PATH)),
    Syscall(267, "readlinkat", sys_readlinkat, (DIRFD, LATE_PATH, FILLED, INT), BYTES),
    Syscall(316, "renameat2", sys_renameat2, (DIRFD, LATE_PATH, DIRFD, LATE_PATH, Named(RenameFlags))),
)

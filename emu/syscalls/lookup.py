"""openat2 and execveat: names that are looked up in ways of their own."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.scoped import Resolve, ScopedWalk
from emu.kernel.binprm import Program, open_exec
from emu.linux.argument import DIRFD, SIZE, U64, Bits, Named, Pointer, Scalar
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AtFlags, OpenFlags
from emu.linux.layout import LATE_PATH, PATHNAME, Struct
from emu.linux.syscall import DESCRIPTOR, Restart, Result, Syscall
from emu.linux.words import octal
from emu.syscalls.openclose import open_with
from emu.syscalls.paths import resolve_at, start_of
from emu.syscalls.process import execute
from emu.syscalls.types import ARGV, ENVP

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

OPEN_HOW = Struct(
    "open_how", flags=Named(OpenFlags, U64), mode=Scalar("mode", U64, octal), resolve=Named(Resolve, U64)
)  # fmt: skip
_KNOWN_OPEN = sum(
    {int(flag) for flag in OpenFlags if int(flag).bit_count() == 1} | {3, 0o4000000, 0o20000000, 0o100000}
)
_CREATES = int(OpenFlags.CREAT) | 0o20000000
_CHANGES = int(OpenFlags.TRUNC | OpenFlags.CREAT) | 0o20000000
_WITH_PATH = int(OpenFlags.DIRECTORY | OpenFlags.NOFOLLOW | OpenFlags.PATH | OpenFlags.CLOEXEC)
_PATH = int(OpenFlags.PATH)
_LARGEFILE = int(OpenFlags.LARGEFILE)
_NOFOLLOW, _EMPTY_PATH, _FOLLOW = int(AtFlags.SYMLINK_NOFOLLOW), int(AtFlags.EMPTY_PATH), int(AtFlags.SYMLINK_FOLLOW)
_EXECVE_CHECK = 0x10000


def sys_openat2(kernel: Kernel, task: Task, dirfd: int, address: int, how: int, size: int) -> Result:
    """openat2(2)."""
    flags, mode, resolve = OPEN_HOW.read_sized(task.mm, how, size)
    _check_how(flags, mode, resolve)
    name = PATHNAME.read(task.mm, address)
    if resolve & Resolve.CACHED and flags & _CHANGES:
        raise LinuxError(errno.EAGAIN)
    bounded = resolve & (Resolve.BENEATH | Resolve.IN_ROOT)
    start = None if name[:1] == "/" and not bounded else start_of(task, dirfd)
    walker = ScopedWalk(kernel.vfs.mount_table, task.fs, task, start, resolve)
    return open_with(task, walker, name, start, flags | (0 if flags & _PATH else _LARGEFILE), mode)


def _check_how(flags: int, mode: int, resolve: int) -> None:
    """build_open_flags(): what open(2) overlooks is EINVAL."""
    known = sum(int(flag) for flag in Resolve)
    if flags & ~_KNOWN_OPEN or resolve & ~known:
        raise LinuxError(errno.EINVAL)
    if resolve & Resolve.BENEATH and resolve & Resolve.IN_ROOT:
        raise LinuxError(errno.EINVAL)
    if (mode & ~0o7777 if flags & _CREATES else mode) or (flags & _PATH and flags & ~_WITH_PATH):
        raise LinuxError(errno.EINVAL)


def sys_execveat(kernel: Kernel, task: Task, dirfd: int, address: int, argv: int, envp: int, flags: int) -> int:
    """execveat(2); AT_EXECVE_CHECK asks only whether it could be."""
    program = _program_at(kernel, task, dirfd, address, flags)
    if flags & _EXECVE_CHECK:
        try:
            ARGV.read(task.mm, argv), ENVP.read(task.mm, envp)
        finally:
            program.close()
        return 0
    return execute(kernel, task, program, argv, envp)


def _program_at(kernel: Kernel, task: Task, dirfd: int, address: int, flags: int) -> Program:
    """The program at a name or descriptor, with the name by which an interpreter can open it: /dev/fd/N/NAME."""
    name = PATHNAME.read(task.mm, address)
    if flags & ~(_NOFOLLOW | _EMPTY_PATH | _EXECVE_CHECK):
        raise LinuxError(errno.EINVAL)
    _, path = resolve_at(kernel, task, dirfd, address, flags)
    file = open_exec(kernel, task, path)
    if name[:1] == "/" or start_of(task, dirfd) is None:
        return Program(name or ".", file, name.rsplit("/", 1)[-1][:15])
    unreachable = task.files.cloexec(dirfd)
    if name:
        return Program(f"/dev/fd/{dirfd}/{name}", file, name.rsplit("/", 1)[-1][:15], unreachable)
    return Program(f"/dev/fd/{dirfd}", file, path.dentry.name[:15], unreachable)


_EXEC_FLAGS = Bits("AT_", SYMLINK_NOFOLLOW=_NOFOLLOW, EMPTY_PATH=_EMPTY_PATH, EXECVE_CHECK=_EXECVE_CHECK)
_ARGV, _ENVP = Pointer(ARGV, null=True), Pointer(ENVP, null=True)

TABLE = (
    Syscall(322, "execveat", sys_execveat, (DIRFD, LATE_PATH, _ARGV, _ENVP, _EXEC_FLAGS)),
    Syscall(437, "openat2", sys_openat2, (DIRFD, LATE_PATH, Pointer(OPEN_HOW), SIZE), DESCRIPTOR, Restart.SYS),
)

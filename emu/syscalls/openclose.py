"""open, close, pipe, memfd_create: where descriptors come from and how they go."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING

from emu.fs.dentry import Path, decode_name
from emu.fs.file import File, WouldBlock
from emu.fs.namei import PathWalk
from emu.fs.open import check_open_flags, open_file
from emu.fs.seals import Seal
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AT_FDCWD, OpenFlags
from emu.linux.syscall import Result, Syscall, s32
from emu.mm.hugetlb import HUGE_SIZE_MASK, HUGE_SIZE_SHIFT, is_huge_size
from emu.syscalls.paths import at_path

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.wait import WaitQueue

_CLOEXEC = int(OpenFlags.CLOEXEC)
#: Every open of a 64-bit process has it (force_o_largefile).
_LARGEFILE = int(OpenFlags.LARGEFILE)
MFD_CLOEXEC = 1
MFD_ALLOW_SEALING = 2
MFD_HUGETLB = 4
MFD_NOEXEC_SEAL = 8
MFD_EXEC = 16
MFD_NAME_MAX = 249
CLOSE_RANGE_UNSHARE = 2
CLOSE_RANGE_CLOEXEC = 4


def sys_openat(kernel: Kernel, task: Task, dirfd: int, address: int, flags: int, mode: int) -> Result:
    """openat(2); sleeps only on a FIFO whose other end is not open."""
    check_open_flags(flags & 0xFFFFFFFF)
    walker, name, start = at_path(kernel, task, dirfd, address)
    return _open(task, walker, name, start, flags & 0xFFFFFFFF | _LARGEFILE, mode)


def sys_open(kernel: Kernel, task: Task, address: int, flags: int, mode: int) -> Result:
    """open(2)."""
    return sys_openat(kernel, task, AT_FDCWD, address, flags, mode)


def sys_creat(kernel: Kernel, task: Task, address: int, mode: int) -> Result:
    """creat(2)."""
    return sys_openat(kernel, task, AT_FDCWD, address, OpenFlags.CREAT | OpenFlags.WRONLY | OpenFlags.TRUNC, mode)


def _open(task: Task, walker: PathWalk, name: str, start: Path | None, flags: int, mode: int) -> Result:
    task.files.check_room()
    file = open_file(walker, name, flags, mode & 0o7777, start)
    cloexec = bool(flags & _CLOEXEC)
    try:
        file.wait_open()
    except WouldBlock as block:
        return _open_later(task, file, cloexec, block.queue)
    except LinuxError:
        file.put()
        raise
    return task.files.open(file, cloexec)


def _open_later(task: Task, file: File, cloexec: bool, queue: WaitQueue) -> Generator[WaitQueue, None, int]:
    """Wait for the other end of a FIFO."""
    try:
        while True:
            yield queue
            try:
                file.wait_open()
                break
            except WouldBlock as block:
                queue = block.queue
    except BaseException:
        file.put()
        raise
    return task.files.open(file, cloexec)


def sys_close(kernel: Kernel, task: Task, fd: int) -> int:
    """close(2)."""
    task.files.close(s32(fd))
    return 0


def sys_close_range(kernel: Kernel, task: Task, first: int, last: int, flags: int) -> int:
    """close_range(2)."""
    first, last, flags = first & 0xFFFFFFFF, last & 0xFFFFFFFF, flags & 0xFFFFFFFF
    if flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) or first > last:
        raise LinuxError(errno.EINVAL)
    if flags & CLOSE_RANGE_UNSHARE and task.files.users > 1:
        shared = task.files
        task.files = shared.copy()
        shared.put()
    task.files.close_range(first, last, bool(flags & CLOSE_RANGE_CLOEXEC))
    return 0


def sys_pipe2(kernel: Kernel, task: Task, address: int, flags: int) -> int:
    """pipe2(2); O_DIRECT (packets) is not built (EINVAL)."""
    flags &= 0xFFFFFFFF
    if flags & ~int(OpenFlags.CLOEXEC | OpenFlags.NONBLOCK):
        raise LinuxError(errno.EINVAL)
    files, cloexec = task.files, bool(flags & _CLOEXEC)
    reader, writer = kernel.vfs.pipe(flags)
    try:
        read_fd = files.open(reader, cloexec)
    except LinuxError:
        writer.put()
        raise
    try:
        write_fd = files.open(writer, cloexec)
    except LinuxError:
        files.close(read_fd)
        raise
    try:
        task.mm.write(address, read_fd.to_bytes(4, "little") + write_fd.to_bytes(4, "little"))
    except LinuxError:
        files.close(read_fd)
        files.close(write_fd)
        raise
    return 0


def sys_pipe(kernel: Kernel, task: Task, address: int) -> int:
    """pipe(2)."""
    return sys_pipe2(kernel, task, address, 0)


def sys_memfd_create(kernel: Kernel, task: Task, address: int, flags: int) -> int:
    """memfd_create(2)."""
    flags &= 0xFFFFFFFF
    huge = flags & MFD_HUGETLB
    sizes = HUGE_SIZE_MASK << HUGE_SIZE_SHIFT if huge else 0
    if flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC | MFD_HUGETLB | sizes):
        raise LinuxError(errno.EINVAL)
    if flags & MFD_EXEC and flags & MFD_NOEXEC_SEAL:
        raise LinuxError(errno.EINVAL)
    try:
        name = task.mm.read_cstring(address, MFD_NAME_MAX + 1)
    except LinuxError as error:
        raise LinuxError(errno.EINVAL if error.errno == errno.ENAMETOOLONG else error.errno) from None
    if huge and not is_huge_size(flags):
        raise LinuxError(errno.ENODEV)
    setup = kernel.vfs.hugetlb_file_setup if huge else kernel.vfs.shmem_file_setup
    file = setup("memfd:" + decode_name(name))
    file.flags |= _LARGEFILE
    inode = file.inode
    if inode.seals is not None and flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL):
        inode.seals &= ~Seal.SEAL
    if flags & MFD_NOEXEC_SEAL:
        inode.mode &= ~0o111
        if inode.seals is not None:
            inode.seals |= Seal.EXEC
    return task.files.open(file, bool(flags & MFD_CLOEXEC))


TABLE = (
    Syscall(2, "open", sys_open, ("path", "oflags", "mode")),
    Syscall(3, "close", sys_close, ("fd",)),
    Syscall(22, "pipe", sys_pipe, ("ptr",)),
    Syscall(85, "creat", sys_creat, ("path", "mode")),
    Syscall(257, "openat", sys_openat, ("dirfd", "path", "oflags", "mode")),
    Syscall(293, "pipe2", sys_pipe2, ("ptr", "oflags")),
    Syscall(319, "memfd_create", sys_memfd_create, ("str", "hex")),
    Syscall(436, "close_range", sys_close_range, ("uint", "uint", "hex")),
)

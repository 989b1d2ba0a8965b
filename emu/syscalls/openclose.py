"""open, close, pipe, memfd_create: making and closing descriptors."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.fs.dentry import Path, decode_name
from emu.fs.file import File, WouldBlock
from emu.fs.lease import LeaseBroken
from emu.fs.namei import PathWalk
from emu.fs.open import check_open_flags, open_file
from emu.fs.seals import Seal
from emu.linux.argument import DESCRIPTOR_FLAGS, DIRFD, FD, MODE, UINT, Bits, Named, Pointer, Sometimes
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AT_FDCWD, OpenFlags
from emu.linux.layout import LATE_PATH, PATHNAME, STRING, Layout
from emu.linux.likeness import Likeness
from emu.linux.syscall import DESCRIPTOR, Restart, Result, Syscall
from emu.mm.hugetlb import HUGE_SIZE_MASK, HUGE_SIZE_SHIFT, is_huge_size
from emu.syscalls.paths import at_path

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.wait import WaitQueue

_CLOEXEC = int(OpenFlags.CLOEXEC)
#: Set in every open of a 64-bit process (force_o_largefile).
_LARGEFILE = int(OpenFlags.LARGEFILE)
MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC = 1, 2, 4, 8, 16
MFD_NAME_MAX = 249
#: The flags with which open() uses its mode: O_CREAT and __O_TMPFILE.
_CREATES = int(OpenFlags.CREAT) | 0o20000000


CLOSE_RANGE_UNSHARE, CLOSE_RANGE_CLOEXEC = 2, 4
_MFD_KNOWN = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_NOEXEC_SEAL | MFD_EXEC


class _Pair(Layout):
    """The two descriptors of a pipe."""

    prints = True

    def words(self, values: tuple[int, ...]) -> str:
        return f"[{values[0]}, {values[1]}]"


PIPE_FDS = _Pair("int[2]", "2i", likeness=Likeness.EXACT)


def sys_openat(kernel: Kernel, task: Task, dirfd: int, address: int, flags: int, mode: int) -> Result:
    """openat(2); sleeps only on a FIFO whose other end is not open."""
    check_open_flags(flags)
    walker, name, start = at_path(kernel, task, dirfd, PATHNAME.read(task.mm, address))
    return open_with(task, walker, name, start, flags | _LARGEFILE, mode)


def sys_open(kernel: Kernel, task: Task, address: int, flags: int, mode: int) -> Result:
    """open(2)."""
    return sys_openat(kernel, task, AT_FDCWD, address, flags, mode)


def sys_creat(kernel: Kernel, task: Task, address: int, mode: int) -> Result:
    """creat(2)."""
    return sys_openat(kernel, task, AT_FDCWD, address, OpenFlags.CREAT | OpenFlags.WRONLY | OpenFlags.TRUNC, mode)


def open_with(task: Task, walker: PathWalk, name: str, start: Path | None, flags: int, mode: int) -> Result:
    """Open a name: the descriptor, or a generator that waits for the other end of a FIFO."""
    task.files.check_room()
    walker.breaks_leases = True
    try:
        file = open_file(walker, name, flags, mode & 0o7777, start)
    except LeaseBroken as broken:
        return _open_after_lease(task, walker, name, start, flags, mode, broken)
    return _opened(task, file, flags)


def _opened(task: Task, file: File, flags: int) -> Result:
    cloexec = bool(flags & _CLOEXEC)
    try:
        file.wait_open()
    except WouldBlock as block:
        return _open_later(task, file, cloexec, block.queue)
    except LinuxError:
        file.put()
        raise
    return task.files.open(file, cloexec)


def _open_after_lease(
    task: Task, walker: PathWalk, name: str, start: Path | None, flags: int, mode: int, broken: LeaseBroken
) -> Generator[Any, None, int]:
    """Wait until the holders of leases have given way."""
    while True:
        yield broken.queue, broken.deadline
        walker.start_again()
        try:
            file = open_file(walker, name, flags, mode & 0o7777, start)
            break
        except LeaseBroken as still:
            broken = still
    done = _opened(task, file, flags)
    return done if isinstance(done, int) else (yield from done)


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
    task.files.close(fd)
    return 0


def sys_close_range(kernel: Kernel, task: Task, first: int, last: int, flags: int) -> int:
    """close_range(2)."""
    if flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) or first > last:
        raise LinuxError(errno.EINVAL)
    if flags & CLOSE_RANGE_UNSHARE and task.files.users > 1:
        shared = task.files
        task.files = shared.copy()
        shared.put()
    task.files.close_range(first, last, bool(flags & CLOSE_RANGE_CLOEXEC))
    return 0


def sys_pipe2(kernel: Kernel, task: Task, address: int, flags: int) -> int:
    """pipe2(2)."""
    if flags & ~int(OpenFlags.CLOEXEC | OpenFlags.NONBLOCK | OpenFlags.DIRECT | OpenFlags.EXCL):
        raise LinuxError(errno.EINVAL)
    if flags & OpenFlags.EXCL:  # O_NOTIFICATION_PIPE, as without CONFIG_WATCH_QUEUE
        raise LinuxError(errno.ENOPKG)
    files, cloexec = task.files, bool(flags & _CLOEXEC)
    reader, writer = kernel.vfs.pipe(flags)
    reader.inode.belongs_to(task.credentials)
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
        PIPE_FDS.write(task.mm, address, (read_fd, write_fd))
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
    huge = flags & MFD_HUGETLB
    sizes = HUGE_SIZE_MASK << HUGE_SIZE_SHIFT if huge else 0
    if flags & ~(_MFD_KNOWN | sizes):
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
    inode.belongs_to(task.credentials)
    if inode.seals is not None and flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL):
        inode.seals &= ~Seal.SEAL
    if flags & MFD_NOEXEC_SEAL:
        inode.mode &= ~0o111
        if inode.seals is not None:
            inode.seals |= Seal.EXEC
    return task.files.open(file, bool(flags & MFD_CLOEXEC))


_OPEN_FLAGS = Named(OpenFlags)
_CREATION_MODE = Sometimes(MODE, lambda flags: flags & _CREATES)
#: Without the two flags for execution, for which strace has no names.
_MFD_FLAGS = Bits("MFD_", CLOEXEC=MFD_CLOEXEC, ALLOW_SEALING=MFD_ALLOW_SEALING, HUGETLB=MFD_HUGETLB)
_CLOSE_RANGE_FLAGS = Bits("CLOSE_RANGE_", UNSHARE=CLOSE_RANGE_UNSHARE, CLOEXEC=CLOSE_RANGE_CLOEXEC)
_PIPE = Pointer(PIPE_FDS, written=True)

TABLE = (
    Syscall(2, "open", sys_open, (LATE_PATH, _OPEN_FLAGS, _CREATION_MODE), DESCRIPTOR, Restart.SYS),
    Syscall(3, "close", sys_close, (FD,)),
    Syscall(22, "pipe", sys_pipe, (_PIPE,)),
    Syscall(85, "creat", sys_creat, (LATE_PATH, MODE), DESCRIPTOR, Restart.SYS),
    Syscall(257, "openat", sys_openat, (DIRFD, LATE_PATH, _OPEN_FLAGS, _CREATION_MODE), DESCRIPTOR, Restart.SYS),
    Syscall(293, "pipe2", sys_pipe2, (_PIPE, DESCRIPTOR_FLAGS)),
    Syscall(319, "memfd_create", sys_memfd_create, (STRING, _MFD_FLAGS), DESCRIPTOR),
    Syscall(436, "close_range", sys_close_range, (UINT, UINT, _CLOSE_RANGE_FLAGS)),
)

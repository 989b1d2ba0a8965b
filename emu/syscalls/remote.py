"""process_vm_readv, process_vm_writev, process_madvise, process_mrelease: other processes' memory; and vmsplice:
memory into pipes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from emu.fs.file import BrokenPipe
from emu.fs.pipe import Pipe
from emu.fs.pipefile import PipeFile
from emu.kernel.signal_state import Sig
from emu.linux.argument import FD, HEX, HEX32, PID, S32, SIZE, Named, Pointer
from emu.linux.caller import may_access
from emu.linux.capability import SYS_NICE
from emu.linux.errors import LinuxError, NoIntr
from emu.linux.fileflags import IOV_MAX, PAGE_SIZE, OpenFlags
from emu.linux.layout import FILLED_IOVEC, IOVEC, PIECE
from emu.linux.mman import Advice
from emu.linux.syscall import BYTES, Restart, Result, Syscall
from emu.linux.wait import WaitQueue
from emu.mm.flags import VmFlags
from emu.mm.gup import read_remote, write_remote
from emu.mm.madvise import do_madvise
from emu.syscalls.paths import UserBuffer
from emu.syscalls.pidfd import pidfd_target
from emu.syscalls.transfer import read_file, signal_broken_pipe

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace

#: What another process may be advised (process_madvise_remote_valid).
_REMOTE_ADVICE = frozenset({Advice.COLD, Advice.PAGEOUT, Advice.WILLNEED, Advice.COLLAPSE})
#: The most bytes that one call moves: a short count is allowed.
_MOST = 1 << 20
_SPLICE_FLAGS, _SPLICE_NONBLOCK = 15, 2
_NONBLOCK = int(OpenFlags.NONBLOCK)


def _pieces(task: Task, address: int, number: int) -> list[tuple[int, int]]:
    """An iovec array: EINVAL for more than 1024 or a negative length."""
    if number > IOV_MAX:
        raise LinuxError(errno.EINVAL)
    pieces = PIECE.read_array(task.mm, address, number)
    if any(length >> 63 for _, length in pieces):
        raise LinuxError(errno.EINVAL)
    return [(base, length) for base, length in pieces if length]


def _target(kernel: Kernel, task: Task, pid: int) -> AddressSpace:
    found = kernel.find_task(pid)
    if found is None or not found.alive:
        raise LinuxError(errno.ESRCH)
    if not may_access(task, found):
        raise LinuxError(errno.EPERM)
    return found.mm


def _sides(
    task: Task, local: int, locals_: int, remote: int, remotes: int, flags: int
) -> tuple[UserBuffer, list[tuple[int, int]]]:
    """The caller's buffer, and the pieces of the other process's memory."""
    if flags:
        raise LinuxError(errno.EINVAL)
    return UserBuffer.from_iovec(task.mm, local, locals_), _pieces(task, remote, remotes)


def _copy(
    kernel: Kernel,
    task: Task,
    pid: int,
    buffer: UserBuffer,
    pieces: list[tuple[int, int]],
    move: Callable[[AddressSpace, int, int], int],
) -> int:
    """Move piece by piece as far as possible; EFAULT if nothing can be moved.  ``move`` returns how many bytes it
    moved.
    """
    if not buffer.count or not pieces:
        return 0
    mm, done = _target(kernel, task, pid), 0
    for base, length in pieces:
        want = min(length, buffer.count - done, _MOST - done)
        try:
            kernel.stop.check()
            moved = move(mm, base, want)
        except LinuxError:
            if not done:
                raise
            return done
        done += moved
        if moved < want or done >= _MOST:
            break
    return done


def sys_process_vm_readv(
    kernel: Kernel, task: Task, pid: int, local: int, locals_: int, remote: int, remotes: int, flags: int
) -> int:
    """process_vm_readv(2)."""
    buffer, pieces = _sides(task, local, locals_, remote, remotes, flags)

    def move(mm: AddressSpace, base: int, want: int) -> int:
        return buffer.put(read_remote(mm, base, want, pinned=True))

    return _copy(kernel, task, pid, buffer, pieces, move)


def sys_process_vm_writev(
    kernel: Kernel, task: Task, pid: int, local: int, locals_: int, remote: int, remotes: int, flags: int
) -> int:
    """process_vm_writev(2)."""
    buffer, pieces = _sides(task, local, locals_, remote, remotes, flags)
    return _copy(kernel, task, pid, buffer, pieces, lambda mm, base, want: write_remote(mm, base, buffer.take(want)))


def sys_vmsplice(kernel: Kernel, task: Task, fd: int, iov: int, number: int, flags: int) -> Result:
    """vmsplice(2): memory into a pipe (by copying it), or out of one."""
    if flags & ~_SPLICE_FLAGS:
        raise LinuxError(errno.EINVAL)
    file = task.files.get(fd)
    if not isinstance(file, PipeFile):
        if not (file.readable or file.writable):
            raise LinuxError(errno.EBADF)
        if not UserBuffer.from_iovec(task.mm, iov, number).count:
            return 0
        raise LinuxError(errno.EBADF)
    if not file.writable:
        buffer, before = UserBuffer.from_iovec(task.mm, iov, number), file.flags
        # only the call's own flag says that it does not wait
        file.flags = before & ~_NONBLOCK | (_NONBLOCK if flags & _SPLICE_NONBLOCK else 0)
        try:
            return read_file(file, buffer)
        finally:
            file.flags = before
    pieces = _pieces(task, iov, number)
    if not any(length for _, length in pieces):
        return 0
    return _splice(kernel, task, file.pipe, pieces, bool(flags & _SPLICE_NONBLOCK))


def _splice(
    kernel: Kernel, task: Task, pipe: Pipe, pieces: list[tuple[int, int]], nonblocking: bool
) -> Generator[WaitQueue, None, int]:
    """Wait for room and put in what there is room for: each piece of a page takes a slot (iter_to_pipe)."""
    while pipe.readers and pipe.full:
        if nonblocking:
            raise LinuxError(errno.EAGAIN)
        yield pipe.not_full
    if not pipe.readers:
        broken = BrokenPipe()
        signal_broken_pipe(kernel, task, broken)
        raise broken
    done = 0
    for base, length in pieces:
        address, end = base, base + length
        while address < end and done < _MOST and not pipe.full:
            want = min(end - address, PAGE_SIZE - address % PAGE_SIZE, _MOST - done)
            try:
                pipe.append(read_remote(task.mm, address, want))
            except LinuxError:
                if not done:
                    raise
                return done
            address += want
            done += want
    return done


def sys_process_madvise(kernel: Kernel, task: Task, pidfd: int, iov: int, number: int, advice: int, flags: int) -> int:
    """process_madvise(2): of another process, only advice that leaves contents alone."""
    if flags:
        raise LinuxError(errno.EINVAL)
    if number > IOV_MAX:
        raise LinuxError(errno.EINVAL)
    pieces = PIECE.read_array(task.mm, iov, number)
    for base, length in pieces:
        if length >> 63:
            raise LinuxError(errno.EINVAL)
        if base + length > task.mm.task_size:
            raise LinuxError(errno.EFAULT)
    mm = _by_pidfd(kernel, task, pidfd).mm
    if mm is not task.mm and advice not in _REMOTE_ADVICE:
        raise LinuxError(errno.EINVAL)
    if mm is not task.mm and not task.credentials.capable(SYS_NICE):
        raise LinuxError(errno.EPERM)
    done = 0
    for base, length in pieces:
        if not length:
            continue
        try:
            do_madvise(mm, base, length, advice)
        except NoIntr:
            raise
        except LinuxError:
            if not done:
                raise
            return done
        done += length
    return done


def _by_pidfd(kernel: Kernel, task: Task, pidfd: int) -> Task:
    """The process whose memory a descriptor stands for (mm_access).  LinuxError: EBADF, ESRCH, EACCES."""
    target, _ = pidfd_target(kernel, task, pidfd)
    if target is None or not target.alive:
        raise LinuxError(errno.ESRCH)
    if not may_access(task, target):
        raise LinuxError(errno.EACCES)
    return target


def sys_process_mrelease(kernel: Kernel, task: Task, pidfd: int, flags: int) -> int:
    """process_mrelease(2): the memory of a process that has been killed is free at once; EINVAL for one that lives."""
    if flags:
        raise LinuxError(errno.EINVAL)
    target, _ = pidfd_target(kernel, task, pidfd)
    if target is None or not target.alive:
        raise LinuxError(errno.ESRCH)
    users = [other for other in kernel.with_init() if other.alive and other.mm is target.mm]
    if not all(other.signals.pending_mask >> (Sig.KILL - 1) & 1 for other in users):
        raise LinuxError(errno.EINVAL)
    for vma in target.mm.vmas:
        if vma.ops.leaf_level == 1 and not vma.flags & VmFlags.PFNMAP and not vma.shared:
            for piece in target.mm.pieces(vma.start, vma.end):
                vma.ops.zap(target.mm, vma, *piece)
    return 0


_PIECES = Pointer(PIECE)

TABLE = (
    Syscall(278, "vmsplice", sys_vmsplice, (FD, IOVEC, SIZE, HEX32), BYTES, Restart.SYS),
    Syscall(310, "process_vm_readv", sys_process_vm_readv, (PID, FILLED_IOVEC, SIZE, _PIECES, SIZE, HEX), BYTES),
    Syscall(440, "process_madvise", sys_process_madvise, (FD, _PIECES, SIZE, Named(Advice, S32), HEX32), BYTES),
    Syscall(448, "process_mrelease", sys_process_mrelease, (FD, HEX32)),
    Syscall(311, "process_vm_writev", sys_process_vm_writev, (PID, IOVEC, SIZE, _PIECES, SIZE, HEX), BYTES),
)

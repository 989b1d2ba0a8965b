"""io_uring_setup and io_uring_enter (io_uring/io_uring.c)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.fs.uring import (
    CQ_ENTRIES,
    CQ_FLAGS,
    CQ_HEAD,
    CQ_MASK,
    CQ_OVERFLOW,
    CQ_TAIL,
    CQES,
    NEED_WAKEUP,
    SQ_DROPPED,
    SQ_ENTRIES,
    SQ_FLAGS,
    SQ_HEAD,
    SQ_MASK,
    SQ_TAIL,
)
from emu.kernel.uring import (
    CQE_SKIP,
    DRAIN,
    FIXED_FILE,
    HARDLINK,
    LINK,
    Request,
    RingFile,
    Uring,
    urings_of,
)
from emu.linux.argument import ADDRESS, FD, SIZE, UINT, Bits, Pointer
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import Interrupted, LinuxError, NoPage
from emu.linux.layout import TIMESPEC, Layout
from emu.linux.syscall import DESCRIPTOR, NUMBER, Restart, Result, Syscall
from emu.mm.kmem import URING_REQUEST
from emu.syscalls.poll import masked, read_mask
from emu.syscalls.uringtable import find_operation

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_MAX_ENTRIES = 32768
_MAX_CQ_ENTRIES = 2 * _MAX_ENTRIES
#: IORING_SETUP_*.
(
    _IOPOLL, _SQPOLL, _SQ_AFF, _CQSIZE, _CLAMP, _ATTACH_WQ, _R_DISABLED, _SUBMIT_ALL, _COOP_TASKRUN, _TASKRUN_FLAG,
    _SQE128, _CQE32, _SINGLE_ISSUER, _DEFER_TASKRUN, _NO_MMAP, _REGISTERED_FD_ONLY, _NO_SQARRAY, _HYBRID_IOPOLL,
    _CQE_MIXED,
) = (1 << bit for bit in range(19))  # fmt: skip
_SETUP_KNOWN = (1 << 19) - 1
#: What needs a device that is polled, or memory of the program's.
_NOT_HERE = _IOPOLL | _NO_MMAP | _HYBRID_IOPOLL | _CQE_MIXED
#: IORING_FEAT_*: SINGLE_MMAP, NODROP, SUBMIT_STABLE, RW_CUR_POS, CUR_PERSONALITY, FAST_POLL, POLL_32BITS,
#: SQPOLL_NONFIXED, EXT_ARG, NATIVE_WORKERS, CQE_SKIP, LINKED_FILE, MIN_TIMEOUT.
_FEATURES = 0x9BFF
#: struct io_uring_params.
PARAMS = Layout("io_uring_params", "7I3I7IIQ7IIQ")
_RESERVED = slice(7, 10)
#: IORING_ENTER_*.
_GETEVENTS, _SQ_WAKEUP, _SQ_WAIT, _EXT_ARG, _REGISTERED_RING, _ABS_TIMER, _EXT_ARG_REG, _NO_IOWAIT = (
    1 << bit for bit in range(8)
)  # fmt: skip
_ENTER_KNOWN = 0xFF & ~_EXT_ARG_REG
#: struct io_uring_getevents_arg.
_GETEVENTS_ARG = struct.Struct("<QIIQ")
_SQE_FLAGS_KNOWN = 0x7F


# Setup


def _allowed(kernel: Kernel, task: Task) -> None:
    """Whether somebody may have a ring (io_uring_allowed).  LinuxError(EPERM)."""
    who, disabled = task.credentials, kernel.io_uring_disabled
    if disabled == 2 or (disabled and not who.capable(SYS_ADMIN) and not who.in_group(kernel.io_uring_group)):
        raise LinuxError(errno.EPERM)


def _check_flags(kernel: Kernel, flags: int) -> None:
    """LinuxError(EINVAL)."""
    if flags & ~_SETUP_KNOWN:
        raise LinuxError(errno.EINVAL)
    task_work = flags & (_COOP_TASKRUN | _TASKRUN_FLAG | _DEFER_TASKRUN)
    wrong = (
        (flags & _SQPOLL and task_work),
        (flags & _TASKRUN_FLAG and not flags & (_COOP_TASKRUN | _DEFER_TASKRUN)),
        (flags & _DEFER_TASKRUN and not flags & _SINGLE_ISSUER),
        (flags & _SQ_AFF and not flags & _SQPOLL),
        (flags & _REGISTERED_FD_ONLY and not flags & _NO_MMAP),
        (flags & _HYBRID_IOPOLL and not flags & _IOPOLL),
        (flags & _CQE_MIXED and flags & _CQE32),
    )
    if any(wrong):
        raise LinuxError(errno.EINVAL)
    if flags & _NOT_HERE:
        kernel.log_once(f"io_uring_setup: flags {flags & _NOT_HERE:#x} are not supported: EINVAL")
        raise LinuxError(errno.EINVAL)


def _sizes(entries: int, flags: int, cq_wanted: int) -> tuple[int, int]:
    """How many entries the queues have (io_uring_fill_params).  LinuxError(EINVAL)."""
    if not entries or (entries > _MAX_ENTRIES and not flags & _CLAMP):
        raise LinuxError(errno.EINVAL)
    sq_entries = 1 << (min(entries, _MAX_ENTRIES) - 1).bit_length()
    if not flags & _CQSIZE:
        return sq_entries, 2 * sq_entries
    if not cq_wanted or (cq_wanted > _MAX_CQ_ENTRIES and not flags & _CLAMP):
        raise LinuxError(errno.EINVAL)
    cq_entries = 1 << (min(cq_wanted, _MAX_CQ_ENTRIES) - 1).bit_length()
    if cq_entries < sq_entries:
        raise LinuxError(errno.EINVAL)
    return sq_entries, cq_entries


def sys_io_uring_setup(kernel: Kernel, task: Task, entries: int, address: int) -> int:
    """io_uring_setup(2); no device is polled (IORING_SETUP_IOPOLL), and the kernel's thread of IORING_SETUP_SQPOLL
    always sleeps.
    """
    _allowed(kernel, task)
    params = PARAMS.read(task.mm, address)
    _, cq_wanted, flags, cpu, idle, _, wq_fd = params[:7]
    if any(params[_RESERVED]):
        raise LinuxError(errno.EINVAL)
    _check_flags(kernel, flags)
    sq_entries, cq_entries = _sizes(entries, flags, cq_wanted)
    if flags & _ATTACH_WQ and not isinstance(task.files.get(wq_fd), RingFile):
        raise LinuxError(errno.EINVAL)
    task.files.check_room()
    try:
        file = RingFile(
            kernel.vfs.anon_inode("[io_uring]"), kernel, sq_entries, cq_entries,
            large_sqe=bool(flags & _SQE128), large_cqe=bool(flags & _CQE32), array=not flags & _NO_SQARRAY,
        )  # fmt: skip
    except NoPage:  # pages that are wanted in bulk are worth no process (io_region_allocate_pages)
        raise LinuxError(errno.ENOMEM) from None
    _configure(file, task, flags)
    sq_off = (SQ_HEAD, SQ_TAIL, SQ_MASK, SQ_ENTRIES, SQ_FLAGS, SQ_DROPPED, file.array_at, 0, 0)
    cq_off = (CQ_HEAD, CQ_TAIL, CQ_MASK, CQ_ENTRIES, CQ_OVERFLOW, CQES, CQ_FLAGS, 0, 0)
    filled = (sq_entries, cq_entries, flags, cpu, idle, _FEATURES, wq_fd, 0, 0, 0, *sq_off, *cq_off)
    try:
        PARAMS.write(task.mm, address, filled)
    except LinuxError:
        file.put()
        raise
    return task.files.open(file, cloexec=True)


def _configure(file: RingFile, task: Task, flags: int) -> None:
    ring = file.ring
    ring.submit_all = bool(flags & _SUBMIT_ALL)
    ring.disabled = bool(flags & _R_DISABLED)
    ring.single_issuer = bool(flags & _SINGLE_ISSUER)
    if not ring.disabled:
        ring.issuer = task
    ring.sqpoll = bool(flags & _SQPOLL)
    if ring.sqpoll:
        file.set_sq_flag(NEED_WAKEUP, True)


# Submitting


def _prepare(kernel: Kernel, request: Request) -> None:
    """io_init_req() and the operation's own checks.  LinuxError(EINVAL, EBADF, EFAULT)."""
    sqe, ring = request.sqe, request.ring
    operation = find_operation(sqe.opcode)
    if operation is None or sqe.flags & ~_SQE_FLAGS_KNOWN:
        raise LinuxError(errno.EINVAL)
    if sqe.flags & CQE_SKIP:
        ring.drain_disabled = True
    if sqe.flags & DRAIN and ring.drain_disabled:
        raise LinuxError(errno.EOPNOTSUPP)
    if sqe.personality and sqe.personality not in ring.personalities:
        raise LinuxError(errno.EINVAL)
    if sqe.flags & FIXED_FILE and sqe.fd < 0:
        raise LinuxError(errno.EBADF)
    request.run = operation(kernel, request)


def _submit(kernel: Kernel, task: Task, ring: Uring, count: int) -> int:
    """Take so many entries at most, and start what they ask for (io_submit_sqes): how many were taken."""
    file = ring.file
    count = min(count, file.submitted)
    done = 0
    chain: list[Request] = []
    ring.submitting = True
    try:
        while done < count:
            kernel.frames.kmem.reserve(URING_REQUEST)
            sqe = file.take()
            if sqe is None:
                break
            done += 1
            request = Request(ring, task, sqe)
            ring.add(request)
            if not _submit_one(kernel, request, chain) and not ring.submit_all:
                break
    except LinuxError:
        if not done:
            raise LinuxError(errno.EAGAIN) from None
    finally:
        if chain:
            ring.queue(chain[0])
        ring.submitting = False
        ring.run_later()
    return done


def _submit_one(kernel: Kernel, request: Request, chain: list[Request]) -> bool:
    """A request starts, or becomes part of a chain.  False if it is wrong, and does not stand in a chain that goes
    on.
    """
    request.linked = bool(chain)
    goes_on = bool(request.sqe.flags & (LINK | HARDLINK))
    try:
        _prepare(kernel, request)
    except LinuxError as error:
        request.refused = -error.errno
        if chain and chain[0].refused is None:
            chain[0].refused = -errno.ECANCELED
    if chain:
        chain[-1].then = request
    chain.append(request)
    if goes_on:
        return True
    head = chain[0]
    chain.clear()
    request.ring.queue(head)
    return request.refused is None


# Entering


def _ring(task: Task, kernel: Kernel, fd: int, flags: int) -> RingFile:
    """LinuxError(EBADF, EINVAL, EOPNOTSUPP)."""
    if flags & _REGISTERED_RING:
        found = urings_of(kernel).registered.get(task, {}).get(fd)
        if not 0 <= fd < 16:
            raise LinuxError(errno.EINVAL)
        if found is None:
            raise LinuxError(errno.EBADF)
        return found
    file = task.files.get(fd)
    if not isinstance(file, RingFile):
        raise LinuxError(errno.EOPNOTSUPP)
    return file


def sys_io_uring_enter(
    kernel: Kernel, task: Task, fd: int, submit: int, least: int, flags: int, argument: int, size: int
) -> Result:
    """io_uring_enter(2)."""
    if flags & ~_ENTER_KNOWN:
        raise LinuxError(errno.EINVAL)
    file = _ring(task, kernel, fd, flags)
    ring = file.ring
    if ring.disabled:
        raise LinuxError(errno.EBADFD)
    if ring.single_issuer and ring.issuer not in (None, task) and (submit or flags & _GETEVENTS):
        raise LinuxError(errno.EEXIST)
    done = 0
    if ring.sqpoll:
        if flags & _SQ_WAKEUP:
            while file.submitted and _submit(kernel, task, ring, file.submitted):
                pass
        done = submit
    elif submit:
        done = _submit(kernel, task, ring, submit)
        if done != submit:
            return done
    if not flags & _GETEVENTS:
        return done
    try:
        return _get_events(kernel, task, file, done, least, flags, argument, size)
    except LinuxError:
        if done:
            return done
        raise


def _get_events(
    kernel: Kernel, task: Task, file: RingFile, done: int, least: int, flags: int, argument: int, size: int
) -> Result:
    """Wait for so many events (io_cqring_wait).  LinuxError(EINVAL, EFAULT)."""
    mask_at, mask_size, min_wait, timeout = argument, size, 0, 0
    if flags & _EXT_ARG:
        if size != _GETEVENTS_ARG.size:
            raise LinuxError(errno.EINVAL)
        mask_at, mask_size, min_wait, timeout = _GETEVENTS_ARG.unpack(task.mm.read(argument, size))
    deadline = None
    if timeout:
        time = TIMESPEC.read(task.mm, timeout)
        deadline = time if flags & _ABS_TIMER else kernel.clock.now_ns() + time
    file.flush_overflow()
    least = min(least, file.cq_entries)
    if file.ready >= least:
        return done
    mask = read_mask(task, mask_at, mask_size)
    first = kernel.clock.now_ns() + min_wait * 1000 if min_wait else None
    return _interruptible(file, done, masked(task, _wait(kernel, file, done, least, deadline, first), mask))


def _interruptible(file: RingFile, done: int, waiting: Generator[Any, None, int]) -> Generator[Any, None, int]:
    """What was submitted, or has come, is more than the signal, whose handler runs under the call's mask."""
    try:
        return (yield from waiting)
    except Interrupted:
        if done or file.ready:
            return done
        raise


def _wait(
    kernel: Kernel, file: RingFile, done: int, least: int, deadline: int | None, first: int | None
) -> Generator[Any, None, int]:
    """``first``: from when on one event is enough."""
    file.get()
    try:
        while True:
            kernel.clock.run_timers()
            file.ring.run_later()
            file.flush_overflow()
            now = kernel.clock.now_ns()
            if file.ready >= least or (first is not None and now >= first and file.ready):
                return done
            if deadline is not None and now >= deadline:
                if done or file.ready:
                    return done
                raise LinuxError(errno.ETIME)
            until = [time for time in (deadline, first if first is not None and now < first else None) if time]
            yield file.changed, min(until, default=None)
    finally:
        file.put()


_PARAMS = Pointer(PARAMS, written=True)
_ENTER_FLAGS = Bits(
    "IORING_ENTER_", GETEVENTS=_GETEVENTS, SQ_WAKEUP=_SQ_WAKEUP, SQ_WAIT=_SQ_WAIT, EXT_ARG=_EXT_ARG,
    REGISTERED_RING=_REGISTERED_RING, ABS_TIMER=_ABS_TIMER, NO_IOWAIT=_NO_IOWAIT,
)  # fmt: skip

TABLE = (
    Syscall(425, "io_uring_setup", sys_io_uring_setup, (UINT, _PARAMS), DESCRIPTOR),
    Syscall(
        426, "io_uring_enter", sys_io_uring_enter, (FD, UINT, UINT, _ENTER_FLAGS, ADDRESS, SIZE), NUMBER, Restart.INTR
    ),
)

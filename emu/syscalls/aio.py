"""Asynchronous I/O: io_setup, io_submit, io_getevents and their relatives."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.fs.eventfd import EventFd
from emu.fs.file import File
from emu.kernel.aio import AioContext, AioContexts, AioEvent, PollRequest
from emu.linux.argument import ADDRESS, INT, LONG, U64, UINT, Pointer, Scalar
from emu.linux.errors import Interrupted, LinuxError
from emu.linux.fileflags import PollEvents
from emu.linux.layout import Layout, Opaque
from emu.linux.syscall import NUMBER, Restart, Result, Syscall
from emu.syscalls.files import check_rw_flags, with_rw_flags
from emu.syscalls.paths import UserBuffer
from emu.syscalls.poll import masked, read_mask
from emu.syscalls.transfer import read_file, write_file

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

    Wait = Generator[Any, None, int]

_PREAD, _PWRITE, _FSYNC, _FDSYNC, _POLL, _PREADV, _PWRITEV = 0, 1, 2, 3, 5, 7, 8
_RESFD = 1
_ALWAYS_POLLED = int(PollEvents.ERR | PollEvents.HUP)
#: struct iocb and struct io_event.
IOCB = Layout("iocb", "QIiHhIQQqQII")
IO_EVENT = Layout("io_event", "QQqq")
_CONTEXT = Scalar("aio_context_t", U64, hex)
#: A timeout that may be any number of seconds (io_getevents does not check it).
_TIMEOUT = Layout("timespec", "qq")
_PAIR = Layout("__aio_sigset", "QQ")
_NS = 1_000_000_000
_KEY_AT = 8


class Iocb(NamedTuple):
    """struct iocb."""

    data: int
    key: int
    rw_flags: int
    opcode: int
    priority: int
    fd: int
    buffer: int
    size: int
    offset: int
    reserved: int
    flags: int
    eventfd: int


def _contexts(kernel: Kernel, task: Task) -> AioContexts:
    mm = task.mm
    if mm.aio is None:
        made = AioContexts(mm, kernel.aio)
        mm.aio = made
        mm.at_exit.append(made.exit)
    assert isinstance(mm.aio, AioContexts)
    return mm.aio


def sys_io_setup(kernel: Kernel, task: Task, number: int, address: int) -> int:
    """io_setup(2)."""
    if _CONTEXT.read(task.mm, address) or not number:
        raise LinuxError(errno.EINVAL)
    contexts = _contexts(kernel, task)
    context = contexts.setup(number, kernel.cpus)
    try:
        _CONTEXT.write(task.mm, address, context.number)
    except LinuxError:
        contexts.destroy(context)
        raise
    return 0


def sys_io_destroy(kernel: Kernel, task: Task, number: int) -> int:
    """io_destroy(2)."""
    contexts = _contexts(kernel, task)
    contexts.destroy(contexts.find(number))
    return 0


def sys_io_submit(kernel: Kernel, task: Task, number: int, count: int, array: int) -> Wait:
    """io_submit(2): a read or write that waits, waits here, as on Linux."""
    if count < 0:
        raise LinuxError(errno.EINVAL)
    context = _contexts(kernel, task).find(number)
    return _submit(kernel, task, context, min(count, context.slots), array)


def _submit(kernel: Kernel, task: Task, context: AioContext, count: int, array: int) -> Wait:
    done = 0
    try:
        for index in range(count):
            address = ADDRESS.read(task.mm, array + ADDRESS.size * index)
            yield from _submit_one(kernel, task, context, address)
            done += 1
    except Interrupted:
        raise
    except LinuxError:
        if not done:
            raise
    return done


def _submit_one(kernel: Kernel, task: Task, context: AioContext, address: int) -> Generator[Any, None, None]:
    """io_submit_one() and __io_submit_one()."""
    request = Iocb(*IOCB.read(task.mm, address))
    if request.reserved or request.size >> 63:
        raise LinuxError(errno.EINVAL)
    if context.free <= 0:
        raise LinuxError(errno.EAGAIN)
    file = task.files.get(request.fd)
    told = _eventfd(task, request)
    try:
        INT.write(task.mm, address + _KEY_AT, 0)
        if request.opcode == _POLL:
            _poll(context, file, address, request, told)
            return
        call = _call(kernel, task, file, request)
        try:
            result: Any = call()
            done = result if isinstance(result, int) else (yield from result)
        except Interrupted:
            done = -errno.EINTR
        except LinuxError as error:
            done = -error.errno
        if not context.dead:
            context.complete(AioEvent(request.data, address, done), told)
    finally:
        if told is not None:
            told.put()


def _eventfd(task: Task, request: Iocb) -> EventFd | None:
    if not request.flags & _RESFD:
        return None
    file = task.files.get(request.eventfd)
    if not isinstance(file, EventFd):
        raise LinuxError(errno.EINVAL)
    file.get()
    return file


def _call(kernel: Kernel, task: Task, file: File, request: Iocb) -> Callable[[], Result]:
    """What the request does.  LinuxError: it cannot even be submitted."""
    if request.opcode in (_FSYNC, _FDSYNC):
        if request.buffer or request.offset or request.size or request.rw_flags:
            raise LinuxError(errno.EINVAL)
        _check_sync(file)
        return lambda: 0
    if request.opcode not in (_PREAD, _PWRITE, _PREADV, _PWRITEV):
        raise LinuxError(errno.EINVAL)
    writes = request.opcode in (_PWRITE, _PWRITEV)
    if not (file.writable if writes else file.readable):
        raise LinuxError(errno.EBADF)
    if file.inode.is_directory:
        raise LinuxError(errno.EINVAL)
    if request.offset < 0 and file.seekable:
        raise LinuxError(errno.EINVAL)
    return _transfer(kernel, task, file, request, writes)


def _check_sync(file: File) -> None:
    if not file.writable and not file.readable:
        raise LinuxError(errno.EBADF)
    file.fsync(data_only=False)


def _transfer(kernel: Kernel, task: Task, file: File, request: Iocb, writes: bool) -> Callable[[], Result]:
    check_rw_flags(file, request.rw_flags)
    if request.opcode in (_PREADV, _PWRITEV):
        buffer = UserBuffer.from_iovec(task.mm, request.buffer, request.size)
    else:
        buffer = UserBuffer(task.mm, request.buffer, request.size)
    pos = request.offset if file.seekable else None

    def run() -> Result:
        return write_file(kernel, task, file, buffer, pos) if writes else read_file(file, buffer, pos)

    return lambda: with_rw_flags(file, request.rw_flags, run)


def _poll(context: AioContext, file: File, address: int, request: Iocb, told: EventFd | None) -> None:
    """aio_poll()."""
    wanted = request.buffer
    if wanted >> 16 or request.offset or request.size or request.rw_flags:
        raise LinuxError(errno.EINVAL)
    wanted |= _ALWAYS_POLLED
    ready = file.poll()[0] & wanted
    if ready:
        context.complete(AioEvent(request.data, address, ready), told)
        return
    if told is not None:
        told.get()
    context.pending[address] = PollRequest(context, file, address, request.data, wanted, told)


def sys_io_cancel(kernel: Kernel, task: Task, number: int, address: int, result: int) -> int:
    """io_cancel(2): the event of what has been cancelled comes to the context."""
    if INT.read(task.mm, address + _KEY_AT):
        raise LinuxError(errno.EINVAL)
    request = _contexts(kernel, task).find(number).pending.get(address)
    if request is None:
        raise LinuxError(errno.EINVAL)
    request.finish(0)
    raise LinuxError(errno.EINPROGRESS)


def _deadline(kernel: Kernel, task: Task, address: int) -> int | None:
    """A timeout's end on the machine's clock; a negative one never ends."""
    if not address:
        return None
    seconds, nanoseconds = _TIMEOUT.read(task.mm, address)
    length = int(seconds) * _NS + int(nanoseconds)
    return kernel.clock.now_ns() + length if length >= 0 else None


def sys_io_getevents(kernel: Kernel, task: Task, number: int, least: int, most: int, events: int, timeout: int) -> Wait:
    """io_getevents(2)."""
    deadline = _deadline(kernel, task, timeout)
    context = _contexts(kernel, task).find(number)
    if not 0 <= least <= most:
        raise LinuxError(errno.EINVAL)
    return _read_events(kernel, task, context, (least, most), events, deadline)


def _read_events(
    kernel: Kernel, task: Task, context: AioContext, number: tuple[int, int], address: int, deadline: int | None
) -> Wait:
    least, most = number
    done = 0
    while True:
        while context.events and done < most:
            IO_EVENT.write(task.mm, address + IO_EVENT.size * done, context.events[0])
            context.events.popleft()
            done += 1
        if done >= least or context.dead:
            break
        if deadline is not None and kernel.clock.now_ns() >= deadline:
            break
        try:
            yield context.changed, deadline
        except Interrupted:
            if done:
                break
            raise
    if context.dead and not done:
        raise LinuxError(errno.EINVAL)
    return done


def sys_io_pgetevents(
    kernel: Kernel, task: Task, number: int, least: int, most: int, events: int, timeout: int, mask: int
) -> Wait:
    """io_pgetevents(2)."""
    deadline = _deadline(kernel, task, timeout)
    wanted = read_mask(task, *_PAIR.read(task.mm, mask)) if mask else None
    context = _contexts(kernel, task).find(number)
    if not 0 <= least <= most:
        raise LinuxError(errno.EINVAL)
    return masked(task, _read_events(kernel, task, context, (least, most), events, deadline), wanted)


_EVENTS, _IOCB = Pointer(Opaque("io_event"), written=True), Pointer(Opaque("iocb"))
_TIME = Pointer(Opaque("timespec"), null=True)

TABLE = (
    Syscall(206, "io_setup", sys_io_setup, (UINT, Pointer(_CONTEXT))),
    Syscall(207, "io_destroy", sys_io_destroy, (_CONTEXT,)),
    Syscall(208, "io_getevents", sys_io_getevents, (_CONTEXT, LONG, LONG, _EVENTS, _TIME), NUMBER, Restart.INTR),
    Syscall(209, "io_submit", sys_io_submit, (_CONTEXT, LONG, Pointer(Opaque("iocb *"))), NUMBER, Restart.INTR),
    Syscall(210, "io_cancel", sys_io_cancel, (_CONTEXT, _IOCB, _EVENTS)),
    Syscall(
        333, "io_pgetevents", sys_io_pgetevents,
        (_CONTEXT, LONG, LONG, _EVENTS, _TIME, Pointer(Opaque("__aio_sigset"), null=True)), NUMBER, Restart.NOHAND,
    ),
)  # fmt: skip

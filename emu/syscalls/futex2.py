"""The second interface of futexes: futex_waitv, futex_wake, futex_wait, futex_requeue (kernel/futex/syscalls.c)."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.kernel.futex import Key, Waiter, futex_key, futex_wait
from emu.linux.argument import HEX, INT, UINT, Bits, Pointer
from emu.linux.errors import Interrupted, LinuxError
from emu.linux.layout import TIMESPEC, Layout, Opaque
from emu.linux.syscall import NUMBER, Restart, Result, Syscall
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_SIZE_U32, _SIZE_MASK, _PRIVATE, _KNOWN = 2, 3, 128, 2 | 3 | 128
_MOST = 128
_CLOCK_REALTIME, _CLOCK_MONOTONIC = 0, 1
#: val, uaddr, flags, __reserved
WAITV = Layout("futex_waitv", "QQII")


def _check_flags(flags: int) -> None:
    """Words of 32 bits, private or shared; memory policies of theirs do not exist (FUTEX2_NUMA)."""
    if flags & ~_KNOWN or flags & _SIZE_MASK != _SIZE_U32:
        raise LinuxError(errno.EINVAL)


def _check_value(value: int) -> None:
    if value > UINT.width.largest:
        raise LinuxError(errno.EINVAL)


def _deadline(kernel: Kernel, task: Task, timeout: int, clock: int) -> int | None:
    """In ns of CLOCK_MONOTONIC; None for NULL.  LinuxError(EINVAL, EFAULT)."""
    if not timeout:
        return None
    if clock not in (_CLOCK_REALTIME, _CLOCK_MONOTONIC):
        raise LinuxError(errno.EINVAL)
    time: int = TIMESPEC.read(task.mm, timeout)
    if clock == _CLOCK_REALTIME:
        return time - kernel.clock.realtime_offset
    return task.ns.time.to_machine(clock, time)


def _words(task: Task, address: int, number: int) -> list[tuple[int, int, int]]:
    """Value, address and flags of each.  LinuxError(EFAULT, EINVAL)."""
    found = []
    for at in range(address, address + number * WAITV.size, WAITV.size):
        value, word, flags, reserved = WAITV.read(task.mm, at)
        if reserved:
            raise LinuxError(errno.EINVAL)
        _check_flags(flags)
        _check_value(value)
        found.append((value, word, flags))
    return found


def _key(task: Task, address: int, flags: int) -> Key:
    return futex_key(task.mm, address, private=bool(flags & _PRIVATE))


def sys_futex_waitv(
    kernel: Kernel, task: Task, waiters: int, number: int, flags: int, timeout: int, clock: int
) -> Result:
    """futex_waitv(2): wait at several words; the result is the index of one at which it was woken."""
    if flags or not 0 < number <= _MOST or not waiters:
        raise LinuxError(errno.EINVAL)
    deadline = _deadline(kernel, task, timeout, clock)
    words = _words(task, waiters, number)
    queue = WaitQueue()
    keys = [_key(task, address, flags) for _, address, flags in words]
    for value, address, _ in words:
        if UINT.read(task.mm, address) != value:
            raise LinuxError(errno.EAGAIN)
    return _wait_for_any(kernel, [Waiter(key, UINT.width.largest, queue) for key in keys], deadline)


def _wait_for_any(kernel: Kernel, waiters: list[Waiter], deadline: int | None) -> Generator[Any, None, int]:
    for waiter in waiters:
        kernel.futexes.add(waiter)
    try:
        while True:
            woken = [index for index, waiter in enumerate(waiters) if waiter.woken]
            if woken:
                return woken[-1]
            if deadline is not None and kernel.clock.now_ns() >= deadline:
                raise LinuxError(errno.ETIMEDOUT)
            try:
                yield (waiters[0].queue, deadline)
            except Interrupted:
                if not any(waiter.woken for waiter in waiters):
                    raise
    finally:
        for waiter in waiters:
            kernel.futexes.discard(waiter)


def sys_futex_wake(kernel: Kernel, task: Task, address: int, mask: int, number: int, flags: int) -> int:
    """futex_wake(2)."""
    _check_flags(flags)
    _check_value(mask)
    if not mask:
        raise LinuxError(errno.EINVAL)
    key = _key(task, address, flags)
    return kernel.futexes.wake(key, number, mask) if number else 0


def sys_futex_wait(
    kernel: Kernel, task: Task, address: int, value: int, mask: int, flags: int, timeout: int, clock: int
) -> Result:
    """futex_wait(2)."""
    _check_flags(flags)
    _check_value(value)
    _check_value(mask)
    of_day = bool(timeout) and clock == _CLOCK_REALTIME
    deadline = TIMESPEC.read(task.mm, timeout) if of_day else _deadline(kernel, task, timeout, clock)
    if not mask:
        raise LinuxError(errno.EINVAL)
    key = _key(task, address, flags)
    if UINT.read(task.mm, address) != value:
        raise LinuxError(errno.EAGAIN)
    return futex_wait(kernel.futexes, kernel.clock, Waiter(key, mask), deadline, time_of_day=of_day)


def sys_futex_requeue(kernel: Kernel, task: Task, waiters: int, flags: int, to_wake: int, to_move: int) -> int:
    """futex_requeue(2)."""
    if flags or not waiters:
        raise LinuxError(errno.EINVAL)
    source, target = _words(task, waiters, 2)
    if to_wake < 0 or to_move < 0:
        raise LinuxError(errno.EINVAL)
    keys = [_key(task, address, flags) for _, address, flags in (source, target)]
    if UINT.read(task.mm, source[1]) != source[0]:
        raise LinuxError(errno.EAGAIN)
    woken = kernel.futexes.wake(keys[0], to_wake) if to_wake else 0
    return woken + kernel.futexes.requeue(keys[0], keys[1], to_move)


_WORD, _LIST, _TIMEOUT = Pointer(UINT), Pointer(Opaque("futex_waitv")), Pointer(Opaque("timespec"), null=True)
_FLAGS = Bits("FUTEX2_", SIZE_U32=_SIZE_U32, PRIVATE=_PRIVATE)

TABLE = (
    Syscall(449, "futex_waitv", sys_futex_waitv, (_LIST, UINT, UINT, _TIMEOUT, INT), NUMBER, Restart.SYS),
    Syscall(454, "futex_wake", sys_futex_wake, (_WORD, HEX, INT, _FLAGS), NUMBER),
    Syscall(455, "futex_wait", sys_futex_wait, (_WORD, HEX, HEX, _FLAGS, _TIMEOUT, INT), restart=Restart.SYS),
    Syscall(456, "futex_requeue", sys_futex_requeue, (_LIST, UINT, INT, INT), NUMBER),
)

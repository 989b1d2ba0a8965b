"""futex(2), and the list of robust futexes."""

from __future__ import annotations

import errno
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.futex import ANY_BIT, Waiter, futex_key, futex_wait
from emu.linux.argument import ADDRESS, INT, PID, SIZE, Pointer
from emu.linux.caller import may_access
from emu.linux.clock import MONOTONIC
from emu.linux.errors import LinuxError
from emu.linux.layout import TIMESPEC, Opaque
from emu.linux.syscall import NUMBER, RestartByTimeout, Result, Syscall
from emu.linux.words import Choice
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_PRIVATE, _CLOCK_REALTIME, _WAIT_PRIVATE, _READ = 128, 256, 128, Access.READ


class FutexOp(Choice, prefix="FUTEX_"):
    """FUTEX_*."""

    WAIT = 0
    WAKE = 1
    REQUEUE = 3
    CMP_REQUEUE = 4
    WAKE_OP = 5
    LOCK_PI = 6
    UNLOCK_PI = 7
    TRYLOCK_PI = 8
    WAIT_BITSET = 9
    WAKE_BITSET = 10
    WAIT_REQUEUE_PI = 11
    CMP_REQUEUE_PI = 12
    LOCK_PI2 = 13


#: Those with priority inheritance, and those with a deadline on the clock that FUTEX_CLOCK_REALTIME chooses.
_PI = frozenset({6, 7, 8, 11, 12, 13})
_CHOOSE_CLOCK = frozenset({FutexOp.WAIT_BITSET, FutexOp.WAIT_REQUEUE_PI, FutexOp.LOCK_PI2})
_COMMANDS = {int(command): command for command in FutexOp}
_OPERATORS = (
    lambda _, argument: argument,
    operator.add,
    operator.or_,
    lambda old, argument: old & ~argument,
    operator.xor,
)
_COMPARISONS: tuple[Callable[[int, int], bool], ...] = (
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
)


def sys_futex(
    kernel: Kernel, task: Task, address: int, op: int, value: int, timeout: int, other: int, value3: int
) -> Result:
    """futex(2)."""
    if op == _WAIT_PRIVATE and not timeout:
        return _wait(kernel, task, address, value, True, ANY_BIT, None, False)
    private = bool(op & _PRIVATE)
    command = _COMMANDS.get(op & ~(_PRIVATE | _CLOCK_REALTIME))
    if command is None:
        kernel.log_once(f"futex operation {op & 127} is not supported: ENOSYS")
        raise LinuxError(errno.ENOSYS)
    if op & _CLOCK_REALTIME and command not in _CHOOSE_CLOCK:
        raise LinuxError(errno.ENOSYS)
    if command in _PI:
        return _futex_pi(kernel, task, command, (address, other), op, (value, value3), timeout)
    if command in (FutexOp.WAIT, FutexOp.WAIT_BITSET):
        of_day = bool(timeout and op & _CLOCK_REALTIME and command == FutexOp.WAIT_BITSET)
        deadline = None
        if timeout:
            deadline = TIMESPEC.read(task.mm, timeout) if of_day else _deadline(kernel, task, timeout, op, command)
        bits = value3 if command == FutexOp.WAIT_BITSET else ANY_BIT
        return _wait(kernel, task, address, value, private, bits, deadline, of_day)
    if command in (FutexOp.WAKE, FutexOp.WAKE_BITSET):
        bits = value3 if command == FutexOp.WAKE_BITSET else ANY_BIT
        if not bits:
            raise LinuxError(errno.EINVAL)
        return kernel.futexes.wake(futex_key(task.mm, address, private=private), value, bits)
    second = INT.width(timeout)  # for these the register holds a number
    if command == FutexOp.WAKE_OP:
        return _wake_op(kernel, task, (address, other), (value, second), private, value3)
    if value < 0 or second < 0:
        raise LinuxError(errno.EINVAL)
    source = futex_key(task.mm, address, private=private)
    target = futex_key(task.mm, other, private=private)
    if command == FutexOp.CMP_REQUEUE and INT.read(task.mm, address) != value3:
        raise LinuxError(errno.EAGAIN)
    woken = kernel.futexes.wake(source, value) if value else 0
    return woken + kernel.futexes.requeue(source, target, second)


def _deadline(kernel: Kernel, task: Task, timeout: int, op: int, command: FutexOp) -> int:
    """The deadline in ns of the monotonic clock; WAIT has a relative timeout, WAIT_BITSET a time of day or of that
    clock.
    """
    time = TIMESPEC.read(task.mm, timeout)
    if command == FutexOp.WAIT:
        return kernel.clock.now_ns() + time
    realtime = op & _CLOCK_REALTIME or command == FutexOp.LOCK_PI
    return time - kernel.clock.realtime_offset if realtime else task.ns.time.to_machine(MONOTONIC["MONOTONIC"], time)


def _futex_pi(
    kernel: Kernel, task: Task, command: FutexOp, addresses: tuple[int, int], op: int, values: tuple[int, int],
    timeout: int,
) -> Result:  # fmt: skip
    from emu.kernel import pifutex  # few programs have such locks

    address, private = addresses[0], bool(op & _PRIVATE)
    deadline = None
    if command in (FutexOp.LOCK_PI, FutexOp.LOCK_PI2, FutexOp.WAIT_REQUEUE_PI) and timeout:
        deadline = _deadline(kernel, task, timeout, op, command)
    if command in (FutexOp.LOCK_PI, FutexOp.LOCK_PI2):
        return pifutex.lock_pi(kernel.futexes, task, address, futex_key(task.mm, address, private=private), deadline)
    if command == FutexOp.TRYLOCK_PI:
        return pifutex.trylock_pi(kernel.futexes, task, address, futex_key(task.mm, address, private=private))
    if command == FutexOp.UNLOCK_PI:
        return pifutex.unlock_pi(kernel.futexes, task, address, futex_key(task.mm, address, private=private))
    return _requeue_pi(kernel, task, command, addresses, private, values, INT.width(timeout), deadline)


def _requeue_pi(
    kernel: Kernel, task: Task, command: FutexOp, addresses: tuple[int, int], private: bool, values: tuple[int, int],
    number: int, deadline: int | None,
) -> Result:  # fmt: skip
    from emu.kernel.pifutex import RequeueWaiter, cmp_requeue_pi, wait_requeue_pi

    if command == FutexOp.CMP_REQUEUE_PI and (values[0] != 1 or number < 0):
        raise LinuxError(errno.EINVAL)
    if addresses[0] == addresses[1]:
        raise LinuxError(errno.EINVAL)
    source, target = (futex_key(task.mm, address, private=private) for address in addresses)
    waits = command == FutexOp.WAIT_REQUEUE_PI
    if INT.read(task.mm, addresses[0]) != INT.width(values[0 if waits else 1]):
        raise LinuxError(errno.EAGAIN)
    if source == target:
        raise LinuxError(errno.EINVAL)
    if not waits:
        return cmp_requeue_pi(kernel.futexes, task, source, addresses[1], target, number)
    waiter = RequeueWaiter(source, ANY_BIT, task=task, target=target, address=addresses[1])
    return wait_requeue_pi(kernel.futexes, waiter, deadline)


def _wait(
    kernel: Kernel, task: Task, address: int, value: int, private: bool, bits: int, deadline: int | None,
    of_day: bool,
) -> Result:  # fmt: skip
    if not bits:
        raise LinuxError(errno.EINVAL)
    mm = task.mm
    key = futex_key(mm, address, private=private)
    paddr = mm.translate(address, _READ)
    if int.from_bytes(mm.frames.ram.view[paddr : paddr + 4], "little", signed=True) != value:
        raise LinuxError(errno.EAGAIN)
    return futex_wait(kernel.futexes, kernel.clock, Waiter(key, bits), deadline, time_of_day=of_day)


def _wake_op(
    kernel: Kernel, task: Task, addresses: tuple[int, int], numbers: tuple[int, int], private: bool, encoded: int
) -> int:
    """FUTEX_WAKE_OP: change the second word, wake waiters of the first, and of the second if its old value matches."""
    first, second = (futex_key(task.mm, address, private=private) for address in addresses)
    action, comparison = encoded >> 28 & 7, encoded >> 24 & 15
    argument, against = _signed12(encoded >> 12), _signed12(encoded)
    if encoded >> 31:  # FUTEX_OP_OPARG_SHIFT
        argument = 1 << (argument & 31)
    if action >= len(_OPERATORS) or comparison >= len(_COMPARISONS):
        raise LinuxError(errno.ENOSYS)
    old = INT.read(task.mm, addresses[1])
    INT.write(task.mm, addresses[1], INT.width(_OPERATORS[action](old, argument)))
    woken = kernel.futexes.wake(first, numbers[0])
    if _COMPARISONS[comparison](old, against):
        woken += kernel.futexes.wake(second, numbers[1])
    return woken


def _signed12(value: int) -> int:
    value &= 0xFFF
    return value - 0x1000 if value & 0x800 else value


def sys_set_robust_list(kernel: Kernel, task: Task, head: int, length: int) -> int:
    """set_robust_list(2): the futexes on the list are marked if the thread ends while it holds them."""
    if length != 24:
        raise LinuxError(errno.EINVAL)
    task.robust_list = head
    return 0


def sys_get_robust_list(kernel: Kernel, task: Task, pid: int, head: int, length: int) -> int:
    """get_robust_list(2)."""
    target = task if pid == 0 else kernel.find_task(pid)
    if target is None:
        raise LinuxError(errno.ESRCH)
    if not may_access(task, target):
        raise LinuxError(errno.EPERM)
    SIZE.write(task.mm, length, 24)
    ADDRESS.write(task.mm, head, target.robust_list)
    return 0


_WORD = Pointer(INT)

TABLE = (
    Syscall(202, "futex", sys_futex, (_WORD, INT, INT, ADDRESS, _WORD, INT), NUMBER, RestartByTimeout(3)),
    Syscall(273, "set_robust_list", sys_set_robust_list, (Pointer(Opaque("robust_list_head")), SIZE)),
    Syscall(274, "get_robust_list", sys_get_robust_list, (PID, Pointer(ADDRESS), Pointer(SIZE))),
)

"""prctl: what a process says about itself, and what it gives up (kernel/sys.c)."""

from __future__ import annotations

import copy
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.creds import changed
from emu.kernel.seccomp import MODE_FILTER, MODE_STRICT
from emu.kernel.signal_state import NSIG
from emu.linux import capability as cap
from emu.linux.argument import ADDRESS, INT
from emu.linux.errors import LinuxError
from emu.linux.layout import TEXT
from emu.linux.syscall import NUMBER, Syscall
from emu.mm.execgain import NO_INHERIT, REFUSE_EXEC_GAIN
from emu.mm.vma import MMAP_MIN_ADDR
from emu.syscalls.seccomp import set_filter, set_strict

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Credentials

_NAME_BYTES = 16


def _need(condition: object, error: int = errno.EINVAL) -> None:
    """LinuxError unless the condition holds."""
    if not condition:
        raise LinuxError(error)


def _change(task: Task, new: Credentials) -> None:
    old, task.credentials = task.credentials, new
    changed(task, old)


# What a process says about itself


def _set_pdeathsig(kernel: Kernel, task: Task, signo: int, *_: int) -> int:
    _need(signo <= NSIG)
    task.pdeath_signal = signo
    return 0


def _get_pdeathsig(kernel: Kernel, task: Task, address: int, *_: int) -> int:
    INT.write(task.mm, address, task.pdeath_signal)
    return 0


def _get_dumpable(kernel: Kernel, task: Task, *_: int) -> int:
    return task.mm.dumpable


def _set_dumpable(kernel: Kernel, task: Task, value: int, *_: int) -> int:
    _need(value in (0, 1))
    task.mm.dumpable = value
    return 0


def _set_name(kernel: Kernel, task: Task, address: int, *_: int) -> int:
    task.comm = TEXT.read(task.mm, address)[: _NAME_BYTES - 1].decode("utf-8", "surrogateescape")
    return 0


def _get_name(kernel: Kernel, task: Task, address: int, *_: int) -> int:
    task.mm.write(address, task.comm.encode("utf-8", "surrogateescape").ljust(_NAME_BYTES, b"\0"))
    return 0


def _set_subreaper(kernel: Kernel, task: Task, on: int, *_: int) -> int:
    task.group.subreaper = bool(on)
    return 0


def _get_subreaper(kernel: Kernel, task: Task, address: int, *_: int) -> int:
    INT.write(task.mm, address, int(task.group.subreaper))
    return 0


def _set_timerslack(kernel: Kernel, task: Task, slack: int, *_: int) -> int:
    """0, or a negative number, is the slack with which the thread began."""
    task.timer_slack_ns = slack if 0 < slack < 1 << 63 else task.default_timer_slack_ns
    return 0


def _get_timerslack(kernel: Kernel, task: Task, *_: int) -> int:
    return task.timer_slack_ns


def _set_timing(kernel: Kernel, task: Task, mode: int, *_: int) -> int:
    """Only statistical timing."""
    _need(mode == 0)
    return 0


def _nothing(kernel: Kernel, task: Task, *_: int) -> int:
    """There are no performance events."""
    return 0


def _get_tsc(kernel: Kernel, task: Task, address: int, *_: int) -> int:
    INT.write(task.mm, address, 1)
    return 0


def _set_tsc(kernel: Kernel, task: Task, mode: int, *_: int) -> int:
    """The CPU has no CR4.TSD: RDTSC is always allowed (PR_TSC_ENABLE)."""
    if mode == 2:
        kernel.log_once("prctl(PR_SET_TSC, PR_TSC_SIGSEGV): not supported: EINVAL")
    _need(mode == 1)
    return 0


_MCE_CLEAR, _MCE_SET, _MCE_DEFAULT = 0, 1, 2


def _mce_kill(kernel: Kernel, task: Task, command: int, policy: int, *rest: int) -> int:
    _need(not any(rest[:2]))
    if command == _MCE_CLEAR:
        _need(policy == 0)
        task.mce_kill = _MCE_DEFAULT
    else:
        _need(command == _MCE_SET and policy <= _MCE_DEFAULT)
        task.mce_kill = policy
    return 0


def _mce_kill_get(kernel: Kernel, task: Task, *rest: int) -> int:
    _need(not any(rest))
    return task.mce_kill


def _get_tid_address(kernel: Kernel, task: Task, address: int, *_: int) -> int:
    ADDRESS.write(task.mm, address, task.clear_child_tid)
    return 0


_EXCEPT_ADVISED = 2
_SET_SLOTS, _GET_SLOTS = 1, 2


def _set_thp_disable(kernel: Kernel, task: Task, on: int, flags: int, *rest: int) -> int:
    """Whether transparent huge pages are forbidden, perhaps except where MADV_HUGEPAGE asked for them."""
    _need(not any(rest) and not flags & ~(_EXCEPT_ADVISED if on else 0))
    task.mm.thp_disable = (1 | flags) if on else 0
    return 0


def _get_thp_disable(kernel: Kernel, task: Task, *rest: int) -> int:
    _need(not any(rest))
    return task.mm.thp_disable


def _set_mdwe(kernel: Kernel, task: Task, bits: int, *rest: int) -> int:
    """Memory is not both written and executed from now on; there is no way back (prctl_set_mdwe)."""
    _need(not any(rest) and not bits & ~(REFUSE_EXEC_GAIN | NO_INHERIT) and bits != NO_INHERIT)
    _need(task.mm.mdwe in (0, bits), errno.EPERM)
    task.mm.mdwe = bits
    return 0


def _get_mdwe(kernel: Kernel, task: Task, *rest: int) -> int:
    _need(not any(rest))
    return task.mm.mdwe


def _futex_hash(kernel: Kernel, task: Task, what: int, slots: int, flags: int, *_: int) -> int:
    """PR_FUTEX_HASH: how many buckets the program's futexes have; 0 is the table that all share, for good."""
    mm, slots = task.mm, slots % (1 << 32)
    if what == _GET_SLOTS:
        return mm.futex_slots or 0
    _need(what == _SET_SLOTS and not flags and slots != 1 and not slots & (slots - 1))
    _need(mm.futex_slots != 0, errno.EBUSY)
    mm.futex_slots, mm.futex_slots_asked = slots, True
    return 0


def _get_auxv(kernel: Kernel, task: Task, address: int, length: int, *rest: int) -> int:
    _need(not any(rest))
    task.mm.write(address, task.mm.auxv[:length])
    return len(task.mm.auxv)


def _get_speculation(kernel: Kernel, task: Task, which: int, *rest: int) -> int:
    """The emulated CPU speculates about nothing (PR_SPEC_NOT_AFFECTED)."""
    _need(not any(rest))
    _need(which <= 2, errno.ENODEV)
    return 0


def _set_speculation(kernel: Kernel, task: Task, which: int, control: int, *rest: int) -> int:
    _need(not any(rest))
    raise LinuxError(errno.ENXIO if which <= 2 else errno.ENODEV)


def _set_io_flusher(kernel: Kernel, task: Task, on: int, *rest: int) -> int:
    _need(task.credentials.capable(cap.SYS_RESOURCE), errno.EPERM)
    _need(on in (0, 1) and not any(rest))
    task.io_flusher = bool(on)
    return 0


def _get_io_flusher(kernel: Kernel, task: Task, *rest: int) -> int:
    _need(task.credentials.capable(cap.SYS_RESOURCE), errno.EPERM)
    _need(not any(rest))
    return int(task.io_flusher)


# Where its parts lie

_MM_PLACES = {
    1: "start_code", 2: "end_code", 3: "start_data", 4: "end_data", 5: "start_stack", 6: "start_brk", 7: "brk_end",
    8: "arg_start", 9: "arg_end", 10: "env_start", 11: "env_end",
}  # fmt: skip
_MM_AUXV, _MM_MAP_SIZE = 12, 15
_PRCTL_MM_MAP_SIZE = 104


def _set_mm(kernel: Kernel, task: Task, part: int, address: int, size: int, rest: int) -> int:
    """PR_SET_MM: of what /proc shows; without PR_SET_MM_EXE_FILE and PR_SET_MM_MAP."""
    _need(not rest and not (size and part not in (_MM_AUXV, 14, _MM_MAP_SIZE)))
    mm = task.mm
    if part == _MM_MAP_SIZE:
        INT.write(mm, address, _PRCTL_MM_MAP_SIZE)
        return 0
    _need(task.credentials.capable(cap.SYS_RESOURCE), errno.EPERM)
    if part == _MM_AUXV:
        _need(size and not size % 16 and size <= 8 * 46)
        mm.auxv = mm.read(address, size)
        return 0
    if part in (13, 14):
        kernel.log_once(f"prctl(PR_SET_MM, {part}): not supported: EINVAL")
    _need(part in _MM_PLACES and MMAP_MIN_ADDR <= address < mm.task_size)
    name = _MM_PLACES[part]
    if part in (5, 8, 9, 10, 11):
        _need(mm.vmas.find(address) is not None, errno.EFAULT)
    setattr(mm, name, address)
    return 0


# What it gives up


def _get_keepcaps(kernel: Kernel, task: Task, *_: int) -> int:
    return int(bool(task.credentials.securebits & cap.KEEP_CAPS))


def _set_keepcaps(kernel: Kernel, task: Task, on: int, *_: int) -> int:
    _need(on in (0, 1))
    new = copy.copy(task.credentials)
    _need(not new.securebits & cap.KEEP_CAPS << 1, errno.EPERM)
    new.securebits = new.securebits & ~cap.KEEP_CAPS | (cap.KEEP_CAPS if on else 0)
    _change(task, new)
    return 0


def _capbset_read(kernel: Kernel, task: Task, which: int, *_: int) -> int:
    _need(which <= cap.LAST)
    return task.credentials.bounding >> which & 1


def _capbset_drop(kernel: Kernel, task: Task, which: int, *_: int) -> int:
    _need(task.credentials.capable_here(cap.SETPCAP), errno.EPERM)
    _need(which <= cap.LAST)
    new = copy.copy(task.credentials)
    new.bounding &= ~(1 << which)
    _change(task, new)
    return 0


def _get_securebits(kernel: Kernel, task: Task, *_: int) -> int:
    return task.credentials.securebits


def _set_securebits(kernel: Kernel, task: Task, bits: int, *_: int) -> int:
    """A locked bit stays as it is; the bits of AT_EXECVE_CHECK need no capability."""
    old = task.credentials.securebits
    locked = (old & cap.SECUREBIT_LOCKS) >> 1
    _need(not locked & (old ^ bits) and not old & cap.SECUREBIT_LOCKS & ~bits, errno.EPERM)
    _need(not bits & ~cap.ALL_SECUREBITS, errno.EPERM)
    unprivileged = not (old ^ bits) & ~cap.UNPRIVILEGED_SECUREBITS
    _need(unprivileged or task.credentials.capable_here(cap.SETPCAP), errno.EPERM)
    new = copy.copy(task.credentials)
    new.securebits = bits
    _change(task, new)
    return 0


def _set_no_new_privs(kernel: Kernel, task: Task, on: int, *rest: int) -> int:
    _need(on == 1 and not any(rest))
    new = copy.copy(task.credentials)
    new.no_new_privs = True
    task.credentials = new
    return 0


def _get_no_new_privs(kernel: Kernel, task: Task, *rest: int) -> int:
    _need(not any(rest))
    return int(task.credentials.no_new_privs)


_AMBIENT_IS_SET, _AMBIENT_RAISE, _AMBIENT_LOWER, _AMBIENT_CLEAR_ALL = 1, 2, 3, 4


def _cap_ambient(kernel: Kernel, task: Task, command: int, which: int, *rest: int) -> int:
    new = copy.copy(task.credentials)
    if command == _AMBIENT_CLEAR_ALL:
        _need(not which and not any(rest))
        new.ambient = 0
        _change(task, new)
        return 0
    _need(which <= cap.LAST and not any(rest))
    bit = 1 << which
    if command == _AMBIENT_IS_SET:
        return int(bool(new.ambient & bit))
    _need(command in (_AMBIENT_RAISE, _AMBIENT_LOWER))
    if command == _AMBIENT_RAISE:
        allowed = new.permitted & new.inheritable & bit and not new.securebits & cap.NO_CAP_AMBIENT_RAISE
        _need(allowed, errno.EPERM)
        new.ambient |= bit
    else:
        new.ambient &= ~bit
    _change(task, new)
    return 0


def _get_seccomp(kernel: Kernel, task: Task, *_: int) -> int:
    return 0 if task.seccomp is None else task.seccomp.mode


def _set_seccomp(kernel: Kernel, task: Task, mode: int, address: int, *_: int) -> int:
    if mode == MODE_STRICT:
        set_strict(task)
        return 0
    _need(mode == MODE_FILTER)
    return set_filter(kernel, task, 0, address)


_OPTIONS: dict[int, Callable[..., int]] = {
    1: _set_pdeathsig, 2: _get_pdeathsig, 3: _get_dumpable, 4: _set_dumpable, 7: _get_keepcaps, 8: _set_keepcaps,
    13: _nothing, 14: _set_timing, 15: _set_name, 16: _get_name, 21: _get_seccomp, 22: _set_seccomp,
    23: _capbset_read, 24: _capbset_drop, 25: _get_tsc, 26: _set_tsc, 27: _get_securebits, 28: _set_securebits,
    29: _set_timerslack, 30: _get_timerslack, 31: _nothing, 32: _nothing, 33: _mce_kill, 34: _mce_kill_get,
    35: _set_mm, 36: _set_subreaper, 37: _get_subreaper, 38: _set_no_new_privs, 39: _get_no_new_privs,
    40: _get_tid_address, 41: _set_thp_disable, 42: _get_thp_disable, 47: _cap_ambient, 52: _get_speculation,
    53: _set_speculation, 65: _set_mdwe, 66: _get_mdwe, 78: _futex_hash, 57: _set_io_flusher,
    58: _get_io_flusher, 0x41555856: _get_auxv,
}  # fmt: skip


def sys_prctl(kernel: Kernel, task: Task, option: int, *arguments: int) -> int:
    """prctl(2): EINVAL for the options that are not known, among them PR_SET_VMA (as without CONFIG_ANON_VMA_NAME)."""
    chosen = _OPTIONS.get(option)
    if chosen is None:
        raise LinuxError(errno.EINVAL)
    return chosen(kernel, task, *arguments)


TABLE = (Syscall(157, "prctl", sys_prctl, (INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS), NUMBER),)

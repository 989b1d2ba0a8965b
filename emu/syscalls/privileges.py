"""What a task may do and how it is set apart: capabilities, the ids for files, namespaces, personality, names of the
machine, comparing tasks, memory barriers, the kernel's log.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from emu.fs.eventpoll import EventPoll
from emu.kernel.creds import changed
from emu.kernel.printk import LOG_BYTES
from emu.kernel.signal_state import Sig
from emu.linux.argument import ADDRESS, HEX32, INT, LONG, PID, S32, UINT, Buffer, OneOf, Pointer
from emu.linux.caller import may_access
from emu.linux.capability import ALL_CAPABILITIES, SETPCAP, SYS_ADMIN, SYS_BOOT, SYS_PACCT, SYS_TTY_CONFIG, SYSLOG
from emu.linux.errors import LinuxError
from emu.linux.layout import Layout
from emu.linux.namespace import HOST_NAME_MAX
from emu.linux.syscall import BYTES, NUMBER, Restart, Returned, Syscall

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.pidns import PidNamespace

#: The versions of the header, and how many words each set has then.
_VERSIONS = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}
_VERSION_3 = 0x20080522
KCMP_EPOLL_SLOT = Layout("kcmp_epoll_slot", "3I")
CAP_HEADER, CAP_DATA = Layout("cap_header", "Ii"), Layout("cap_data", "III")


# Capabilities


def _sets(task: Task) -> tuple[int, int, int]:
    """Effective, permitted and inheritable capabilities."""
    who = task.credentials
    return who.effective, who.permitted, who.inheritable


def _header(task: Task, address: int) -> tuple[int, int]:
    """The number of words and the task's number.  LinuxError(EINVAL): the version is not known, and is replaced."""
    version, pid = CAP_HEADER.read(task.mm, address)
    if version not in _VERSIONS:
        UINT.write(task.mm, address, _VERSION_3)
        raise LinuxError(errno.EINVAL)
    return _VERSIONS[version], pid


def sys_capget(kernel: Kernel, task: Task, header: int, data: int) -> int:
    """capget(2)."""
    try:
        words, pid = _header(task, header)
    except LinuxError as error:
        if error.errno == errno.EINVAL and not data:
            return 0
        raise
    if pid < 0:
        raise LinuxError(errno.EINVAL)
    target = kernel.find_task(pid) if pid else task
    if target is None:
        raise LinuxError(errno.ESRCH)
    if data:
        sets = _sets(target)
        packed = b"".join(CAP_DATA.pack(*((value >> 32 * word) % (1 << 32) for value in sets)) for word in range(words))
        task.mm.write(data, packed)
    return 0


def sys_capset(kernel: Kernel, task: Task, header: int, data: int) -> int:
    """capset(2)."""
    words, pid = _header(task, header)
    if pid not in (0, task.pid):
        raise LinuxError(errno.EPERM)
    values = CAP_DATA.read_array(task.mm, data, words)
    effective, permitted, inheritable = (
        sum(value[at] << 32 * word for word, value in enumerate(values)) & ALL_CAPABILITIES for at in range(3)
    )
    old = task.credentials
    if not old.capable_here(SETPCAP) and inheritable & ~(old.inheritable | old.permitted):
        raise LinuxError(errno.EPERM)
    if inheritable & ~(old.inheritable | old.bounding) or permitted & ~old.permitted or effective & ~permitted:
        raise LinuxError(errno.EPERM)
    new = copy.copy(old)
    new.effective, new.permitted, new.inheritable = effective, permitted, inheritable
    new.ambient &= permitted & inheritable
    task.credentials = new
    changed(task, old)
    return 0


def sys_personality(kernel: Kernel, task: Task, persona: int) -> int:
    """personality(2): what has no meaning for 64-bit programs is kept and shown."""
    before = task.personality
    if persona != UINT.width.largest:
        task.personality = persona
    return before


# Names of the machine


def _name(kernel: Kernel, task: Task, address: int, length: int) -> str:
    if not task.credentials.capable_in(SYS_ADMIN, task.ns.uts.user):
        raise LinuxError(errno.EPERM)
    if not 0 <= length <= HOST_NAME_MAX:
        raise LinuxError(errno.EINVAL)
    name: bytes = task.mm.read(address, length) if length else b""
    return name.split(b"\0")[0].decode("utf-8", "surrogateescape")


def sys_sethostname(kernel: Kernel, task: Task, address: int, length: int) -> int:
    """sethostname(2)."""
    task.ns.uts.hostname = _name(kernel, task, address, length)
    return 0


def sys_setdomainname(kernel: Kernel, task: Task, address: int, length: int) -> int:
    """setdomainname(2)."""
    task.ns.uts.domainname = _name(kernel, task, address, length)
    return 0


# The whole machine


def sys_acct(kernel: Kernel, task: Task, name: int) -> int:
    """acct(2): there is no accounting (ENOSYS, as without CONFIG_BSD_PROCESS_ACCT)."""
    if not task.credentials.capable(SYS_PACCT):
        raise LinuxError(errno.EPERM)
    kernel.log_once("acct: there is no process accounting: ENOSYS")
    raise LinuxError(errno.ENOSYS)


_MAGIC, _MAGICS = 0xFEE1DEAD, frozenset({672274793, 85072278, 369367448, 537993216})
#: What ends a PID namespace, and the signal that its first process is said to have died of.
_REBOOTS = {0x01234567: Sig.HUP, 0xA1B2C3D4: Sig.HUP, 0xCDEF0123: Sig.INT, 0x4321FEDC: Sig.INT}
_CAD_ON, _CAD_OFF, _ENDS = 0x89ABCDEF, 0, frozenset({0x01234567, 0xCDEF0123, 0x4321FEDC, 0xA1B2C3D4})


def sys_reboot(kernel: Kernel, task: Task, magic: int, magic2: int, command: int, argument: int) -> int:
    """reboot(2): whatever ends the machine kills every process, and the run is over."""
    ns = task.pid_ns
    if not task.credentials.capable_in(SYS_BOOT, None if ns is None else ns.user):
        raise LinuxError(errno.EPERM)
    if magic != _MAGIC or magic2 not in _MAGICS or (ns is None and command not in (_CAD_ON, _CAD_OFF, *_ENDS)):
        raise LinuxError(errno.EINVAL)
    if ns is not None:
        return _reboot_namespace(kernel, ns, command)
    if command in _ENDS:
        kernel.log("reboot: the machine ends")
        for other in list(kernel.tasks.values()):
            if other.alive and other.group is not task.group:
                kernel.exit(other, Sig.KILL)
        kernel.exit(task, Sig.KILL)
    return 0


def _reboot_namespace(kernel: Kernel, ns: PidNamespace, command: int) -> int:
    """A PID namespace ends; who waits for its first process is told how (reboot_pid_ns).  LinuxError(EINVAL)."""
    if command not in _REBOOTS:
        raise LinuxError(errno.EINVAL)
    ns.reboot = int(_REBOOTS[command])
    kernel.exit(kernel.tasks[ns.find(1)], Sig.KILL)
    return 0


def sys_vhangup(kernel: Kernel, task: Task) -> int:
    """vhangup(2)."""
    if not task.credentials.capable(SYS_TTY_CONFIG):
        raise LinuxError(errno.EPERM)
    if task.group.tty is not None:
        task.group.tty.hang_up()
    return 0


# Comparing tasks

_KCMP = {"FILE": 0, "VM": 1, "FILES": 2, "FS": 3, "SIGHAND": 4, "IO": 5, "SYSVSEM": 6, "EPOLL_TFD": 7}


def _object(task: Task, kind: int) -> object:
    """What a task has of a kind; one that it has not is None for all.  LinuxError(EINVAL)."""
    objects = {
        _KCMP["VM"]: task.mm, _KCMP["FILES"]: task.files, _KCMP["FS"]: task.fs, _KCMP["SIGHAND"]: task.signals.actions,
        _KCMP["IO"]: None, _KCMP["SYSVSEM"]: None,
    }  # fmt: skip
    if kind not in objects:
        raise LinuxError(errno.EINVAL)
    return objects[kind]


def sys_kcmp(kernel: Kernel, task: Task, first: int, second: int, kind: int, one: int, other: int) -> int:
    """kcmp(2): 0 if the two are the same, else 1 or 2 by an order that lasts."""
    a, b = kernel.find_task(first), kernel.find_task(second)
    if a is None or b is None:
        raise LinuxError(errno.ESRCH)
    if not (may_access(task, a) and may_access(task, b)):
        raise LinuxError(errno.EPERM)
    if kind == _KCMP["FILE"]:
        return _order_of_files(kernel, a.files.get_any(S32(one)), b.files.get_any(S32(other)))
    if kind == _KCMP["EPOLL_TFD"]:
        epoll_fd, fd, nth = KCMP_EPOLL_SLOT.read(task.mm, other)
        file, poll = a.files.get_any(S32(one)), b.files.get(S32(epoll_fd))
        if not isinstance(poll, EventPoll):
            raise LinuxError(errno.EINVAL)
        return _order_of_files(kernel, file, poll.target(S32(fd), nth))
    mine, theirs = _object(a, kind), _object(b, kind)
    if mine is theirs:
        return 0
    oldest = next(
        known for known in map(partial(_object, kind=kind), kernel.with_init()) if known is mine or known is theirs
    )
    return 1 if oldest is mine else 2


def _order_of_files(kernel: Kernel, one: File, other: File) -> int:
    """kcmp_ptr(): 0, 1 or 2, by when a file was first compared."""
    if one is other:
        return 0
    for file in (one, other):
        if file.order is None:
            file.order = kernel.compared_files = kernel.compared_files + 1
    return 1 if (one.order or 0) < (other.order or 0) else 2


# Memory barriers

_QUERY, _GLOBAL, _REGISTRATIONS = 0, 1, 512
_RSEQ, _FLAG_CPU = 128, 1
#: Registering for SYNC_CORE or RSEQ shows as one for plain barriers too, though these are refused.
_PRIVATE, _MORE_THAN_PRIVATE = 16, 64 | 256
#: Commands that need the command after them to have been called before.
_EXPEDITED = {2: 0, 8: 16, 32: 64, _RSEQ: 256}
_REGISTER = frozenset({4, 16, 64, 256})
_MEMBARRIER_KNOWN = 1 | 2 | 4 | 8 | 16 | 32 | 64 | _RSEQ | 256 | 512


def sys_membarrier(kernel: Kernel, task: Task, command: int, flags: int, cpu: int) -> int:
    """membarrier(2): vCPUs take turns, so every access before is seen after; other threads' restartable sequences are
    aborted where that is asked for.
    """
    if flags and (flags != _FLAG_CPU or command != _RSEQ):
        raise LinuxError(errno.EINVAL)
    if command not in (_QUERY, _GLOBAL, _REGISTRATIONS, *_REGISTER, *_EXPEDITED):
        raise LinuxError(errno.EINVAL)
    if command == _QUERY:
        return _MEMBARRIER_KNOWN
    if command == _REGISTRATIONS:
        barriers = task.group.barriers
        return barriers | (_PRIVATE if barriers & _MORE_THAN_PRIVATE else 0)
    if command in _REGISTER:
        task.group.barriers |= command
    elif _EXPEDITED.get(command, 0) & ~task.group.barriers:
        raise LinuxError(errno.EPERM)
    elif command == _RSEQ:
        _abort_sequences(kernel, task, cpu if flags else None)
    return 0


def _abort_sequences(kernel: Kernel, task: Task, cpu: int | None) -> None:
    for other in kernel.scheduler.running:
        if other is not task and other.mm is task.mm and other.rseq is not None and cpu in (None, other.cpu):
            other.rseq_event = True


# The kernel's log

_SYSLOG_READ, _SYSLOG_READ_ALL, _SYSLOG_READ_CLEAR, _SYSLOG_CLEAR, _SYSLOG_LEVEL = 2, 3, 4, 5, 8
_SYSLOG_UNREAD, _SYSLOG_SIZE = 9, 10


def sys_syslog(kernel: Kernel, task: Task, action: int, buffer: int, length: int) -> int | Generator[Any, None, int]:
    """syslog(2)."""
    if not task.credentials.capable(SYSLOG) and action not in (_SYSLOG_READ_ALL, _SYSLOG_SIZE):
        raise LinuxError(errno.EPERM)
    if not 0 <= action <= _SYSLOG_SIZE:
        raise LinuxError(errno.EINVAL)
    reads = action in (_SYSLOG_READ, _SYSLOG_READ_ALL, _SYSLOG_READ_CLEAR)
    if reads and (not buffer or length < 0):
        raise LinuxError(errno.EINVAL)
    if action == _SYSLOG_LEVEL and not 1 <= length <= 8:
        raise LinuxError(errno.EINVAL)
    log = kernel.printk
    if action == _SYSLOG_READ and length:
        return _wait_for_a_line(kernel, task, buffer, length)
    data = log.last(length) if reads else b""
    if data:
        task.mm.write(buffer, data)
    if action in (_SYSLOG_READ_CLEAR, _SYSLOG_CLEAR):
        log.clear()
    return {_SYSLOG_SIZE: LOG_BYTES, _SYSLOG_UNREAD: log.unread()}.get(action, len(data))


def _wait_for_a_line(kernel: Kernel, task: Task, buffer: int, length: int) -> Generator[Any, None, int]:
    log = kernel.printk
    while not (data := log.take(length)):
        yield log.readers
    task.mm.write(buffer, data)
    return len(data)


_DATA = Pointer(CAP_DATA, null=True)
_KIND = OneOf("KCMP_", **_KCMP)
_MEMBARRIER = OneOf(
    "MEMBARRIER_CMD_", QUERY=0, GLOBAL=1, GLOBAL_EXPEDITED=2, REGISTER_GLOBAL_EXPEDITED=4, PRIVATE_EXPEDITED=8,
    REGISTER_PRIVATE_EXPEDITED=16, PRIVATE_EXPEDITED_SYNC_CORE=32, REGISTER_PRIVATE_EXPEDITED_SYNC_CORE=64,
    PRIVATE_EXPEDITED_RSEQ=128, REGISTER_PRIVATE_EXPEDITED_RSEQ=256,
    GET_REGISTRATIONS=512,
)  # fmt: skip

TABLE = (
    Syscall(103, "syslog", sys_syslog, (INT, Buffer(written=True), INT), BYTES, Restart.SYS),
    Syscall(125, "capget", sys_capget, (Pointer(CAP_HEADER), _DATA)),
    Syscall(126, "capset", sys_capset, (Pointer(CAP_HEADER), _DATA)),
    Syscall(135, "personality", sys_personality, (HEX32,), Returned("persona", hex)),
    Syscall(153, "vhangup", sys_vhangup),
    Syscall(163, "acct", sys_acct, (ADDRESS,)),
    Syscall(169, "reboot", sys_reboot, (HEX32, HEX32, HEX32, ADDRESS)),
    Syscall(170, "sethostname", sys_sethostname, (Buffer(), INT)),
    Syscall(171, "setdomainname", sys_setdomainname, (Buffer(), INT)),
    Syscall(312, "kcmp", sys_kcmp, (PID, PID, _KIND, LONG, LONG), NUMBER),
    Syscall(324, "membarrier", sys_membarrier, (_MEMBARRIER, UINT, INT), NUMBER),
)

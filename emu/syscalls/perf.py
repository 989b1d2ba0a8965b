"""perf_event_open: counting what a task does."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, NamedTuple

from emu.kernel.perf import OF_VCPU, TYPE_HW_CACHE, TYPE_SOFTWARE, Attr, Kind, is_counted, perf_of, tlb_event
from emu.kernel.perffile import PerfEvent
from emu.linux.argument import FD, INT, PID, UINT, Bits, Pointer
from emu.linux.caller import may_access
from emu.linux.capability import PERFMON, SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.layout import Opaque
from emu.linux.syscall import DESCRIPTOR, Syscall
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: struct perf_event_attr, of which the first version ends after 64 bytes: the type, the size, the event, the period,
#: what a sample has, what is read, bits; then what only samples, breakpoints and branches have.
_ATTR = struct.Struct("<IIQQQQQ")
_CLOCKID, _CLOCKID_AT = struct.Struct("<i"), 92
_ATTR_SIZE, _FIRST_SIZE, _SIZE_AT = 136, 64, 4
_NO_GROUP, _OUTPUT, _PID_CGROUP, _CLOEXEC = 1, 2, 4, 8
#: What a sample can have (PERF_SAMPLE_*), without branches and registers; and what can be read.
_SAMPLE_TYPES = 0x1FBE7FF & ~(1 << 18)
_READ_FORMATS = 0x1F
_MOST_BIT = 38
_SAMPLE_PHYS_ADDR = 1 << 19
_MAX_SAMPLE_RATE = 100_000
#: CLOCK_* that an event may take its times from.
_CLOCKS = frozenset({0, 1, 4, 7, 11})


class _Wanted(NamedTuple):
    """What struct perf_event_attr says, as far as it matters here."""

    type: int
    config: int
    period: int
    sample_type: int
    read_format: int
    bits: int
    clock: int


def _read_attr(task: Task, address: int) -> _Wanted:
    """perf_copy_attr().  LinuxError(EFAULT, E2BIG, EINVAL)."""
    size = UINT.read(task.mm, address + _SIZE_AT) or _FIRST_SIZE
    try:
        if not _FIRST_SIZE <= size <= PAGE_SIZE:
            raise LinuxError(errno.E2BIG)
        data = task.mm.read(address, size)
        if any(data[_ATTR_SIZE:]):
            raise LinuxError(errno.E2BIG)
    except LinuxError as error:
        if error.errno == errno.E2BIG:
            UINT.write(task.mm, address + _SIZE_AT, _ATTR_SIZE)
        raise
    data = data[:_ATTR_SIZE].ljust(_ATTR_SIZE, b"\0")
    kind, _, config, period, sample_type, read_format, bits = _ATTR.unpack_from(data)
    wrong = sample_type & ~_SAMPLE_TYPES or read_format & ~_READ_FORMATS or bits >> _MOST_BIT
    if wrong or (bits & Attr.INHERIT_THREAD and not bits & Attr.INHERIT):
        raise LinuxError(errno.EINVAL)
    if bits & Attr.SIGTRAP and not bits & Attr.REMOVE_ON_EXEC:
        raise LinuxError(errno.EINVAL)
    (clock,) = _CLOCKID.unpack_from(data, _CLOCKID_AT)
    return _Wanted(kind, config, period, sample_type, read_format, bits, clock)


def _privileged(task: Task) -> bool:
    """perfmon_capable()."""
    return task.credentials.capable(PERFMON) or task.credentials.capable(SYS_ADMIN)


def _check_rights(kernel: Kernel, task: Task, wanted: _Wanted) -> None:
    """What the kernel does is seen by who may (kernel.perf_event_paranoid).  LinuxError(EACCES, EINVAL)."""
    if not _privileged(task):
        kernels = not wanted.bits & Attr.EXCLUDE_KERNEL or wanted.sample_type & _SAMPLE_PHYS_ADDR
        if (kernels and kernel.perf_event_paranoid > 1) or wanted.bits & Attr.NAMESPACES:
            raise LinuxError(errno.EACCES)
    if wanted.bits & Attr.FREQ and wanted.period > _MAX_SAMPLE_RATE:
        raise LinuxError(errno.EINVAL)
    if wanted.period >> 63:
        raise LinuxError(errno.EINVAL)


def _leader(task: Task, fd: int, flags: int) -> PerfEvent | None:
    """The leader of the group to join.  LinuxError(EBADF, EINVAL)."""
    if fd == -1:
        return None
    file = task.files.get(fd)
    if not isinstance(file, PerfEvent):
        raise LinuxError(errno.EBADF)
    return None if flags & _NO_GROUP else file


def _check_kind(kernel: Kernel, kind: Kind, target: Task | None) -> None:
    """LinuxError(ENOENT): nothing counts that, (EOPNOTSUPP): only of a task."""
    if not is_counted(kernel, kind):
        if tlb_event(kind) is not None:
            kernel.log_once("perf_event_open: events of the TLB are counted with --tlb only: ENOENT")
        raise LinuxError(errno.ENOENT)
    if target is None and kind.type == TYPE_SOFTWARE and kind.config not in OF_VCPU:
        kernel.log_once("perf_event_open: faults and migrations are counted of a task only: EOPNOTSUPP")
        raise LinuxError(errno.EOPNOTSUPP)


def sys_perf_event_open(kernel: Kernel, task: Task, attr: int, pid: int, cpu: int, group_fd: int, flags: int) -> int:
    """perf_event_open(2): software events, instructions, and with ``--tlb`` those of the TLB; without samples."""
    if flags & ~(_NO_GROUP | _OUTPUT | _PID_CGROUP | _CLOEXEC):
        raise LinuxError(errno.EINVAL)
    wanted = _read_attr(task, attr)
    _check_rights(kernel, task, wanted)
    if flags & _PID_CGROUP:
        if pid != -1 and cpu != -1:
            kernel.log_once("perf_event_open: PERF_FLAG_PID_CGROUP is not supported: EINVAL")
        raise LinuxError(errno.EINVAL)
    task.files.check_room()
    leader = _leader(task, group_fd, flags)
    target = None
    if pid != -1:
        target = kernel.find_task(pid) if pid else task
        if pid < 0 or target is None or not target.alive:
            raise LinuxError(errno.ESRCH)
    if not 0 <= cpu < kernel.cpus and (target is None or cpu != -1):
        raise LinuxError(errno.EINVAL)
    bits = wanted.bits
    if target is not None and leader is not None and (leader.bits ^ bits) & Attr.INHERIT:
        raise LinuxError(errno.EINVAL)
    kind = Kind(wanted.type, wanted.config, not bits & Attr.EXCLUDE_USER, not bits & Attr.EXCLUDE_KERNEL)
    _check_kind(kernel, kind, target)
    if bits & Attr.AUX_OUTPUT:
        raise LinuxError(errno.EOPNOTSUPP)
    if bits & Attr.USE_CLOCKID and wanted.clock not in _CLOCKS:
        raise LinuxError(errno.EINVAL)
    if not _privileged(task) and (kernel.perf_event_paranoid > 0 if target is None else not may_access(task, target)):
        raise LinuxError(errno.EACCES)
    if leader is not None:
        alone = leader.leader is not leader or bits & (Attr.EXCLUSIVE | Attr.PINNED)
        if alone or leader.task is not target or leader.cpu != cpu:
            raise LinuxError(errno.EINVAL)
    if flags & _OUTPUT and group_fd != -1:  # nobody has a buffer
        raise LinuxError(errno.EINVAL)
    event = PerfEvent(kernel.vfs.anon_inode("[perf_event]"), kernel, target, cpu, kind, bits, wanted.read_format)
    if kind.type == TYPE_HW_CACHE:
        perf_of(kernel).count_tlb()
    try:
        event.begin(leader, on=not bits & Attr.DISABLED)
        return task.files.open(event, bool(flags & _CLOEXEC))
    except LinuxError:
        event.put()
        raise


_FLAGS = Bits("PERF_FLAG_", FD_NO_GROUP=_NO_GROUP, FD_OUTPUT=_OUTPUT, PID_CGROUP=_PID_CGROUP, FD_CLOEXEC=_CLOEXEC)

TABLE = (
    Syscall(
        298, "perf_event_open", sys_perf_event_open,
        (Pointer(Opaque("perf_event_attr")), PID, INT, FD, _FLAGS), DESCRIPTOR,
    ),
)  # fmt: skip

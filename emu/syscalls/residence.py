"""madvise, mincore, msync and the mlock family: calls about the residence of pages."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.argument import MAPPING, S32, SIZE, Bits, Named, Pointer
from emu.linux.errors import LinuxError
from emu.linux.layout import Opaque
from emu.linux.mman import Advice
from emu.linux.syscall import Syscall
from emu.mm.address_space import page_align
from emu.mm.flags import VmFlags
from emu.mm.madvise import do_madvise
from emu.mm.mlock import do_mlock, do_mlockall, do_munlock, do_munlockall
from emu.syscalls.paths import check_range
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task


_MS_INVALIDATE, _MS_SYNC = 2, 4

_MLOCK_ONFAULT = 1


def sys_madvise(kernel: Kernel, task: Task, addr: int, length: int, advice: int) -> int:
    """madvise(2)."""
    do_madvise(task.mm, addr, length, advice)
    return 0


def sys_mlock(kernel: Kernel, task: Task, addr: int, length: int) -> int:
    """mlock(2)."""
    do_mlock(task.mm, addr, length, VmFlags.LOCKED)
    return 0


def sys_mlock2(kernel: Kernel, task: Task, addr: int, length: int, flags: int) -> int:
    """mlock2(2)."""
    if flags & ~_MLOCK_ONFAULT:
        raise LinuxError(errno.EINVAL)
    do_mlock(task.mm, addr, length, VmFlags.LOCKED | (VmFlags.LOCKONFAULT if flags else VmFlags.NONE))
    return 0


def sys_munlock(kernel: Kernel, task: Task, addr: int, length: int) -> int:
    """munlock(2)."""
    do_munlock(task.mm, addr, length)
    return 0


def sys_mlockall(kernel: Kernel, task: Task, flags: int) -> int:
    """mlockall(2)."""
    do_mlockall(task.mm, flags)
    return 0


def sys_munlockall(kernel: Kernel, task: Task) -> int:
    """munlockall(2)."""
    do_munlockall(task.mm)
    return 0


def sys_mincore(kernel: Kernel, task: Task, addr: int, length: int, vector: int) -> int:
    """mincore(2): 1 for each page that is present, or of which the caller may not know (can_do_mincore)."""
    if addr & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    if addr + length > task.mm.task_size:  # access_ok()
        raise LinuxError(errno.ENOMEM)
    check_range(task.mm, vector, page_align(length) >> 12)
    first, end = addr, addr + page_align(length)
    while first < end:  # one VMA at a time: the pages before a hole are reported
        kernel.stop.check()
        vma = task.mm.vmas.find(first)
        if vma is None:
            raise LinuxError(errno.ENOMEM)
        last = min(first + PAGE_SIZE * 4096, vma.end, end)
        present = b""
        covered = first
        for vma in task.mm.vmas.overlapping(first, last):
            low, high = max(vma.start, first), min(vma.end, last)
            if low != covered:
                break
            covered = high
            if vma.file is None or task.mm.context.may_write(vma.file):
                present += vma.ops.mincore(task.mm, vma, low, high).tobytes()
            else:
                present += b"\1" * ((high - low) >> 12)  # who may not know is told that all are
        if covered != last:
            raise LinuxError(errno.ENOMEM)
        task.mm.write(vector + ((first - addr) >> 12), present)
        first = last
    return 0


def sys_msync(kernel: Kernel, task: Task, addr: int, length: int, flags: int) -> int:
    """msync(2): nothing to write back, since every file is memory; MS_SYNC asks each shared file all the same."""
    if addr & (PAGE_SIZE - 1) or flags & ~7 or flags & 5 == 5:
        raise LinuxError(errno.EINVAL)
    end = addr + (page_align(length) & 0xFFFF_FFFF_FFFF_FFFF)
    if end > 0xFFFF_FFFF_FFFF_FFFF:
        raise LinuxError(errno.ENOMEM)
    vmas = task.mm.vmas.overlapping(addr, end) if end > addr else []
    if flags & _MS_INVALIDATE and any(vma.flags & VmFlags.LOCKED for vma in vmas):
        raise LinuxError(errno.EBUSY)
    for vma in vmas if flags & _MS_SYNC else ():
        if vma.file is not None and vma.shared:
            vma.file.fsync(True)
    if sum(min(end, vma.end) - max(addr, vma.start) for vma in vmas) < end - addr:
        raise LinuxError(errno.ENOMEM)
    return 0


TABLE = (
    Syscall(26, "msync", sys_msync, (MAPPING, SIZE, Bits("MS_", ASYNC=1, INVALIDATE=_MS_INVALIDATE, SYNC=_MS_SYNC))),
    Syscall(27, "mincore", sys_mincore, (MAPPING, SIZE, Pointer(Opaque("bytes"), written=True))),
    Syscall(28, "madvise", sys_madvise, (MAPPING, SIZE, Named(Advice, S32))),
    Syscall(149, "mlock", sys_mlock, (MAPPING, SIZE)),
    Syscall(150, "munlock", sys_munlock, (MAPPING, SIZE)),
    Syscall(151, "mlockall", sys_mlockall, (Bits("MCL_", CURRENT=1, FUTURE=2, ONFAULT=4),)),
    Syscall(152, "munlockall", sys_munlockall),
    Syscall(325, "mlock2", sys_mlock2, (MAPPING, SIZE, Bits("MLOCK_", ONFAULT=_MLOCK_ONFAULT))),
)

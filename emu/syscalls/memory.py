"""mmap, munmap, mprotect, mremap, brk, madvise, mincore, msync."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.hugetlbfs import HugetlbFile, hugetlb_file_setup
from emu.kernel.errors import LinuxError
from emu.mm.address_space import page_align
from emu.mm.brk import do_brk
from emu.mm.hugetlb import HPAGE_SIZE, hpage_align, is_huge_size
from emu.mm.mmap import do_mmap
from emu.mm.mprotect import do_mprotect
from emu.mm.mremap import do_mremap
from emu.mm.munmap import do_munmap
from emu.mm.vma import MapFlags, Prot, Vma
from emu.mm.zap import zap_range
from emu.syscalls.table import Syscall, s32
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_KNOWN_PROT = int(Prot.READ | Prot.WRITE | Prot.EXEC)
_LEGACY_FLAGS = int(
    MapFlags.SHARED | MapFlags.PRIVATE | MapFlags.FIXED | MapFlags.ANONYMOUS | MapFlags.MAP_32BIT | MapFlags.GROWSDOWN
    | MapFlags.DENYWRITE | MapFlags.EXECUTABLE | MapFlags.LOCKED | MapFlags.NORESERVE | MapFlags.POPULATE
    | MapFlags.NONBLOCK | MapFlags.STACK | MapFlags.HUGETLB
)  # fmt: skip
_U64 = (1 << 64) - 1
_MS_SYNC = 4
_MADV_NORMAL, _MADV_DONTNEED, _MADV_FREE = 0, 4, 8
#: Advice that may be ignored: RANDOM SEQUENTIAL WILLNEED MERGEABLE UNMERGEABLE HUGEPAGE NOHUGEPAGE DONTDUMP DODUMP
#: COLD PAGEOUT
_MADV_HINTS = frozenset({0, 1, 2, 3, 12, 13, 14, 15, 16, 17, 20, 21})


def sys_mmap(kernel: Kernel, task: Task, addr: int, length: int, prot: int, flags: int, fd: int, offset: int) -> int:
    """mmap(2)."""
    if offset & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    # the order of the checks is that of ksys_mmap_pgoff() and do_mmap()
    if not flags & MapFlags.ANONYMOUS:
        file = task.files.get(s32(fd))
        if isinstance(file, HugetlbFile):
            length = hpage_align(length) & _U64
        elif flags & MapFlags.HUGETLB:
            raise LinuxError(errno.EINVAL)
    elif flags & MapFlags.HUGETLB:
        if not is_huge_size(flags):
            raise LinuxError(errno.EINVAL)
        length = hpage_align(length) & _U64
        file = hugetlb_file_setup(kernel, "anon_hugepage", length)
        try:
            return _mmap(task, addr, length, prot, flags, file, offset)
        finally:
            file.put()  # the VMA has its own reference
    else:
        file = None
    return _mmap(task, addr, length, prot, flags, file, offset)


def _mmap(task: Task, addr: int, length: int, prot: int, flags: int, file: File | None, offset: int) -> int:
    kind = flags & MapFlags.TYPE
    if not length or kind not in (MapFlags.SHARED, MapFlags.PRIVATE, MapFlags.SHARED_VALIDATE):
        raise LinuxError(errno.EINVAL)
    of_modules = flags & task.mm.context.map_flags
    for hook in task.mm.context.map_hooks if of_modules else ():
        hook.check(flags)
    wanted = Prot(prot & _KNOWN_PROT)
    if file is None:
        if kind == MapFlags.SHARED_VALIDATE:
            raise LinuxError(errno.EINVAL)
        return do_mmap(
            task.mm, addr, length, wanted, MapFlags(flags & _LEGACY_FLAGS | flags & MapFlags.FIXED_NOREPLACE)
        )
    if kind == MapFlags.SHARED_VALIDATE and flags & ~(_LEGACY_FLAGS | int(MapFlags.FIXED_NOREPLACE) | of_modules):
        raise LinuxError(errno.EOPNOTSUPP)
    if not file.readable:
        raise LinuxError(errno.EACCES)
    if kind != MapFlags.PRIVATE and wanted & Prot.WRITE and not file.writable:
        raise LinuxError(errno.EACCES)
    return do_mmap(task.mm, addr, length, wanted, MapFlags(flags & 0x1FFFFF | of_modules), file, offset)


def sys_munmap(kernel: Kernel, task: Task, addr: int, length: int) -> int:
    """munmap(2)."""
    do_munmap(task.mm, addr, length)
    return 0


def sys_mprotect(kernel: Kernel, task: Task, addr: int, length: int, prot: int) -> int:
    """mprotect(2)."""
    if prot & ~0x0100_0007 or length > task.mm.task_size:
        raise LinuxError(errno.EINVAL if prot & ~0x0100_0007 else errno.ENOMEM)
    do_mprotect(task.mm, addr, length, Prot(prot & _KNOWN_PROT))
    return 0


def sys_mremap(kernel: Kernel, task: Task, old: int, old_length: int, new_length: int, flags: int, new: int) -> int:
    """mremap(2)."""
    return do_mremap(task.mm, old, old_length, new_length, flags, new)


def sys_brk(kernel: Kernel, task: Task, addr: int) -> int:
    """brk(2): never an error, always the end of the heap."""
    return do_brk(task.mm, addr)


def sys_madvise(kernel: Kernel, task: Task, addr: int, length: int, advice: int) -> int:
    """madvise(2): DONTNEED drops entries, and FREE private anonymous pages; hints are accepted; the rest is EINVAL."""
    if addr & (PAGE_SIZE - 1) or length > task.mm.task_size:
        raise LinuxError(errno.EINVAL)
    end = addr + page_align(length)
    advice = s32(advice)
    if advice not in _MADV_HINTS and advice not in (_MADV_DONTNEED, _MADV_FREE):
        raise LinuxError(errno.EINVAL)
    vmas = task.mm.vmas.overlapping(addr, end) if end > addr else []
    if advice in (_MADV_DONTNEED, _MADV_FREE):
        for vma in vmas:
            if advice == _MADV_FREE and (vma.page_cache is not None or vma.ops is not None):
                raise LinuxError(errno.EINVAL)
            low, high = max(addr, vma.start), min(end, vma.end)
            if vma.huge:
                if low % HPAGE_SIZE:
                    raise LinuxError(errno.EINVAL)
                high &= -HPAGE_SIZE
            if low < high:
                zap_range(task.mm, vma, low, high)
    covered = sum(min(end, vma.end) - max(addr, vma.start) for vma in vmas)
    if covered < end - addr:
        raise LinuxError(errno.ENOMEM)
    return 0


def _mark_resident(task: Task, vma: Vma, low: int, high: int, first: int, present: bytearray) -> None:
    """Set a 1 for each page of [low, high) that is mapped, or in the page cache; ``present`` begins at ``first``."""
    for vaddr, slot, number in task.mm.tables.pte_tables(low, high):
        for i in range(number):
            if task.mm.frames.ram.qwords[slot + i]:
                present[((vaddr - first) >> 12) + i] = 1
    for vaddr, _ in task.mm.tables.huge_slots(low & -HPAGE_SIZE, high):
        for page in range(max(vaddr, low), min(vaddr + HPAGE_SIZE, high), PAGE_SIZE):
            present[(page - first) >> 12] = 1
    if vma.huge:
        return
    if vma.page_cache is not None and vma.page_cache.nr_pages:
        for page in range(low, high, PAGE_SIZE):
            if vma.page_cache.find(vma.index_of(page)) is not None:
                present[(page - first) >> 12] = 1


def sys_mincore(kernel: Kernel, task: Task, addr: int, length: int, vector: int) -> int:
    """mincore(2): 1 for each page that is present."""
    if addr & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    if length > task.mm.task_size:
        raise LinuxError(errno.ENOMEM)
    first, end = addr, addr + page_align(length)
    while first < end:  # one VMA at a time: what comes before a hole is told
        vma = task.mm.vmas.find(first)
        if vma is None:
            raise LinuxError(errno.ENOMEM)
        last = min(first + PAGE_SIZE * 4096, vma.end, end)
        present = bytearray((last - first) >> 12)
        covered = first
        for vma in task.mm.vmas.overlapping(first, last):
            low, high = max(vma.start, first), min(vma.end, last)
            if low != covered:
                break
            covered = high
            _mark_resident(task, vma, low, high, first, present)
        if covered != last:
            raise LinuxError(errno.ENOMEM)
        task.mm.write(vector + ((first - addr) >> 12), bytes(present))
        first = last
    return 0


def sys_msync(kernel: Kernel, task: Task, addr: int, length: int, flags: int) -> int:
    """msync(2): nothing to write back, since every file is memory; MS_SYNC asks each shared file all the same."""
    if addr & (PAGE_SIZE - 1) or flags & ~7 or flags & 5 == 5:
        raise LinuxError(errno.EINVAL)
    end = addr + page_align(length)
    vmas = task.mm.vmas.overlapping(addr, end) if end > addr else []
    for vma in vmas if flags & _MS_SYNC else ():
        if vma.file is not None and vma.shared:
            vma.file.fsync(True)
    if sum(min(end, vma.end) - max(addr, vma.start) for vma in vmas) < end - addr:
        raise LinuxError(errno.ENOMEM)
    return 0


TABLE = (
    Syscall(9, "mmap", sys_mmap, ("ptr", "size", "prot", "mapflags", "fd", "hex")),
    Syscall(10, "mprotect", sys_mprotect, ("ptr", "size", "prot")),
    Syscall(11, "munmap", sys_munmap, ("ptr", "size")),
    Syscall(12, "brk", sys_brk, ("ptr",)),
    Syscall(25, "mremap", sys_mremap, ("ptr", "size", "size", "hex", "ptr")),
    Syscall(26, "msync", sys_msync, ("ptr", "size", "int")),
    Syscall(27, "mincore", sys_mincore, ("ptr", "size", "ptr")),
    Syscall(28, "madvise", sys_madvise, ("ptr", "size", "int")),
)

"""mmap, munmap, mprotect, mremap, brk, mseal and their like: calls that change what is mapped."""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from emu.fs.file import File
from emu.fs.hugetlbfs import HugetlbFile
from emu.kernel.layout import Persona
from emu.linux.argument import FD, HEX, INT, MAPPING, SIZE, U64, Bits, Named, Sometimes
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MAX_FILE_SIZE
from emu.linux.mman import MapFlags, Prot
from emu.linux.syscall import AT_ADDRESS, NUMBER, Restart, Result, Syscall
from emu.mm.address_space import page_align
from emu.mm.flags import VmFlags
from emu.mm.hugetlb import hpage_align, is_huge_size
from emu.mm.mmap import do_brk, do_mmap, do_munmap, find_place, mmap_region
from emu.mm.mprotect import do_mprotect
from emu.mm.mremap import MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, do_mremap
from emu.mm.private import map_private
from emu.mm.vmamodify import modify_flags
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.vma import Vma

_KNOWN_PROT = int(Prot.READ | Prot.WRITE | Prot.EXEC)
_READ, _READ_IMPLIES_EXEC = int(Prot.READ), int(Persona.READ_IMPLIES_EXEC)
#: By these bits.
_RIGHTS = tuple(Prot(bits) for bits in range(_KNOWN_PROT + 1))
#: What mappings are of which nothing is special, and what may be said besides.
_PRIVATE, _STACK = int(MapFlags.PRIVATE | MapFlags.ANONYMOUS), int(MapFlags.STACK | MapFlags.NORESERVE)
_PROT_SEM, _GROWS = int(Prot.SEM), int(Prot.GROWSDOWN | Prot.GROWSUP)
_MAP_HUGE_2MB, _MAP_HUGE_1GB = 21 << 26, 30 << 26
#: LEGACY_MAP_MASK (linux/mman.h).
_LEGACY_FLAGS = int(
    MapFlags.SHARED | MapFlags.PRIVATE | MapFlags.FIXED | MapFlags.ANONYMOUS | MapFlags.MAP_32BIT | MapFlags.GROWSDOWN
    | MapFlags.DENYWRITE | MapFlags.EXECUTABLE | MapFlags.LOCKED | MapFlags.NORESERVE | MapFlags.POPULATE
    | MapFlags.NONBLOCK | MapFlags.STACK | MapFlags.HUGETLB | MapFlags.ABOVE4G | _MAP_HUGE_2MB | _MAP_HUGE_1GB
)  # fmt: skip
_PLACING = int(
    MapFlags.FIXED | MapFlags.FIXED_NOREPLACE | MapFlags.MAP_32BIT | MapFlags.ABOVE4G | MapFlags.LOCKED | MapFlags.TYPE
)
_U64 = (1 << 64) - 1
_HEAP = Prot.READ | Prot.WRITE


def sys_mmap(kernel: Kernel, task: Task, addr: int, length: int, prot: int, flags: int, fd: int, offset: int) -> int:
    """mmap(2)."""
    if offset & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    if flags & ~_STACK == _PRIVATE and not addr and not task.personality & _READ_IMPLIES_EXEC:
        made = map_private(task.mm, length, _RIGHTS[prot & _KNOWN_PROT], flags)
        if made is not None:
            return made
    # the order of the checks is that of ksys_mmap_pgoff() and do_mmap()
    if not flags & MapFlags.ANONYMOUS:
        file = task.files.get(fd)
        if isinstance(file, HugetlbFile):
            length = hpage_align(length) & _U64
        elif flags & MapFlags.HUGETLB:
            raise LinuxError(errno.EINVAL)
    elif flags & MapFlags.HUGETLB:
        if not is_huge_size(flags):
            raise LinuxError(errno.EINVAL)
        length = hpage_align(length) & _U64
        file = kernel.vfs.hugetlb_file_setup("anon_hugepage", length)
        try:
            return _mmap(task, addr, length, prot, flags, file, offset)
        finally:
            file.put()  # the VMA has its own reference
    else:
        file = None
    start = _mmap(task, addr, length, prot, flags, file, offset)
    if file is not None and prot & Prot.EXEC and (kernel.tracer.active or kernel.tracer.maps):
        kernel.tracer.mapped(task, start, start + page_align(length))
    return start


def _mmap(task: Task, addr: int, length: int, prot: int, flags: int, file: File | None, offset: int) -> int:
    placing = MapFlags(flags & _PLACING)
    addr, length = find_place(task.mm, addr, length, placing, file, 0 if file is None else offset)
    of_modules = flags & task.mm.context.map_flags
    for hook in task.mm.context.map_hooks if of_modules else ():
        hook.check(flags)
    wanted = Prot(prot & _KNOWN_PROT) | (Prot.NONE if file is not None and file.noexec else _implied(task, prot))
    if file is None:
        _check_anonymous(flags)
        kept = MapFlags(flags & (_LEGACY_FLAGS | MapFlags.DROPPABLE))
    else:
        _check_file(file, length, offset, flags, wanted, of_modules)
        kept = MapFlags(flags & 0x1FFFFF | of_modules)
    if flags & MapFlags.FIXED_NOREPLACE:
        kept |= MapFlags.FIXED
    try:
        return mmap_region(task.mm, addr, length, wanted, kept, file, 0 if file is None else offset)
    finally:
        _tell(task)


def _check_anonymous(flags: int) -> None:
    """What is wrong with a mapping without a file.  LinuxError(EINVAL)."""
    kind = flags & MapFlags.TYPE
    grows, locked = flags & MapFlags.GROWSDOWN, flags & (MapFlags.LOCKED | MapFlags.HUGETLB)
    if kind == MapFlags.PRIVATE or (kind == MapFlags.SHARED and not grows):
        return
    if kind != MapFlags.DROPPABLE or grows or locked:
        raise LinuxError(errno.EINVAL)


def _check_file(file: File, length: int, offset: int, flags: int, prot: Prot, of_modules: int) -> None:
    """What is wrong with a mapping of a file.  LinuxError: EOVERFLOW, EINVAL, EOPNOTSUPP, EACCES, EPERM."""
    kind = flags & MapFlags.TYPE
    if file.inode.is_regular and offset > MAX_FILE_SIZE - length:
        raise LinuxError(errno.EOVERFLOW)
    if kind not in (MapFlags.SHARED, MapFlags.PRIVATE, MapFlags.SHARED_VALIDATE):
        raise LinuxError(errno.EINVAL)
    if kind == MapFlags.SHARED_VALIDATE and flags & ~(_LEGACY_FLAGS | of_modules):
        raise LinuxError(errno.EOPNOTSUPP)
    if not file.readable or (kind != MapFlags.PRIVATE and prot & Prot.WRITE and not file.writable):
        raise LinuxError(errno.EACCES)
    if prot & Prot.EXEC and file.noexec:
        raise LinuxError(errno.EPERM)
    if flags & MapFlags.GROWSDOWN:  # after can_mmap_file()
        raise LinuxError(errno.ENODEV if type(file).mmap is File.mmap else errno.EINVAL)


def _implied(task: Task, prot: int) -> Prot:
    """What a right to read brings with it (READ_IMPLIES_EXEC)."""
    return Prot.EXEC if prot & _READ and task.personality & _READ_IMPLIES_EXEC else Prot.NONE


def _tell(task: Task) -> None:
    """Monitors of memory hear of what was unmapped and moved."""
    if task.mm.unmapped or task.mm.moved:
        from emu.mm.uffdevents import complete

        complete(task.mm)


def sys_munmap(kernel: Kernel, task: Task, addr: int, length: int) -> int:
    """munmap(2)."""
    try:
        do_munmap(task.mm, addr, length)
    finally:
        _tell(task)
    return 0


def sys_mprotect(kernel: Kernel, task: Task, addr: int, length: int, prot: int) -> int:
    """mprotect(2)."""
    grows = prot & _GROWS
    if grows == _GROWS or addr & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    if length and (addr + page_align(length)) & _U64 <= addr:
        raise LinuxError(errno.ENOMEM)
    if length and prot & ~(_KNOWN_PROT | _PROT_SEM | _GROWS):
        raise LinuxError(errno.EINVAL)
    grown = Prot(grows) if grows else Prot.NONE
    do_mprotect(task.mm, addr, length, _RIGHTS[prot & _KNOWN_PROT], grown, implied=_implied(task, prot))
    if prot & Prot.EXEC and length and (kernel.tracer.active or kernel.tracer.maps):
        kernel.tracer.mapped(task, addr, addr + page_align(length))
    return 0


def _move_and_tell(task: Task, moving: Generator[Any, None, int]) -> Generator[Any, None, int]:
    try:
        return (yield from moving)
    finally:
        _tell(task)


def sys_mremap(kernel: Kernel, task: Task, old: int, old_length: int, new_length: int, flags: int, new: int) -> Result:
    """mremap(2)."""
    try:
        result = do_mremap(task.mm, old, old_length, new_length, flags, new)
    except LinuxError:
        _tell(task)
        raise
    if isinstance(result, int):
        _tell(task)
        return result
    return _move_and_tell(task, result)


def sys_brk(kernel: Kernel, task: Task, addr: int) -> int:
    """brk(2): never an error, always the end of the heap."""
    end = do_brk(task.mm, addr, _HEAP | _implied(task, Prot.READ))
    _tell(task)
    return end


def sys_pkey_mprotect(kernel: Kernel, task: Task, addr: int, length: int, prot: int, key: int) -> int:
    """pkey_mprotect(2): the CPU has no protection keys, so that not even 0 is one (mm_pkey_is_allocated)."""
    if key != -1 and 0 < length <= task.mm.task_size:
        raise LinuxError(errno.EINVAL)
    return sys_mprotect(kernel, task, addr, length, prot)


def sys_pkey_alloc(kernel: Kernel, task: Task, flags: int, rights: int) -> int:
    """pkey_alloc(2): the CPU has no protection keys to give to user programs."""
    raise LinuxError(errno.EINVAL)


def sys_pkey_free(kernel: Kernel, task: Task, key: int) -> int:
    """pkey_free(2): EINVAL, since no key was allocated."""
    raise LinuxError(errno.EINVAL)


def sys_remap_file_pages(kernel: Kernel, task: Task, start: int, size: int, prot: int, pgoff: int, flags: int) -> int:
    """remap_file_pages(2), as the kernel emulates it: a new mapping of the object over mappings that it has there."""
    start, size = start & -PAGE_SIZE, size & -PAGE_SIZE
    if prot or start + size <= start or pgoff + (size >> 12) < pgoff or pgoff + (size >> 12) > 1 << 52:
        raise LinuxError(errno.EINVAL)
    vma = task.mm.vmas.find(start)
    if vma is None or not vma.writes_through or not _is_one_object(task, vma, start + size):
        raise LinuxError(errno.EINVAL)
    kinds = MapFlags.SHARED | MapFlags.FIXED | MapFlags.POPULATE | MapFlags(flags & MapFlags.NONBLOCK)
    kinds |= MapFlags.LOCKED if vma.flags & VmFlags.LOCKED else MapFlags(0)
    memory = vma.page_cache if vma.file is None else None
    do_mmap(task.mm, start, size, vma.prot, kinds, vma.file, pgoff << 12, memory)
    return 0


def _is_one_object(task: Task, vma: Vma, end: int) -> bool:
    """Whether mappings of the same object with the same rights and flags reach from a VMA to ``end``."""
    other: Vma | None = vma
    while other is not None and other.end < end:
        other = task.mm.vmas.find(other.end)
        if other is not None:
            alike = other.object is vma.object and other.prot == vma.prot and other.flags == vma.flags
            other = other if alike else None
    return other is not None


def sys_mseal(kernel: Kernel, task: Task, start: int, length: int, flags: int) -> int:
    """mseal(2): a sealed range cannot be unmapped, moved, replaced or given other rights."""
    if flags or start & (PAGE_SIZE - 1) or length >= 1 << 63:
        raise LinuxError(errno.EINVAL)
    end = start + page_align(length)
    if end > 1 << 64:
        raise LinuxError(errno.EINVAL)
    for _ in task.mm.vmas.pieces_to_the_hole(start, end):
        pass  # the whole range must be mapped before anything changes
    for vma, low, high in task.mm.vmas.pieces_to_the_hole(start, end):
        kernel.stop.check()
        modify_flags(task.mm, vma, low, high, vma.flags | VmFlags.SEALED)
    return 0


_PROT, _MAP_FLAGS = Named(Prot, U64), Named(MapFlags, U64)
_MREMAP_FLAGS = Bits("MREMAP_", MAYMOVE=MREMAP_MAYMOVE, FIXED=MREMAP_FIXED, DONTUNMAP=MREMAP_DONTUNMAP, width=U64)
_NEW_ADDRESS = Sometimes(MAPPING, lambda flags: flags & MREMAP_FIXED)

TABLE = (
    Syscall(9, "mmap", sys_mmap, (MAPPING, SIZE, _PROT, _MAP_FLAGS, FD, HEX), AT_ADDRESS),
    Syscall(10, "mprotect", sys_mprotect, (MAPPING, SIZE, _PROT)),
    Syscall(11, "munmap", sys_munmap, (MAPPING, SIZE)),
    Syscall(12, "brk", sys_brk, (MAPPING,), AT_ADDRESS),
    Syscall(
        25,
        "mremap",
        sys_mremap,
        (MAPPING, SIZE, SIZE, _MREMAP_FLAGS, _NEW_ADDRESS),
        AT_ADDRESS,
        Restart.UNINTERRUPTIBLE,
    ),
    Syscall(216, "remap_file_pages", sys_remap_file_pages, (MAPPING, SIZE, _PROT, SIZE, HEX)),
    Syscall(329, "pkey_mprotect", sys_pkey_mprotect, (MAPPING, SIZE, _PROT, INT)),
    Syscall(330, "pkey_alloc", sys_pkey_alloc, (HEX, HEX), NUMBER),
    Syscall(331, "pkey_free", sys_pkey_free, (INT,)),
    Syscall(462, "mseal", sys_mseal, (MAPPING, SIZE, HEX)),
)

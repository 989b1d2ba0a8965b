"""mmap, munmap, brk: finding the place of a mapping, checking that there is memory for it, making it (mm/mmap.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError, NoIntr
from emu.linux.limits import Rlimit
from emu.linux.mman import MapFlags, Prot
from emu.mm.address_space import MAX_MAP_COUNT, MMAP_MIN_ADDR, TASK_SIZE, AddressSpace, is_data, page_align
from emu.mm.commit import Overcommit
from emu.mm.flags import LOCK_FLAGS, VmFlags
from emu.mm.gup import populate
from emu.mm.shmem import SharedAnonymous
from emu.mm.vma import Vma, merge_neighbours
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.vmops import MappedFile


#: Where MAP_32BIT looks for room.
MAP_32BIT_START, MAP_32BIT_END = 0x4000_0000, 0x8000_0000
_IN_PLACE = MapFlags.FIXED | MapFlags.FIXED_NOREPLACE
#: More mappings than these are unmapped one by one, and the run may end between two.
_MANY_VMAS = 512
#: Memory with one of these flags is not promised to the process.
_UNPROMISED = VmFlags.SHARED | VmFlags.NORESERVE


def do_mmap(
    mm: AddressSpace,
    address: int,
    length: int,
    prot: Prot,
    flags: MapFlags,
    file: MappedFile | None = None,
    offset: int = 0,
) -> int:
    """mmap(2); the caller has checked the file's mode.  Returns the address."""
    length = check_place(mm, address, length, flags, offset)
    address = _place(mm, address, length, flags, file, offset >> PAGE_SHIFT)
    vm_flags = _vm_flags(mm, flags, file)
    check_may_lock(mm, vm_flags, length)
    _check_expansion(mm, address, length, prot, vm_flags, fixed=bool(flags & MapFlags.FIXED))
    in_place = bool(flags & _IN_PLACE)
    if in_place:
        _make_way(mm, address, address + length)
    if is_accountable(prot, vm_flags):
        mm.context.commit.charge(length >> PAGE_SHIFT, mm)
        vm_flags |= VmFlags.ACCOUNT
    vma = Vma(address, address + length, prot, vm_flags, file=file, pgoff=offset >> PAGE_SHIFT)
    _back(mm, vma)
    if not vma.ops.accountable and vma.flags & VmFlags.ACCOUNT:
        mm.context.commit.uncharge(length >> PAGE_SHIFT)
        vma.flags &= ~VmFlags.ACCOUNT
    if in_place:
        unmap_range(mm, address, address + length)
    for hook in mm.context.map_hooks:
        hook.mapped(mm, vma, flags)
    mm.insert(vma, merge=False)
    if wants_populating(mm, vma) or flags & (MapFlags.POPULATE | MapFlags.NONBLOCK) == MapFlags.POPULATE:
        populate(mm, vma)
    merge_neighbours(mm.vmas, vma)
    return address


def _make_way(mm: AddressSpace, start: int, end: int) -> None:
    """Every refusal to replace what is mapped in [start, end).  Much of it is unmapped at once: later it could not be
    started again if the run ends.
    """
    check_unmap(mm, start, end, mm.stop.check)
    mm.empty(start, end)
    if len(mm.vmas.overlapping(start, end)) > _MANY_VMAS:
        unmap_range(mm, start, end, mm.stop.check)


def _back(mm: AddressSpace, vma: Vma) -> None:
    """Give a VMA its file, page cache or operations.  If this is refused, nothing has changed."""
    if vma.file is not None:
        try:
            vma.file.mmap(mm, vma)
        except LinuxError:
            if vma.flags & VmFlags.ACCOUNT:
                mm.context.commit.uncharge(vma.length >> PAGE_SHIFT)
            raise
        if vma.flags & VmFlags.DONTEXPAND:
            vma.flags &= ~LOCK_FLAGS
    elif vma.shared:
        vma.pgoff = 0
        vma.page_cache = SharedAnonymous(mm, vma.length, vma.flags)
    else:
        vma.pgoff = vma.start >> PAGE_SHIFT


def _vm_flags(mm: AddressSpace, flags: MapFlags, file: MappedFile | None) -> VmFlags:
    """The flags of a new VMA, without its rights (calc_vm_flag_bits)."""
    vm_flags = mm.default_lock
    if flags & MapFlags.TYPE in (MapFlags.SHARED, MapFlags.SHARED_VALIDATE):
        vm_flags |= VmFlags.SHARED
        if file is not None and not file.writable:
            vm_flags |= VmFlags.NEVERWRITE
    if flags & MapFlags.GROWSDOWN:
        if file is not None or VmFlags.SHARED in vm_flags:
            raise LinuxError(errno.EINVAL)
        vm_flags |= VmFlags.GROWSDOWN
    if flags & MapFlags.LOCKED:
        if mm.context.limit(Rlimit.MEMLOCK) == 0:
            raise LinuxError(errno.EPERM)
        vm_flags |= VmFlags.LOCKED
    if flags & MapFlags.NORESERVE and mm.context.commit.mode != Overcommit.NEVER:
        vm_flags |= VmFlags.NORESERVE
    return vm_flags


def check_may_lock(mm: AddressSpace, flags: VmFlags, length: int) -> None:
    """LinuxError(EAGAIN) if memory that would be locked at once exceeds RLIMIT_MEMLOCK (mlock_future_ok)."""
    if not flags & VmFlags.LOCKED:
        return
    limit = mm.context.limit(Rlimit.MEMLOCK)
    if limit is not None and mm.locked_bytes + length > limit & -PAGE_SIZE:
        raise LinuxError(errno.EAGAIN)


def may_expand(mm: AddressSpace, prot: Prot, flags: VmFlags, length: int) -> bool:
    """Whether that many more bytes stay within RLIMIT_AS and RLIMIT_DATA (may_expand_vm)."""
    space, data = mm.context.limit(Rlimit.AS), mm.context.limit(Rlimit.DATA)
    if space is not None and mm.total_bytes + length > space & -PAGE_SIZE:
        return False
    return data is None or not is_data(prot, flags) or mm.data_bytes + length <= data & -PAGE_SIZE


def _check_expansion(mm: AddressSpace, address: int, length: int, prot: Prot, flags: VmFlags, *, fixed: bool) -> None:
    if may_expand(mm, prot, flags, length):
        return
    end = address + length
    replaced = sum(min(vma.end, end) - max(vma.start, address) for vma in mm.vmas.overlapping(address, end))
    if not fixed or not may_expand(mm, prot, flags, length - replaced):
        raise LinuxError(errno.ENOMEM)


def is_accountable(prot: Prot, flags: VmFlags) -> bool:
    """Whether memory counts as promised: private and writable, without MAP_NORESERVE (accountable_mapping)."""
    return bool(prot & Prot.WRITE) and not flags & _UNPROMISED


def wants_populating(mm: AddressSpace, vma: Vma) -> bool:
    """Whether a new VMA is locked and so faulted in at once; objects of a region never are."""
    return vma.flags & LOCK_FLAGS == VmFlags.LOCKED and not mm.shared_tables


def check_place(mm: AddressSpace, address: int, length: int, flags: MapFlags, offset: int) -> int:
    """What is wrong with a length, an offset and an address, whatever is to be mapped; returns the whole length."""
    if length == 0 or offset & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    length = page_align(length)
    if length > mm.task_size:
        raise LinuxError(errno.ENOMEM)
    if (offset >> PAGE_SHIFT) + (length >> PAGE_SHIFT) >= 1 << 52:
        raise LinuxError(errno.EOVERFLOW)
    if len(mm.vmas) > MAX_MAP_COUNT:  # one more than the limit, as in do_mmap()
        raise LinuxError(errno.ENOMEM)
    mm.reserve_vmas()
    if flags & _IN_PLACE:
        if address & (PAGE_SIZE - 1):
            raise LinuxError(errno.EINVAL)
        if address + length > mm.task_size:
            raise LinuxError(errno.ENOMEM)
        check_low(mm, address)
        if flags & MapFlags.FIXED_NOREPLACE and mm.vmas.overlapping(address, address + length):
            raise LinuxError(errno.EEXIST)
    return length


def check_low(mm: AddressSpace, address: int) -> None:
    """LinuxError(EPERM) for an address that only root may map (cap_mmap_addr)."""
    if address < MMAP_MIN_ADDR and not mm.context.may_map_low():
        raise LinuxError(errno.EPERM)


def _place(mm: AddressSpace, address: int, length: int, flags: MapFlags, file: MappedFile | None, pgoff: int) -> int:
    if file is not None:
        chosen = file.get_unmapped_area(mm, address, length, pgoff, flags)
        if chosen is not None:
            return chosen
    if flags & _IN_PLACE:
        return address
    if flags & MapFlags.MAP_32BIT:
        return _low_area(mm, length, address & -PAGE_SIZE)
    return unmapped_area(mm, length, address & -PAGE_SIZE)


def unmapped_area(mm: AddressSpace, length: int, hint: int = 0, align: int = PAGE_SIZE) -> int:
    """A free range of ``length`` bytes: at the hint if that is free, else as high as possible below mmap_base, else
    anywhere; or as low as possible above it (``bottom_up``).  With 5-level paging, addresses beyond the 47 bits of
    4-level paging are given only to a caller whose hint lies there
    (Documentation/arch/x86/x86_64/5level-paging.rst).

    LinuxError(ENOMEM) if there is none.
    """
    if length > mm.task_size:
        raise LinuxError(errno.ENOMEM)
    if hint:
        at = (max(hint, MMAP_MIN_ADDR) + align - 1) & -align
        fits = at + length <= mm.task_size and (at > TASK_SIZE) == (at + length > TASK_SIZE)
        if fits and not mm.vmas.overlapping(at, at + length):
            return at
    beyond = mm.task_size - TASK_SIZE if hint > TASK_SIZE else 0
    if mm.bottom_up:
        found = _bottomup(mm, length, mm.mmap_base, TASK_SIZE + beyond, align)
        if found is None:
            raise LinuxError(errno.ENOMEM)
        return found
    for ceiling in (mm.mmap_base + beyond, TASK_SIZE + beyond):
        found = _topdown(mm, length, ceiling, align)
        if found is not None:
            return found
    raise LinuxError(errno.ENOMEM)


def aligned_area(mm: AddressSpace, address: int, length: int, align: int, flags: int) -> int:
    """get_unmapped_area() for a mapping that must begin at a multiple of ``align``: MAP_FIXED elsewhere is EINVAL, a
    hint is rounded up.  LinuxError(ENOMEM) if there is no free place.
    """
    if not flags & _IN_PLACE:
        return unmapped_area(mm, length, address, align)
    if address % align:
        raise LinuxError(errno.EINVAL)
    return address


def _low_area(mm: AddressSpace, length: int, hint: int) -> int:
    """The lowest free place of MAP_32BIT, or the hint if that is free.  LinuxError(ENOMEM)."""
    if hint and MAP_32BIT_END - length >= hint >= MMAP_MIN_ADDR and not mm.vmas.overlapping(hint, hint + length):
        return hint
    found = _bottomup(mm, length, MAP_32BIT_START, MAP_32BIT_END, PAGE_SIZE)
    if found is None:
        raise LinuxError(errno.ENOMEM)
    return found


def _bottomup(mm: AddressSpace, length: int, floor: int, ceiling: int, align: int) -> int | None:
    at = (floor + align - 1) & -align
    while at + length <= ceiling:
        in_the_way = mm.vmas.overlapping(at, at + length)
        if not in_the_way:
            return at
        at = (in_the_way[-1].end + align - 1) & -align
    return None


def _topdown(mm: AddressSpace, length: int, ceiling: int, align: int) -> int | None:
    high = ceiling
    for vma in reversed(mm.vmas):
        if vma.start >= ceiling:
            continue
        at = (high - length) & -align
        if at >= max(vma.end, MMAP_MIN_ADDR) and high >= length:
            return at
        high = min(high, vma.start)
    at = (high - length) & -align
    return at if high >= length and at >= MMAP_MIN_ADDR else None


def do_munmap(mm: AddressSpace, address: int, length: int) -> None:
    """munmap(2)."""
    if address & (PAGE_SIZE - 1) or length == 0 or address > mm.task_size or length > mm.task_size - address:
        raise LinuxError(errno.EINVAL)
    unmap_range(mm, address, address + page_align(length), mm.stop.check)


def unmap_range(mm: AddressSpace, start: int, end: int, look: Callable[[], None] = lambda: None) -> None:
    """Unmap [start, end); all or nothing.  NoIntr if the run is to end: of huge mappings pages are gone then, and with
    ``look`` of many mappings some.
    """
    check_unmap(mm, start, end, look)
    mm.empty(start, end)
    for vma in mm.vmas.overlapping(start, end):
        look()
        mm.remove(mm.carve(vma, start, end))


def check_unmap(mm: AddressSpace, start: int, end: int, look: Callable[[], None] = lambda: None) -> None:
    """Every refusal, before the first change: LinuxError(EPERM) for a sealed VMA, and the errors of its operations."""
    for vma in mm.vmas.overlapping(start, end):
        look()
        if vma.flags & VmFlags.SEALED:
            raise LinuxError(errno.EPERM)
        mm.may_split(vma, start, end)
        vma.ops.may_unmap(vma, start, end)


def do_brk(mm: AddressSpace, address: int, prot: Prot = Prot.READ | Prot.WRITE) -> int:
    """brk(2): the new end of the heap, or the old one if it cannot be moved; ``prot`` is for what it grows by."""
    if address < mm.start_brk:
        return mm.brk_end
    old, new = page_align(mm.brk_end), page_align(address)
    try:
        if new < old:
            unmap_range(mm, new, old)
        elif new > old:
            if mm.vmas.overlapping(old, new) or new > mm.task_size:
                return mm.brk_end
            _grow(mm, old, new, prot)
    except NoIntr:
        raise
    except LinuxError:
        return mm.brk_end
    mm.brk_end = address
    return address


def _grow(mm: AddressSpace, old: int, new: int, prot: Prot) -> None:
    flags = mm.default_lock | VmFlags.ACCOUNT
    check_may_lock(mm, flags, new - old)
    if not may_expand(mm, prot, flags, new - old):
        raise LinuxError(errno.ENOMEM)
    mm.reserve_vmas()
    mm.context.commit.charge((new - old) >> PAGE_SHIFT, mm)
    heap = mm.insert(Vma(old, new, prot, flags, pgoff=old >> PAGE_SHIFT), merge=False)
    if wants_populating(mm, heap):
        populate(mm, heap)
    merge_neighbours(mm.vmas, heap)

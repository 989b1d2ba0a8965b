"""mmap, munmap, brk: finding the place of a mapping, checking that there is memory for it, making it (mm/mmap.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError, NoIntr
from emu.linux.limits import Rlimit
from emu.linux.mman import MapFlags, Prot
from emu.mm.address_space import AddressSpace, is_data, page_align
from emu.mm.commit import Overcommit
from emu.mm.execgain import check_exec_gain
from emu.mm.flags import LOCK_FLAGS, VmFlags
from emu.mm.gup import populate
from emu.mm.private import unmap_private
from emu.mm.shmem import SharedAnonymous
from emu.mm.uffdevents import note_unmapped
from emu.mm.unmapped_area import IN_PLACE, get_unmapped_area
from emu.mm.vma import MMAP_MIN_ADDR, STACK_GUARD_GAP, Vma, vm_start_gap
from emu.mm.vmamodify import carve, may_split, split_vma
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.mm.pagecache import PageCache
    from emu.mm.vmops import MappedFile


#: More mappings than these are unmapped one by one, and the run may end between two.
_MANY_VMAS = 512
#: Memory with one of these flags is not promised to the process.
_UNPROMISED = VmFlags.SHARED | VmFlags.NORESERVE
# plain integers, which are looked at quicker
_NOT_LOCKED, _ACCOUNT = int(VmFlags.DONTEXPAND | VmFlags.DROPPABLE), int(VmFlags.ACCOUNT)
_LOCKED, _LOCKONFAULT = int(VmFlags.LOCKED), int(VmFlags.LOCKONFAULT)
_POPULATE, _POPULATED = int(MapFlags.POPULATE), int(MapFlags.POPULATE | MapFlags.NONBLOCK)


def do_mmap(
    mm: AddressSpace,
    address: int,
    length: int,
    prot: Prot,
    flags: MapFlags,
    file: MappedFile | None = None,
    offset: int = 0,
    memory: PageCache | None = None,
) -> int:
    """mmap(2); the caller has checked the file's mode.  Returns the address.  ``memory`` is the shared memory without a
    name that is mapped once more.
    """
    address, length = find_place(mm, address, length, flags, file, offset)
    return mmap_region(mm, address, length, prot, flags, file, offset, memory)


def find_place(
    mm: AddressSpace, address: int, length: int, flags: MapFlags, file: MappedFile | None = None, offset: int = 0
) -> tuple[int, int]:
    """What is wrong with a length, an offset, an address and a lock, whatever is to be mapped; returns the address and
    the whole length of the mapping.
    """
    if length == 0 or offset & (PAGE_SIZE - 1):
        raise LinuxError(errno.EINVAL)
    in_place = flags & IN_PLACE
    if not in_place:  # round_hint_to_min()
        address &= -PAGE_SIZE
        address = max(address, MMAP_MIN_ADDR) if address else 0
    length = page_align(length)
    if length > mm.task_size:
        raise LinuxError(errno.ENOMEM)
    if file is not None and (offset >> PAGE_SHIFT) + (length >> PAGE_SHIFT) >= 1 << 52:
        raise LinuxError(errno.EOVERFLOW)
    if len(mm.vmas) > mm.context.max_map_count:  # one more than the limit, as in do_mmap()
        raise LinuxError(errno.ENOMEM)
    mm.reserve_vmas()
    address = get_unmapped_area(mm, address, length, flags, file, offset >> PAGE_SHIFT)
    if flags & MapFlags.FIXED_NOREPLACE and mm.vmas.overlapping(address, address + length):
        raise LinuxError(errno.EEXIST)
    if flags & MapFlags.LOCKED and mm.context.limit(Rlimit.MEMLOCK) == 0:
        raise LinuxError(errno.EPERM)
    lock = mm.default_lock | VmFlags.LOCKED if flags & MapFlags.LOCKED else mm.default_lock
    if lock:
        check_may_lock(mm, lock, length)
    return address, length


def mmap_region(
    mm: AddressSpace,
    address: int,
    length: int,
    prot: Prot,
    flags: MapFlags,
    file: MappedFile | None,
    offset: int,
    memory: PageCache | None = None,
) -> int:
    """Make a mapping at a place that :func:`find_place` has found."""
    check_exec_gain(mm.mdwe, prot, prot)
    vm_flags = _vm_flags(mm, flags, file)
    # whether something is in the way
    fixed = bool(flags & MapFlags.FIXED and mm.vmas.overlapping(address, address + length))
    if fixed:
        check_unmap(mm, address, address + length, mm.stop.check)
    _check_expansion(mm, address, length, prot, vm_flags, fixed=fixed)
    if fixed:
        _make_way(mm, address, address + length)
    if is_accountable(prot, vm_flags):
        mm.context.commit.charge(length >> PAGE_SHIFT, mm)
        vm_flags |= VmFlags.ACCOUNT
    vma = Vma(address, address + length, prot, vm_flags, file=file, pgoff=offset >> PAGE_SHIFT)
    _back(mm, vma, memory)
    merge = True
    if vma.bits & _NOT_LOCKED:  # it is filled, but not locked
        merge = not vma.flags & LOCK_FLAGS  # neighbours are looked at before
        vma.flags &= ~LOCK_FLAGS
    if not vma.ops.accountable and vma.bits & _ACCOUNT:
        mm.context.commit.uncharge(length >> PAGE_SHIFT)
        vma.flags &= ~VmFlags.ACCOUNT
    if fixed:
        unmap_range(mm, address, address + length)
    for hook in mm.context.map_hooks:
        hook.mapped(mm, vma, flags)
    vma = mm.insert(vma, merge=merge)
    if vm_flags & _LOCKED or flags & _POPULATED == _POPULATE:
        if not (vma.bits & _LOCKONFAULT or mm.shared_tables):
            populate(mm, vma, address, address + length)
    return address


def _make_way(mm: AddressSpace, start: int, end: int) -> None:
    """Much of what is mapped in [start, end) is unmapped at once: later it could not be started again if the run
    ends.
    """
    mm.empty(start, end)
    if len(mm.vmas.overlapping(start, end)) > _MANY_VMAS:
        unmap_range(mm, start, end, mm.stop.check)


def _back(mm: AddressSpace, vma: Vma, memory: PageCache | None) -> None:
    """Give a VMA its file, page cache or operations.  If this is refused, nothing has changed."""
    if vma.file is not None:
        try:
            vma.file.mmap(mm, vma)
        except LinuxError:
            if vma.flags & VmFlags.ACCOUNT:
                mm.context.commit.uncharge(vma.length >> PAGE_SHIFT)
            raise
    elif memory is not None:
        vma.page_cache = memory
        memory.mappings[vma] = mm  # from now on, since the mapping that it replaces may be the last
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
    if file is not None and file.noexec:
        vm_flags |= VmFlags.NEVEREXEC
    if flags & MapFlags.GROWSDOWN:
        vm_flags |= VmFlags.GROWSDOWN
    if flags & MapFlags.LOCKED:
        vm_flags |= VmFlags.LOCKED
    if flags & MapFlags.STACK:
        vm_flags |= VmFlags.NOHUGEPAGE
    if flags & MapFlags.TYPE == MapFlags.DROPPABLE:
        vm_flags |= VmFlags.DROPPABLE | VmFlags.NORESERVE | VmFlags.WIPEONFORK | VmFlags.DONTDUMP
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
    space = mm.context.limit(Rlimit.AS)
    if space is not None and mm.total_bytes + length > space & -PAGE_SIZE:
        return False
    return not is_data(prot, flags) or is_within_data(mm, length)


def is_within_data(mm: AddressSpace, length: int) -> bool:
    """Whether that many more bytes of data stay within RLIMIT_DATA; one of 0 is for brk alone, as Valgrind wants it,
    and the hard limit counts here."""
    most = mm.context.limit(Rlimit.DATA)
    if most == 0:
        most = mm.context.hard_limit(Rlimit.DATA)
    return most is None or mm.data_bytes + length <= most & -PAGE_SIZE


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


def do_munmap(mm: AddressSpace, address: int, length: int) -> None:
    """munmap(2)."""
    if address & (PAGE_SIZE - 1) or length == 0 or address > mm.task_size or length > mm.task_size - address:
        raise LinuxError(errno.EINVAL)
    end = address + (length + PAGE_SIZE - 1 & -PAGE_SIZE)
    if not unmap_private(mm, address, end):
        last = mm.vmas.find(end - 1)
        end = end if last is None else last.ops.unmap_end(last, end)
        unmap_range(mm, address, end, mm.stop.check)


def unmap_range(mm: AddressSpace, start: int, end: int, look: Callable[[], None] = lambda: None) -> None:
    """Unmap [start, end); all or nothing.  NoIntr if the run is to end: of huge mappings pages are gone then, and with
    ``look`` of many mappings some.
    """
    check_unmap(mm, start, end, look)
    mm.empty(start, end)
    note_unmapped(mm, start, end)
    for vma in mm.vmas.overlapping(start, end):
        look()
        mm.remove(carve(mm, vma, start, end))


def check_unmap(mm: AddressSpace, start: int, end: int, look: Callable[[], None] = lambda: None) -> None:
    """Every refusal: LinuxError(EPERM) for a sealed VMA, and the errors of its operations.  Nothing has changed then,
    but the first VMA is split where the range begins if a later one is sealed (vms_gather_munmap_vmas).
    """
    vmas = mm.vmas.overlapping(start, end)
    for vma in vmas:
        look()
        if vma.start < start and end < vma.end and len(mm.vmas) >= mm.context.max_map_count:
            raise LinuxError(errno.ENOMEM)
        if vma.flags & VmFlags.SEALED:
            if vma is not vmas[0] and vmas[0].start < start:
                split_vma(mm, vmas[0], start)
            raise LinuxError(errno.EPERM)
        may_split(mm, vma, start, end)
        vma.ops.may_unmap(vma, start, end)


def do_brk(mm: AddressSpace, address: int, prot: Prot = Prot.READ | Prot.WRITE) -> int:
    """brk(2): the new end of the heap, or the old one if it cannot be moved; ``prot`` is for what it grows by.  A page
    is left free behind it, and the gap of a stack.
    """
    data = mm.context.limit(Rlimit.DATA)
    if address < mm.start_brk or (data is not None and address - mm.start_brk + mm.end_data - mm.start_data > data):
        return mm.brk_end
    old, new = page_align(mm.brk_end), page_align(address)
    try:
        if new < old:
            unmap_range(mm, new, old)
        elif new > old:
            following = mm.vmas.overlapping(old, new + PAGE_SIZE + STACK_GUARD_GAP)
            if (following and new + PAGE_SIZE > vm_start_gap(following[0])) or new > mm.task_size:
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
    if len(mm.vmas) > mm.context.max_map_count:
        raise LinuxError(errno.ENOMEM)
    mm.reserve_vmas()
    mm.context.commit.charge((new - old) >> PAGE_SHIFT, mm)
    heap = mm.insert(Vma(old, new, prot, flags, pgoff=old >> PAGE_SHIFT))
    if wants_populating(mm, heap):
        populate(mm, heap, old, new)

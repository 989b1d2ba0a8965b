"""AddressSpace (mm_struct): VMAs and page tables of one process, and the calls that change them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emu.kernel.errors import LinuxError
from emu.mm.frames import FrameAllocator
from emu.mm.pagecache import PageCache
from emu.mm.pagetable import ADDRESS, RW, SPECIAL, XD, PageTables, ShareCounts
from emu.mm.tlbflush import Flush, TlbFlusher
from emu.mm.usercopy import UserCopy
from emu.mm.vma import MapFlags, Prot, Vma, VmaTree, VmFlags
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.file import File

#: The end of user addresses with 4-level paging (TASK_SIZE_MAX).
TASK_SIZE = (1 << 47) - PAGE_SIZE
#: sysctl vm.mmap_min_addr and vm.max_map_count.
MMAP_MIN_ADDR = 0x10000
MAX_MAP_COUNT = 65530


def page_align(length: int) -> int:
    """Rounded up to whole pages."""
    return (length + PAGE_SIZE - 1) & -PAGE_SIZE


@dataclass
class MmContext:
    """What every address space of a machine shares."""

    frames: FrameAllocator
    flusher: TlbFlusher
    share_counts: ShareCounts
    #: Every address space that exists, host mms included, by serial number: the audit walks them.
    address_spaces: dict[int, AddressSpace]
    serial: int = 0
    code_ids: int = 0

    def new_code_id(self) -> int:
        """A number that no code had before (32 bits)."""
        self.code_ids = (self.code_ids + 1) & 0xFFFFFFFF
        return self.code_ids


class AddressSpace(UserCopy):
    """One process's memory.

    ``name`` is for reports.  ``shared_tables`` says that other address spaces link to these tables (a host mm), so
    that a change must reach every TLB.  ``on_kernel_fault`` is told of faults that the kernel takes on user memory.
    """

    def __init__(self, context: MmContext, name: str = "", *, shared_tables: bool = False) -> None:
        self.context = context
        self.frames = context.frames
        self.name = name
        self.shared_tables = shared_tables
        self.tables = PageTables(context.frames, context.share_counts)
        self.vmas = VmaTree()
        context.serial += 1
        self.serial = context.serial
        context.address_spaces[self.serial] = self
        self.users = 1
        self.mmap_base = TASK_SIZE
        self.start_brk = self.brk_end = 0
        self.start_stack = self.arg_start = self.arg_end = self.env_start = self.env_end = 0
        self.auxv = b""
        self.rss_anon = self.rss_cache = 0
        self.total_bytes = 0
        self.limit_bytes: int | None = None  # RLIMIT_AS
        self.stack_limit = 8 << 20
        #: Changes whenever the code at some address may be another (mmap, munmap, mprotect with PROT_EXEC); kept by
        #: fork.
        self.code_id = context.new_code_id()
        self.on_kernel_fault: Callable[[int], None] | None = None

    # -- looking up ------------------------------------------------------------------------------------------------

    def obligation(self, start: int, end: int) -> Flush:
        """A change of the tables of [start, end) owes this."""
        return Flush(self.context.flusher, self, start, end)

    def unmapped_area(self, length: int, hint: int = 0, align: int = PAGE_SIZE) -> int:
        """A free range of ``length`` bytes: at the hint if that is free, else as high as possible below mmap_base,
        else anywhere.

        LinuxError(ENOMEM) if there is none.
        """
        if length > TASK_SIZE:
            raise LinuxError(errno.ENOMEM)
        if hint:
            at = (hint + align - 1) & -align
            if at >= MMAP_MIN_ADDR and at + length <= TASK_SIZE and not self.vmas.overlapping(at, at + length):
                return at
        for ceiling in (self.mmap_base, TASK_SIZE):
            found = self._topdown(length, ceiling, align)
            if found is not None:
                return found
        raise LinuxError(errno.ENOMEM)

    def _topdown(self, length: int, ceiling: int, align: int) -> int | None:
        high = ceiling
        for vma in reversed(self.vmas):
            if vma.start >= ceiling:
                continue
            at = (high - length) & -align
            if at >= max(vma.end, MMAP_MIN_ADDR) and high >= length:
                return at
            high = min(high, vma.start)
        at = (high - length) & -align
        return at if high >= length and at >= MMAP_MIN_ADDR else None

    # -- mmap ------------------------------------------------------------------------------------------------------

    def mmap(
        self, address: int, length: int, prot: Prot, flags: MapFlags, file: File | None = None, offset: int = 0
    ) -> int:
        """mmap(2); the caller has checked the file's mode.  Returns the address."""
        length = self._check_mmap(address, length, flags, offset)
        address = self._place(address, length, flags, file, offset >> PAGE_SHIFT)
        vm_flags = VmFlags.NONE
        if flags & MapFlags.TYPE in (MapFlags.SHARED, MapFlags.SHARED_VALIDATE):
            vm_flags |= VmFlags.SHARED
        if flags & MapFlags.GROWSDOWN:
            if file is not None or VmFlags.SHARED in vm_flags:
                raise LinuxError(errno.EINVAL)
            vm_flags |= VmFlags.GROWSDOWN
        if flags & MapFlags.NORESERVE:
            vm_flags |= VmFlags.NORESERVE
        vma = Vma(address, address + length, prot, vm_flags, file=file, pgoff=offset >> PAGE_SHIFT)
        if file is not None:
            file.mmap(self, vma)  # may refuse; nothing has changed yet
        elif vma.shared:
            self._check_overcommit(length, vm_flags)
            vma.pgoff = 0
            vma.page_cache = PageCache(self.frames, length)
        else:
            self._check_overcommit(length, vm_flags)
            vma.pgoff = address >> PAGE_SHIFT
        if flags & (MapFlags.FIXED | MapFlags.FIXED_NOREPLACE):
            self._unmap(address, address + length)
        self.insert(vma)
        if flags & (MapFlags.POPULATE | MapFlags.LOCKED) and not flags & MapFlags.NONBLOCK:
            self.populate(vma)
        return address

    def _check_mmap(self, address: int, length: int, flags: MapFlags, offset: int) -> int:
        if length == 0 or offset & (PAGE_SIZE - 1):
            raise LinuxError(errno.EINVAL)
        length = page_align(length)
        if length > TASK_SIZE:
            raise LinuxError(errno.ENOMEM)
        if (offset >> PAGE_SHIFT) + (length >> PAGE_SHIFT) >= 1 << 52:
            raise LinuxError(errno.EOVERFLOW)
        if len(self.vmas) >= MAX_MAP_COUNT:
            raise LinuxError(errno.ENOMEM)
        if self.limit_bytes is not None and self.total_bytes + length > self.limit_bytes:
            raise LinuxError(errno.ENOMEM)
        if flags & (MapFlags.FIXED | MapFlags.FIXED_NOREPLACE):
            if address & (PAGE_SIZE - 1):
                raise LinuxError(errno.EINVAL)
            if address + length > TASK_SIZE:
                raise LinuxError(errno.ENOMEM)
            if address < MMAP_MIN_ADDR:
                raise LinuxError(errno.EPERM)
            if flags & MapFlags.FIXED_NOREPLACE and self.vmas.overlapping(address, address + length):
                raise LinuxError(errno.EEXIST)
        return length

    def _place(self, address: int, length: int, flags: MapFlags, file: File | None, pgoff: int) -> int:
        if file is not None:
            chosen = file.get_unmapped_area(self, address, length, pgoff, flags)
            if chosen is not None:
                return chosen
        if flags & (MapFlags.FIXED | MapFlags.FIXED_NOREPLACE):
            return address
        return self.unmapped_area(length, address & -PAGE_SIZE)

    def _check_overcommit(self, length: int, vm_flags: VmFlags) -> None:
        """vm.overcommit_memory 0: refuse only what can obviously never fit (MAP_NORESERVE is always let through)."""
        if not vm_flags & VmFlags.NORESERVE and length >> PAGE_SHIFT > self.frames.total:
            raise LinuxError(errno.ENOMEM)

    def insert(self, vma: Vma, *, merge: bool = True) -> None:
        """Add a VMA to the tree, merging it with a like neighbour where both are private anonymous memory."""
        self.total_bytes += vma.length
        if vma.prot & Prot.EXEC:
            self.code_id = self.context.new_code_id()
        if not (merge and self._merge(vma)):
            self.vmas.add(vma)
        if vma.page_cache is not None:
            vma.page_cache.mappings[vma] = self
        if vma.file is not None:
            vma.file.get()
        if vma.ops is not None:
            vma.ops.open(self, vma)

    def _merge(self, vma: Vma) -> bool:
        if vma.ops is not None or vma.page_cache is not None or vma.file is not None:
            return False
        before = self.vmas.find(vma.start - 1)
        if before is None or before.ops or before.page_cache or before.file:
            return False
        if (before.prot, before.flags) != (vma.prot, vma.flags):
            return False
        before.end = vma.end
        before.anon |= vma.anon
        return True

    def populate(self, vma: Vma) -> None:
        """MAP_POPULATE: fault every page in; stops quietly where that fails, as the kernel does."""
        from emu.mm.fault import handle_mm_fault
        from mmu.registers import Access

        if vma.ops is not None and vma.ops.owns_tables:
            return
        # a shared mapping is only read: nothing would be gained by making its pages dirty
        access = Access.WRITE if vma.prot & Prot.WRITE and not vma.shared else Access.READ
        # no more pages than there is memory: the zero page could be mapped for ever
        end = min(vma.end, vma.start + self.frames.total * PAGE_SIZE)
        for address in range(vma.start, end, PAGE_SIZE):
            result = handle_mm_fault(self, address, access)
            if not result.resolved:
                return
            if self.on_kernel_fault is not None:
                self.on_kernel_fault(result)

    # -- munmap ----------------------------------------------------------------------------------------------------

    def munmap(self, address: int, length: int) -> None:
        """munmap(2)."""
        if address & (PAGE_SIZE - 1) or length == 0 or address > TASK_SIZE or length > TASK_SIZE - address:
            raise LinuxError(errno.EINVAL)
        self._unmap(address, address + page_align(length))

    def _unmap(self, start: int, end: int) -> None:
        doomed = self.vmas.overlapping(start, end)
        for vma in doomed:  # every refusal before the first change
            for edge in (start, end):
                if vma.start < edge < vma.end and vma.ops is not None:
                    vma.ops.may_split(vma, edge)
        for vma in doomed:
            self.remove(self.carve(vma, start, end))

    def carve(self, vma: Vma, start: int, end: int) -> Vma:
        """Split so that the part of ``vma`` within [start, end) is a VMA of its own; return that."""
        if vma.start < start:
            vma = self.split(vma, start)
        if vma.end > end:
            self.split(vma, end)
        return vma

    def split(self, vma: Vma, address: int) -> Vma:
        """Cut at ``address``; the VMA keeps the lower part, the upper one is returned."""
        if vma.ops is not None:
            vma.ops.may_split(vma, address)
        upper = vma.copy(address, vma.end)
        vma.end = address
        self.vmas.add(upper)
        if upper.page_cache is not None:
            upper.page_cache.mappings[upper] = self
        if upper.file is not None:
            upper.file.get()
        if upper.ops is not None:
            upper.ops.open(self, upper)
        return upper

    def remove(self, vma: Vma) -> None:
        """Unmap a whole VMA and forget it."""
        self.zap_range(vma, vma.start, vma.end)
        self.vmas.remove(vma)
        self.total_bytes -= vma.length
        if vma.prot & Prot.EXEC:
            self.code_id = self.context.new_code_id()
        if not (vma.ops is not None and vma.ops.owns_tables):
            self.tables.free_tables(vma.start, vma.end)
        if vma.ops is not None:
            vma.ops.close(self, vma)
        if vma.page_cache is not None:
            del vma.page_cache.mappings[vma]
            if vma.file is None and not vma.page_cache.mappings:
                vma.page_cache.release()  # shared anonymous memory that nobody maps any more
        if vma.file is not None:
            vma.file.put()

    def zap_range(self, vma: Vma, start: int, end: int, *, even_cows: bool = True) -> None:
        """Take the pages of [start, end) out of the tables and drop their references.

        With ``even_cows`` False, private copies stay: a hole punched into the file does not take them, truncation does.
        """
        if vma.ops is not None and vma.ops.owns_tables:
            vma.ops.unmap(self, vma, start, end)
            return
        if not even_cows and not vma.shared:
            self._zap_cached(vma, start, end)
            return
        entries = self.tables.clear_range(start, end)
        self._drop(entries, self.obligation(start, end))

    def _zap_cached(self, vma: Vma, start: int, end: int) -> None:
        assert vma.page_cache is not None
        q, find = self.frames.ram.qwords, vma.page_cache.find
        for first, slot, number in self.tables.pte_tables(start, end):
            for i in range(number):
                pte, address = q[slot + i], first + i * PAGE_SIZE
                if pte and (pte & ADDRESS) >> PAGE_SHIFT == find(vma.index_of(address)):
                    q[slot + i] = 0
                    self._drop(np.array([pte], dtype=np.uint64), self.obligation(address, address + PAGE_SIZE))

    def _drop(self, entries: np.ndarray[tuple[int], np.dtype[np.uint64]], flush: Flush) -> None:
        """Flush, then give up the frames of cleared entries."""
        if len(entries) == 0:
            flush.none_needed("no entry was present")
            return
        flush.flush()
        counted = entries[(entries & np.uint64(SPECIAL)) == 0]
        frames = ((counted & np.uint64(ADDRESS)) >> np.uint64(PAGE_SHIFT)).astype(np.int64)
        anon = int(np.count_nonzero(self.frames.kinds[frames] == 3))
        self.rss_anon -= anon
        self.rss_cache -= len(frames) - anon
        self.frames.put_many(frames)

    # -- mprotect, brk ---------------------------------------------------------------------------------------------

    def mprotect(self, address: int, length: int, prot: Prot) -> None:
        """mprotect(2)."""
        if address & (PAGE_SIZE - 1):
            raise LinuxError(errno.EINVAL)
        if length == 0:
            return
        end = address + page_align(length)
        if end > TASK_SIZE:
            raise LinuxError(errno.ENOMEM)
        vmas = self.vmas.overlapping(address, end)
        reached = address
        for vma in vmas:
            if vma.start > reached:
                break
            self._check_mprotect(vma, max(vma.start, address), min(vma.end, end), prot)
            reached = min(vma.end, end)
            if vma.prot != prot:  # else nothing changes, and nothing is split
                self._protect(self.carve(vma, address, end), prot)
        if reached < end:
            raise LinuxError(errno.ENOMEM)

    def _check_mprotect(self, vma: Vma, start: int, end: int, prot: Prot) -> None:
        if vma.ops is not None:
            vma.ops.mprotect(vma, start, end, prot)
        if prot & Prot.WRITE and vma.shared and vma.file is not None and not vma.file.writable:
            raise LinuxError(errno.EACCES)

    def _protect(self, vma: Vma, prot: Prot) -> None:
        old, vma.prot = vma.prot, prot
        if (old | prot) & Prot.EXEC:
            self.code_id = self.context.new_code_id()
        flush = self.obligation(vma.start, vma.end)
        changed = False
        for _, slot, number in self.tables.pte_tables(vma.start, vma.end):
            view = self.tables.words[slot : slot + number]
            present = view != 0
            if not present.any():
                continue
            changed = True
            # P goes and comes with PROT_NONE; RW is taken away here and given back by the fault, which knows about COW
            view[present] &= np.uint64(~(RW | XD | 1) & (1 << 64) - 1)
            bits = (1 if prot else 0) | (0 if prot & Prot.EXEC else XD)
            if prot & Prot.WRITE and vma.shared:
                bits |= RW
            view[present] |= np.uint64(bits)
        if changed:
            flush.flush()
        else:
            flush.none_needed("no entry was present")

    def brk(self, address: int) -> int:
        """brk(2): the new end of the heap, or the old one if it cannot be moved."""
        if address < self.start_brk:
            return self.brk_end
        old, new = page_align(self.brk_end), page_align(address)
        try:
            if new < old:
                self._unmap(new, old)
            elif new > old:
                if self.vmas.overlapping(old, new) or new > TASK_SIZE:
                    return self.brk_end
                if self.limit_bytes is not None and self.total_bytes + new - old > self.limit_bytes:
                    return self.brk_end
                self._check_overcommit(new - old, VmFlags.NONE)
                self.insert(Vma(old, new, Prot.READ | Prot.WRITE, VmFlags.HEAP, pgoff=old >> PAGE_SHIFT))
        except LinuxError:
            return self.brk_end
        self.brk_end = address
        return address

    # -- lifetime --------------------------------------------------------------------------------------------------

    def get(self) -> AddressSpace:
        """One more task uses this address space."""
        self.users += 1
        return self

    def put(self) -> None:
        """A task stops using it; with the last one everything is given back (exit_mmap)."""
        self.users -= 1
        if self.users == 0:
            for vma in list(self.vmas):
                self.remove(vma)
            self.tables.free_tables(0, TASK_SIZE)  # those that were kept because others shared them
            self.context.flusher.forget(self)
            self.tables.destroy()
            del self.context.address_spaces[self.serial]

"""The interfaces that memory management calls: the operations of a VMA (vm_operations_struct), of the file behind it,
and of kernel modules that observe mappings or share tables.

A VMA always has operations, and callers use them without testing which kind of VMA it is.  :mod:`emu.mm.ordinary` has
those of anonymous memory and of files, :mod:`emu.mm.hugefault` those of huge pages, :mod:`emu.mm.shared_tables` those
of windows on the tables of a host mm.  A new kind of memory derives from one of these, or from :class:`VmOperations`,
and sets ``vma.ops`` in the file's ``mmap`` or in a :class:`MapHook`.  Operations keep no state of a VMA: that belongs
in ``vma.private_data``.
"""

from __future__ import annotations

import errno
import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from emu.linux.errors import LinuxError, NoPage
from emu.mm.flags import FaultResult
from emu.mm.pagetable import span
from emu.mm.swapops import here, slots_of, swapped
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.linux.caller import Credentials
    from emu.linux.mman import Prot
    from emu.mm.address_space import AddressSpace
    from emu.mm.pagecache import PageCache
    from emu.mm.vma import Vma
    from mmu.registers import Access


#: Which the errno module does not have.
_EHWPOISON = 133


class HugePageUse(NamedTuple):
    """The holders of a huge page: whether its file has it, and how many entries map it."""

    of_file: bool
    mapped: int


class VmOperations(ABC):
    """The operations of a mapping.

    Ranges lie within the VMA.  A refusal is a LinuxError, raised before anything has changed.  An operation that
    changes entries discharges the flush that it owes, unless its description leaves this to the caller.
    """

    #: pagesize(): the size of its pages in bytes.
    page_size = PAGE_SIZE
    #: The level of the entries that map its pages in the address space's own tables; 0 if they are in another's.
    leaf_level = 1
    #: The level of the entries in the address space's own tables that point at another's; 0 if none does.
    link_level = 0
    #: Whether it counts as promised memory if it is private and writable (accountable_mapping).
    accountable = True
    #: Whether its pages could be reclaimed (can_madv_lru_vma).
    on_lru = True
    #: Whether only the process itself may reach its pages (vma_is_secretmem).
    secret = False
    #: Whether two VMAs that map the same object in order may become one: they keep no separate state, and ``close``
    #: does nothing.
    mergeable = False
    #: Whether it is unmapped with its neighbours at the end of an address space, and copied with them by fork: it is a
    #: PageMemory, ``unmap`` and ``copy`` look at nothing but the entries, and ``close`` does nothing.
    gathered = False
    #: Whether it is what a VMA has unless somebody says otherwise: ``open`` and ``drop_promises`` do nothing.
    ordinary = False
    #: Additional VmFlags in /proc/PID/smaps.
    flag_names: tuple[str, ...] = ()
    #: Whether it is the kernel's own, and neither file nor device is shown with it.
    special = False

    # -- the life of a VMA -----------------------------------------------------------------------------------------

    def open(self, mm: AddressSpace, vma: Vma) -> None:
        """One more VMA exists: after mmap, fork, a split or a move."""

    def close(self, mm: AddressSpace, vma: Vma) -> None:
        """The VMA is gone."""

    def split(self, mm: AddressSpace, vma: Vma, address: int) -> None:
        """The VMA is about to be split at this address, which ``may_split`` allowed."""

    def drop_promises(self, vma: Vma) -> None:
        """The promises of this VMA now belong to another one: the parent's after fork, the one at the new place after
        mremap, the one in the other address space after a handover (clear_vma_resv_huge_pages).
        """

    def outstanding(self, vma: Vma) -> int:
        """How many huge pages promised to the VMA itself have not been used."""
        return 0

    # -- what a process may ask for --------------------------------------------------------------------------------

    def may_split(self, vma: Vma, address: int) -> None:
        """Raise LinuxError if the VMA cannot be split at this address."""

    def may_unmap(self, vma: Vma, start: int, end: int) -> None:
        """Raise LinuxError if [start, end), which overlaps the VMA or covers it, cannot be unmapped."""

    def unmap_end(self, vma: Vma, end: int) -> int:
        """Where munmap(2) up to ``end``, a byte of the VMA or the first one behind it, really ends: what a VMA has
        behind the length that was asked for goes with the rest.
        """
        return end

    def mprotect(self, vma: Vma, start: int, end: int, prot: Prot) -> None:
        """Raise LinuxError if the rights cannot be changed."""

    def mremap(self, vma: Vma, new_start: int) -> None:
        """Raise LinuxError if the VMA cannot be moved."""

    def mremap_lengths(self, old: int, old_length: int, new_length: int, new: int) -> tuple[int, int]:
        """The old and the new length of an mremap, rounded to pages of this kind; ``new`` is the requested address, or
        0.  LinuxError(EINVAL) if they are impossible.
        """
        return old_length, new_length

    # -- faults ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        """Resolve a fault, or return the signal that it causes (__handle_mm_fault).

        LinuxError(ENOMEM) if memory ran out; the tables are consistent then.
        """

    def gup_fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        """Resolve a fault that the kernel takes on behalf of another process."""
        return self.fault(mm, vma, address, access)

    def gup(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> int:
        """The frame behind an address, faulted in if necessary (get_user_pages), for a caller whose permission has been
        checked.  LinuxError(EFAULT, ENOMEM).
        """
        fault = functools.partial(self.gup_fault, mm, vma, address, access)
        return mm.translate(address, access, fault) >> PAGE_SHIFT

    def gup_forced(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> int:
        """The same where the VMA's own rights do not allow the access (FOLL_FORCE).  By default the rights do not
        matter.
        """
        return self.gup(mm, vma, address, access)

    def gup_unshare(self, mm: AddressSpace, vma: Vma, address: int) -> None:
        """A private page is about to be pinned in order to be read: it must be this process's alone by then
        (FAULT_FLAG_UNSHARE).  LinuxError(ENOMEM).
        """

    def populate(self, mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> FaultResult | None:
        """Fault in every page of [start, end) for MAP_POPULATE or a lock; returns the result of the fault that failed,
        or None.  The faults count as taken by the kernel for the current process.  NoIntr if the run is to end.
        """
        for page in range(start, end, self.page_size):
            mm.stop.check()
            result = mm.kernel_fault(page, access)
            if not result.resolved:
                return result
            mm.count_kernel_fault(result)
            self.touch(mm, vma, page, access)
        return None

    def touch(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> None:
        """A page of the VMA that was to be faulted in is there, and counts as used (FOLL_TOUCH)."""

    def fault_in(self, mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> None:
        """Make every page of [start, end) present for mlock and MADV_POPULATE.  LinuxError(EFAULT, ENOMEM,
        EHWPOISON).
        """
        failed = self.populate(mm, vma, start, end, access)
        if failed == FaultResult.OOM:
            raise NoPage
        if failed is not None:
            raise LinuxError(_EHWPOISON if failed == FaultResult.HWPOISON else errno.EFAULT)

    # -- changing entries ------------------------------------------------------------------------------------------

    @abstractmethod
    def zap(self, mm: AddressSpace, vma: Vma, start: int, end: int, *, even_cows: bool = True) -> None:
        """Take the pages of [start, end) out of the tables and drop their references (zap_page_range).

        With ``even_cows`` False, private copies stay: a hole punched into the file does not take them, truncation does.
        """

    def unmap(self, mm: AddressSpace, vma: Vma) -> None:
        """Take the whole VMA out of the tables, and free the tables that become empty (unmap_region)."""
        self.zap(mm, vma, vma.start, vma.end)
        mm.free_tables(vma)

    def copy(self, parent: AddressSpace, child: AddressSpace, vma: Vma, copy: Vma) -> None:
        """Give the child of a fork, whose VMA is ``copy``, its first entries (copy_page_range); the caller owes the
        parent's flush.  LinuxError(ENOMEM).  By default there are none: the child faults the pages in.
        """

    def make_tables(self, mm: AddressSpace, vma: Vma, old: int, length: int, new: int) -> None:
        """Make every table that the entries of [old, old + length) need at ``new``, so that moving them cannot fail.
        LinuxError(ENOMEM), with the new tables freed again.
        """
        mm.tables.make_tables_for(mm.tables, old, old + length, new)

    def move(self, mm: AddressSpace, vma: Vma, old: int, length: int, new: int) -> None:
        """Move the entries of [old, old + length) to ``new``, where their tables exist (move_page_tables); the caller
        owes the flush.
        """
        mm.tables.move_entries(old, old + length, new)

    def protect(self, mm: AddressSpace, vma: Vma, start: int, end: int, prot: Prot) -> bool:
        """Change the rights of [start, end) in place of mprotect: True if this was done and the VMA stays unchanged."""
        return False

    @abstractmethod
    def change_protection(self, mm: AddressSpace, vma: Vma) -> int:
        """Give every entry the VMA's present rights; returns how many entries there were.  The caller owes a flush if
        there were any.
        """

    def protected(self, mm: AddressSpace, vma: Vma) -> None:
        """Update the entries after mprotect has changed the VMA's rights."""
        flush = mm.obligation(vma.start, vma.end, "mprotect")
        if self.change_protection(mm, vma):
            flush.flush()
        else:
            flush.nothing_present()

    def unshare(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
        """Entries of [start, end) are about to change in this address space only: no table there may stay shared by a
        :class:`TableSharer`.
        """

    # -- looking ---------------------------------------------------------------------------------------------------

    def mincore(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> npt.NDArray[np.bool_]:
        """For each 4 KiB of [start, end), whether it is present: mapped by the tables as the CPU finds them."""
        present = np.zeros((end - start) >> PAGE_SHIFT, dtype=np.bool_)
        for vaddr, slot, number in mm.tables.pte_tables(start, end):
            at = (vaddr - start) >> PAGE_SHIFT
            view = mm.tables.words[slot : slot + number]
            present[at : at + number] |= here(view)
            if mm.rss_swap and len(away := np.flatnonzero(swapped(view))):
                present[at + away] = mm.context.swap.find_many(slots_of(view[away])) != 0
        size = span(2)
        for vaddr, _ in mm.tables.huge_slots(start & -size, end):
            present[(max(vaddr, start) - start) >> PAGE_SHIFT : (min(vaddr + size, end) - start) >> PAGE_SHIFT] = True
        return present

    def frame_to_read(self, vma: Vma, address: int) -> int | None:
        """The frame that a read would find where nothing is mapped yet; 0 for a page of zeros; None if there is none or
        only a fault could tell.
        """
        return None

    def object_at(self, vma: Vma, address: int) -> tuple[PageCache, int] | None:
        """The backing of an address of shared memory: an object and the index of its page; None if others cannot see
        it.
        """
        return (vma.page_cache, vma.index_of(address)) if vma.shared and vma.page_cache is not None else None

    def huge_page_use(self, vma: Vma, address: int, frame: int) -> HugePageUse:
        """The holders of the huge page that contains ``frame``, mapped at ``address`` (0 mappings: unknown here)."""
        return HugePageUse(True, 0)

    def backing(self, vma: Vma) -> tuple[AddressSpace, int] | None:
        """For linked tables: the address space that owns them, and the address there of the VMA's first byte."""
        return None

    def check(self, mm: AddressSpace, vma: Vma) -> Iterable[str]:
        """Findings about the VMA for the audit, a sentence each."""
        return ()

    def name(self, vma: Vma) -> str:
        """The name in /proc/PID/maps; empty for the file's path."""
        return ""


class MappedFile(Protocol):
    """The operations of an open file that memory management calls (file_operations); the VFS implements them."""

    @property
    def writable(self) -> bool:
        """Opened for writing."""

    @property
    def noexec(self) -> bool:
        """Nothing on its file system may be executed (path_noexec)."""

    def may_write(self, who: Credentials) -> bool:
        """Whether somebody owns the file or may write to it, however it was opened."""

    def get(self) -> object:
        """Take one more reference."""

    def put(self) -> None:
        """Drop a reference."""

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        """Give ``vma`` its page cache or operations; called before the VMA is inserted.  LinuxError if the mapping is
        refused.
        """

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, pgoff: int, flags: int) -> int | None:
        """Choose the address of a mapping of this file, in bytes; None leaves it to the default search."""

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Punch a hole (MADV_REMOVE)."""

    def fsync(self, data_only: bool) -> None:
        """Write changes to the device (msync)."""

    def update_time(self) -> None:
        """A page of it is about to be written through a shared mapping (file_update_time)."""


class MapHook:
    """A hook for new mappings; a module adds one to ``kernel.mm_context.map_hooks``.

    >>> from emu.testing import GuestMachine
    >>> class Told(MapHook):
    ...     def mapped(self, mm, vma, flags):
    ...         if vma.start == 0x10000000:
    ...             print(vma.length, "bytes")
    >>> machine = GuestMachine(modules={"told": lambda kernel: kernel.mm_context.map_hooks.append(Told())})
    >>> result = machine.run_guest("calls", "mmap 0x10000000 8K RW PRIVATE|MAP_FIXED -1 0")
    8192 bytes
    """

    #: The flags of mmap(2) that exist because of this module.
    flags = 0
    #: Whether it is also to be called for private memory without a file.
    of_private_memory = True

    def check(self, flags: int) -> None:
        """mmap(2) has been called with flags that modules have added, perhaps with some of :attr:`flags`: raise
        LinuxError for an impossible request.
        """

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, flags: int) -> int | None:
        """Where MAP_SHARED|MAP_ANONYMOUS memory goes; None: where it would have gone.  LinuxError(ENOMEM)."""
        return None

    def mapped(self, mm: AddressSpace, vma: Vma, flags: int) -> None:
        """A mapping with the flags of mmap(2) is about to be inserted, and can no longer fail: this is the time to give
        ``vma`` operations.  Must not raise.
        """


class TableSharer(ABC):
    """A design that shares tables of huge mappings automatically, as x86 once did (huge_pmd_share).

    Registered in ``MmContext.table_sharers``.  A shared table belongs to one address space, its owner; the entries of
    the others that point at it are links, and counted in ``MmContext.share_counts``.
    """

    @abstractmethod
    def share(self, mm: AddressSpace, vma: Vma, address: int) -> bool:
        """A fault in a huge VMA without a PMD table there: True if one was linked.  LinuxError(ENOMEM)."""

    @abstractmethod
    def unshare(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
        """Entries of [start, end) are about to change for this address space alone: afterwards no table that covers a
        part of it may be shared (munmap, mprotect, mremap, truncation).
        """

    @abstractmethod
    def is_link(self, mm: AddressSpace, level: int, address: int) -> bool:
        """For the audit: whether the entry of ``level`` for ``address`` is a link to another's table."""

    def check(self) -> Iterable[str]:
        """Findings for the audit, a sentence each."""
        return ()

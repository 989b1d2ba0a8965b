"""Virtual memory areas: what is mapped where, with which rights, from what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any

from sortedcontainers import SortedDict

from mmu import entries
from mmu.memory import PAGE_SHIFT
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.mm.address_space import AddressSpace
    from emu.mm.pagecache import PageCache


class Prot(IntFlag):
    """PROT_* (asm-generic/mman-common.h)."""

    NONE = 0
    READ = 1
    WRITE = 2
    EXEC = 4


class MapFlags(IntFlag):
    """MAP_* (asm-generic/mman.h, asm/mman.h)."""

    SHARED = 0x01
    PRIVATE = 0x02
    SHARED_VALIDATE = 0x03
    TYPE = 0x0F
    FIXED = 0x10
    ANONYMOUS = 0x20
    MAP_32BIT = 0x40
    GROWSDOWN = 0x100
    DENYWRITE = 0x800
    EXECUTABLE = 0x1000
    LOCKED = 0x2000
    NORESERVE = 0x4000
    POPULATE = 0x8000
    NONBLOCK = 0x10000
    STACK = 0x20000
    HUGETLB = 0x40000
    SYNC = 0x80000
    FIXED_NOREPLACE = 0x100000


class VmFlags(IntFlag):
    """VM_* that are not rights."""

    NONE = 0
    SHARED = 1 << 0
    GROWSDOWN = 1 << 1
    DONTEXPAND = 1 << 2
    DONTCOPY = 1 << 3
    NORESERVE = 1 << 4
    ACCOUNT = 1 << 5  # its length is promised memory (Committed_AS)
    NEVERWRITE = 1 << 6  # no VM_MAYWRITE: mprotect cannot make it writable (a read-only file, a write seal)
    LOCKED = 1 << 7
    LOCKONFAULT = 1 << 8
    SEQ_READ = 1 << 9
    RAND_READ = 1 << 10
    WIPEONFORK = 1 << 11
    DONTDUMP = 1 << 12
    MERGEABLE = 1 << 13
    HUGEPAGE = 1 << 14
    NOHUGEPAGE = 1 << 15
    SEALED = 1 << 16
    HUGETLB = 1 << 22


class FaultResult(IntEnum):
    """How a page fault ended (vm_fault_t)."""

    MINOR = 0  # the tables were changed; try again
    LINKED = 1  # a shared table was linked; counted apart from minor faults
    RACED = 2  # nothing to do: the entry allows the access already
    MAPERR = 3  # SIGSEGV, SEGV_MAPERR
    ACCERR = 4  # SIGSEGV, SEGV_ACCERR
    ADRERR = 5  # SIGBUS, BUS_ADRERR
    OOM = 6  # no memory left: SIGKILL

    @property
    def resolved(self) -> bool:
        """Whether the access is to be tried again."""
        return self <= FaultResult.RACED


class VmOperations:
    """What a VMA's owner wants to decide itself (vm_operations_struct).  The defaults are those of ordinary memory."""

    #: The size of its pages in bytes.
    page_size = 4096
    #: True if :meth:`fault` resolves every fault; the tables below the VMA are then not the address space's own.
    owns_tables = False
    #: Where :attr:`owns_tables`: the level of the entries, in the address space's own tables, that point at others'.
    link_level = 0
    #: What /proc/PID/smaps shows in VmFlags besides the usual.
    flag_names: tuple[str, ...] = ()

    def fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        """Resolve a fault (only asked where :attr:`owns_tables`)."""
        raise NotImplementedError(f"{type(self).__name__} owns its tables but has no fault handler")

    def gup_fault(self, mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
        """Resolve a fault that the kernel takes on somebody's behalf (only asked where :attr:`owns_tables`)."""
        return self.fault(mm, vma, address, access)

    def object_at(self, vma: Vma, address: int) -> tuple[PageCache, int] | None:
        """What is behind an address: an object and the index of its page (only asked where :attr:`owns_tables`)."""
        return None

    def open(self, mm: AddressSpace, vma: Vma) -> None:
        """One more VMA exists: after fork, split or mmap."""

    def close(self, mm: AddressSpace, vma: Vma) -> None:
        """The VMA is gone."""

    def may_split(self, vma: Vma, address: int) -> None:
        """Raise LinuxError if the VMA cannot be split at this address."""

    def may_unmap(self, vma: Vma, start: int, end: int) -> None:
        """Raise LinuxError if the VMA cannot go when [start, end), which holds a part of it or all, is unmapped."""

    def mprotect(self, vma: Vma, start: int, end: int, prot: Prot) -> None:
        """Raise LinuxError if the rights cannot be changed."""

    def protect(self, mm: AddressSpace, vma: Vma, start: int, end: int, prot: Prot) -> bool:
        """Change the rights of [start, end) in place of mprotect: True if that is done, and the VMA stays as it is."""
        return False

    def protected(self, mm: AddressSpace, vma: Vma) -> None:
        """The VMA's rights have changed (only told where :attr:`owns_tables`: the entries are not mprotect's then)."""

    def mremap(self, vma: Vma, new_start: int) -> None:
        """Raise LinuxError if the VMA cannot be moved."""

    def unmap(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
        """Take [start, end) out of the tables (only asked where :attr:`owns_tables`)."""

    def backing(self, vma: Vma) -> tuple[AddressSpace, int] | None:
        """Where :attr:`owns_tables`: the address space whose tables are linked, and the address there of the VMA's
        first byte."""
        return None

    def check(self, mm: AddressSpace, vma: Vma) -> Iterable[str]:
        """For the audit: what is wrong below the VMA, in sentences (only asked where :attr:`owns_tables`)."""
        return ()

    def name(self, vma: Vma) -> str:
        """The name in /proc/PID/maps; empty for the file's path."""
        return ""


class TableSharer:
    """A design that lets address spaces share tables of huge mappings unasked, as x86 once did (huge_pmd_share).

    Registered in ``MmContext.table_sharers``.  A shared table belongs to one address space, its owner; the entries of
    the others that point at it are links, and counted in ``MmContext.share_counts``.
    """

    def share(self, mm: AddressSpace, vma: Vma, address: int) -> bool:
        """A fault in a huge VMA, and no PMD table there: True if one was linked.  LinuxError(ENOMEM)."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it shares")

    def unshare(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
        """Entries of [start, end) are going to change for this address space alone: afterwards no table that covers
        a part of it may be shared (munmap, mprotect, mremap, truncation).
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to stop sharing")

    def is_link(self, mm: AddressSpace, level: int, address: int) -> bool:
        """For the audit: whether the entry of ``level`` for ``address`` is a link to another's table."""
        raise NotImplementedError(f"{type(self).__name__} does not say what is a link")

    def check(self) -> Iterable[str]:
        """For the audit: what is wrong, in sentences."""
        return ()


_PAGE_BITS = int(entries.P | entries.US | entries.A)
_XD = int(entries.XD)
# plain integers: to ask a flag of an enum takes ten times as long
_WRITE, _EXEC, _SHARED, _HUGETLB = int(Prot.WRITE), int(Prot.EXEC), int(VmFlags.SHARED), int(VmFlags.HUGETLB)


class Vma:
    """[start, end) of an address space: rights, flags, and the page cache behind it (None: private anonymous
    memory).
    """

    __slots__ = (
        "_allowed", "_flags", "_prot", "anon", "end", "file", "huge", "inherited", "ops", "page_bits", "page_cache",
        "pgoff", "private_data", "shared", "start",
    )  # fmt: skip

    def __init__(
        self,
        start: int,
        end: int,
        prot: Prot,
        flags: VmFlags = VmFlags.NONE,
        *,
        page_cache: PageCache | None = None,
        file: File | None = None,
        pgoff: int = 0,
        ops: VmOperations | None = None,
        private_data: Any = None,
    ) -> None:
        self.start = start
        self.end = end
        self.prot = prot
        self.flags = flags
        self.page_cache = page_cache
        self.file = file
        self.pgoff = pgoff
        self.ops = ops
        self.private_data = private_data
        #: It has had private pages, so that fork must copy its entries (the kernel's anon_vma).
        self.anon = False
        #: Where its private pages were there when fork made this VMA: which that was (an anon_vma of its own).
        self.inherited: object = None

    @property
    def prot(self) -> Prot:
        """The rights."""
        return self._prot

    @prot.setter
    def prot(self, prot: Prot) -> None:
        self._prot = prot
        # faults ask these questions often: answer them once, in plain integers
        bits = int(prot)
        self._allowed = (bits != 0, bits & _WRITE != 0, bits & _EXEC != 0)
        #: What every entry of the VMA carries, but for RW: vm_page_prot.
        self.page_bits = _PAGE_BITS | (0 if bits & _EXEC else _XD)

    @property
    def flags(self) -> VmFlags:
        """VM_* that are not rights."""
        return self._flags

    @flags.setter
    def flags(self, flags: VmFlags) -> None:
        self._flags = flags
        bits = int(flags)
        #: MAP_SHARED.
        self.shared = bits & _SHARED != 0
        #: Mapped by entries for 2 MiB, from the pool of huge pages.
        self.huge = bits & _HUGETLB != 0

    @property
    def length(self) -> int:
        """Bytes."""
        return self.end - self.start

    @property
    def anonymous(self) -> bool:
        """Private anonymous memory (vma_is_anonymous), that of /dev/zero included."""
        return self.page_cache is None and self.ops is None

    def index_of(self, address: int) -> int:
        """The page of the page cache that ``address`` shows."""
        return self.pgoff + ((address - self.start) >> 12)

    def allows(self, access: Access) -> bool:
        """Whether the VMA's rights cover the access.  On x86 anything writable or executable can be read."""
        return self._allowed[access]

    def copy(self, start: int, end: int) -> Vma:
        """A VMA for [start, end) of the same mapping."""
        pgoff = self.pgoff + ((start - self.start) >> 12)
        part = Vma(
            start, end, self.prot, self.flags, page_cache=self.page_cache, file=self.file, pgoff=pgoff, ops=self.ops,
            private_data=self.private_data,
        )  # fmt: skip
        part.anon = self.anon
        part.inherited = self.inherited
        return part

    def __repr__(self) -> str:
        return f"<Vma {self.start:x}-{self.end:x} {self.prot!r} {self.flags!r}>"


class VmaTree:
    """The VMAs of an address space, by address; they never overlap."""

    def __init__(self) -> None:
        self._by_start: SortedDict[int, Vma] = SortedDict()
        self._last: Vma | None = None

    def find(self, address: int) -> Vma | None:
        """The VMA that holds the address."""
        last = self._last
        if last is not None and last.start <= address < last.end:
            return last
        index = self._by_start.bisect_right(address) - 1
        if index < 0:
            return None
        vma: Vma = self._by_start.peekitem(index)[1]
        if address < vma.end:
            self._last = vma
            return vma
        return None

    def next_above(self, address: int) -> Vma | None:
        """The lowest VMA that starts above the address."""
        index = self._by_start.bisect_right(address)
        return self._by_start.peekitem(index)[1] if index < len(self._by_start) else None

    def overlapping(self, start: int, end: int) -> list[Vma]:
        """Every VMA that shares an address with [start, end), lowest first."""
        first = self.find(start)
        found = [first] if first is not None else []
        found += [self._by_start[key] for key in self._by_start.irange(start, end, (first is None, False))]
        return found

    def add(self, vma: Vma) -> None:
        """Insert; it must not overlap any other."""
        self._by_start[vma.start] = vma
        self._last = None

    def remove(self, vma: Vma) -> None:
        """Take out."""
        del self._by_start[vma.start]
        self._last = None

    def __iter__(self) -> Iterator[Vma]:
        return iter(self._by_start.values())

    def __reversed__(self) -> Iterator[Vma]:
        return reversed(self._by_start.values())

    def __len__(self) -> int:
        return len(self._by_start)


#: VM_SPECIAL: VMAs that are never merged.
_NEVER_MERGED = VmFlags.DONTEXPAND


def can_merge(low: Vma, high: Vma) -> bool:
    """Whether two VMAs may become one: they adjoin, have the same rights and flags, and show the same object in order.

    Private pages that fork has brought must be of the same VMA of the parent's, so that the kernel finds them from both
    processes (is_mergeable_anon_vma).
    """
    if low.end != high.start or low.prot != high.prot or low.flags != high.flags or low.flags & _NEVER_MERGED:
        return False
    if low.file is not high.file or low.page_cache is not high.page_cache or low.ops or high.ops:
        return False
    if low.pgoff + (low.length >> PAGE_SHIFT) != high.pgoff:
        return False
    return low.inherited is high.inherited and (low.anon == high.anon or low.inherited is None)


def merge_neighbours(vmas: VmaTree, vma: Vma) -> Vma:
    """Join a VMA of the tree with the one below and the one above where that is possible; returns what it became."""
    below = vmas.find(vma.start - 1)
    if below is not None and can_merge(below, vma):
        vma = _absorb(vmas, below, vma)
    above = vmas.find(vma.end)
    if above is not None and can_merge(vma, above):
        vma = _absorb(vmas, vma, above)
    return vma


def _absorb(vmas: VmaTree, low: Vma, high: Vma) -> Vma:
    vmas.remove(high)
    low.end = high.end
    low.anon |= high.anon
    if high.page_cache is not None:
        del high.page_cache.mappings[high]
    if high.file is not None:
        high.file.put()
    return low

"""Virtual memory areas: the mappings of an address space, with their rights and backing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.linux.mman import Prot
from emu.mm.flags import VmFlags
from emu.mm.ordinary import ORDINARY
from mmu import entries
from mmu.memory import PAGE_SHIFT
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.mm.kmem import Kmem
    from emu.mm.pagecache import PageCache
    from emu.mm.swapahead import ReadAhead
    from emu.mm.userfault import UserfaultContext
    from emu.mm.vmops import MappedFile, VmOperations

#: No hint and no stack goes below (CONFIG_LSM_MMAP_MIN_ADDR); and vm.mmap_min_addr, below which only root maps.
MMAP_MIN_ADDR, DAC_MMAP_MIN_ADDR = 0x10000, 0x1000
#: The gap that a stack keeps to the mapping below.
STACK_GUARD_GAP = 1 << 20
_PAGE_BITS = int(entries.P | entries.US | entries.A)
_RW, _XD = int(entries.RW), int(entries.XD)
# plain integers: testing an enum flag takes ten times as long
_WRITE, _EXEC, _SHARED, _GROWSDOWN = int(Prot.WRITE), int(Prot.EXEC), int(VmFlags.SHARED), int(VmFlags.GROWSDOWN)


#: Flags that say more of memory than that it is promised, or that huge pages are not wanted.
_SPECIAL = ~int(VmFlags.ACCOUNT | VmFlags.NORESERVE | VmFlags.NOHUGEPAGE)
_WRITES = int(Access.WRITE)


class AnonVma:
    """What finds the private pages of a VMA, and of those that were split from it (struct anon_vma, mm/rmap.c): VMAs
    with one each do not become one.
    """

    __slots__ = ("forked",)

    def __init__(self, *, forked: bool = False) -> None:
        #: Whether fork made it, so that pages of the parent's VMAs may be found through it too: its anon_vma_chain is
        #: not singular.
        self.forked = forked


class Vma:
    """[start, end) of an address space: rights, flags, the operations of its memory, and the page cache behind it, if
    there is one.
    """

    __slots__ = (
        "_flags", "_prot", "allowed", "anon_vma", "bits", "cached_bits", "end", "file", "ops", "page_bits",
        "kmem", "page_cache", "pgoff", "policy", "private_data", "shared", "start", "swap_readahead", "uffd",
    )  # fmt: skip

    #: Where it is charged, while it is in a tree.
    kmem: Kmem

    def __init__(
        self,
        start: int,
        end: int,
        prot: Prot,
        flags: VmFlags = VmFlags.NONE,
        *,
        page_cache: PageCache | None = None,
        file: MappedFile | None = None,
        pgoff: int = 0,
        ops: VmOperations = ORDINARY,
        private_data: Any = None,
    ) -> None:
        self.start = start
        self.end = end
        self._prot = prot
        self._flags = flags
        rights = int(prot)
        #: Whether the rights cover each access, by its number.
        self.allowed = (rights != 0, rights & _WRITE != 0, rights & _EXEC != 0)
        #: The bits of every entry of the VMA, except RW: vm_page_prot.
        self.page_bits = _PAGE_BITS | (0 if rights & _EXEC else _XD)
        #: The flags as a plain integer.
        self.bits = bits = int(flags)
        #: MAP_SHARED.
        self.shared = bits & _SHARED != 0
        #: The bits of an entry for a page of the page cache: a private mapping gets write access only with a copy.
        self.cached_bits = self.page_bits | (_RW if bits & _SHARED and rights & _WRITE else 0)
        self.page_cache = page_cache
        self.file = file
        self.pgoff = pgoff
        self.ops = ops
        self.private_data = private_data
        #: There once it has had private pages, so that fork must copy its entries (:meth:`VmaTree.anon_vma_prepare`).
        self.anon_vma: AnonVma | None = None
        #: The NUMA policy that mbind(2) gave it: mode with flags, and nodes (vm_policy).
        self.policy: tuple[int, int] | None = None
        #: The userfaultfd with which it is registered (vm_userfaultfd_ctx).
        self.uffd: UserfaultContext | None = None
        #: Once a page of it has come back from swap (swap_readahead_info).
        self.swap_readahead: ReadAhead | None = None

    @property
    def prot(self) -> Prot:
        """The rights."""
        return self._prot

    @prot.setter
    def prot(self, prot: Prot) -> None:
        self._prot = prot
        self._answer()

    @property
    def flags(self) -> VmFlags:
        """VM_* that are not rights."""
        return self._flags

    @flags.setter
    def flags(self, flags: VmFlags) -> None:
        self._flags = flags
        self._answer_flags()

    # faults need these often: compute them once, as plain integers

    def _answer(self) -> None:
        bits = int(self._prot)
        self.allowed = (bits != 0, bits & _WRITE != 0, bits & _EXEC != 0)
        self.page_bits = page_bits = _PAGE_BITS | (0 if bits & _EXEC else _XD)
        # as _answer_flags()
        self.bits = flags = int(self._flags)
        self.shared = shared = flags & _SHARED != 0
        self.cached_bits = page_bits | (_RW if shared and bits & _WRITE else 0)

    def _answer_flags(self) -> None:
        self.bits = int(self._flags)
        self.shared = self.bits & _SHARED != 0
        self.cached_bits = self.page_bits | (_RW if self.shared and self.allowed[_WRITES] else 0)

    def change(self, prot: Prot, flags: VmFlags) -> None:
        """Give it other rights and flags."""
        self._prot, self._flags = prot, flags
        self._answer()

    @property
    def length(self) -> int:
        """The length in bytes."""
        return self.end - self.start

    @property
    def ordinary(self) -> bool:
        """Whether no module and no special kind of memory says how faults are resolved."""
        return self.ops is ORDINARY

    @property
    def anonymous(self) -> bool:
        """Whether it is private anonymous memory (vma_is_anonymous), including that of /dev/zero."""
        return self.page_cache is None and self.ops is ORDINARY

    @property
    def plain(self) -> bool:
        """Whether it is private anonymous memory of which nothing is special (:mod:`emu.mm.private`), without code."""
        if self.bits & _SPECIAL or self.page_cache is not None or self.file is not None:
            return False
        return self.ops is ORDINARY and not self._prot & _EXEC

    @property
    def object(self) -> MappedFile | PageCache | None:
        """What it maps (vm_file): an open file, or shared memory without a name."""
        return self.file if self.file is not None else self.page_cache

    @property
    def writes_through(self) -> bool:
        """VM_SHARED: a shared mapping of a file that was opened for reading alone counts as private (do_mmap)."""
        return self.shared and (self.file is None or self.file.writable)

    def index_of(self, address: int) -> int:
        """The index of the page of the page cache at ``address``."""
        return self.pgoff + ((address - self.start) >> 12)

    def allows(self, access: Access) -> bool:
        """Whether the VMA's rights cover the access.  On x86 writable or executable memory can be read."""
        return self.allowed[access]

    def drop_cache(self) -> None:
        """It is gone: its page cache is told."""
        cache = self.page_cache
        assert cache is not None
        del cache.mappings[self]
        if self.file is None and not cache.mappings:
            cache.release()  # shared anonymous memory whose last mapping has gone

    def copy(self, start: int, end: int) -> Vma:
        """A VMA for [start, end) of the same mapping."""
        part = Vma.__new__(Vma)  # fork makes many
        part.start, part.end, part.pgoff = start, end, self.pgoff + ((start - self.start) >> 12)
        part._prot, part._flags, part.bits, part.allowed = self._prot, self._flags, self.bits, self.allowed
        part.page_bits, part.cached_bits, part.shared = self.page_bits, self.cached_bits, self.shared
        part.page_cache, part.file, part.ops, part.private_data = (
            self.page_cache,
            self.file,
            self.ops,
            self.private_data,
        )
        part.anon_vma, part.policy, part.uffd = self.anon_vma, self.policy, self.uffd
        part.swap_readahead = self.swap_readahead
        return part

    def __repr__(self) -> str:
        return f"<Vma {self.start:x}-{self.end:x} {self.prot!r} {self.flags!r}>"


def vm_start_gap(vma: Vma) -> int:
    """Where the gap begins that a mapping which grows down keeps to what is below; else its start."""
    return max(vma.start - STACK_GUARD_GAP, 0) if vma.bits & _GROWSDOWN else vma.start


#: VM_SPECIAL: VMAs that are never merged.
_NEVER_MERGED = int(VmFlags.DONTEXPAND)
_MAYBE_GUARD = int(VmFlags.MAYBE_GUARD)


def can_merge(low: Vma, high: Vma) -> bool:
    """Whether two VMAs may become one: they adjoin, have the same rights and flags, map the same object in order, and
    their private pages can be found together.
    """
    if low._prot is not high._prot and low._prot != high._prot:
        return False
    if not same_flags(low, high) or low.bits & _NEVER_MERGED or not low.ops.mergeable:
        return False
    return in_order(low, high) and _is_mergeable_anon_vma(low.anon_vma, high.anon_vma)


def same_flags(low: Vma, high: Vma) -> bool:
    """Whether two VMAs have the same flags, but for those that both would have (VM_IGNORE_MERGE)."""
    return low.bits | _MAYBE_GUARD == high.bits | _MAYBE_GUARD


def in_order(low: Vma, high: Vma) -> bool:
    """Whether two VMAs adjoin and map the same object in order."""
    return (
        low.end == high.start
        and low.policy == high.policy
        and low.uffd is high.uffd
        and low.file is high.file
        and low.page_cache is high.page_cache
        and low.ops is high.ops
        and low.pgoff + (low.length >> PAGE_SHIFT) == high.pgoff
    )


def _is_mergeable_anon_vma(low: AnonVma | None, high: AnonVma | None) -> bool:
    """Whether what finds their private pages lets two VMAs become one."""
    if low is None or high is None:
        one = low or high
        return one is None or not one.forked
    return low is high

"""The pool of 2 MiB pages, and the promises of them (mm/hugetlb.c).

A huge page is a block of 512 frames, contiguous and aligned.  It is identified by its first frame, the *head*, and
counted as a whole: each entry that maps it holds one reference, and so does a page cache.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.frames import FrameAllocator
from emu.mm.pagecache import PageCache
from emu.mm.pageflags import BLOCK_FRAMES
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.frameusers import FrameHolder
    from emu.mm.vma import Vma

HPAGE_SHIFT = 21
HPAGE_SIZE = 1 << HPAGE_SHIFT
_ORDER = HPAGE_SHIFT - PAGE_SHIFT
#: MAP_HUGE_* and MFD_HUGE_*: the binary logarithm of the page size, in these bits of the flags; 0 is the default size.
HUGE_SIZE_SHIFT, HUGE_SIZE_MASK = 26, 0x3F


def hpage_align(length: int) -> int:
    """Rounded up to whole huge pages."""
    return (length + HPAGE_SIZE - 1) & -HPAGE_SIZE


def is_huge_size(flags: int) -> bool:
    """Whether MAP_HUGE_* in the flags asks for an existing size: 2 MiB."""
    return flags >> HUGE_SIZE_SHIFT & HUGE_SIZE_MASK in (0, HPAGE_SHIFT)


class HugePagePool:
    """The huge pages of a machine: sized by ``vm.nr_hugepages``, taken at faults, promised at mmap."""

    def __init__(self, frames: FrameAllocator, before_give_back: Callable[[], None] = lambda: None) -> None:
        """``before_give_back`` is called before a page leaves the pool, so that no TLB leads to its next use."""
        self.frames = frames
        self._before_give_back = before_give_back
        #: References to each page of the pool, by its head; 0 for a free one.
        self.counts: dict[int, int] = {}
        self._free: list[int] = []
        self._dirty: set[int] = set()
        #: Free pages that are promised (HugePages_Rsvd).
        self.reserved = 0
        #: Pages in use that leave the pool when they are freed, since it was made smaller (HugePages_Surp).
        self.surplus = 0

    @property
    def total(self) -> int:
        """HugePages_Total."""
        return len(self.counts)

    @property
    def free(self) -> int:
        """HugePages_Free, the promised ones included."""
        return len(self._free)

    @property
    def size(self) -> int:
        """vm.nr_hugepages: the size to which the pool was last set, as far as memory allowed."""
        return self.total - self.surplus

    def resize(self, size: int) -> None:
        """Set vm.nr_hugepages; the pool gets fewer pages if contiguous memory is short, and keeps more if they are in
        use or promised (these become surplus).
        """
        while self.surplus and size > self.size:
            self.surplus -= 1
        while self.size < size:
            try:
                head = self.frames.take_any_block()
            except LinuxError:
                return
            self.counts[head] = 0
            self._free.insert(0, head)
        while self.size > size and len(self._free) > self.reserved:
            self._give_back(self._free.pop(0))
        self.surplus += max(0, self.size - size)

    def _give_back(self, head: int) -> None:
        self._before_give_back()
        del self.counts[head]
        self._dirty.discard(head)
        self.frames.give_block(head)

    def holds(self, frame: int) -> bool:
        """Whether a frame belongs to a page of the pool."""
        return frame & -BLOCK_FRAMES in self.counts

    # -- promises --------------------------------------------------------------------------------------------------

    def reserve(self, number: int) -> None:
        """Promise ``number`` pages (hugetlb_acct_memory).  LinuxError(ENOMEM) if too few are free and unpromised."""
        if number > len(self._free) - self.reserved:
            raise LinuxError(errno.ENOMEM)
        self.reserved += number

    def unreserve(self, number: int) -> None:
        """Take promises back."""
        assert 0 <= number <= self.reserved, "HugePagePool.unreserve: more than was promised"
        self.reserved -= number

    # -- pages -----------------------------------------------------------------------------------------------------

    def alloc(self, *, promised: bool) -> int:
        """A zeroed page with one reference; ``promised`` uses up a promise.  LinuxError(ENOSPC) if there is none."""
        if promised:
            self.unreserve(1)
        elif len(self._free) <= self.reserved:
            raise LinuxError(errno.ENOSPC, "no huge page is free")
        head = self._free.pop()
        self.counts[head] = 1
        if head in self._dirty:
            self.frames.clear_block(head)
        self._dirty.add(head)
        return head

    def get(self, head: int) -> None:
        """Take one more reference."""
        self.counts[head] += 1

    def put(self, head: int) -> bool:
        """Drop a reference; True if it was the last, and the page is free."""
        self.counts[head] -= 1
        if self.counts[head]:
            assert self.counts[head] > 0, f"HugePagePool.put: page {head:#x} has no reference to drop"
            return False
        if self.surplus:
            self.surplus -= 1
            self._give_back(head)
        else:
            self._free.append(head)
        return True

    def check(self, references: dict[int, int], promised: int) -> Iterator[str]:
        """Findings for the audit, which has counted references to heads and promises, a sentence each."""
        for head in references.keys() - self.counts.keys():
            yield f"huge page {head:#x} is in use but not in the pool"
        for head, count in self.counts.items():
            if count != references.get(head, 0):
                yield f"huge page {head:#x} has {count} references, and {references.get(head, 0)} were found"
        if sorted(self._free) != sorted(head for head, count in self.counts.items() if not count):
            yield "the free huge pages are not those without references"
        if promised != self.reserved or promised > len(self._free):
            yield f"{self.reserved} of {len(self._free)} free huge pages are accounted for as promised, {promised} are"

    def meminfo(self) -> Iterator[tuple[str, int, str]]:
        """The lines of /proc/meminfo: name, number, unit."""
        yield "HugePages_Total", self.total, ""
        yield "HugePages_Free", self.free, ""
        yield "HugePages_Rsvd", self.reserved, ""
        yield "HugePages_Surp", self.surplus, ""
        yield "Hugepagesize", HPAGE_SIZE >> 10, " kB"
        yield "Hugetlb", self.total * (HPAGE_SIZE >> 10), " kB"


class HugePageCache(PageCache):
    """The huge pages of one file.  Indices of the base class count 4 KiB pages; indices of huge pages are called
    ``number`` here.

    A shared mapping reserves every page that it covers, and the promises belong to the file (its resv_map): a number
    stays in :attr:`promised` from then on, whether or not its page exists.
    """

    def __init__(self, pool: HugePagePool) -> None:
        super().__init__(pool.frames)
        self.pool = pool
        self.heads: dict[int, int] = {}
        self.promised: set[int] = set()

    @property
    def outstanding(self) -> int:
        """Promises whose page does not exist yet."""
        return len(self.promised) - len(self.heads)

    def pages(self) -> Iterator[tuple[int, int]]:
        return iter(())  # the frame allocator does not count the pool's frames: the audit uses the heads

    def find(self, index: int) -> int | None:
        head = self.heads.get(index >> _ORDER)
        return None if head is None else head + (index & (BLOCK_FRAMES - 1))

    def promise(self, first: int, last: int) -> None:
        """Reserve the pages [first, last) for a shared mapping (hugetlb_reserve_pages).  LinuxError(ENOMEM)."""
        if last - first - len(self.promised) > self.pool.free:
            raise LinuxError(errno.ENOMEM)
        wanted = [number for number in range(first, last) if number not in self.promised]
        self.pool.reserve(len(wanted))
        self.promised.update(wanted)

    def get_huge(self, number: int) -> int:
        """The head of a page, made if it does not exist.  LinuxError(ENOSPC) if the pool has none."""
        head = self.heads.get(number)
        if head is None:
            head = self.heads[number] = self.pool.alloc(promised=number in self.promised)
            self.promised.add(number)
            self.nr_pages += BLOCK_FRAMES
        return head

    def read(self, position: int, length: int) -> bytes:
        parts = []
        end = position + length
        while position < end:
            offset = position & (HPAGE_SIZE - 1)
            step = min(HPAGE_SIZE - offset, end - position)
            head = self.heads.get(position >> HPAGE_SHIFT)
            start = 0 if head is None else (head << PAGE_SHIFT) + offset
            parts.append(bytes(step) if head is None else bytes(self.pool.frames.ram.view[start : start + step]))
            position += step
        return b"".join(parts)

    def clear(self, start: int, end: int) -> None:
        """Zero a byte range within one page, if that page exists."""
        head = self.heads.get(start >> HPAGE_SHIFT)
        while head is not None and start < end:
            offset = start & ((1 << PAGE_SHIFT) - 1)
            step = min((1 << PAGE_SHIFT) - offset, end - start)
            self.pool.frames.write(head + (start >> PAGE_SHIFT & (BLOCK_FRAMES - 1)), offset, bytes(step))
            start += step

    def truncate(self, size: int) -> None:
        self.size = size
        self.punch(size >> PAGE_SHIFT, 1 << 52, even_cows=True)

    def punch(self, first: int, last: int, *, even_cows: bool = False) -> None:
        """Drop whole huge pages and their promises, unmapping them everywhere."""
        self.unmap(first, last, even_cows=even_cows)
        low, high = first >> _ORDER, last >> _ORDER
        for number in [n for n in self.promised if low <= n < high]:
            self.promised.discard(number)
            head = self.heads.pop(number, None)
            if head is None:
                self.pool.unreserve(1)
            else:
                self.pool.put(head)
                self.nr_pages -= BLOCK_FRAMES

    def release(self) -> None:
        if self.mappings:
            raise AssertionError("HugePageCache.release: the object is still mapped")
        self.truncate(0)


class Promises:
    """The promises of a private mapping, and which of them have been used (the VMA's resv_map).

    A child's copy of the mapping has none: it gets a page where one is left, else SIGBUS.
    """

    def __init__(self, *, owner: bool) -> None:
        self.owner = owner
        self.used: set[int] = set()
        #: The owner took pages back from this copy, and they stay missing (HPAGE_RESV_UNMAPPED).
        self.robbed = False


def promises_of(vma: Vma) -> Promises:
    """The promises of a private mapping."""
    promises = vma.private_data
    assert isinstance(promises, Promises)
    return promises


def numbers_of(vma: Vma) -> range:
    """The numbers of the file's huge pages that a VMA maps."""
    first = vma.pgoff >> _ORDER
    return range(first, first + (vma.length >> HPAGE_SHIFT))


def number_of(vma: Vma, address: int) -> int:
    """The number of the file's huge page at ``address``."""
    return (vma.pgoff >> _ORDER) + ((address - vma.start) >> HPAGE_SHIFT)


def cache_of(vma: Vma) -> HugePageCache:
    """The huge pages of the VMA's file."""
    cache = vma.page_cache
    assert isinstance(cache, HugePageCache)
    return cache


def outstanding(vma: Vma) -> int:
    """How many promised pages a VMA has not used; promises of a shared mapping belong to the file."""
    if vma.shared or not promises_of(vma).owner:
        return 0
    used = promises_of(vma).used
    return vma.length // HPAGE_SIZE - sum(number in used for number in numbers_of(vma))


def promised_pages(spaces: Iterable[AddressSpace], caches: Iterable[FrameHolder]) -> int:
    """Every promise that files and private mappings hold, for the audit to compare with the pool."""
    files = sum(cache.outstanding for cache in caches if isinstance(cache, HugePageCache))
    return files + sum(vma.ops.outstanding(vma) for mm in spaces for vma in mm.vmas)

"""The settings of transparent huge pages, and what is counted of them (/sys/kernel/mm/transparent_hugepage)."""

from __future__ import annotations

from collections import Counter

from emu.linux.errors import LinuxError
from emu.mm.flags import VmFlags
from emu.mm.frames import FrameAllocator
from emu.mm.pageflags import BLOCK_FRAMES, PG_LARGE, FrameKind
from mmu.late import np
from mmu.memory import PAGE_SIZE

#: HPAGE_PMD_ORDER, and the order of the smallest folios of private and of shared memory.
PMD_ORDER, LEAST_ANON, LEAST_SHMEM = 9, 2, 1
#: The words of the files, in the order in which they are shown.
ENABLED = ("always", "madvise", "never")
DEFRAG = ("always", "defer", "defer+madvise", "madvise", "never")
SHMEM_ENABLED = ("always", "within_size", "advise", "never", "deny", "force")
ANON_OF_SIZE = ("always", "inherit", "madvise", "never")
SHMEM_OF_SIZE = ("always", "inherit", "within_size", "advise", "never")
_HUGEPAGE, _NOHUGEPAGE = VmFlags.HUGEPAGE, VmFlags.NOHUGEPAGE
#: PR_THP_DISABLE_EXCEPT_ADVISED, beside the bit that says that there is a restriction.
EXCEPT_ADVISED = 2
#: What /sys counts of folios of a size (mthp_stat_item), and what besides of those that private memory may have.
STATS = (
    "zswpout", "swpin", "swpin_fallback", "swpin_fallback_charge", "swpout", "swpout_fallback", "shmem_alloc",
    "shmem_fallback", "shmem_fallback_charge", "split", "split_failed",
)  # fmt: skip
ANON_STATS = (
    "anon_fault_alloc", "anon_fault_fallback", "anon_fault_fallback_charge", "split_deferred", "nr_anon",
    "nr_anon_partially_mapped",
)  # fmt: skip


class TransparentHugePages:
    """Of one machine."""

    def __init__(self) -> None:
        self.enabled = self.defrag = "madvise"
        self.shmem_enabled = "never"
        #: huge= of the kernel's own tmpfs: what shmem_enabled was last set to, but for deny and force.
        self.shm_mnt = "never"
        self.use_zero_page = self.shrink_underused = 1
        #: What holds of folios of each order.
        self.anon_of_size = dict.fromkeys(range(LEAST_ANON, PMD_ORDER), "never") | {PMD_ORDER: "inherit"}
        self.shmem_of_size = dict.fromkeys(range(LEAST_SHMEM, PMD_ORDER), "never") | {PMD_ORDER: "inherit"}
        #: The orders below that of a huge page that private memory may get at a fault, the largest first.
        self.small_orders: tuple[int, ...] = ()
        #: thp_* in /proc/vmstat, and what is counted of each order.
        self.events: Counter[str] = Counter()
        self.stats: dict[int, Counter[str]] = {order: Counter() for order in range(LEAST_SHMEM, PMD_ORDER + 1)}
        #: Whether there may be memory that wants huge pages: khugepaged has work (khugepaged_enter).
        self.used = False
        self._zero: int | None = None

    @property
    def unasked(self) -> bool:
        """Whether a program may get huge pages that has not asked for any."""
        return self.enabled == "always" or "always" in self.anon_of_size.values()

    def sizes_changed(self) -> None:
        """A setting of a size has changed."""
        chosen = (order for order, setting in self.anon_of_size.items() if setting != "never" and order != PMD_ORDER)
        self.small_orders = tuple(sorted(chosen, reverse=True))

    def allows_anon(self, flags: VmFlags, order: int) -> bool:
        """Whether faults may map folios of this order in private memory (thp_vma_allowable_orders)."""
        setting = self.anon_of_size[order]
        if setting == "inherit":
            setting = self.enabled
        return setting == "always" or (setting == "madvise" and bool(flags & _HUGEPAGE))

    # -- shared memory ---------------------------------------------------------------------------------------------

    @property
    def shmem_unasked(self) -> bool:
        """Whether unnamed shared memory may get huge pages by some setting, or after advice."""
        setting = self.shmem_of_size[PMD_ORDER]
        return setting not in ("never", "inherit") or self.shm_mnt != "never"

    def allows_shmem(self, huge: str, index: int, size: int, flags: VmFlags | None) -> bool:
        """Whether a page of an instance of tmpfs with ``huge=`` may be huge (shmem_huge_global_enabled); ``size`` is
        that of the file, or becomes it, and ``flags`` those of the VMA, if it is a fault.
        """
        if self.shmem_enabled in ("deny", "force"):
            return self.shmem_enabled == "force"
        if huge == "always" or (huge == "within_size" and _within(index, size)):
            return True
        return huge in ("within_size", "advise") and flags is not None and bool(flags & _HUGEPAGE)

    def allows_unnamed(self, index: int, size: int, flags: VmFlags, *, inherited: bool) -> bool:
        """The same of a fault on unnamed shared memory, by the setting of the size."""
        setting = self.shmem_of_size[PMD_ORDER]
        if self.shmem_enabled == "deny":
            return False
        if self.shmem_enabled == "force" or setting == "inherit":
            return inherited and setting == "inherit"
        if setting == "always" or (setting == "within_size" and _within(index, size)):
            return True
        return setting == "advise" and bool(flags & _HUGEPAGE)

    def tell_caches(self, frames: FrameAllocator) -> None:
        """A setting has changed: objects that exist may get huge pages from now on."""
        for cache in frames.page_caches:
            cache.settings_changed()

    # -- counts ----------------------------------------------------------------------------------------------------

    def compacts(self, flags: VmFlags) -> bool:
        """Whether a fault has pages moved, or reclaimed, for want of a huge page (vma_thp_gfp_mask)."""
        return self.defrag == "always" or (bool(flags & _HUGEPAGE) and "madvise" in self.defrag)

    def count(self, event: str, number: int = 1) -> None:
        """Something has happened, as /proc/vmstat calls it."""
        self.events[event] += number

    def zero_block(self, frames: FrameAllocator) -> int:
        """The head of the page of zeros, made when it is first needed.  LinuxError(ENOMEM)."""
        if self._zero is None:
            try:
                self._zero = frames.alloc_block(FrameKind.RESERVED, flags=PG_LARGE)
            except LinuxError:
                self.count("thp_zero_page_alloc_failed")
                raise
            self.count("thp_zero_page_alloc")
        return self._zero

    def is_zero(self, frame: int) -> bool:
        """Whether a frame belongs to it."""
        return self._zero is not None and self._zero <= frame < self._zero + BLOCK_FRAMES


def _within(index: int, size: int) -> bool:
    """Whether the 2 MiB around an index end within so many bytes (shmem_get_orders_within_size)."""
    return -(-size // PAGE_SIZE) >= (index | BLOCK_FRAMES - 1) + 1


def is_disabled(flags: VmFlags, thp_disable: int, *, forced: bool = False) -> bool:
    """Whether the VMA's flags or PR_SET_THP_DISABLE forbid huge pages (vma_thp_disabled); ``forced`` is
    MADV_COLLAPSE.
    """
    if flags & _NOHUGEPAGE:
        return True
    if not thp_disable:
        return False
    return not thp_disable & EXCEPT_ADVISED or not (forced or flags & _HUGEPAGE)


def anon_folios(frames: FrameAllocator, *, partly_mapped: bool) -> int:
    """How many huge pages of private memory there are that have not been split, or those of which a part is gone
    (MTHP_STAT_NR_ANON and its like).
    """
    large = np.flatnonzero((frames.kinds == FrameKind.ANON) & (frames.flags & PG_LARGE != 0))
    sizes = np.bincount(large // BLOCK_FRAMES) if len(large) else np.zeros(0, dtype=np.int64)
    return int(np.count_nonzero((sizes > 0) & (sizes < BLOCK_FRAMES) if partly_mapped else sizes))

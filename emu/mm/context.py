"""The state that all address spaces of a machine share."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.clock import Clock
from emu.linux.errors import LinuxError
from emu.linux.limits import Rlimit
from emu.linux.stop import Stop
from emu.mm.commit import Commit
from emu.mm.fastentries import FastEntries
from emu.mm.frames import FrameAllocator
from emu.mm.sharecounts import ShareCounts
from emu.mm.swapcache import Swap
from emu.mm.thp import TransparentHugePages
from emu.mm.tlbflush import TlbFlusher
from emu.mm.userfault import Userfault, Waiting
from emu.mm.vmops import MapHook, MappedFile, TableSharer
from emu.mm.watermarks import Watermarks
from mmu.record import field, record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from emu.mm.address_space import AddressSpace


@record(eq=False, repr=False)
class MmContext:
    """What a machine has once, for all its address spaces."""

    frames: FrameAllocator
    flusher: TlbFlusher
    share_counts: ShareCounts
    #: Every address space that exists, host mms included, by serial number: the audit walks them.
    address_spaces: dict[int, AddressSpace]
    #: Levels of the page tables: 4, or 5 (CR4.LA57).
    levels: int = 4
    #: Designs that share tables of huge mappings between address spaces automatically.
    table_sharers: list[TableSharer] = field(default_factory=list)
    #: Hooks of modules, called for new mappings.
    map_hooks: list[MapHook] = field(default_factory=list)
    #: Returns the current task's soft limit of a resource, None for infinite.
    limit: Callable[[Rlimit], int | None] = lambda resource: None
    #: Returns its hard limit, likewise.
    hard_limit: Callable[[Rlimit], int | None] = lambda resource: None
    #: Told what work costs.
    clock: Clock = field(default_factory=lambda: Clock(lambda: 0))
    #: Whether the current task may map below DAC_MMAP_MIN_ADDR (CAP_SYS_RAWIO).
    may_map_low: Callable[[], bool] = lambda: False
    #: Whether the current task owns an open file or may write to it, so that it may learn which of its pages are in
    #: memory, and send them out (can_do_mincore, can_do_file_pageout).
    may_write: Callable[[MappedFile], bool] = lambda file: True
    #: Each frees so many frames of memory that processes have given up, if there are, and says how many.
    shrinkers: list[Callable[[int], int]] = field(default_factory=list)
    #: Looked at where much is done at once.
    stop: Stop = field(default_factory=Stop)
    #: vm.max_map_count: the most VMAs of an address space, which splitting one may not exceed.
    max_map_count: int = 65530
    #: Lets the current task wait for a program that resolves a fault which the kernel has taken.  LinuxError(EFAULT).
    wait_userfault: Callable[[Userfault], None] = lambda fault: _refuse_to_wait()
    #: Lets the current task wait until a monitor has read of a change.
    wait_event: Callable[[Waiting], None] = lambda waiting: None
    #: sysctl vm.unprivileged_userfaultfd.
    unprivileged_userfaultfd: int = 0
    thp: TransparentHugePages = field(default_factory=TransparentHugePages)
    #: Whether the last page was refused since a control group is full, and takes so many pages from that one, if there
    #: are; says how many.
    group_is_full: Callable[[], bool] = lambda: False
    shrink_group: Callable[[int], int] = lambda wanted: 0
    #: Ends a process of that group, if that is another one than this address space's and the one whose turn it is.
    end_one_of_group: Callable[[AddressSpace], bool] = lambda mm: False
    serial: int = 0
    #: Objects of shared anonymous memory so far.
    shmem_inodes: int = 0
    code_ids: int = 0
    #: The code_id that was the last one's with each program.
    programs: dict[object, int] = field(default_factory=dict)

    #: Ends another process than the one that needs a frame and those with this memory, if that one is to be ended.
    out_of_memory: Callable[[AddressSpace], bool] = lambda mm: False
    #: Makes frames free if few are, where pages can go to swap (kswapd).
    balance: Callable[[], None] = lambda: None
    #: Sends so many of these pages to swap; likewise.
    shrink_to_swap: Callable[[int, npt.NDArray[np.bool_]], int] = lambda wanted, among: 0
    #: Makes so many frames free, if they are not; where nobody holds an entry of a table.
    make_room: Callable[[int], None] = lambda number: None
    #: Whether pages can go to swap.
    swapping: bool = False
    swap: Swap = field(init=False)
    #: Many entries of tables at once.
    entries: FastEntries = field(init=False)

    def __post_init__(self) -> None:
        self.commit = Commit(self.frames.total)
        self.swap = Swap(self.frames)
        flusher, swap = self.flusher, self.swap
        self.entries = FastEntries(self.frames, self.levels, lambda: not swap.cached and flusher.detector is None)
        self.swap.areas.changed = self._swap_changed
        self.watermarks = Watermarks(self.frames.total)

    def take_pages(self, wanted: int) -> bool:
        """Make some frames free whose pages can be had again; where nobody holds an entry of a table."""
        reclaimer, before = self.frames.reclaimer, self.frames.free
        if reclaimer is None or not reclaimer.mapped(wanted):
            any(shrink(wanted) for shrink in self.shrinkers)
        return self.frames.free > before

    def _swap_changed(self) -> None:
        self.commit.swap = self.swap.areas.total
        self.swapping = self.frames.balanced = bool(self.swap.areas.by_priority)

    @property
    def map_flags(self) -> int:
        """The flags of mmap(2) that modules have added."""
        flags = 0
        for hook in self.map_hooks:
            flags |= hook.flags
        return flags

    def new_code_id(self) -> int:
        """A number that no code has had before (29 bits)."""
        self.code_ids = (self.code_ids + 1) & 0x1FFFFFFF
        return self.code_ids


def _refuse_to_wait() -> None:
    raise LinuxError(errno.EFAULT)

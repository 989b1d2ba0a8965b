"""The memory controller: which group each frame is charged to, and the limits of groups (mm/memcontrol.c,
mm/page_counter.c).

A page of private memory, of a page cache or of page tables is charged to a group when it is allocated, and keeps that
until it is free, wherever its process goes.  There are groups from the first one that a program makes on; before, and
for all that was there before, nothing is kept.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from emu.linux.errors import LinuxError, NoPage
from emu.mm.kmem import Kmem
from emu.mm.kmemaccount import Account
from emu.mm.pageflags import BLOCK_FRAMES
from mmu.host_array import HostArray
from mmu.late import np
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.frames import FrameAllocator
    from emu.mm.frameusers import Payer
    from emu.mm.freeframes import Frames

#: MEM_CGROUP_ID_MAX.
MOST_GROUPS = (1 << 16) - 1
#: PAGE_COUNTER_MAX.
NO_LIMIT = (1 << 63) - 1 >> 12
#: The lines of memory.events and memory.swap.events.
EVENTS = ("low", "high", "max", "oom", "oom_kill", "oom_group_kill")
SWAP_EVENTS = ("high", "max", "fail")


class MemCgroup:
    """A group of the memory controller (struct mem_cgroup); numbers are pages."""

    def __init__(self, number: int, above: MemCgroup | None, name: str) -> None:
        self.number, self.above, self.name = number, above, name
        self.depth: int = 0 if above is None else above.depth + 1
        #: What is charged here and below, what the group itself has, and the most that the first has been.
        self.usage = self.local = self.peak = 0
        self.low = self.min = 0
        self.high = self.max = NO_LIMIT
        #: The same of slots of swap, and the limits.
        self.swap_usage = self.swap_local = self.swap_peak = 0
        self.swap_high = self.swap_max = NO_LIMIT
        self.oom_group = False
        self.online = True
        self.events, self.local_events = dict.fromkeys(EVENTS, 0), dict.fromkeys(EVENTS, 0)
        self.swap_events = dict.fromkeys(SWAP_EVENTS, 0)
        #: Objects of the kernel that the group itself has: bytes, by the lines of memory.stat, and the pages they fill.
        self.kernel: Counter[str] = Counter()
        self.kernel_pages = 0
        self.accounts: dict[str, Account] = {}
        #: How many pages have been looked at and taken for want of memory, by who did: "direct", "proactive".
        self.scanned, self.stolen = {"direct": 0, "proactive": 0}, {"direct": 0, "proactive": 0}
        #: What has happened to pages here and below, by the names of memory.stat.
        self.happened: Counter[str] = Counter()
        #: The peaks of open files that have been written to.
        self.watchers: list[list[int]] = []
        self.swap_watchers: list[list[int]] = []
        self.on_change: Callable[[str], None] = lambda name: None

    @property
    def chain(self) -> Iterator[MemCgroup]:
        """The group and those above it, but for the root."""
        group: MemCgroup | None = self
        while group is not None and group.above is not None:
            yield group
            group = group.above

    @property
    def in_use(self) -> bool:
        """Whether something is still charged to it."""
        return self.local > 0 or self.swap_local > 0

    def is_inside(self, other: MemCgroup) -> bool:
        """Whether it is another or below it."""
        return other.above is None or other in self.chain

    def add(self, pages: int) -> None:
        """Charge, whatever the limits are (page_counter_charge)."""
        self.local += pages
        for group in self.chain:
            group.usage += pages
            if group.usage > group.peak:
                group.peak = group.usage
            for watcher in group.watchers:
                watcher[0] = max(watcher[0], group.usage)

    def sub(self, pages: int) -> None:
        """Uncharge."""
        self.local -= pages
        for group in self.chain:
            group.usage -= pages
            if group.usage < 0:
                raise AssertionError(f"MemCgroup.sub: {group.name} has less than nothing")

    def over(self, pages: int) -> MemCgroup | None:
        """The first group whose limit so many more pages would exceed."""
        return next((group for group in self.chain if group.usage + pages > group.max), None)

    def add_swap(self, slots: int) -> None:
        """So many slots more, or less, are charged."""
        self.swap_local += slots
        for group in self.chain:
            group.swap_usage += slots
            group.swap_peak = max(group.swap_peak, group.swap_usage)
            for watcher in group.swap_watchers:
                watcher[0] = max(watcher[0], group.swap_usage)
            if slots > 0 and group.swap_usage > group.swap_high:
                group.swap_event("high")

    @property
    def swap_margin(self) -> int:
        """How many slots can still be charged."""
        return max(0, min((group.swap_max - group.swap_usage for group in self.chain), default=NO_LIMIT))

    def swap_event(self, name: str) -> None:
        """Count an event of memory.swap.events."""
        for group in self.chain:
            group.swap_events[name] += 1
            group.on_change("memory.swap.events")

    @property
    def margin(self) -> int:
        """How many pages can still be charged."""
        return max(0, min((group.max - group.usage for group in self.chain), default=NO_LIMIT))

    def offline(self) -> None:
        """The group is gone, or has no limits any more; what is charged to it stays so."""
        self.online, self.low, self.min = False, 0, 0

    def take_over(self, source: Any, task: Any) -> None:
        """A task is here from now on: what it has stays where it is charged."""

    def event(self, name: str, times: int = 1) -> None:
        """Count an event of memory.events, here and above (memcg_memory_event)."""
        self.local_events[name] += times
        self.on_change("memory.events.local")
        for group in self.chain:
            group.events[name] += times
            group.on_change("memory.events")


class MemControl:
    """The charges of a machine; ``current`` gives the group of the task whose turn it is, ``owner`` that of the owner
    of an address space, ``name`` what it is called.
    """

    def __init__(
        self, frames: FrameAllocator, current: Callable[[], MemCgroup], owner: Callable[[Payer], MemCgroup]
    ) -> None:  # fmt: skip
        self._frames, self._current, self._owner = frames, current, owner
        self._owners = HostArray(frames.ram.frames, "H")
        self._at: memoryview[int] = self._owners.view
        self.root = MemCgroup(0, None, "/")
        self._groups: list[MemCgroup | None] = [self.root]
        #: In place of the current task's (set_active_memcg).
        self.active: MemCgroup | None = None
        #: The group without room for which the last charge failed, until one succeeds.
        self.failed: MemCgroup | None = None
        #: Takes unmapped pages of a group (at least one of so many), wherever the kernel is; returns how many.
        self.take_unmapped: Callable[[MemCgroup, int], int] = lambda group, wanted: 0
        #: Told of a charge that takes a group over memory.high.
        self.over_high: Callable[[MemCgroup], None] = lambda group: None

    @property
    def owners(self) -> npt.NDArray[np.uint16]:
        """The number of the group that each frame is charged to; 0: the root's, or nobody's."""
        return self._owners.array

    # -- groups ----------------------------------------------------------------------------------------------------

    @property
    def groups(self) -> list[MemCgroup]:
        """Every group but the root, those included that are gone and still have pages."""
        return [group for group in self._groups[1:] if group is not None]

    def new_group(self, above: MemCgroup, name: str) -> MemCgroup:
        """LinuxError(ENOSPC) if there are too many."""
        for number in range(1, len(self._groups)):
            known = self._groups[number]
            if known is None or not (known.online or known.in_use):
                break
        else:
            number = len(self._groups)
            if number > MOST_GROUPS:
                raise LinuxError(errno.ENOSPC)
            self._groups.append(None)
        made = self._groups[number] = MemCgroup(number, above, name)
        return made

    def numbered(self, number: int) -> MemCgroup:
        """The group with a number."""
        group = self._groups[number]
        assert group is not None, f"MemControl: there is no group {number}"
        return group

    def below(self, top: MemCgroup) -> list[MemCgroup]:
        """The groups of a subtree, itself included, each before those below it."""
        found = {top}
        for group in sorted(self.groups, key=lambda group: group.depth):
            if group.above in found:
                found.add(group)
        return sorted(found, key=lambda group: (group.depth, group.number))

    def charged_to(self, groups: list[MemCgroup]) -> npt.NDArray[np.bool_]:
        """Which frames are charged to one of these."""
        wanted = np.zeros(len(self._groups), dtype=bool)
        wanted[[group.number for group in groups]] = True
        found: npt.NDArray[np.bool_] = wanted[self.owners]
        return found

    def group_of(self, frame: int) -> MemCgroup:
        """The group that a frame is charged to."""
        group = self._groups[self._at[frame]]
        assert group is not None, f"MemControl: frame {frame:#x} is charged to a group that is gone"
        return group

    def payer(self, mm: Payer | None) -> MemCgroup:
        """Who pays for a page of an address space, or of none (get_mem_cgroup_from_mm)."""
        if mm is not None:
            return self._owner(mm) if mm.payer is None else cast(MemCgroup, mm.payer())
        return self._current() if self.active is None else self.active

    # -- charging --------------------------------------------------------------------------------------------------

    def room_for(self, pages: int, mm: Payer | None = None) -> bool:
        """Whether so many pages can be charged, perhaps after unmapped ones have been taken."""
        return self._has_room(self.payer(mm), pages)

    def _has_room(self, group: MemCgroup, pages: int) -> bool:
        while (full := group.over(pages)) is not None:
            full.event("max")
            if not self.take_unmapped(full, full.usage + pages - full.max):
                self.failed = full
                return False
        return True

    def charge(self, frame: int, mm: Payer | None = None) -> None:
        """Charge a frame that has been allocated.  LinuxError(ENOMEM) gives it back."""
        if not self.room_for(1, mm):
            self._frames.put(frame)
            raise NoPage("the control group is full")
        group = self.payer(mm)
        self._at[frame] = group.number
        self._charged(group, 1)

    def charge_many(self, frames: Frames, mm: Payer | None = None) -> Frames:
        """Charge frames, or as many as there is room for; the others are given back."""
        group, number = self.payer(mm), len(frames)
        if number and not self.room_for(number, mm):
            number = min(number, group.margin)
            self._frames.put_many(frames[number:])
            frames = frames[:number]
        self.owners[frames] = group.number
        self._charged(group, number)
        return frames

    def charge_block(self, head: int, mm: Payer | None = None) -> None:
        """Charge the frames of a block.  LinuxError(ENOMEM) gives it back."""
        number = BLOCK_FRAMES
        if not self.room_for(number, mm):
            self._frames.put_block(head)
            raise NoPage("the control group is full")
        group = self.payer(mm)
        self.owners[head : head + number] = group.number
        self._charged(group, number)

    def _charged(self, group: MemCgroup, pages: int) -> None:
        self.failed = None
        group.add(pages)
        high = next((each for each in group.chain if each.usage > each.high), None)
        if high is not None:
            self.over_high(high)

    def uncharge(self, frame: int) -> None:
        """A frame is free."""
        number = self._at[frame]
        if number:
            self.group_of(frame).sub(1)
            self._at[frame] = 0

    def uncharge_many(self, frames: Frames) -> None:
        """Frames are free."""
        numbers = self.owners[frames]
        for number, pages in enumerate(np.bincount(numbers).tolist()):
            if number and pages:
                group = self._groups[number]
                assert group is not None
                group.sub(pages)
        self.owners[frames] = 0

    def happened(self, event: str, frames: Frames | list[int]) -> None:
        """Something has happened to these pages: count it for their groups, and those above."""
        for number, pages in enumerate(np.bincount(self.owners[frames]).tolist()):
            for group in self.numbered(number).chain if number and pages else ():
                group.happened[event] += pages

    # -- objects of the kernel -------------------------------------------------------------------------------------

    def account(self, machine: Kmem, kind: str) -> Kmem:
        """Where what the current task has made is charged; the root's is the machine's alone."""
        group = self.payer(None)
        if group is self.root:
            return machine
        known = group.accounts.get(kind)
        if known is None:
            known = group.accounts[kind] = Account(machine, self, group, kind)
        return known

    def charge_kernel(self, group: MemCgroup, kind: str, size: int, *, at_once: bool = False) -> None:
        """Charge so many bytes more (or less: a negative number); ``at_once``: whatever the limits are, as for whoever
        is not in the group, which suffers nothing for him.  LinuxError(ENOMEM) changes nothing.
        """
        more = self._more_pages(group, size)
        if more > 0 and not at_once and not self._lets(group, more):
            raise NoPage("the control group is full")
        group.kernel[kind] += size
        group.kernel_pages += more
        if more > 0:
            self._charged(group, more)
        elif more:
            group.sub(-more)

    def uncharge_kernel(self, group: MemCgroup, kind: str, size: int) -> None:
        """They are gone."""
        self.charge_kernel(group, kind, -size, at_once=True)

    def reserve_kernel(self, group: MemCgroup, size: int) -> None:
        """Make sure that there is room for so many bytes.  LinuxError(ENOMEM)."""
        if not self._lets(group, self._more_pages(group, size)):
            raise NoPage("the control group is full")

    def has_kernel_room(self, group: MemCgroup, size: int) -> bool:
        """Whether there is, as things are."""
        return group.over(self._more_pages(group, size)) is None

    def _lets(self, group: MemCgroup, pages: int) -> bool:
        return not self.payer(None).is_inside(group) or self._has_room(group, pages)

    @staticmethod
    def _more_pages(group: MemCgroup, size: int) -> int:
        return -(-(group.kernel.total() + size) // PAGE_SIZE) - group.kernel_pages

    def moved(self, source: Frames, target: Frames) -> None:
        """Pages have come to other frames (mem_cgroup_migrate)."""
        self.owners[target], self.owners[source] = self.owners[source], 0

    # -- looking ---------------------------------------------------------------------------------------------------

    def check(self) -> Iterator[str]:
        """For the audit: what groups count against the frames that are charged to them."""
        limit = len(self._groups)
        sums = sums_of({group: group.local for group in self.groups})
        found = np.bincount(self.owners, minlength=limit)
        for number in np.flatnonzero(found[limit:]).tolist():
            yield f"{found[limit + number]} frames are charged to group {limit + number}, which there is not"
        for number, group in enumerate(self._groups):
            pages = int(found[number])
            if group is None and pages and number:
                yield f"{pages} frames are charged to group {number}, which is gone"
            if group is None or group is self.root:
                continue
            pages += -(-group.kernel.total() // PAGE_SIZE)
            if group.local != pages:
                yield f"group {group.name} counts {group.local} pages, and {pages} are charged to it"
            if any(size < 0 for size in group.kernel.values()):
                yield f"group {group.name} has less than nothing of an object of the kernel"
            if group.usage != sums[group]:
                yield f"group {group.name} counts {group.usage} pages here and below, and there are {sums[group]}"
        free = (self.owners != 0) & (self._frames.kinds <= 1)
        for frame in np.flatnonzero(free).tolist():
            yield f"frame {frame:#x}, which is {self._frames.kind(frame).name}, is charged to a group"


def sums_of(local: dict[MemCgroup, int]) -> dict[MemCgroup, int]:
    """What groups have together with those below."""
    sums = dict(local)
    for group in sorted(local, key=lambda group: -group.depth):
        if group.above in sums:
            sums[group.above] += sums[group]
    return sums

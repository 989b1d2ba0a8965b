"""Frames: the use of each 4 KiB of physical memory, and its number of references (mm/page_alloc.c)."""

from __future__ import annotations

import errno
from array import array
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

from emu.linux.errors import LinuxError, NoPage
from emu.mm.freearea import FreeArea
from emu.mm.freeframes import ZERO_PAGE, Frames, ascending
from emu.mm.kmem import Kmem
from emu.mm.lruorder import MANY
from emu.mm.pageflags import BLOCK_FRAMES, PG_LARGE, PG_SWAPCACHE, PG_UNREAD, FrameKind, PageFlags
from mmu.host_array import HostArray
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE, PhysicalMemory

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.frameusers import Charges, FrameHolder, Payer, Reclaimer

#: So many pages are moved at once.
_COPIED = 128
#: So many frames are worth the end of a process; for more at once a call fails (1 << PAGE_ALLOC_COSTLY_ORDER).
_NOT_COSTLY = 8
#: A block whose frames all have the same kind or flags; and a reference of each.
_ALIKE = {each: bytes((each,)) * BLOCK_FRAMES for each in (*FrameKind, PG_LARGE)}
_ONES = memoryview(array("i", [1]) * BLOCK_FRAMES)

_ANON = int(FrameKind.ANON)


class Coming(NamedTuple):
    """The frames that are allocated next: ``number`` in a row from ``first`` on, or else those that are listed; and
    whether they are zero."""

    first: int
    listed: list[int]
    number: int
    zero: bool


class FrameAllocator(FreeArea, PageFlags):
    """Allocates frames, lowest first, and counts references.

    Every mapping entry holds one reference, and so does a page cache.  A frame is free when its count falls to 0.
    """

    def __init__(
        self,
        ram: PhysicalMemory,
        on_write: Callable[[int], None],
        on_write_many: Callable[[Frames], None],
        has_code: Sequence[int] | None = None,
    ) -> None:
        """``on_write(frame)`` is called when the kernel changes the contents of a frame (code coherence), and
        ``on_write_many`` for an array of frames; ``has_code``: for which of them at least.
        """
        FreeArea.__init__(self, ram, on_write_many)
        PageFlags.__init__(self, ram.frames)
        self._on_write, self._has_code = on_write, bytes([1]) * ram.frames if has_code is None else has_code
        self._counts = HostArray(ram.frames, "i")
        self._count: memoryview[int] = self._counts.view
        self._added = self.order.single
        self.used = [0] * len(FrameKind)
        #: For what use no frame was found the last time.
        self.missing = FrameKind.ANON
        #: What the kernel's own objects take of this memory.
        self.kmem = Kmem(self.withdraw)
        #: Every page cache whose pages come from here, for the audit.
        self.page_caches: WeakSet[FrameHolder] = WeakSet()
        #: Makes frames free that hold only what can be read again; there where files of the host are seen.
        self.reclaimer: Reclaimer | None = None
        #: Some are kept free, by what sends pages to swap.
        self.balanced = False
        #: Makes frames free of pages that nobody maps and that can go to swap; may be called anywhere.
        self.swap_out: Callable[[int], int] = lambda wanted: 0
        #: Ends a process, if that is another one than the one whose turn it is, and says whether it has; where nobody
        #: holds an entry of a table.
        self.out_of_memory: Callable[[], bool] = lambda: False
        #: Which group pays for each frame, once there are groups.
        self.memcg: Charges | None = None
        self.alloc(FrameKind.RESERVED)  # frame 0: no table and no page is ever at physical address 0
        #: The page of zeros that reads of untouched private memory see; it is never counted and never written.
        self.zero_frame = self.alloc(FrameKind.RESERVED)

    @cached_property
    def counts(self) -> npt.NDArray[np.int32]:
        """How many references each frame has."""
        return self._counts.array

    def has_room(self, number: int) -> bool:
        """Whether so many frames are free, perhaps after others have been made so."""
        missing = number - self.free
        if missing > 0:
            self._make_free(missing)
        return number <= self.free

    def _make_free(self, number: int) -> bool:
        """Make so many frames free, if possible, that hold pages which nobody maps; whether there were any."""
        dropped = 0 if self.reclaimer is None else self.reclaimer.unmapped(number)
        return bool(dropped < number and self.swap_out(number - dropped)) or dropped > 0

    def alloc(self, kind: FrameKind, mm: Payer | None = None) -> int:
        """A zeroed frame with one reference, for an address space or for the current task.  LinuxError(ENOMEM) if none
        is left.
        """
        freed, frame = self._freed, None
        if freed.single:  # as freed.pop() does
            frame = freed.single.pop()
            start = frame << PAGE_SHIFT
            self.ram.view[start : start + PAGE_SIZE] = ZERO_PAGE
        else:
            frame = freed.pop()
        if frame is not None:
            if self._has_code[frame]:
                self._on_write(frame)
        elif self._next < self._end:
            frame = self._next
            self._next += 1
        elif self._spare or self._worn:
            self._split_spares(1)
            return self.alloc(kind, mm)
        elif self._make_free(1):
            return self.alloc(kind, mm)
        else:
            self.missing = kind
            raise NoPage("no frame is left")
        self._count[frame] = 1
        self._kind[frame] = kind
        self.used[kind] += 1
        self._added.append(frame)
        if len(self._added) > MANY:
            self.order.settle()
        if self.memcg is not None and kind != FrameKind.RESERVED:
            self.memcg.charge(frame, mm)
        return frame

    def coming(self, most: int, most_listed: int) -> Coming:
        """The frames, so many at most, that :meth:`alloc` would give next, for who takes them in this order without it
        and then says so (:meth:`came`)."""
        listed, zero = self._freed.coming(min(most, most_listed))
        if listed:
            return Coming(0, listed, len(listed), zero)
        return Coming(self._next, [], min(most, self._end - self._next), zero=True)

    def came(self, coming: Coming, number: int, kind: FrameKind) -> None:
        """So many have been taken, and their uses and references counted (:attr:`addresses`)."""
        if coming.listed:
            self._freed.came(number)
            self._added += coming.listed[:number]
        else:
            self._next += number
            self._added += range(coming.first, coming.first + number)
        self.used[kind] += number
        if len(self._added) > MANY:
            self.order.settle()

    @property
    def addresses(self) -> tuple[int, int, int]:
        """Where the host has :attr:`counts`, :attr:`kinds` and :attr:`flags`."""
        return self._counts.address, self._kinds.address, self._flags.address

    def alloc_many(self, kind: FrameKind, number: int, mm: Payer | None = None) -> Frames:
        """The frames that as many calls of :meth:`alloc` would give; fewer if there are not so many."""
        self.has_room(number)
        self._split_spares(number - len(self._freed) - (self._end - self._next))
        reused = self._freed.pop_many(number)
        if len(reused):
            self._on_write_many(reused)
        start = self._next
        self._next = end = min(start + number - len(reused), self._end)
        frames = np.arange(start, end, dtype=np.int64)
        if len(reused):
            frames = np.concatenate((reused, frames))
            self.counts[frames], self.kinds[frames] = 1, kind
        else:
            self.counts[start:end], self.kinds[start:end] = 1, kind
        self.used[kind] += len(frames)
        self.order.add_many(frames)
        return frames if self.memcg is None else self.memcg.charge_many(frames, mm)

    def alloc_block(self, kind: FrameKind, mm: Payer | None = None, flags: int = 0, *, compact: bool = False) -> int:
        """The head of 512 zeroed frames with one reference and these PG_* each, contiguous and aligned; free frames are
        gathered if no block is left, and with ``compact`` pages are moved so that one is.  LinuxError(ENOMEM) if no 512
        of them adjoin.
        """
        head = self._take_for_block(compact=compact)
        part = slice(head, head + BLOCK_FRAMES)
        self._count[part], self._kind[part] = _ONES, _ALIKE[kind]
        if flags:
            self._flag[part] = _ALIKE[flags]
        self.used[kind] += BLOCK_FRAMES
        self.order.add_block(head)
        if self.memcg is not None and kind != FrameKind.RESERVED:
            self.memcg.charge_block(head, mm)
        return head

    def move(self, source: Frames, target: Frames) -> None:
        """Pages come to other frames, which are free; who maps them is to be told."""
        self.lru_add_drain()
        which = np.zeros(self.total, dtype=np.bool_)
        which[target] = True
        self._freed.take_out(which)
        pages = self.ram.words.reshape(-1, PAGE_SIZE >> 3)
        for first in range(0, len(source), _COPIED):
            pages[target[first : first + _COPIED]] = pages[source[first : first + _COPIED]]
        for figures in (self.counts, self.kinds, self.flags):
            figures[target], figures[source] = figures[source], 0
        if self.memcg is not None:
            self.memcg.moved(source, target)
        self._on_write_many(np.sort(target))
        self.order.add_many(target)
        self._freed.push_many(np.sort(source))

    def put_block(self, head: int) -> None:
        """Drop a reference of each frame of a block; as a block it is free only if these were the last."""
        part = slice(head, head + BLOCK_FRAMES)
        if not (self.counts[part] == 1).all():
            self.put_many(np.arange(head, head + BLOCK_FRAMES))
            return
        self.used[self._kind[head]] -= BLOCK_FRAMES
        self.lru_add_drain()
        self.counts[part], self.kinds[part], self.flags[part] = 0, FrameKind.FREE, 0
        if self.memcg is not None:
            self.memcg.uncharge_many(np.arange(head, head + BLOCK_FRAMES))
        self._worn.append(head)

    def withdraw(self, least: int, most: int) -> int:
        """Put frames out of use for good, at most an eighth of the free ones unless ``least`` is more: the host never
        has to give memory for them again.  Returns how many.  LinuxError(ENOMEM) if ``least`` are not free.
        """
        number = max(least, min(most, self.free // 8))
        if not self.has_room(number):
            self.missing = FrameKind.RESERVED
            raise NoPage("no frame is left") if least <= _NOT_COSTLY else LinuxError(errno.ENOMEM, "no frame is left")
        untouched = min(number, self._end - self._next)
        self._end -= untouched
        if untouched < number:
            self._split_spares(number - untouched - len(self._freed))
            used = np.sort(self._freed.pop_many(number - untouched))
            self._on_write_many(used)
            for run in np.split(used, np.flatnonzero(np.diff(used) != 1) + 1):
                self.ram.discard(int(run[0]) << PAGE_SHIFT, len(run) << PAGE_SHIFT)
        return number

    def kind(self, frame: int) -> FrameKind:
        """The use of the frame."""
        return FrameKind(self._kind[frame])

    def is_anon(self, frame: int) -> bool:
        """Whether the frame is private memory: quicker than :meth:`kind`."""
        return self._kind[frame] == _ANON

    def happened(self, event: str, frames: Frames | list[int]) -> None:
        """Something has happened to these pages, by its name in /proc/vmstat: count it, for their groups too."""
        if len(frames):
            super().happened(event, frames)
            if self.memcg is not None:
                self.memcg.happened(event, frames)

    def mapcount(self, frame: int) -> int:
        """How many entries map a page: all references but those of the page cache and of the swap cache."""
        held = (self._kind[frame] == FrameKind.CACHE) + (self._flag[frame] & PG_SWAPCACHE != 0)
        return self._count[frame] - held

    def mapcounts(self, frames: Frames) -> Frames:
        """The same of many."""
        held = (self.kinds[frames] == FrameKind.CACHE).astype(np.int64) + (self.flags[frames] & PG_SWAPCACHE != 0)
        counts: Frames = self.counts[frames] - held
        return counts

    def change_kind(self, frame: int, kind: FrameKind) -> None:
        """A frame that is in use has another use."""
        self.used[self._kind[frame]] -= 1
        self._kind[frame] = kind
        self.used[kind] += 1

    def count(self, frame: int) -> int:
        """How many references there are."""
        return self._count[frame]

    def get_readable(self, frames: Sequence[int], first: int, bits: int) -> int:
        """Map pages of a page cache by the entries from slot ``first`` on, with these bits, where there is a page (no
        0) that has been read, and no entry yet; returns how many.
        """
        q, flags, counts, number = self.ram.qwords, self._flag, self._count, 0
        for slot, frame in enumerate(frames, first):
            if frame and not q[slot] and not flags[frame] & PG_UNREAD:
                q[slot] = frame << PAGE_SHIFT | bits
                counts[frame] += 1
                number += 1
        return number

    def get(self, frame: int) -> None:
        """Take one more reference."""
        self._count[frame] += 1

    def put(self, frame: int) -> None:
        """Drop a reference; after the last the frame is free."""
        left = self._count[frame] - 1
        if left < 0 or frame == self.zero_frame:
            raise AssertionError(f"FrameAllocator.put: frame {frame:#x} has no reference to drop")
        self._count[frame] = left
        if left == 0:
            self.used[self._kind[frame]] -= 1
            self._kind[frame] = FrameKind.FREE
            if self._lazyfree:
                self._forget_lazyfree()
            if self.left_locked:
                self.left_locked.discard(frame)
            self._flag[frame] = 0
            if self.memcg is not None:
                self.memcg.uncharge(frame)
            self._freed.push(frame)

    @property
    def only_counted(self) -> bool:
        """Whether nothing else is to be done when a reference is dropped than to count, and nobody has to be told of
        frames that become free.
        """
        return self.memcg is None and not self._lazyfree and not self.left_locked

    def have_gone(self, frames: list[int], kinds: memoryview[int]) -> None:
        """Frames have become free, in this order, natively: their references and flags are gone.  ``kinds``: by their
        use, how many they are, which is forgotten.
        """
        used = self.used
        for kind, number in enumerate(kinds.tolist()):
            if number:
                used[kind] -= number
                kinds[kind] = 0
        self._freed.push_in_order(frames)

    def get_many(self, frames: Frames) -> None:
        """Take one more reference for each frame of an array, as often as the frame occurs."""
        if ascending(frames):
            self.counts[frames] += 1
        else:
            np.add.at(self.counts, frames, np.int32(1))

    def put_many(self, frames: Frames | list[int], *, soon: bool = False) -> None:
        """Drop one reference for each frame of an array, or of a list if there are few.  ``soon``: free ones will be
        taken again soon.
        """
        if isinstance(frames, list):
            for frame in sorted(frames, reverse=True):  # the lowest is to be taken first
                self.put(frame)
            return
        if ascending(frames):
            left = self.counts[frames] - np.int32(1)
            self.counts[frames] = left
        else:
            frames = np.sort(frames)
            np.subtract.at(self.counts, frames, np.int32(1))
            # np.unique would import numpy.ma, 10 ms of a short run
            first = np.concatenate(([True], frames[1:] != frames[:-1]))
            frames = frames[first]
            left = self.counts[frames]
        dead = frames[left <= 0]
        if len(dead) == 0:
            return
        if (left < 0).any():
            raise AssertionError("FrameAllocator.put_many: a frame has no reference to drop")
        for kind, number in enumerate(np.bincount(self.kinds[dead], minlength=len(FrameKind)).tolist()):
            self.used[kind] -= number
        self.kinds[dead] = FrameKind.FREE
        if self._lazyfree:
            self._forget_lazyfree()
        if self.left_locked:
            self.left_locked.difference_update(dead.tolist())
        self.flags[dead] = 0
        if self.memcg is not None:
            self.memcg.uncharge_many(dead)
        self._freed.push_many(dead, soon=soon)

    def copy(self, source: int, kind: FrameKind, mm: Payer | None = None) -> int:
        """A new frame with the contents of ``source``."""
        self._count[source] += 1  # so that it is not the one that becomes free
        try:
            frame = self.alloc(kind, mm)
        finally:
            self._count[source] -= 1
        view = self.ram.view
        to, start = frame << PAGE_SHIFT, source << PAGE_SHIFT
        view[to : to + PAGE_SIZE] = view[start : start + PAGE_SIZE]
        return frame

    def read(self, frame: int, offset: int, length: int) -> bytes:
        """Bytes of one frame."""
        start = (frame << PAGE_SHIFT) + offset
        return bytes(self.ram.view[start : start + length])

    def write(self, frame: int, offset: int, data: bytes | memoryview) -> None:
        """Store bytes in one frame; code translated from it is dropped."""
        start = (frame << PAGE_SHIFT) + offset
        self.ram.view[start : start + len(data)] = data
        self.stored(frame)

    def stored(self, frame: int) -> None:
        """Bytes have been stored in a frame: code translated from it is dropped."""
        if self._has_code[frame]:
            self._on_write(frame)

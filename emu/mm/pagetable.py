"""Page tables of one address space, in guest physical memory, in the hardware's format.

Level 1 is the PTE table (PT), 2 the PMD (PD), 3 the PUD (PDPT); the PGD is level 4 (PML4 table), or with 5-level
paging level 5 (PML5 table), and level 4 the P4D.  A *slot* is the index of an entry in ``PhysicalMemory.qwords`` (its
physical address / 8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from emu.linux.errors import LinuxError
from emu.mm.frames import FrameAllocator
from emu.mm.pageflags import FrameKind
from emu.mm.sharecounts import ShareCounts
from mmu import entries
from mmu.late import is_here, np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.frameusers import Payer

P, RW, US, A, D, PS, XD = (
    int(bit) for bit in (entries.P, entries.RW, entries.US, entries.A, entries.D, entries.PS, entries.XD)
)
ADDRESS = int(entries.ADDRESS)
#: A software bit (AVL): the entry maps a frame that is not counted (the zero page).  pte_special() in Linux.
SPECIAL = 1 << 9
#: In place of P where the VMA allows nothing, and the page stays (_PAGE_PROTNONE, the bit of G).
PROTNONE = int(entries.G)
#: An entry with one of these maps a page (pte_present).
HERE = P | PROTNONE
#: A software bit: userfaultfd wants to hear of a write (_PAGE_UFFD_WP).
UFFD_WP_BIT = 1 << 10
#: A present entry of which these bits are P alone points to a table: one with PS maps a large page.
_TABLE = P | PS
#: What an entry that points to a table carries (_KERNPG_TABLE | _PAGE_USER in Linux).
TABLE_FLAGS = P | RW | US | A

#: The level of the tables whose level does not depend on how many there are.
LEVEL_OF = {"pte": 1, "pmd": 2, "pud": 3}
_NAMES = {4: ("pte", "pmd", "pud", "pgd"), 5: ("pte", "pmd", "pud", "p4d", "pgd")}

_PTE_TABLE_SPAN = 1 << 21
_EMPTY_TABLE = bytes(PAGE_SIZE)
#: Up to so many entries are looked at one by one, which hardly takes longer: numpy is not imported for a few.
FEW = 256
#: The type of a marker (:mod:`emu.mm.swapops`), and where an entry that maps nothing has its type.
_MARKER, _TYPE_SHIFT = 31, 59
#: Tables whose entries are given up together (a batch of mmu_gather).
_CLEARED_TABLES = 512


#: Told of swap entries that have been cleared.
Away: TypeAlias = "Callable[[npt.NDArray[np.uint64]], None]"


def span(level: int) -> int:
    """Bytes of address space that an entry of a table of this level covers."""
    return 1 << (PAGE_SHIFT + 9 * (level - 1))


def level_name(level: int, levels: int = 4) -> str:
    """The kernel's name of a table of this level, where there are ``levels`` of them: pgd, p4d, pud, pmd or pte."""
    return _NAMES[levels][level - 1]


def _parts_of_tables(vaddr: int, slot: int, number: int) -> Iterator[tuple[int, int, int]]:
    """Split consecutive entries, of which the first translates ``vaddr``, into those of each PTE table: address, first
    slot, number.
    """
    fits = min(number, 512 - (vaddr >> PAGE_SHIFT & 511))
    yield vaddr, slot, fits
    if fits < number:
        yield vaddr + (fits << PAGE_SHIFT), slot + fits, number - fits


class PageTables:
    """The tree under one PGD.  Tables are made on demand and freed when their last entry goes."""

    def __init__(self, frames: FrameAllocator, share_counts: ShareCounts, levels: int = 4) -> None:
        self.levels = levels
        self._top_shift = PAGE_SHIFT + 9 * (levels - 1)
        self._frames = frames
        self._q = frames.ram.qwords
        self.share_counts = share_counts
        #: For whom the tables are, as far as control groups are concerned; None: for the current task.
        self.payer: Payer | None = None
        self.pgd_frame = frames.alloc(FrameKind.PAGETABLE)
        #: Number of tables that this tree owns, by level (the highest is the PGD itself).
        self.tables = {levels: 1, **dict.fromkeys(range(levels - 1, 0, -1), 0)}
        #: Entries, by slot, that link a table of another tree: what is below them is never freed from here.  True if
        #: the link's share is given back when it goes.
        self.links: dict[int, bool] = {}
        #: Entries, by slot, that map transparent huge pages, each with the table that is kept for when it is split
        #: (pgtable_trans_huge_deposit); 0 for a page of the page cache, whose entry just goes then.
        self.transparent: dict[int, int] = {}
        #: A requested defect has left tables or links behind: the audit reports them, and teardown is quiet.
        self.damaged = False

    @property
    def words(self) -> npt.NDArray[np.uint64]:
        """All of memory, by slot: for entries in great number."""
        return self._frames.ram.words

    @property
    def pgd_paddr(self) -> int:
        """The value of CR3."""
        return self.pgd_frame << PAGE_SHIFT

    @property
    def table_bytes(self) -> int:
        """Bytes of all tables of this tree, the PGD included."""
        return sum(self.tables.values()) * PAGE_SIZE

    @property
    def vm_pte_bytes(self) -> int:
        """VmPTE in /proc/PID/status: every table but the PGD."""
        return self.table_bytes - PAGE_SIZE

    # -- finding entries -------------------------------------------------------------------------------------------

    def entry_slot(self, vaddr: int, level: int) -> int | None:
        """The slot of the entry of a table of ``level`` that covers ``vaddr``; None where there is no such table."""
        q = self._q
        slot = (self.pgd_frame << 9) + ((vaddr >> self._top_shift) & 511)
        at = self.levels
        while at > level:
            entry = q[slot]
            if entry & _TABLE != P:
                return None
            at -= 1
            slot = ((entry & ADDRESS) >> 3) + ((vaddr >> (PAGE_SHIFT + 9 * (at - 1))) & 511)
        return slot

    def entry_slot_alloc(self, vaddr: int, level: int) -> int:
        """As :meth:`entry_slot`, making the tables above.  LinuxError(ENOMEM) leaves at most empty tables."""
        q = self._q
        if level == 1 and self.levels == 4:  # as below, but quicker, since nearly every page fault comes here
            entry = q[(self.pgd_frame << 9) + (vaddr >> 39 & 511)]
            if entry & _TABLE == P:
                entry = q[((entry & ADDRESS) >> 3) + (vaddr >> 30 & 511)]
                if entry & _TABLE == P:
                    entry = q[((entry & ADDRESS) >> 3) + (vaddr >> 21 & 511)]
                    if entry & _TABLE == P:
                        return ((entry & ADDRESS) >> 3) + (vaddr >> PAGE_SHIFT & 511)
        slot = (self.pgd_frame << 9) + ((vaddr >> self._top_shift) & 511)
        at = self.levels
        while at > level:
            entry = q[slot]
            at -= 1
            if entry & _TABLE != P:
                assert not entry, f"PageTables: {vaddr:#x} is mapped by a large page"
                frame = self._frames.alloc(FrameKind.PAGETABLE, self.payer)
                self.tables[at] += 1
                entry = q[slot] = frame << PAGE_SHIFT | TABLE_FLAGS
            slot = ((entry & ADDRESS) >> 3) + ((vaddr >> (PAGE_SHIFT + 9 * (at - 1))) & 511)
        return slot

    def make_tables_for(self, source: PageTables, start: int, end: int, to: int) -> None:
        """Make every table that the PTEs of [start, end) of ``source`` need at ``to``: moving them cannot fail then.

        LinuxError(ENOMEM), with the new tables freed again.
        """
        try:
            for vaddr, slot, number in source.pte_tables(start, end):
                for at, _, _ in _parts_of_tables(vaddr - start + to, slot, number):
                    self.entry_slot_alloc(at, 1)
        except LinuxError:
            self.free_tables(to, to + end - start)
            raise

    def move_entries(self, start: int, end: int, to: int) -> None:
        """Move the PTEs of [start, end) to ``to``, where their tables exist; the caller owes a flush."""
        words = self.words
        for vaddr, slot, number in self.pte_tables(start, end):
            for at, first, fits in _parts_of_tables(vaddr - start + to, slot, number):
                moved = words[first : first + fits]
                if moved.any():
                    target = self.entry_slot(at, 1)
                    assert target is not None, "PageTables.move_entries: a table is missing"
                    words[target : target + fits] = moved
                    moved[:] = 0

    def leaf_slot(self, vaddr: int) -> int | None:
        """The slot of the entry that maps, or would map, ``vaddr``: a PTE, or the entry of a page of 2 MiB; None where
        there is neither.
        """
        q = self._q  # every access of the kernel gets here, so there is no loop
        slot = (self.pgd_frame << 9) + ((vaddr >> self._top_shift) & 511)
        if self.levels == 5:
            entry = q[slot]
            if entry & _TABLE != P:
                return None
            slot = ((entry & ADDRESS) >> 3) + ((vaddr >> 39) & 511)
        entry = q[slot]
        if entry & _TABLE != P:
            return None
        entry = q[((entry & ADDRESS) >> 3) + ((vaddr >> 30) & 511)]
        if entry & _TABLE != P:
            return None
        slot = ((entry & ADDRESS) >> 3) + ((vaddr >> 21) & 511)
        entry = q[slot]
        if entry & _TABLE != P:
            return slot if entry & PS else None
        return ((entry & ADDRESS) >> 3) + ((vaddr >> 12) & 511)

    def paddr_at(self, slot: int, vaddr: int) -> int:
        """The physical address to which the entry of a slot, which maps ``vaddr``, translates it."""
        entry = self._q[slot]
        size = span(2) if entry & PS else PAGE_SIZE
        return (entry & ADDRESS & -size) | (vaddr & (size - 1))

    def pte(self, vaddr: int) -> int:
        """The PTE that maps ``vaddr``, or 0; within a large page, what a PTE for these 4 KiB would be."""
        slot = self.leaf_slot(vaddr)
        entry = 0 if slot is None else self._q[slot]
        return entry & ~PS | (vaddr & (span(2) - PAGE_SIZE)) if entry & PS else entry

    def huge_slots(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """(address, slot) of each entry of 2 MiB pages that maps a part of [start, end); ``start`` is aligned."""
        for vaddr, slot, number in self.leaf_tables(2, start, end):
            for index in np.flatnonzero(self.words[slot : slot + number] & np.uint64(PS)).tolist():
                yield vaddr + (index << 21), slot + index

    def pte_tables(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Each PTE table that covers a part of [start, end): (first vaddr, first slot, number of entries)."""
        return self.leaf_tables(1, start, end)

    def leaf_tables(self, level: int, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Each table of ``level`` that covers a part of [start, end): (first vaddr, first slot, number of entries)."""
        covers, shift = span(level + 1), PAGE_SHIFT + 9 * (level - 1)
        vaddr = start
        while vaddr < end:
            stop = min((vaddr & -covers) + covers, end)
            slot = self.entry_slot(vaddr, level)
            if slot is not None:
                yield vaddr, slot, -(-(stop - vaddr) >> shift)
                vaddr = stop
            else:
                vaddr = self._skip_missing(vaddr, end, level)

    def set_slots(self, first: int, number: int) -> list[int]:
        """Those of so many slots of one table whose entries are set."""
        if number > FEW and is_here():
            return (np.flatnonzero(self.words[first : first + number]) + first).tolist()
        return [slot for slot, entry in enumerate(self._q[first : first + number].tolist(), first) if entry]

    def _skip_missing(self, vaddr: int, end: int, below: int) -> int:
        """The next address after ``vaddr`` that a present table of level ``below`` could cover, or one from ``end``
        on.
        """
        for level in range(self.levels, below, -1):
            slot = self.entry_slot(vaddr, level)
            if slot is None:
                return (vaddr & -span(level)) + span(level)
            if not self._q[slot] & P:  # on to the next entry of this table that is set
                first = vaddr & -span(level)
                within = min(511 - (slot & 511), (end - 1 - first) // span(level))
                later = self.set_slots(slot + 1, within)
                return first + (later[0] - slot if later else within + 1) * span(level)
        return (vaddr & -span(below + 1)) + span(below + 1)

    # -- changing entries ------------------------------------------------------------------------------------------

    def clear_range(
        self,
        start: int,
        end: int,
        *,
        markers: bool,
        keeps: tuple[int, int] | None = None,
        drops: int = 0,
        away: Away | None = None,
    ) -> Iterator[list[int] | npt.NDArray[np.uint64]]:
        """Clear every PTE of [start, end) that maps a page, with ``markers`` all others too; yields the former, some
        hundred thousand at a time.  For each batch the caller owes a flush and the frames' references.  With ``keeps``,
        those that have the first of two bits become the second; ``drops`` goes even without ``markers``.
        With ``away``, swap entries go too, and it is told of them.
        """
        if away is not None:
            self._clear_swapped(start, end, away)
        if end - start <= FEW * PAGE_SIZE:
            few = self._clear_few(start, end, markers, keeps or (0, 0), drops)
            if few:
                yield few
            return
        cleared, dropped = [], np.uint64(drops)
        for _, slot, number in self.pte_tables(start, end):
            view = self.words[slot : slot + number]
            here = (view & HERE) != 0
            present = view[here]
            found = len(present)
            if markers:
                view[:] = 0
            elif drops and found < number:
                view[view == dropped] = 0
            if found:
                cleared.append(present)
                if keeps is not None:
                    view[here] = np.where(present & np.uint64(keeps[0]), np.uint64(keeps[1]), np.uint64(0))
                elif not markers:
                    view[here] = 0
                if len(cleared) == _CLEARED_TABLES:
                    yield np.concatenate(cleared)
                    cleared = []
        if cleared:
            yield np.concatenate(cleared)

    def _clear_swapped(self, start: int, end: int, away: Away) -> None:
        for _, slot, number in self.pte_tables(start, end):
            view = self.words[slot : slot + number]
            at = np.flatnonzero((view != 0) & ((view & HERE) == 0) & (view >> _TYPE_SHIFT != _MARKER))
            if len(at):
                gone = view[at]
                view[at] = 0
                away(gone)

    def _clear_few(self, start: int, end: int, markers: bool, keeps: tuple[int, int], drops: int) -> list[int]:
        """As :meth:`clear_range`."""
        q, few = self._q, []
        for _, first, number in self.pte_tables(start, end):
            for slot in self.set_slots(first, number):
                entry = q[slot]
                if entry & HERE:
                    few.append(entry)
                    q[slot] = keeps[1] if entry & keeps[0] else 0
                elif markers or entry == drops:
                    q[slot] = 0
        return few

    def free_tables(self, start: int, end: int, floor: int = 0, ceiling: int = 1 << 57) -> None:
        """free_pgtables(): free every empty table that covers a part of [start, end) and nothing below ``floor`` or
        above ``ceiling``, where other mappings are, except shared ones.

        A shared table stays linked where it is: freeing it would leave the sharers' entries pointing at a free frame.
        """
        self._free_below(self.levels, self.pgd_frame, start, end, floor, ceiling)

    def _free_below(self, level: int, table: int, start: int, end: int, floor: int, ceiling: int) -> None:
        step = span(level)
        first, last = (start // step) & 511, ((end - 1) // step) & 511
        base = table << 9
        if level == self.levels:
            origin = 0
        else:
            origin = start & -(step << 9)
        for slot in self.set_slots(base + first, last - first + 1):
            if slot in self.links or self._q[slot] & PS:  # a large page
                continue
            low = origin + (slot - base) * step
            if level > 2:
                child = (self._q[slot] & ADDRESS) >> PAGE_SHIFT
                self._free_below(level - 1, child, max(start, low), min(end, low + step), floor, ceiling)
            if floor <= low and low + step <= ceiling:
                self._free_empty(level, slot)

    def _free_empty(self, level: int, slot: int) -> bool:
        """Free the table at which the entry of a slot of ``level`` points, if it is empty and not shared."""
        child = (self._q[slot] & ADDRESS) >> PAGE_SHIFT
        if self.share_counts[child] or self._frames.read(child, 0, PAGE_SIZE) != _EMPTY_TABLE:
            return False
        self._q[slot] = 0
        self.tables[level - 1] -= 1
        self._frames.put(child)
        return True

    def free_pte_tables(self, start: int, end: int) -> bool:
        """Free every empty PTE table of which [start, end) covers all (try_get_and_clear_pmd); True if there was one,
        for which the caller owes a flush.
        """
        freed, size = False, span(2)
        for _, slot, number in self.leaf_tables(2, (start + size - 1) & -size, end & -size):
            for at in self.set_slots(slot, number):
                if at not in self.links and not self._q[at] & PS:
                    freed |= self._free_empty(2, at)
        return freed

    def deposit(self, slot: int, table: int) -> None:
        """An entry maps a transparent huge page from now on; ``table`` is a frame for when it is split, or 0."""
        self.transparent[slot] = table
        self.tables[1] += bool(table)

    def drop_deposit(self, slot: int) -> None:
        """The entry has gone as a whole, and needs its table no more."""
        table = self.transparent.pop(slot)
        if table:
            self.tables[1] -= 1
            self._frames.put(table)

    def drop_links(self) -> None:
        """Clear the remaining links."""
        for slot, counted in self.links.items():
            table, self._q[slot] = (self._q[slot] & ADDRESS) >> PAGE_SHIFT, 0
            if counted:
                self.share_counts.dec(table)
        self.links.clear()

    def give_table(self, heir: PageTables, level: int) -> None:
        """Give a table of this level to another tree, which has an entry that points at it."""
        self.tables[level] -= 1
        heir.tables[level] += 1

    def destroy(self) -> None:
        """Free the PGD; every other table must be gone, unless the tree is damaged."""
        left = {level_name(level, self.levels): n for level, n in self.tables.items() if n and level != self.levels}
        if left and not self.damaged:
            raise AssertionError(f"PageTables.destroy: tables are left: {left}")
        self._frames.put(self.pgd_frame)
        self.tables[self.levels] = 0

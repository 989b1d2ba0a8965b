"""Automatic sharing of PMD tables between processes that map the same huge pages, as Linux does on x86
with CONFIG_ARCH_WANT_HUGE_PMD_SHARE (huge_pmd_share() and huge_pmd_unshare() in mm/hugetlb.c).

Two shared mappings of one hugetlb file translate an aligned 1 GiB alike if both cover it whole, map the same part of
the file there and have the same flags.  So a fault in the second points its PUD entry at the PMD table of the first,
and a page that one of them faults in is present for both.  The table belongs to the one that made it.  Whoever is about
to change entries for itself alone (munmap, mprotect, mremap, truncation, exit) first lets go of the table: the others
keep it, and if it was the owner's, one of them becomes its owner.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.dentry import d_path
from emu.fs.file import file_of
from emu.mm.flags import VmFlags
from emu.mm.pagetable import ADDRESS, A, P, level_name, span
from emu.mm.vma import Vma
from emu.mm.vmops import TableSharer
from mmu.memory import PAGE_SHIFT
from mmu.record import field, record

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.mm.address_space import AddressSpace

#: The level of the entries that link, and what one of them covers: 1 GiB.
PUD = 3
UNIT = span(PUD)
#: Flags that may differ (VM_LOCKED_MASK): locking pages changes no entry.
_LOCKED = VmFlags.LOCKED | VmFlags.LOCKONFAULT
#: The parts of an address below an entry of the PMD.
_PMD_MASK = UNIT - span(2)


class Place(NamedTuple):
    """An aligned GiB of an address space."""

    mm: AddressSpace
    base: int

    @property
    def key(self) -> tuple[int, int]:
        """The address space by its number, and the address."""
        return self.mm.serial, self.base


@record(eq=False, repr=False)
class SharedTable:
    """A PMD table that several PUD entries point at."""

    frame: int
    owner: Place
    links: dict[tuple[int, int], Place] = field(default_factory=dict)


class HugetlbPmd(TableSharer):
    """The module: every table that is shared now, by the places that use it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._q = kernel.ram.qwords
        #: By address space, then by address: the owner's place too.
        self._tables: dict[int, dict[int, SharedTable]] = {}

    # -- sharing ---------------------------------------------------------------------------------------------------

    def share(self, mm: AddressSpace, vma: Vma, address: int) -> bool:
        base = address & -UNIT
        if not self._shareable(mm, vma, base):
            return False
        partner = self._partner(vma, base)
        if partner is None:
            return False
        slot = mm.tables.entry_slot_alloc(base, PUD)  # ENOMEM changes nothing yet
        table = self._tables.get(partner.mm.serial, {}).get(partner.base)
        if table is None:
            table = SharedTable((self._entry(partner) & ADDRESS) >> PAGE_SHIFT, partner)
            self._remember(partner, table)
        place = Place(mm, base)
        table.links[place.key] = place
        self._remember(place, table)
        mm.context.share_counts.inc(table.frame)
        self._q[slot] = self._entry(partner)
        mm.obligation(base, base + UNIT).was_not_present()
        self._tell("link", vma, place, table, slot, 0)
        return True

    @staticmethod
    def _shareable(mm: AddressSpace, vma: Vma, base: int) -> bool:
        """vma_shareable(): a shared mapping that covers the whole GiB; not in the host mm of another design."""
        return vma.shared and not mm.shared_tables and vma.start <= base and base + UNIT <= vma.end

    def _partner(self, vma: Vma, base: int) -> Place | None:
        """The place of another mapping's table for the same GiB of the file, with the same rights and flags
        (page_table_shareable).
        """
        assert vma.page_cache is not None
        index = vma.index_of(base)
        for other, mm in vma.page_cache.mappings.items():
            if other is vma or other.prot != vma.prot or (other.flags ^ vma.flags) & ~_LOCKED:
                continue
            at = other.start + ((index - other.pgoff) << PAGE_SHIFT)
            if at & _PMD_MASK or not self._shareable(mm, other, at):
                continue
            place = Place(mm, at)
            if self._entry(place) & P:
                return place
        return None

    def _entry(self, place: Place) -> int:
        slot = place.mm.tables.entry_slot(place.base, PUD)
        return 0 if slot is None else self._q[slot]

    def _remember(self, place: Place, table: SharedTable) -> None:
        self._tables.setdefault(place.mm.serial, {})[place.base] = table

    def _forget(self, place: Place) -> None:
        of_mm = self._tables[place.mm.serial]
        del of_mm[place.base]
        if not of_mm:
            del self._tables[place.mm.serial]

    # -- letting go ------------------------------------------------------------------------------------------------

    def unshare(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> None:
        of_mm = self._tables.get(mm.serial, {})
        for base in [base for base in of_mm if base < end and base + UNIT > start]:
            self._let_go(vma, Place(mm, base), of_mm[base])

    def _let_go(self, vma: Vma, place: Place, table: SharedTable) -> None:
        mm, context = place.mm, place.mm.context
        slot = mm.tables.entry_slot(place.base, PUD)
        assert slot is not None
        before, self._q[slot] = self._q[slot], 0
        if place == table.owner:
            heir = next(iter(table.links))
            table.owner = table.links.pop(heir)
            mm.tables.give_table(table.owner.mm.tables, PUD - 1)
        else:
            del table.links[place.key]
        self._forget(place)
        context.share_counts.dec(table.frame)
        self._tell("unlink", vma, place, table, slot, before)
        mm.obligation(place.base, place.base + UNIT, "unshare").flush()
        if not table.links:  # only its owner uses it
            self._forget(table.owner)

    def _tell(self, kind: str, vma: Vma, place: Place, table: SharedTable, slot: int, before: int) -> None:
        tracer = self._kernel.tracer
        if not tracer.active:
            return
        tracer.event(
            kind, pid=self._kernel.pid_of(place.mm), region=_name(self._kernel, vma), level="pmd", vaddr=place.base,
            length=UNIT, entry_level=level_name(PUD, place.mm.tables.levels), entry_paddr=slot << 3, before=before,
            after=self._q[slot], host_entry_paddr=None, host_entry=None, sharers=1 + len(table.links),
        )  # fmt: skip

    # -- looking ---------------------------------------------------------------------------------------------------

    def tables(self) -> list[SharedTable]:
        """Every table that is shared now, by its frame."""
        found = {table.frame: table for of_mm in self._tables.values() for table in of_mm.values()}
        return [found[frame] for frame in sorted(found)]

    def is_link(self, mm: AddressSpace, level: int, address: int) -> bool:
        if level != PUD:
            return False
        table = self._tables.get(mm.serial, {}).get(address)
        return table is not None and (mm.serial, address) in table.links

    def check(self) -> Iterator[str]:
        for table in self.tables():
            entry = self._entry(table.owner)
            for place in (table.owner, *table.links.values()):
                found = self._entry(place)
                if found & ~A != entry & ~A or (found & ADDRESS) >> PAGE_SHIFT != table.frame:
                    yield (
                        f"{place.mm.name}: the PUD entry of {place.base:#x} is {found:#x}, but the owner's entry is"
                        f" {entry:#x}, and table {table.frame << PAGE_SHIFT:#x} is shared"
                    )

    def debug_text(self) -> bytes:
        """/sys/kernel/debug/hugetlb_pmd: a line for each shared table, and one for each of its users."""
        lines = []
        for table in self.tables():
            lines.append(f"table {table.frame << PAGE_SHIFT:#x} sharers {1 + len(table.links)}")
            for word, place in [("owner", table.owner), *(("link", place) for place in table.links.values())]:
                lines.append(f"  {word} {self._kernel.pid_of(place.mm)} {place.base:#x}")
        return "".join(f"{line}\n" for line in lines).encode()


def _name(kernel: Kernel, vma: Vma) -> str:
    file = file_of(vma)
    return "" if file is None else d_path(file.path, kernel.vfs.root)


def init(kernel: Kernel) -> None:
    """Module init."""
    sharer = HugetlbPmd(kernel)
    kernel.mm_context.table_sharers.append(sharer)
    kernel.vfs.debugfs.create_file("hugetlb_pmd", sharer.debug_text, size=0)

"""The entries of an address space as ranges: neighbours with the same attributes are one.

They look as Linux's ptdump shows them (arch/x86/mm/dump_pagetables.c).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from emu.mm.pagetable import PROTNONE, RW, SPECIAL, UFFD_WP_BIT, US, XD, P, level_name, span
from emu.mm.swapops import GUARD, MARKER_TYPE, POISONED, UFFD_WP, marked, swap_offset, swap_type
from emu.trace.pt.tables import Entries, PageTablesSnapshot, Space, Table, address_of, shown_address
from emu.trace.report.units import plural
from mmu.entries import decode, is_leaf

#: What decides whether two pages look the same: every bit but those of the address, and software's of no meaning here.
_ATTRIBUTES = 0x7FF | XD | 0x7800_0000_0000_0000
_LARGE_PAT = 1 << 12
_TYPE = 0x1F << 59
#: In place of the attributes of an entry for a page in swap: bit 1, and the area.
_SWAPPED = 2
_MARKERS = ((GUARD, "guard page (MADV_GUARD_INSTALL)"), (POISONED, "poisoned (UFFDIO_POISON)"), (UFFD_WP, "uffd-wp"))
_UNITS = ("K", "M", "G", "T", "P")


class Above(NamedTuple):
    """What the entries above a table allow: the AND of RW and US, and the OR of XD."""

    every: int = RW | US
    any_xd: int = 0

    def under(self, entry: int) -> Above:
        """What is left below an entry."""
        return Above(self.every & entry, self.any_xd | (entry & XD))


@dataclass(frozen=True)
class PageRange:
    """Entries of one level that look the same and translate [start, end), of which the first is ``entry``.

    ``shared`` says whether the table that holds them belongs to more than one address space.
    """

    start: int
    end: int
    level: int
    entry: int
    attributes: int
    above: Above
    shared: bool

    @property
    def number(self) -> int:
        """How many entries these are."""
        return (self.end - self.start) // span(self.level)

    def continues(self, other: PageRange) -> bool:
        """Whether the other one follows, and looks the same."""
        return (self.end, *self._look) == (other.start, *other._look)

    @property
    def _look(self) -> tuple[object, ...]:
        return self.level, self.attributes, self.above, self.shared

    def words(self) -> str:
        """What the entries are: the columns of ptdump for pages, a sentence for what maps none."""
        if self.entry & P:
            return bits_of(self.level, self.entry) + self._limits()
        return what_is_absent(self.entry, self.number)

    def _limits(self) -> str:
        """What the entries above take away from what this one allows."""
        lost = [
            word
            for word, gone in (
                ("ro", self.entry & RW and not self.above.every & RW),
                ("no user", self.entry & US and not self.above.every & US),
                ("NX", self.above.any_xd and not self.entry & XD),
            )
            if gone
        ]
        return f"  ({', '.join(lost)} by an entry above)" if lost else ""


def bits_of(level: int, entry: int) -> str:
    """A present entry's bits in ptdump's columns, and A and D, which that leaves out."""
    fields = decode(level, entry)
    columns = [
        "USR" if fields["US"] else "   ",
        "RW" if fields["RW"] else "ro",
        *(name if fields.get(bit) else "   " for name, bit in _COLUMNS),
        "NX" if fields["XD"] else "x ",
    ]
    if fields.get("PKEY"):
        columns.append(f"key={fields['PKEY']}")
    columns += [word for bit, word in ((SPECIAL, "special"), (UFFD_WP_BIT, "uffd-wp")) if entry & bit]
    return " ".join(columns)


_COLUMNS = (("PWT", "PWT"), ("PCD", "PCD"), ("PSE", "PS"), ("PAT", "PAT"), ("GLB", "G"), ("ACC", "A"), ("DRT", "D"))


def what_is_absent(entry: int, number: int = 1) -> str:
    """An entry that is not present, in words; with ``number``, so many that look like it."""
    if not entry:
        return "not present"
    if entry & PROTNONE:
        return "PROT_NONE: in memory, and nobody may use it"
    if what := marked(entry):
        return "marker: " + " and ".join(word for bit, word in _MARKERS if what & bit)
    if swap_type(entry) == MARKER_TYPE:
        return f"not present: software bits {entry:#x}"
    where = f"swap area {swap_type(entry)}, slot {swap_offset(entry)}"
    return f"in {where}" if number == 1 else f"{plural(number, 'page', 'pages')} in swap, the first in {where}"


# -- finding them ------------------------------------------------------------------------------------------------------


def ranges_of(snapshot: PageTablesSnapshot, space: Space, shared: Collection[int] = ()) -> list[PageRange]:
    """All that an address space's entries say, in the order of addresses; what is empty is left out.

    ``shared`` has the tables that belong to more than one address space.
    """
    pieces = _pieces(snapshot, space.pgd, snapshot.levels, 0, Above(), shared)
    return list(_joined(pieces))


def ranges_in(table: Table, base: int) -> list[PageRange]:
    """What the entries of one table say that do not point at tables."""
    return [piece for _, piece in _own(table, base, Above(), shared=False)]


def _joined(pieces: Iterable[PageRange]) -> Iterator[PageRange]:
    before: PageRange | None = None
    for piece in pieces:
        if before is not None and before.continues(piece):
            before = PageRange(
                before.start, piece.end, piece.level, before.entry, piece.attributes, piece.above, piece.shared
            )
            continue
        if before is not None:
            yield before
        before = piece
    if before is not None:
        yield before


def _pieces(
    snapshot: PageTablesSnapshot, at: int, level: int, base: int, above: Above, shared: Collection[int]
) -> Iterator[PageRange]:
    table = snapshot.tables.get(at)
    if table is None:  # outside memory
        return
    pages = _own(table, base, above, shared=at in shared)
    tables = _pointers(table) if level > 1 else []
    if not tables:
        yield from (piece for _, piece in pages)
        return
    both = [(index, None) for index in tables] + list(pages)
    for index, piece in sorted(both, key=lambda each: each[0]):
        if piece is not None:
            yield piece
            continue
        entry = int(table.entries[index])
        low = address_of(index, level, base)
        child = decode(level, entry)["ADDRESS"]
        yield from _pieces(snapshot, child, level - 1, low, above.under(entry), shared)


def _pointers(table: Table) -> list[int]:
    found = np.flatnonzero(table.entries & np.uint64(P)).tolist()
    return [index for index in found if not is_leaf(table.level, int(table.entries[index]))]


def _own(table: Table, base: int, above: Above, *, shared: bool) -> list[tuple[int, PageRange]]:
    """(index, range) of each run of entries that look the same and point at no table."""
    attributes = _look_of(table)
    starts = np.flatnonzero(np.concatenate(([True], attributes[1:] != attributes[:-1]))).tolist()
    found = []
    for first, last in zip(starts, [*starts[1:], 512], strict=True):
        if look := int(attributes[first]):
            start, end = (address_of(index, table.level, base) for index in (first, last))
            found.append(
                (first, PageRange(start, end, table.level, int(table.entries[first]), look, above, shared))
            )  # fmt: skip
    return found


def _look_of(table: Table) -> Entries:
    """A number for each entry that is the same for those that look the same; 0 where nothing is, or a table."""
    entries = table.entries
    present = (entries & np.uint64(P)) != 0
    large = table.level in (2, 3)
    look = entries & np.uint64(_ATTRIBUTES | (_LARGE_PAT if large else 0))
    if table.level > 1:
        pointers = present & ((entries & np.uint64(1 << 7)) == 0) if large else present
        look = np.where(pointers, np.uint64(0), look)
    kinds = entries >> np.uint64(59)
    absent = np.where(kinds == MARKER_TYPE, entries, (entries & np.uint64(_TYPE)) | np.uint64(_SWAPPED))
    prot_none = (entries & np.uint64(PROTNONE)) != 0
    absent = np.where(prot_none, look, absent)
    found: Entries = np.where(present, look, np.where(entries == 0, np.uint64(0), absent))
    return found


# -- as lines ----------------------------------------------------------------------------------------------------------


def range_size(size: int) -> str:
    """A size in ptdump's manner: the largest unit that leaves a whole number."""
    unit = 0
    size >>= 10
    while size and not size & 1023 and unit < len(_UNITS) - 1:
        size, unit = size >> 10, unit + 1
    return f"{size}{_UNITS[unit]}"


def range_line(found: PageRange, levels: int, name: str = "") -> str:
    """A line in ptdump's look: addresses, size, bits, level; then whether the table is shared, and a name."""
    start, end = shown_address(found.start, levels), shown_address(found.end - 1, levels) + 1
    words = f"{found.words():43} {level_name(found.level, levels)}"
    ends = "  ".join(filter(None, ("shared" if found.shared else "", name)))
    line = f"0x{start:016x}-0x{end:016x} {range_size(end - start):>9} {words}"
    return f"{line}  {ends}" if ends else line


def hole_line(start: int, end: int, levels: int) -> str:
    """A line for addresses that no entry says anything of."""
    low, high = shown_address(start, levels), shown_address(end - 1, levels) + 1
    return f"0x{low:016x}-0x{high:016x} {range_size(end - start):>9}"

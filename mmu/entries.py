"""The paging-structure entry of each level, from one table of fields (SDM vol. 3, tables 4-14 to 4-20).

Level 5 is a PML5E, 4 a PML4E, 3 a PDPTE, 2 a PDE, 1 a PTE.  An entry is a *leaf* if it maps a page: every PTE, and a
PDPTE or PDE whose PS is 1.  Each of the 64 bits of an entry belongs to exactly one field.  PWT, PCD and PAT select a
memory type from IA32_PAT (SDM vol. 3, 4.9.2 and 11.12).

>>> describe(1, encode(1, P=1, RW=1, US=1, ADDRESS=0x5000))
'PTE 4K page at 0x5000: P RW US'
"""

from __future__ import annotations

import functools
from enum import IntEnum
from typing import NamedTuple

from mmu.registers import CR4, Registers

LEVELS = (5, 4, 3, 2, 1)
ENTRY_NAME = {5: "PML5E", 4: "PML4E", 3: "PDPTE", 2: "PDE", 1: "PTE"}
TABLE_NAME = {5: "PML5", 4: "PML4", 3: "PDPT", 2: "PD", 1: "PT"}
PAGE_SIZE_NAME = {1: "4K", 2: "2M", 3: "1G"}


class EntryField(NamedTuple):
    """One field: bits ``low`` to ``high`` (inclusive) of the entries of ``levels`` that are a leaf, a table pointer,
    or either.
    """

    name: str
    low: int
    high: int
    levels: tuple[int, ...]
    where: str  # "leaf", "table" or "both"
    means: str

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << (self.high - self.low + 1)) - 1) << self.low

    def applies(self, level: int, leaf: bool) -> bool:
        """Whether an entry of this level, leaf or not, has the field."""
        return level in self.levels and self.where in ("both", "leaf" if leaf else "table")


_ALL = LEVELS
FIELDS = (
    EntryField("P", 0, 0, _ALL, "both", "present"),
    EntryField("RW", 1, 1, _ALL, "both", "writes are allowed"),
    EntryField("US", 2, 2, _ALL, "both", "user-mode accesses are allowed"),
    EntryField("PWT", 3, 3, _ALL, "both", "page-level write-through"),
    EntryField("PCD", 4, 4, _ALL, "both", "page-level cache disable"),
    EntryField("A", 5, 5, _ALL, "both", "accessed: used for a translation"),
    EntryField("D", 6, 6, (3, 2, 1), "leaf", "dirty: written"),
    EntryField("IGN6", 6, 6, (5, 4, 3, 2), "table", "ignored by the processor"),
    EntryField("PS", 7, 7, (3, 2), "both", "page size: this entry maps a page"),
    EntryField("RSVD", 7, 7, (5, 4), "both", "must be 0"),
    EntryField("PAT", 7, 7, (1,), "leaf", "page attribute table index, high bit"),
    EntryField("G", 8, 8, (3, 2, 1), "leaf", "global: survives a MOV to CR3"),
    EntryField("IGN8", 8, 8, (5, 4, 3, 2), "table", "ignored by the processor"),
    EntryField("AVL", 9, 11, _ALL, "both", "ignored by the processor, free for software"),
    EntryField("PAT", 12, 12, (3, 2), "leaf", "page attribute table index, high bit"),
    EntryField("RSVD", 13, 20, (2,), "leaf", "must be 0"),
    EntryField("RSVD", 13, 29, (3,), "leaf", "must be 0"),
    EntryField("ADDRESS", 12, 51, (5, 4, 3, 2), "table", "physical address of the next table"),
    EntryField("ADDRESS", 12, 51, (1,), "leaf", "physical address of the 4K page"),
    EntryField("ADDRESS", 21, 51, (2,), "leaf", "physical address of the 2M page"),
    EntryField("ADDRESS", 30, 51, (3,), "leaf", "physical address of the 1G page"),
    EntryField("AVL_HIGH", 52, 58, (3, 2, 1), "leaf", "ignored by the processor, free for software"),
    EntryField("AVL_HIGH", 52, 62, (5, 4, 3, 2), "table", "ignored by the processor, free for software"),
    EntryField("PKEY", 59, 62, (3, 2, 1), "leaf", "protection key; ignored unless CR4.PKE or CR4.PKS"),
    EntryField("XD", 63, 63, _ALL, "both", "execute disable; must be 0 unless EFER.NXE"),
)


def _bit(name: str, level: int = 1) -> int:
    return next(f.mask for f in FIELDS if f.name == name and level in f.levels)


# For the walk.
P = _bit("P")
RW = _bit("RW")
US = _bit("US")
A = _bit("A")
D = _bit("D")
PS = _bit("PS", 2)
G = _bit("G")
XD = _bit("XD")
ADDRESS = _bit("ADDRESS")


def is_leaf(level: int, value: int) -> bool:
    """Whether a present entry of this level maps a page."""
    return level == 1 or (level in (2, 3) and bool(value & PS))


@functools.cache
def fields_of(level: int, leaf: bool) -> tuple[EntryField, ...]:
    """The fields of an entry, low bits first.  ValueError for a level that does not exist."""
    if level not in ENTRY_NAME:
        raise ValueError(f"there is no paging-structure entry of level {level}")
    return tuple(f for f in FIELDS if f.applies(level, leaf))


def page_bytes(level: int) -> int:
    """The size of the range that one entry of this level covers, in bytes."""
    return 1 << (12 + 9 * (level - 1))


def encode(level: int, **values: int) -> int:
    """An entry of this level from its fields; flags are 0 or 1, ``ADDRESS`` is the full physical address.

    ValueError for a field that such an entry does not have, or a value that does not fit.
    """
    leaf = level == 1 or bool(values.get("PS"))
    fields = {f.name: f for f in fields_of(level, leaf)}
    entry = 0
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            raise ValueError(
                f"a {ENTRY_NAME[level]} that {'maps a page' if leaf else 'points to a table'} has no field {name}"
            )
        bits = value if name == "ADDRESS" else value << field.low
        if value < 0 or bits & ~field.mask:
            raise ValueError(f"{name}={value:#x} does not fit bits {field.high}:{field.low} of a {ENTRY_NAME[level]}")
        entry |= bits
    return entry


def decode(level: int, value: int) -> dict[str, int]:
    """Every field of an entry by name; the inverse of :func:`encode`."""
    return {
        f.name: value & f.mask if f.name == "ADDRESS" else (value & f.mask) >> f.low
        for f in fields_of(level, is_leaf(level, value))
    }


def reserved_bits(
    level: int, leaf: bool, maxphyaddr: int, *, nxe: bool = True, pages_1g: bool = True, upper_g_reserved: bool = False
) -> int:
    """The bits that must be 0 in a present entry (SDM vol. 3, tables 4-14 to 4-20).

    The fields named RSVD, the address bits from MAXPHYADDR on, PS of a PDPTE where there are no 1G pages, XD unless
    EFER.NXE, and bit 8 of a PML5E or PML4E with ``upper_g_reserved`` (AMD).
    """
    reserved = 0
    for field in fields_of(level, leaf):
        if field.name == "RSVD" or (field.name == "XD" and not nxe):
            reserved |= field.mask
        elif field.name == "PS" and level == 3 and leaf and not pages_1g:
            reserved |= field.mask
        elif field.name == "IGN8" and level >= 4 and upper_g_reserved:
            reserved |= field.mask
        elif field.name == "ADDRESS":
            reserved |= field.mask >> maxphyaddr << maxphyaddr
    return reserved


# -- memory types ------------------------------------------------------------------------------------------------------
# The effect of the MTRRs is not modelled: these are the types that the page attribute table selects.


class MemoryType(IntEnum):
    """A memory type, by its encoding in IA32_PAT (SDM vol. 3, table 11-10).  2 and 3 are reserved."""

    UC = 0  # strong uncacheable
    WC = 1  # write combining
    WT = 4  # write-through
    WP = 5  # write protected
    WB = 6  # write-back
    UC_MINUS = 7  # uncacheable, unless the MTRRs say WC

    def __str__(self) -> str:
        return "UC-" if self is MemoryType.UC_MINUS else self.name


def _selected(pat: int, pwt: int, pcd: int, high: int) -> MemoryType:
    return MemoryType((pat >> 8 * (pwt | pcd << 1 | high << 2)) & 0xFF)


def memory_type(level: int, entry: int, pat: int) -> MemoryType:
    """The memory type of the page that an entry maps, or of the table that it points to, with ``pat`` in IA32_PAT.

    A table pointer has no PAT bit: it selects among the first four types.  ValueError for a reserved type.

    >>> str(memory_type(1, 0x5019, 0x0007_0406_0007_0406))  # P, PWT, PCD
    'UC'
    """
    fields = decode(level, entry)
    return _selected(pat, fields["PWT"], fields["PCD"], fields.get("PAT", 0))


def top_table_memory_type(registers: Registers) -> MemoryType:
    """The memory type of the table at CR3: by CR3's own PWT and PCD, which with CR4.PCIDE count as 0."""
    if registers.cr4 & CR4.PCIDE:
        return _selected(registers.pat, 0, 0, 0)
    return _selected(registers.pat, registers.cr3 >> 3 & 1, registers.cr3 >> 4 & 1, 0)


# -- in words ----------------------------------------------------------------------------------------------------------


def describe(level: int, value: int, pat: int | None = None) -> str:
    """An entry in words: what it is, where it points, and its fields that are not zero.

    With ``pat``, the contents of IA32_PAT, also the memory type of the page or of the table.
    """
    fields = decode(level, value)
    name = ENTRY_NAME[level]
    if not fields["P"]:
        return f"{name} not present" + (f" (software bits {value:#x})" if value else "")
    leaf = is_leaf(level, value)
    target = f"{PAGE_SIZE_NAME[level]} page" if leaf else f"{TABLE_NAME[level - 1]} table"
    words = f"{name} {target} at {fields['ADDRESS']:#x}: {' '.join(_set_fields(level, leaf, fields))}"
    if pat is None:
        return words
    return f"{words}; memory type {memory_type(level, value, pat)}"


def _set_fields(level: int, leaf: bool, fields: dict[str, int]) -> list[str]:
    """The flags that are set, then the numbers that are not zero."""
    found = [f for f in fields_of(level, leaf) if fields[f.name] and f.name not in ("ADDRESS", "PS")]
    flags = [f.name for f in found if f.low == f.high]
    numbers = [(f.name, fields[f.name]) for f in found if f.low != f.high]
    return flags + [f"{name}={value}" if value < 16 else f"{name}={value:#x}" for name, value in numbers]

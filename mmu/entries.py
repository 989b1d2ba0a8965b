"""The paging-structure entry of each level, from one table of fields (SDM vol. 3, tables 4-15 to 4-20).

Level 4 is a PML4E, 3 a PDPTE, 2 a PDE, 1 a PTE.  An entry is a *leaf* if it maps a page: every PTE, and a PDPTE or
PDE whose PS is 1.

>>> describe(1, encode(1, P=1, RW=1, US=1, ADDRESS=0x5000))
'PTE 4K page at 0x5000: P RW US'
"""

from __future__ import annotations

from dataclasses import dataclass

from mmu.native import U

LEVELS = (4, 3, 2, 1)
ENTRY_NAME = {5: "PML5E", 4: "PML4E", 3: "PDPTE", 2: "PDE", 1: "PTE"}
TABLE_NAME = {5: "PML5", 4: "PML4", 3: "PDPT", 2: "PD", 1: "PT"}
PAGE_SIZE_NAME = {1: "4K", 2: "2M", 3: "1G"}


@dataclass(frozen=True)
class Field:
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


_ALL = (5, 4, 3, 2, 1)
FIELDS = (
    Field("P", 0, 0, _ALL, "both", "present"),
    Field("RW", 1, 1, _ALL, "both", "writes are allowed"),
    Field("US", 2, 2, _ALL, "both", "user-mode accesses are allowed"),
    Field("PWT", 3, 3, _ALL, "both", "page-level write-through"),
    Field("PCD", 4, 4, _ALL, "both", "page-level cache disable"),
    Field("A", 5, 5, _ALL, "both", "accessed: used for a translation"),
    Field("D", 6, 6, (3, 2, 1), "leaf", "dirty: written"),
    Field("PS", 7, 7, (3, 2), "both", "page size: this entry maps a page"),
    Field("PAT", 7, 7, (1,), "leaf", "page attribute table index, high bit"),
    Field("G", 8, 8, (3, 2, 1), "leaf", "global: survives a MOV to CR3"),
    Field("AVL", 9, 11, _ALL, "both", "ignored by the processor, free for software"),
    Field("PAT", 12, 12, (3, 2), "leaf", "page attribute table index, high bit"),
    Field("ADDRESS", 12, 51, (5, 4, 3, 2), "table", "physical address of the next table"),
    Field("ADDRESS", 12, 51, (1,), "leaf", "physical address of the 4K page"),
    Field("ADDRESS", 21, 51, (2,), "leaf", "physical address of the 2M page"),
    Field("ADDRESS", 30, 51, (3,), "leaf", "physical address of the 1G page"),
    Field("PKEY", 59, 62, (3, 2, 1), "leaf", "protection key"),
    Field("XD", 63, 63, _ALL, "both", "execute disable"),
)


def _bit(name: str, level: int = 1) -> int:
    return next(f.mask for f in FIELDS if f.name == name and level in f.levels)


# For the walk: integers of the mode's own type.
P = U(_bit("P"))
RW = U(_bit("RW"))
US = U(_bit("US"))
A = U(_bit("A"))
D = U(_bit("D"))
PS = U(_bit("PS", 2))
G = U(_bit("G"))
XD = U(_bit("XD"))
ADDRESS = U(_bit("ADDRESS"))


def is_leaf(level: int, value: int) -> bool:
    """Whether a present entry of this level maps a page."""
    return level == 1 or (level in (2, 3) and bool(value & int(PS)))


def fields_of(level: int, leaf: bool) -> tuple[Field, ...]:
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


def reserved_bits(level: int, leaf: bool, maxphyaddr: int) -> int:
    """The bits that must be 0 in a present entry: above MAXPHYADDR, PS of a PML4E, low address bits of a large page."""
    reserved = ((1 << 52) - 1) & ~((1 << maxphyaddr) - 1)
    if level >= 4:
        reserved |= 1 << 7
    if leaf and level > 1:
        reserved |= (page_bytes(level) - 1) & ~((1 << 13) - 1)
    return reserved


def describe(level: int, value: int) -> str:
    """An entry in words: what it is, where it points, and the names of its flags that are set."""
    name = ENTRY_NAME[level]
    fields = decode(level, value)
    if not fields["P"]:
        return f"{name} not present" + (f" (software bits {value:#x})" if value else "")
    leaf = is_leaf(level, value)
    target = f"{PAGE_SIZE_NAME[level]} page" if leaf else f"{TABLE_NAME[level - 1]} table"
    flags = [f.name for f in fields_of(level, leaf) if f.low == f.high and fields[f.name] and f.name != "PS"]
    flags += [f"{f}={fields[f]}" for f in ("AVL", "PKEY") if fields.get(f)]
    return f"{name} {target} at {fields['ADDRESS']:#x}: {' '.join(flags)}"

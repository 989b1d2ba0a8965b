"""Memory types: what PWT, PCD and PAT of an entry select from IA32_PAT (SDM vol. 3, 4.9.2 and 11.12).

What the MTRRs add to it is not modelled: this is the type that the page attribute table asks for.

>>> str(memory_type(1, 0x5019, 0x0007_0406_0007_0406))  # P, PWT, PCD
'UC'
"""

from __future__ import annotations

from enum import IntEnum

from mmu.entries import decode
from mmu.registers import CR4, Registers


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
    """
    fields = decode(level, entry)
    return _selected(pat, fields["PWT"], fields["PCD"], fields.get("PAT", 0))


def top_table_memory_type(registers: Registers) -> MemoryType:
    """The memory type of the table at CR3: by CR3's own PWT and PCD, which with CR4.PCIDE count as 0."""
    if registers.cr4 & CR4.PCIDE:
        return _selected(registers.pat, 0, 0, 0)
    return _selected(registers.pat, registers.cr3 >> 3 & 1, registers.cr3 >> 4 & 1, 0)

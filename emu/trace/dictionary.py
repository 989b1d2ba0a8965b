"""The dictionary of a column while it is made natively: the values that there are, and how they are found."""

from __future__ import annotations

from emu.trace.encoder_state import ColumnState
from mmu.native import cold, inlined, load32, load64, native, store32, store64

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
#: The least room of a table by which values are found: a power of two.
LEAST_SLOTS = 1 << 9
_GOLDEN = 0x9E37_79B9_7F4A_7C15


@native
def _slot(column: ColumnState, value: int) -> int:
    """Where a value is looked for first."""
    return ((value * _GOLDEN & _ALL_ONES) >> 40) & column.slots_mask


@cold
def empty(at: int, size: int) -> None:
    """Words of 0; were it inlined, the compiler would call C's memset, which is not there."""
    end = at + size
    while at != end:
        store64(at, 0)
        at += 8


@cold
def _grow(column: ColumnState) -> None:
    """Twice as many slots."""
    column.slots_mask = column.slots_mask * 2 + 1
    empty(column.slots, (column.slots_mask + 1) * 4)
    number = 0
    while number != column.distinct:
        at = _slot(column, load64(column.dictionary + number * 8))
        while load32(column.slots + at * 4) != 0:
            at = (at + 1) & column.slots_mask
        number += 1
        store32(column.slots + at * 4, number)


@cold
def index_of(column: ColumnState, value: int) -> int:
    """The index of a value in the dictionary, where it is put if it is not there."""
    at = _slot(column, value)
    found = load32(column.slots + at * 4)
    while found != 0:
        if load64(column.dictionary + (found - 1) * 8) == value:
            return found - 1
        at = (at + 1) & column.slots_mask
        found = load32(column.slots + at * 4)
    number = column.distinct
    store64(column.dictionary + number * 8, value)
    column.distinct = number + 1
    store32(column.slots + at * 4, number + 1)
    if (number + 1) * 2 > column.slots_mask + 1:
        _grow(column)
    return number


@inlined
def find(column: ColumnState, value: int) -> int:
    """The same; mostly it is where it is looked for first."""
    found = load32(column.slots + _slot(column, value) * 4)
    if found != 0 and load64(column.dictionary + found * 8 - 8) == value:
        return found - 1
    return index_of(column, value)


@native
def forget_values(column: ColumnState) -> None:
    """The dictionary has nothing."""
    empty(column.slots, (column.slots_mask + 1) * 4)
    empty(column.direct, column.direct_bytes)
    column.slots_mask = LEAST_SLOTS - 1
    column.distinct = 0

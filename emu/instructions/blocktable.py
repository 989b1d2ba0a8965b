"""The table in which the native hook finds what is known of a block, by its address."""

from __future__ import annotations

import struct

from emu.engine.records import BLOCK_BYTES, TABLE_ENTRIES, TrapState
from mmu.host_array import HostArray

#: The fields of a KnownBlock; of a plain one those behind the third are 0.
_PLAIN = struct.Struct(f"{BLOCK_BYTES // 8}Q")
_WORDS = BLOCK_BYTES // 8
_NOTHING, _UNKNOWN = (0,) * (_WORDS - 3), (0,) * (_WORDS - 1)
#: Programs have their libraries at the same addresses.  So that they do not push each other out of the table, which
#: goes by address, it begins at another place for each of so many address spaces, so many blocks from one to the next.
SPACES, APART = 16, 1031


class BlockTable:
    """One table for all address spaces."""

    def __init__(self, trap: TrapState) -> None:
        self._trap = trap
        self.clear()

    def clear(self) -> None:
        """An empty table, of which the host gives a page when a block comes there."""
        entries = TABLE_ENTRIES + SPACES * APART
        table = HostArray(entries * _WORDS, "Q")
        self._room, self._slots = table.bytes, table.view
        self._at = self._trap.table = table.address
        #: The place of the first block for the address space that runs.
        self.first = 0

    def begin_at(self, first: int) -> None:
        """Code of another address space runs."""
        self.first = first
        self._trap.table = self._at + first * BLOCK_BYTES

    def begins(self, code_id: int) -> int:
        """Where the table begins on the host for an address space."""
        return self._at + (code_id & SPACES - 1) * APART * BLOCK_BYTES

    def forget(self, address: int) -> None:
        """Nothing is known of a block."""
        number = _number(address)
        for place in range(number, number + SPACES * APART, APART):
            if self._slots[place * _WORDS] == address:
                _PLAIN.pack_into(self._room, place * BLOCK_BYTES, address, *_UNKNOWN)

    def tell(self, key: int, address: int, instructions: int, *more: int) -> int:
        """Tell the native hook of a block; ``more`` are the other fields of a KnownBlock, which is at the host address
        that is returned."""
        place = _number(address) + (self._trap.table - self._at) // BLOCK_BYTES
        _PLAIN.pack_into(self._room, place * BLOCK_BYTES, address, key, instructions, *(more or _NOTHING))
        return self._at + place * BLOCK_BYTES


def _number(address: int) -> int:
    """The place of a block in the table."""
    return (address ^ address >> 15) & TABLE_ENTRIES - 1

"""Records as columns, natively: each record is read once, while it is in the host's caches."""

from __future__ import annotations

import ctypes

from mmu.native import entry, load8, load32, load64, store8, store32, store64
from mmu.state import fields

#: Records that are read before the next column is begun: they stay in the nearest caches.
_BLOCK = 256


class Field(ctypes.Structure):
    """A field of the record, of 8, 4 or 1 bytes, and where its column is.  Every field is a uint64."""

    offset: int
    size: int
    column: int

    _fields_ = fields(__annotations__)


_FIELD_BYTES = ctypes.sizeof(Field)


@entry("void", "u64", "u64", "u64", "u64", "u64")
def transpose(records: int, count: int, record_bytes: int, wanted: int, columns: int) -> None:
    """Copy ``columns`` fields (an array of Field at ``wanted``) of ``count`` records into their columns."""
    done = 0
    while done != count:
        end = min(count, done + _BLOCK)
        number = 0
        while number != columns:
            field = Field.from_address(wanted + number * _FIELD_BYTES)
            size, at = field.size, done
            source, target = records + done * record_bytes + field.offset, field.column + done * field.size
            if size == 8:
                while at != end:
                    store64(target, load64(source))
                    source, target, at = source + record_bytes, target + 8, at + 1
            elif size == 4:
                while at != end:
                    store32(target, load32(source))
                    source, target, at = source + record_bytes, target + 4, at + 1
            else:
                while at != end:
                    store8(target, load8(source))
                    source, target, at = source + record_bytes, target + 1, at + 1
            number += 1
        done = end

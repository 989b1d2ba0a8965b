"""What is known of the columns of a trace while they are made natively."""

from __future__ import annotations

import ctypes
from enum import IntEnum

from mmu.state import WordArray, fields

#: Records that are read before the next column is begun.
BLOCK = 256
#: Words of the bitmap of a block, which may begin in the middle of one.
WORDS = 5
#: Of a row of a group: the offset of its record.
OFFSET = 0xFFFF_FFFF


class Source(IntEnum):
    """Where a value comes from."""

    FIELD = 0  # of the record
    PAGE_SIZE = 1  # the level, as the size of the page that an entry there maps
    CACHED_LEVEL = 2  # the level above the highest entry that was read, of ``levels``; 0 where that is the top
    ERRNO = 3  # the result of a call as an error


class Rule(IntEnum):
    """Which rows of a column's kinds have a value.  NOT_ZERO and READ are about the value, all others about the record:
    columns of the same kinds have these rows in common.
    """

    ALWAYS = 0
    NOT_ZERO = 1
    MAPPED = 2  # but for walks that end in a fault
    PLACED = 3  # nor accesses that no TLB could translate
    FAILED = 4  # of walks those that end in a fault
    RANGED = 5  # but for flushes of everything
    READ = 6  # an entry of ``levels`` that was read: every one is present, but for the last
    ERROR = 7  # calls that fail
    RESULT = 8  # calls that do not


class ColumnState(ctypes.Structure):
    """A column while it is made.  Every field is a uint64."""

    source: int
    offset: int  # of the field in the record
    size: int  # its bytes: 8, 4 or 1
    mask: int  # of the bits that are kept of it
    rule: int
    levels: int
    kinds: int  # of events that have it, as bits
    group: int  # the number of the group of these kinds
    is_plain: int  # whether its values are kept as they are
    valid: int  # a bitmap of the rows
    values: int  # of the rows that have one: uint32 indices, or uint64 numbers where it is plain
    count: int  # of those
    dictionary: int  # uint64 numbers, in the order in which they first came
    distinct: int  # of those
    slots: int  # uint32: by the hash of a value, its index plus 1, or that of another, and it is in the next
    slots_mask: int  # how many slots there are, less 1
    direct: int  # uint32: by the byte that a value is, or is made of, its index plus 1
    direct_bytes: int  # how large that is; 0 where values are no bytes
    last: int  # the value that came last, and its index
    last_index: int
    given_rows: int  # uint32: rows of the batch that have a value that is not from the record, in their order
    given_values: int  # uint64
    given: int  # of those that are still to come

    _fields_ = fields(__annotations__)


class GroupState(ctypes.Structure):
    """Rows that some columns have, and those of a block."""

    kinds: int  # of these events, as bits
    rule: int  # of these those, where it is about records
    rows: int  # uint64: the offset of each row's record in the block, and << 32 its place in the bitmap
    many: int  # of those
    present: int  # of the kinds those that are in the block
    asked: int  # what matters there of the rule
    same: int  # the number of the first group that has the same rows there
    valid: WordArray  # the bitmap

    _fields_ = fields(__annotations__, valid=ctypes.c_uint64 * WORDS)


class EncoderState(ctypes.Structure):
    """What there is to be made.  Every field is a uint64."""

    columns: int  # an array of ColumnState
    columns_count: int
    groups: int  # of GroupState
    groups_count: int
    block: int  # uint64: the values of a column in a block
    rare: int  # uint64: rows of a block that are of no frequent kind

    _fields_ = fields(__annotations__)


COLUMN_BYTES, GROUP_BYTES = ctypes.sizeof(ColumnState), ctypes.sizeof(GroupState)

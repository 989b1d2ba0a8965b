"""The columns of a trace out of its records, natively: which rows have a value, and the values as indices into the
dictionary of those that there are.

Records are read in blocks that stay in the nearest caches, and each column goes on behind what it has.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum

from mmu.events import RECORD_BYTES, EventKind, EventRecord
from mmu.native import cold, entry, inlined, load8, load32, load64, native, store8, store32, store64
from mmu.state import WordArray, fields

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
#: Records that are read before the next column is begun.
BLOCK = 256
#: Words of the bitmap of a block, which may begin in the middle of one.
_WORDS = 5
_OFFSET = 0xFFFF_FFFF
#: The least room of a table by which values are found: a power of two.
LEAST_SLOTS = 1 << 9
_GOLDEN = 0x9E37_79B9_7F4A_7C15
#: A result of a call that is an error is not less (MAX_ERRNO).
_ERRORS = (1 << 64) - 4095

_KIND, _LEVEL, _RIGHTS, _LENGTH, _NEW, _ENTRIES = (
    getattr(EventRecord, name).offset for name in ("kind", "level", "rights", "length", "new", "entries")
)


class Source(IntEnum):
    """Where a value comes from."""

    FIELD = 0  # of the record
    PAGE_SIZE = 1  # the level, as the size of the page that an entry there maps
    CACHED_LEVEL = 2  # the level above the highest entry that was read, of ``levels``; 0 where that is the top
    ERRNO = 3  # the result of a call as an error


class Rule(IntEnum):
    """Which rows of a column's kinds have a value."""

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
    last: int  # the value that came last, and its index
    last_index: int
    given_rows: int  # uint32: rows of the batch that have a value that is not from the record, in their order
    given_values: int  # uint64
    given: int  # of those that are still to come

    _fields_ = fields(__annotations__)


class GroupState(ctypes.Structure):
    """Kinds of events that some columns have, and the rows of a block that are of these."""

    kinds: int  # as bits
    rows: int  # uint64: the offset of each row's record in the block, and << 32 its place in the bitmap
    many: int  # of those
    valid: WordArray  # the bitmap

    _fields_ = fields(__annotations__, valid=ctypes.c_uint64 * _WORDS)


class EncoderState(ctypes.Structure):
    """What there is to be made.  Every field is a uint64."""

    columns: int  # an array of ColumnState
    columns_count: int
    groups: int  # of GroupState
    groups_count: int

    _fields_ = fields(__annotations__)


_COLUMN_BYTES, _GROUP_BYTES = ctypes.sizeof(ColumnState), ctypes.sizeof(GroupState)


@native
def _slot(column: ColumnState, value: int) -> int:
    """Where a value is looked for first."""
    return ((value * _GOLDEN & _ALL_ONES) >> 40) & column.slots_mask


@native
def _empty_slots(column: ColumnState) -> None:
    at, end = column.slots, column.slots + (column.slots_mask + 1) * 4
    while at != end:
        store64(at, 0)
        at += 8


@cold
def _grow(column: ColumnState) -> None:
    """Twice as many slots."""
    column.slots_mask = column.slots_mask * 2 + 1
    _empty_slots(column)
    number = 0
    while number != column.distinct:
        at = _slot(column, load64(column.dictionary + number * 8))
        while load32(column.slots + at * 4) != 0:
            at = (at + 1) & column.slots_mask
        number += 1
        store32(column.slots + at * 4, number)


@cold
def _index(column: ColumnState, value: int) -> int:
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


@native
def _cached_level(record: int, levels: int) -> int:
    first, level = load8(record + _LEVEL), 2
    while level <= levels:
        if load64(record + _ENTRIES + (level - 1) * 8) != 0:
            first = level
        level += 1
    return first + 1 if first < levels else 0


@native
def _derived(column: ColumnState, record: int) -> int:
    """A value that is not a field."""
    if column.source == Source.PAGE_SIZE:
        level = load8(record + _LEVEL)
        return 1 << (3 + 9 * level) if level != 0 and level < 4 else 0
    if column.source == Source.CACHED_LEVEL:
        return _cached_level(record, column.levels)
    return (_ALL_ONES - load64(record + _NEW) + 1) & 0xFFFF


@native
def _has(rule: int, record: int, value: int, levels: int) -> bool:
    """Whether a row has a value, of the kinds that may."""
    if rule == Rule.NOT_ZERO:
        return value != 0
    if rule == Rule.READ:
        return value != 0 or load8(record + _LEVEL) == levels
    if rule == Rule.RANGED:
        return load8(record + _KIND) != EventKind.FLUSH or load64(record + _LENGTH) != 0
    if rule == Rule.ERROR:
        return load64(record + _NEW) >= _ERRORS
    if rule == Rule.RESULT:
        return load64(record + _NEW) < _ERRORS
    kind = load8(record + _KIND)
    if rule == Rule.FAILED:
        return kind != EventKind.WALK or load64(record + _RIGHTS) == 0
    if kind == EventKind.WALK:
        return load64(record + _RIGHTS) != 0
    return rule == Rule.MAPPED or kind != EventKind.ACCESS or load8(record + _LEVEL) != 0


@inlined
def _field(address: int, size: int, mask: int) -> int:
    if size == 8:
        return load64(address)
    return load32(address) & mask if size == 4 else load8(address)


@inlined
def _put(column: ColumnState, value: int) -> None:
    """One more value."""
    if column.is_plain != 0:
        store64(column.values + column.count * 8, value)
    else:
        if value != column.last or column.count == 0:
            column.last, column.last_index = value, _index(column, value)
        store32(column.values + column.count * 4, column.last_index)
    column.count += 1


@inlined
def _unconditional(column: ColumnState, begin: int, rows: int, many: int, size: int) -> None:
    """Go on with the fields of these ``rows`` of a block, whose records ``begin`` there."""
    address, mask, target, stop = begin + column.offset, column.mask, column.values, rows + many * 8
    if column.is_plain != 0:
        target += column.count * 8
        while rows != stop:
            store64(target, _field(address + (load64(rows) & _OFFSET), size, mask))
            rows, target = rows + 8, target + 8
    else:
        last, index = column.last, column.last_index
        if column.count == 0:
            last = _field(address + (load64(rows) & _OFFSET), size, mask) ^ _ALL_ONES
        target += column.count * 4
        while rows != stop:
            value = _field(address + (load64(rows) & _OFFSET), size, mask)
            if value != last:
                last, index = value, _index(column, value)
            store32(target, index)
            rows, target = rows + 8, target + 4
        column.last, column.last_index = last, index
    column.count += many


@inlined
def _conditional(column: ColumnState, begin: int, rows: int, many: int, valid: int, size: int) -> None:
    """The same with those that the column's rule lets pass; the bitmap of the block is at ``valid``."""
    offset, mask, rule, levels, stop = column.offset, column.mask, column.rule, column.levels, rows + many * 8
    last, index, count, word, bits = column.last, column.last_index, column.count, 0, 0
    while rows != stop:
        place = load64(rows)
        record = begin + (place & _OFFSET)
        value = _field(record + offset, size, mask)
        if value != 0 if rule == Rule.NOT_ZERO else _has(rule, record, value, levels):
            if value != last or count == 0:
                last, index = value, _index(column, value)
            store32(column.values + count * 4, index)
            count += 1
            if place >> 38 != word:
                store64(valid + word * 8, load64(valid + word * 8) | bits)
                word, bits = place >> 38, 0
            bits |= 1 << (place >> 32 & 63)
        rows += 8
    store64(valid + word * 8, load64(valid + word * 8) | bits)
    column.last, column.last_index, column.count = last, index, count


@cold
def _one_by_one(column: ColumnState, records: int, kinds: int, begin: int, end: int, at: int) -> None:
    """Go on with a column of any kind: the records [begin, end), whose kinds are bytes, are the rows from ``at`` on."""
    while begin != end:
        record, has, value = records + begin * RECORD_BYTES, (column.kinds >> load8(kinds + begin)) & 1 != 0, 0
        if column.given != 0 and load32(column.given_rows) == begin:
            has, value = True, load64(column.given_values)
            column.given -= 1
            column.given_rows += 4
            column.given_values += 8
        elif has:
            if column.source == Source.FIELD:
                value = _field(record + column.offset, column.size, column.mask)
            else:
                value = _derived(column, record)
            has = column.rule == Rule.ALWAYS or _has(column.rule, record, value, column.levels)
        if has:
            word = column.valid + (at >> 6) * 8
            store64(word, load64(word) | 1 << (at & 63))
            _put(column, value)
        begin += 1
        at += 1


@native
def _block(column: ColumnState, group: GroupState, begin: int, at: int) -> None:
    """Go on with a column: the rows of the ``group`` in a block, whose records ``begin`` there."""
    valid = column.valid + (at >> 6) * 8
    if column.rule == Rule.ALWAYS:
        if column.size == 8:
            _unconditional(column, begin, group.rows, group.many, 8)
        elif column.size == 4:
            _unconditional(column, begin, group.rows, group.many, 4)
        else:
            _unconditional(column, begin, group.rows, group.many, 1)
        word = 0
        while word != _WORDS:
            store64(valid + word * 8, load64(valid + word * 8) | group.valid[word])
            word += 1
    elif column.size == 8:
        _conditional(column, begin, group.rows, group.many, valid, 8)
    elif column.size == 4:
        _conditional(column, begin, group.rows, group.many, valid, 4)
    else:
        _conditional(column, begin, group.rows, group.many, valid, 1)


@native
def _gather(group: GroupState, kinds: int, count: int, at: int) -> None:
    """Find the rows of a block that are of a group's kinds; the first is the row ``at``."""
    word, many, row, wanted, rows = 0, 0, 0, group.kinds, group.rows
    while word != _WORDS:
        group.valid[word] = 0
        word += 1
    at &= 63
    while row != count:
        if (wanted >> load8(kinds + row)) & 1 != 0:
            store64(rows + many * 8, row * RECORD_BYTES | at << 32)
            group.valid[at >> 6] |= 1 << (at & 63)
            many += 1
        row += 1
        at += 1
    group.many = many


@entry("u64", "u64", "u64", "u64", "u64")
def look(records: int, count: int, kinds: int, told: int) -> int:
    """Write the kind of each record, a byte, to ``kinds``, and the rows of the kernel's events, uint32, to ``told``;
    returns how many these are."""
    row, many = 0, 0
    while row != count:
        kind = load8(records + _KIND)
        store8(kinds + row, kind)
        if kind >= EventKind.NOTE:
            store32(told + many * 4, row)
            many += 1
        records += RECORD_BYTES
        row += 1
    return many


@entry("void", EncoderState, "u64", "u64", "u64", "u64")
def encode(encoder: EncoderState, records: int, kinds: int, count: int, at: int) -> None:
    """Go on with the columns: ``count`` records, whose kinds are bytes, are the rows from ``at`` on, for which there is
    room."""
    begin = 0
    while begin != count:
        end, present, row = min(count, begin + BLOCK), 0, begin
        while row != end:
            present |= 1 << load8(kinds + row)
            row += 1
        number = 0
        while number != encoder.groups_count:
            group = GroupState.from_address(encoder.groups + number * _GROUP_BYTES)
            if present & group.kinds != 0:
                _gather(group, kinds + begin, end - begin, at)
            number += 1
        number = 0
        while number != encoder.columns_count:
            column = ColumnState.from_address(encoder.columns + number * _COLUMN_BYTES)
            has = present & column.kinds != 0
            if (column.given != 0 and load32(column.given_rows) < end) or (has and column.source != Source.FIELD):
                _one_by_one(column, records, kinds, begin, end, at)
            elif has:
                group = GroupState.from_address(encoder.groups + column.group * _GROUP_BYTES)
                _block(column, group, records + begin * RECORD_BYTES, at)
            number += 1
        at += end - begin
        begin = end


@entry("void", EncoderState, "u64")
def begin_anew(encoder: EncoderState, rows: int) -> None:
    """Forget the columns, of which ``rows`` have been made."""
    number = 0
    while number != encoder.columns_count:
        column = ColumnState.from_address(encoder.columns + number * _COLUMN_BYTES)
        _empty_slots(column)
        column.slots_mask = LEAST_SLOTS - 1
        column.count = 0
        column.distinct = 0
        at, end = column.valid, column.valid + ((rows >> 6) + 1) * 8
        while at != end:
            store64(at, 0)
            at += 8
        number += 1

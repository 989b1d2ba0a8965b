"""The columns of a trace out of its records, natively: which rows have a value, and the values as indices into the
dictionary of those that there are.

Records are read in blocks that stay in the nearest caches, and each column goes on behind what it has.  Of a block the
values of a column are first put one after the other: mostly all are the same, or none is 0, and then nothing has to be
asked of each.
"""

from __future__ import annotations

from typing import NamedTuple

from emu.trace.block_rows import find_rows, passes
from emu.trace.dictionary import empty, find, forget_values, index_of
from emu.trace.encoder_state import (
    BLOCK,
    COLUMN_BYTES,
    GROUP_BYTES,
    OFFSET,
    WORDS,
    ColumnState,
    EncoderState,
    GroupState,
    Rule,
    Source,
)
from mmu.events import RECORD_BYTES, EventRecord
from mmu.native import cold, entry, inlined, load8, load32, load64, native, store32, store64

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_KIND, _LEVEL, _NEW, _ENTRIES = (getattr(EventRecord, name).offset for name in ("kind", "level", "new", "entries"))


@native
def _page_size(level: int) -> int:
    return 1 << (3 + 9 * level) if level != 0 and level < 4 else 0


@cold
def _index_of_byte(column: ColumnState, byte: int) -> int:
    """The index of the value that is made of a byte that has not come yet."""
    index = index_of(column, _page_size(byte) if column.source == Source.PAGE_SIZE else byte)
    store32(column.direct + byte * 4, index + 1)
    return index


@native
def _cached_level(record: int, levels: int) -> int:
    level = levels
    while level >= 2 and load64(record + _ENTRIES + (level - 1) * 8) == 0:
        level -= 1
    first = level if level >= 2 else load8(record + _LEVEL)
    return first + 1 if first < levels else 0


@native
def _error(record: int) -> int:
    return (_ALL_ONES - load64(record + _NEW) + 1) & 0xFFFF


@native
def _derived(column: ColumnState, record: int) -> int:
    """A value that is not a field."""
    if column.source == Source.PAGE_SIZE:
        return _page_size(load8(record + _LEVEL))
    return _cached_level(record, column.levels) if column.source == Source.CACHED_LEVEL else _error(record)


@native
def _has(rule: int, record: int, value: int, levels: int) -> bool:
    """Whether a row has a value, of the kinds that may."""
    if rule == Rule.NOT_ZERO:
        return value != 0
    if rule == Rule.READ:
        return value != 0 or load8(record + _LEVEL) == levels
    return passes(rule, record)


@inlined
def _field(address: int, size: int, mask: int) -> int:
    if size == 8:
        return load64(address)
    return load32(address) & mask if size == 4 else load8(address)


@cold
def _one_by_one(column: ColumnState, records: int, kinds: int, begin: int, end: int, at: int) -> None:
    """Go on with a column of any kind, some of whose values are given: the records [begin, end), whose kinds are bytes,
    are the rows from ``at`` on."""
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
            has = _has(column.rule, record, value, column.levels)
        if has:
            word = column.valid + (at >> 6) * 8
            store64(word, load64(word) | 1 << (at & 63))
            if value != column.last or column.count == 0:
                column.last, column.last_index = value, index_of(column, value)
            store32(column.values + column.count * 4, column.last_index)
            column.count += 1
        begin += 1
        at += 1


@native
def _given_only(column: ColumnState, begin: int, end: int, at: int) -> None:
    """The same where all values are given."""
    while column.given != 0 and load32(column.given_rows) < end:
        row, value = at + load32(column.given_rows) - begin, load64(column.given_values)
        word = column.valid + (row >> 6) * 8
        store64(word, load64(word) | 1 << (row & 63))
        if value != column.last or column.count == 0:
            column.last, column.last_index = value, index_of(column, value)
        store32(column.values + column.count * 4, column.last_index)
        column.count += 1
        column.given -= 1
        column.given_rows += 4
        column.given_values += 8


class _Read(NamedTuple):
    """Of the values of a block: all bits that differ from the last one before, and how many are 0."""

    differs: int
    zeros: int


@inlined
def _read(address: int, rows: int, many: int, out: int, size: int, mask: int, last: int) -> _Read:
    """Put the fields of ``many`` rows, each at ``address`` and its row's offset, one after the other."""
    differs, zeros, stop = 0, 0, rows + many * 8
    while rows != stop:
        value = _field(address + (load64(rows) & OFFSET), size, mask)
        store64(out, value)
        differs |= value ^ last
        zeros += 1 if value == 0 else 0
        rows, out = rows + 8, out + 8
    return _Read(differs, zeros)


@native
def _read_derived(column: ColumnState, begin: int, rows: int, many: int, out: int) -> _Read:
    """The same of values that are no fields, nor a byte of one."""
    differs, zeros, stop = 0, 0, rows + many * 8
    while rows != stop:
        record = begin + (load64(rows) & OFFSET)
        value = _cached_level(record, column.levels) if column.source == Source.CACHED_LEVEL else _error(record)
        store64(out, value)
        differs |= value ^ column.last
        zeros += 1 if value == 0 else 0
        rows, out = rows + 8, out + 8
    return _Read(differs, zeros)


@native
def _read_values(column: ColumnState, begin: int, rows: int, many: int, out: int) -> _Read:
    address = begin + column.offset
    if column.source == Source.CACHED_LEVEL or column.source == Source.ERRNO:
        return _read_derived(column, begin, rows, many, out)
    if column.size == 8:
        return _read(address, rows, many, out, 8, 0, column.last)
    if column.size == 4:
        return _read(address, rows, many, out, 4, column.mask, column.last)
    return _read(address, rows, many, out, 1, 0, column.last)


@native
def _repeat(column: ColumnState, many: int) -> None:
    """The last value again and again."""
    at, index = column.values + column.count * 4, column.last_index
    stop = at + many * 4
    while at != stop:
        store32(at, index)
        at += 4
    column.count += many


@native
def _put_all(column: ColumnState, block: int, many: int) -> None:
    """Go on with all values of a block."""
    target, stop = column.values + column.count * 4, block + many * 8
    if column.direct_bytes != 0:
        while block != stop:
            byte = load64(block)
            found = load32(column.direct + byte * 4)
            store32(target, found - 1 if found != 0 else _index_of_byte(column, byte))
            block, target = block + 8, target + 4
    else:
        last, index = load64(block) ^ _ALL_ONES if column.count == 0 else column.last, column.last_index
        while block != stop:
            value = load64(block)
            if value != last:
                last, index = value, find(column, value)
            store32(target, index)
            block, target = block + 8, target + 4
    column.last, column.last_index = load64(stop - 8), load32(target - 4)
    column.count += many


@native
def _put_some(column: ColumnState, begin: int, rows: int, many: int, valid: int, block: int) -> None:
    """The same with those that the column's rule lets pass; the bitmap of the block is at ``valid``."""
    last, index, count, word, bits = column.last, column.last_index, column.count, 0, 0
    stop = rows + many * 8
    while rows != stop:
        place, value = load64(rows), load64(block)
        if value != 0 or (column.rule == Rule.READ and load8(begin + (place & OFFSET) + _LEVEL) == column.levels):
            if value != last or count == 0:
                last, index = value, find(column, value)
            store32(column.values + count * 4, index)
            count += 1
            if place >> 38 != word:
                store64(valid + word * 8, load64(valid + word * 8) | bits)
                word, bits = place >> 38, 0
            bits |= 1 << (place >> 32 & 63)
        rows, block = rows + 8, block + 8
    store64(valid + word * 8, load64(valid + word * 8) | bits)
    column.last, column.last_index, column.count = last, index, count


@native
def _block(column: ColumnState, group: GroupState, begin: int, at: int, block: int) -> None:
    """Go on with a column: the rows of the ``group`` in a block, whose records ``begin`` there."""
    many, valid = group.many, column.valid + (at >> 6) * 8
    if many == 0:
        return
    if column.is_plain != 0:
        _read(begin + column.offset, group.rows, many, column.values + column.count * 8, 8, 0, 0)
        column.count += many
    else:
        found = _read_values(column, begin, group.rows, many, block)
        if column.rule == Rule.NOT_ZERO and found.zeros == many:
            return
        if found.zeros != 0 and (column.rule == Rule.NOT_ZERO or column.rule == Rule.READ):
            _put_some(column, begin, group.rows, many, valid, block)
            return
        if found.differs == 0 and column.count != 0 and column.source != Source.PAGE_SIZE:
            _repeat(column, many)
        else:
            _put_all(column, block, many)
    word = 0
    while word != WORDS:
        store64(valid + word * 8, load64(valid + word * 8) | group.valid[word])
        word += 1


@entry("void", EncoderState, "u64", "u64", "u64", "u64")
def encode(encoder: EncoderState, records: int, kinds: int, count: int, at: int) -> None:
    """Go on with the columns: ``count`` records, whose kinds are bytes, are the rows from ``at`` on, for which there is
    room."""
    begin = 0
    while begin != count:
        end, first = min(count, begin + BLOCK), records + begin * RECORD_BYTES
        present = find_rows(encoder, first, kinds + begin, end - begin, at)
        number = 0
        while number != encoder.columns_count:
            column = ColumnState.from_address(encoder.columns + number * COLUMN_BYTES)
            if column.given != 0 and load32(column.given_rows) < end:
                if present & column.kinds != 0:
                    _one_by_one(column, records, kinds, begin, end, at)
                else:
                    _given_only(column, begin, end, at)
            elif present & column.kinds != 0:
                group = GroupState.from_address(encoder.groups + column.group * GROUP_BYTES)
                _block(
                    column, GroupState.from_address(encoder.groups + group.same * GROUP_BYTES), first, at, encoder.block
                )
            number += 1
        at += end - begin
        begin = end


@entry("void", EncoderState, "u64")
def begin_anew(encoder: EncoderState, rows: int) -> None:
    """Forget the columns, of which ``rows`` have been made."""
    number = 0
    while number != encoder.columns_count:
        column = ColumnState.from_address(encoder.columns + number * COLUMN_BYTES)
        forget_values(column)
        column.count = 0
        empty(column.valid, ((rows >> 6) + 1) * 8)
        number += 1

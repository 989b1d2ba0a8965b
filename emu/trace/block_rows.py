"""Which rows of a block of records the columns have, natively: those of some kinds that pass a rule."""

from __future__ import annotations

from emu.trace.encoder_state import GROUP_BYTES, WORDS, EncoderState, GroupState, Rule
from mmu.events import RECORD_BYTES, EventKind, EventRecord
from mmu.native import inlined, load8, load64, native, store64

#: A result of a call that is an error is not less (MAX_ERRNO).
_ERRORS = (1 << 64) - 4095
#: Kinds of which most events are.
_FREQUENT = 1 << EventKind.FILL | 1 << EventKind.WALK | 1 << EventKind.ACCESS
_KIND, _LEVEL, _RIGHTS, _LENGTH, _NEW = (
    getattr(EventRecord, name).offset for name in ("kind", "level", "rights", "length", "new")
)


@native
def passes(rule: int, record: int) -> bool:
    """Whether a row is one that a rule means, which is about records."""
    if rule == Rule.ALWAYS:
        return True
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
def _clear(group: GroupState) -> None:
    word = 0
    while word != WORDS:
        group.valid[word] = 0
        word += 1


@native
def _gather(group: GroupState, begin: int, kinds: int, count: int, at: int) -> None:
    """Find the rows of a block, whose records ``begin`` there, that are a group's; the first is the row ``at``."""
    many, row, place, rows, rule = 0, 0, 0, group.rows, group.asked
    word, bits, wanted = 0, 0, group.present
    _clear(group)
    at &= 63
    while row != count:
        is_one = (wanted >> load8(kinds + row)) & 1
        if rule != Rule.ALWAYS and is_one != 0 and not passes(rule, begin + place):
            is_one = 0
        store64(rows + many * 8, place | at << 32)
        many += is_one
        bits |= is_one << (at & 63)
        row += 1
        at += 1
        place += RECORD_BYTES
        if at & 63 == 0:
            group.valid[word] = bits
            word, bits = word + 1, 0
    if bits != 0:
        group.valid[word] = bits
    group.many = many


@native
def _gather_rare(group: GroupState, begin: int, kinds: int, rare: int, many: int, at: int) -> None:
    """The same where it can only be one of the ``rare`` rows."""
    found, stop, rule = 0, rare + many * 8, group.asked
    _clear(group)
    at &= 63
    while rare != stop:
        row = load64(rare)
        if (group.present >> load8(kinds + row)) & 1 != 0:
            place, bit = row * RECORD_BYTES, at + row
            if rule == Rule.ALWAYS or passes(rule, begin + place):
                store64(group.rows + found * 8, place | bit << 32)
                found += 1
                group.valid[bit >> 6] |= 1 << (bit & 63)
        rare += 8
    group.many = found


@native
def _asked(rule: int, present: int) -> int:
    """What matters of a rule, where no other kinds are present."""
    flushes, accesses = (present >> EventKind.FLUSH) & 1, (present >> EventKind.ACCESS) & 1
    if rule == Rule.RANGED and flushes == 0:
        return Rule.ALWAYS
    if rule == Rule.PLACED and accesses == 0:
        rule = Rule.MAPPED
    if rule == Rule.MAPPED and (present >> EventKind.WALK) & 1 == 0:
        return Rule.ALWAYS
    return rule


@native
def _first_like(encoder: EncoderState, group: GroupState, number: int) -> int:
    """The first group that has the rows of a group in a block."""
    first = 0
    while first != number:
        other = GroupState.from_address(encoder.groups + first * GROUP_BYTES)
        if other.present == group.present and other.asked == group.asked:
            return first
        first += 1
    return number


@native
def find_rows(encoder: EncoderState, records: int, kinds: int, count: int, at: int) -> int:
    """Find the rows of each group in a block; returns the kinds that are present, as bits."""
    present, row, rare = 0, 0, 0
    while row != count:
        kind = load8(kinds + row)
        present |= 1 << kind
        store64(encoder.rare + rare * 8, row)
        rare += 1 - ((_FREQUENT >> kind) & 1)
        row += 1
    number = 0
    while number != encoder.groups_count:
        group = GroupState.from_address(encoder.groups + number * GROUP_BYTES)
        group.present = group.kinds & present
        group.asked = _asked(group.rule, group.present)
        group.same = _first_like(encoder, group, number)
        if group.same == number and group.present != 0:
            if group.present & _FREQUENT != 0:
                _gather(group, records, kinds, count, at)
            else:
                _gather_rare(group, records, kinds, encoder.rare, rare, at)
        number += 1
    return present

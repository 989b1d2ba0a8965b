"""What is looked for in a batch before its columns are made, natively: the kernel's events, and calls that have come
before.
"""

from __future__ import annotations

from emu.trace.batch import KernelKind
from mmu.events import RECORD_BYTES, EventKind, EventRecord
from mmu.native import entry, load8, load32, load64, native, store8, store32, store64

_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN = 0x9E37_79B9_7F4A_7C15
#: Calls with their arguments that are known at a time: a power of two.
CALLS = 1 << 10
#: Words of each: the call's number and how many arguments it has, six arguments, and what is known of it.
CALL_WORDS = 8
_ARGUMENTS = 6
_KIND, _CODE, _SIZE, _ENTRIES, _OLD = (
    getattr(EventRecord, name).offset for name in ("kind", "error_code", "size", "entries", "old")
)


@entry("u64", "u64", "u64", "u64", "u64")
def look(records: int, count: int, kinds: int, told: int) -> int:
    """Write the kind of each record, a byte, to ``kinds``, and the rows of the kernel's events, uint32, to ``told``;
    returns how many these are."""
    row, many = 0, 0
    while row != count:
        kind = load8(records + _KIND)
        store8(kinds + row, kind)
        store32(told + many * 4, row)
        many += 1 if kind >= EventKind.NOTE else 0
        records += RECORD_BYTES
        row += 1
    return many


@native
def _word(record: int, number: int) -> int:
    """A word of what distinguishes calls."""
    if number == 0:
        return load32(record + _CODE) | load32(record + _SIZE) << 32
    return load64(record + _ENTRIES + (number - 1) * 8) if number != _ARGUMENTS else load64(record + _OLD)


@native
def _place(calls: int, record: int) -> int:
    """Where a call is, if it is known."""
    number, hashed = 0, 0
    while number <= _ARGUMENTS:
        hashed = ((hashed ^ _word(record, number)) * _GOLDEN) & _ALL_ONES
        hashed ^= hashed >> 32
        number += 1
    return calls + (hashed & (CALLS - 1)) * (CALL_WORDS * 8)


@native
def _keep(at: int, record: int, known: int) -> None:
    """Put a call there, and what is known of it."""
    number = 0
    while number <= _ARGUMENTS:
        store64(at + number * 8, _word(record, number))
        number += 1
    store64(at + (CALL_WORDS - 1) * 8, known)


@entry("u64", "u64", "u64", "u64", "u64", "u64", "u64")
def find_calls(calls: int, records: int, told: int, many: int, rows: int, known: int) -> int:
    """Of the rows ``told`` write those of calls that begin to ``rows``, uint32, and to ``known``, uint64, what is known
    of each; returns how many these are.

    What is known is an even number.  An odd one is twice the place, in ``known``, of the first of the same calls, plus
    1: nothing is known of it before :func:`keep_call`, which must follow for each that is the first.
    """
    found, end = 0, told + many * 4
    while told != end:
        row = load32(told)
        record = records + row * RECORD_BYTES
        if load8(record + _KIND) == KernelKind.SYSCALL_ENTER:
            at, number = _place(calls, record), 0
            while number <= _ARGUMENTS and load64(at + number * 8) == _word(record, number):
                number += 1
            if number <= _ARGUMENTS or load64(at + (CALL_WORDS - 1) * 8) == 0:
                _keep(at, record, found << 1 | 1)
            store32(rows + found * 4, row)
            store64(known + found * 8, load64(at + (CALL_WORDS - 1) * 8))
            found += 1
        told += 4
    return found


@entry("void", "u64", "u64", "u64")
def keep_call(calls: int, record: int, known: int) -> None:
    """From now on this is known of a call; another that was in its place is forgotten."""
    _keep(_place(calls, record), record, known)

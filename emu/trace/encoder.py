"""Makes columns of batches: :mod:`emu.trace.encoding` reads the records, and what the kernel tells is given to it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emu.trace.batch import Batch, KernelKind, error_name
from emu.trace.columns import COLUMNS, NAMES, Column
from emu.trace.dictionary import LEAST_SLOTS
from emu.trace.encoder_state import BLOCK, ColumnState, EncoderState, GroupState, Rule, Source
from emu.trace.told import CALL_WORDS, CALLS
from mmu.event_table import EVENT_COLUMNS
from mmu.events import EventKind
from mmu.host_array import HostArray
from mmu.objectcode import load

_ALL_ONES = (1 << 64) - 1
#: Numbers of texts that are given begin here; those below are what records have.
_GIVEN = 1 << 32
_SOURCES = {"page_size": Source.PAGE_SIZE, "cached_level": Source.CACHED_LEVEL, "errno": Source.ERRNO}
_ABOUT_VALUES = (Rule.NOT_ZERO, Rule.READ)
#: Bytes of the type, and the bits that are kept of the record's field.
_SIZES = {"uint8": 1, "uint16": 2, "uint32": 4, "int32": 4, "uint64": 8, "int64": 8}
_RANGES = {name: (int(np.iinfo(name).min), int(np.iinfo(name).max)) for name in _SIZES}
#: Kinds whose fields are all columns.
_WHOLE = ("switch", "syscall_exit")
_DETAIL = next(number for number, column in enumerate(COLUMNS) if column.name == "detail")

#: By the number of a column: rows of the batch and the values that are given to them.
Given = dict[int, tuple[Sequence[int] | npt.NDArray[Any], Sequence[int] | npt.NDArray[Any]]]


class Encoded(NamedTuple):
    """A column of some rows.

    ``valid`` is a bitmap of the rows that have a value.  ``values`` are the values of these, or, where there is a
    ``dictionary``, the indices of theirs there; it has numbers, or texts in UTF-8.
    """

    column: Column
    rows: int
    valid: npt.NDArray[np.uint8]
    values: npt.NDArray[Any]
    dictionary: npt.NDArray[np.uint64] | list[bytes] | None


class _Texts:
    """The texts of a column by number: those of records are given by ``known``, others get numbers as they come."""

    def __init__(self, known: Callable[[int], str]) -> None:
        self._known = known
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []
        #: How long all of them are.
        self.length = 0

    def number(self, text: str) -> int:
        """The number of a text that is given."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = _GIVEN + len(self._texts)
            self._texts.append(text)
            self.length += len(text)
        return number

    def __getitem__(self, number: int) -> bytes:
        text = self._texts[number - _GIVEN] if number >= _GIVEN else self._known(number)
        return text.encode("utf-8", "backslashreplace")

    def clear(self) -> None:
        """Forget those that were given."""
        self._numbers.clear()
        self._texts.clear()
        self.length = 0


class Encoder:
    """Collects batches as columns, of which all or some are ``plain``: numbers without a dictionary."""

    def __init__(self, levels: int, most: int, *, plain: Sequence[str] = ()) -> None:
        """``most``: rows that there is room for."""
        self.most = most
        #: Rows that there are.
        self.rows = 0
        self._states = (ColumnState * len(COLUMNS))()
        self._kinds, self._told = HostArray(most, "B"), HostArray(most, "I")
        self._entered, self._entered_known = HostArray(most, "I"), HostArray(most, "Q")
        self._known_calls = HostArray((CALLS, CALL_WORDS), "Q")
        self._arrays = [
            self._begin(state, column, levels, column.name in plain)
            for state, column in zip(self._states, COLUMNS, strict=True)
        ]
        self._state = self._whole()
        library, told = load("emu.trace.encoding"), load("emu.trace.told")
        self._encode, self._begin_anew = (library[name].call for name in ("encode", "begin_anew"))
        self._look, self._find_calls, self._keep_call = (
            told[name].call for name in ("look", "find_calls", "keep_call")
        )
        self._calls: dict[int, str] = {}
        known: dict[str, Callable[[int], str]] = {name: names.__getitem__ for name, names in NAMES.items()}
        known["event"] = {int(kind): kind.name.lower() for kind in (*EventKind, *KernelKind)}.__getitem__
        known["call"], known["errno"] = self._calls.__getitem__, error_name
        self._texts = {
            number: _Texts(known.get(column.name, str))
            for number, column in enumerate(COLUMNS)
            if column.type in ("dict", "string")
        }
        self._notable = [(number, column) for number, column in enumerate(COLUMNS) if column.note is not None]
        self._event = next(number for number, column in enumerate(COLUMNS) if column.name == "event")
        self.clear()

    def _begin(self, state: ColumnState, column: Column, levels: int, is_plain: bool) -> tuple[HostArray, ...]:
        """Describe a column, and give it memory, which the host has only where something is stored."""
        source = _SOURCES.get(column.of, Source.FIELD)
        field = "level" if source == Source.PAGE_SIZE else column.of if source == Source.FIELD else ""
        if field:
            dtype, state.offset = EVENT_COLUMNS.fields[field][:2]  # type: ignore[index]
            state.size = max(dtype.itemsize, 4) if dtype.itemsize != 1 else 1  # of two bytes, the mask takes them
        state.source, state.rule, state.is_plain = source, column.only, int(is_plain)
        state.mask = (1 << 8 * _SIZES.get(column.type, 4)) - 1
        state.levels = int(column.name[-1]) if column.only == Rule.READ else levels
        state.kinds = sum(1 << kind for kind in column.kinds)
        is_byte = state.size == 1
        slots = max(LEAST_SLOTS, 1 << (2 * self.most - 1).bit_length())
        arrays = (
            HostArray((self.most >> 6) + 5, "Q"),
            HostArray(self.most, "Q" if is_plain else "I"),
            HostArray(0 if is_plain else self.most, "Q"),
            HostArray(LEAST_SLOTS if is_plain else slots, "I"),
            HostArray(256 if is_byte else 0, "I"),
        )
        state.valid, state.values, state.dictionary, state.slots, state.direct = (array.address for array in arrays)
        state.direct_bytes = 1024 if is_byte else 0
        state.slots_mask = LEAST_SLOTS - 1
        return arrays

    def _whole(self) -> EncoderState:
        """The columns, in groups of those that the same rows have."""
        of_columns = [
            (state.kinds, Rule.ALWAYS if state.rule in _ABOUT_VALUES else state.rule) for state in self._states
        ]
        wanted = [*dict.fromkeys(of_columns)]
        self._groups = (GroupState * len(wanted))()
        self._rows = HostArray((len(wanted) + 2, BLOCK + 1), "Q")
        for number, (group, (kinds, rule)) in enumerate(zip(self._groups, wanted, strict=True)):
            group.kinds, group.rule, group.rows = kinds, rule, self._rows.address + number * (BLOCK + 1) * 8
        for state, group in zip(self._states, of_columns, strict=True):
            state.group = wanted.index(group)
        columns, groups = ctypes.addressof(self._states), ctypes.addressof(self._groups)
        block, rare = (self._rows.address + (len(wanted) + number) * (BLOCK + 1) * 8 for number in (0, 1))
        return EncoderState(columns, len(COLUMNS), groups, len(wanted), block, rare)

    @property
    def length(self) -> int:
        """How long all texts are that were given."""
        return sum(texts.length for texts in self._texts.values())

    def clear(self) -> None:
        """Begin anew, without a row."""
        self._begin_anew(ctypes.addressof(self._state), self.rows)
        self.rows = 0
        self._known_calls.array[:] = 0
        for texts in self._texts.values():
            texts.clear()

    def add(self, batch: Batch) -> None:
        """More rows, for which there must be room."""
        records = np.ascontiguousarray(batch.records)
        count = len(records)
        if self.rows + count > self.most:
            raise ValueError(f"there is no room for {count} rows after {self.rows} of {self.most}")
        self._calls.update(batch.calls)
        many = self._look(records.ctypes.data, count, self._kinds.address, self._told.address)
        keep = []
        for number, (rows, values) in self._given(batch._replace(records=records), many).items():
            state = self._states[number]
            places, numbers = np.array(rows, np.uint32), np.array(values, np.uint64)
            state.given_rows, state.given_values, state.given = places.ctypes.data, numbers.ctypes.data, len(rows)
            keep.append((places, numbers))
        self._encode(ctypes.addressof(self._state), records.ctypes.data, self._kinds.address, count, self.rows)
        self.rows += count

    def _given(self, batch: Batch, many: int) -> Given:
        """What the kernel tells, in the rows that were found."""
        lists: dict[int, tuple[list[int], list[int]]] = {}
        notes = iter(batch.notes)
        told = self._told.array[:many]
        for at in told[self._kinds.array[told] == EventKind.NOTE].tolist() if batch.notes else ():
            note = next(notes)
            self._give(lists, self._event, at, note.kind)
            for number, column in self._notable:
                assert column.note is not None
                value = column.note(note.kind, note.fields)
                if value is not None:
                    self._give(lists, number, at, value)
            if note.kind not in _WHOLE:
                self._give(lists, _DETAIL, at, note.detail)
        given: Given = {**lists}
        rows, details = self._of_calls(batch, many)
        if len(rows):
            told_of, texts = lists.get(_DETAIL, ([], []))
            rows = np.concatenate([rows, np.array(told_of, np.uint32)])
            order = np.argsort(rows, kind="stable")
            given[_DETAIL] = rows[order], np.concatenate([details, np.array(texts, np.uint64)])[order]
        return given

    def _of_calls(self, batch: Batch, many: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]:
        """The rows of calls that begin, which are records, and their details; mostly the same call has come before."""
        records, calls = batch.records.ctypes.data, self._known_calls.address
        found = self._find_calls(
            calls, records, self._told.address, many, self._entered.address, self._entered_known.address
        )
        rows, known = self._entered.array[:found], self._entered_known.array[:found]
        is_new = known & np.uint64(1) != 0
        first = known >> np.uint64(1)
        for at in np.flatnonzero(is_new & (first == np.arange(found))).tolist():
            (note,) = batch.kernel_events(rows[at : at + 1].astype(np.intp))
            known[at] = self._texts[_DETAIL].number(note.detail) + 1 << 1
            self._keep_call(calls, records + int(rows[at]) * EVENT_COLUMNS.itemsize, int(known[at]))
        known[is_new] = known[first[is_new].astype(np.intp)]
        return rows, (known >> np.uint64(1)) - np.uint64(1)

    def _give(self, given: dict[int, tuple[list[int], list[int]]], number: int, row: int, value: Any) -> None:
        rows, values = given.setdefault(number, ([], []))
        rows.append(row)
        texts = self._texts.get(number)
        if texts is None:
            least, most = _RANGES[COLUMNS[number].type]
            if not least <= value <= most:  # a line of JSON may say so
                raise OverflowError(f"{value} is no {COLUMNS[number].name}")
            values.append(value & _ALL_ONES)
        else:
            values.append(texts.number(value))

    def columns(self) -> Iterator[Encoded]:
        """What has been collected: arrays that the next rows change."""
        for number, (state, column, arrays) in enumerate(zip(self._states, COLUMNS, self._arrays, strict=True)):
            valid = np.frombuffer(arrays[0].bytes, np.uint8, (self.rows + 7) >> 3)
            values = arrays[1].array[: state.count]
            if state.is_plain:
                yield Encoded(column, self.rows, valid, values, None)
                continue
            dictionary = arrays[2].array[: state.distinct]
            texts = self._texts.get(number)
            known = dictionary if texts is None else [texts[value] for value in dictionary.tolist()]
            yield Encoded(column, self.rows, valid, values, known)

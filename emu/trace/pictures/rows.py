"""Some rows of a trace as numpy columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from emu.linux.event_kind import EventError
from emu.trace.reader import TraceError
from emu.trace.schema import Schema

#: The columns that the pictures are made of.
COLUMNS = (
    "seq", "clock", "time", "pid", "rip", "event", "vaddr", "page_size", "level", "cached_level", "tlb_level", "cr3",
    "entry_1", "entry_2", "entry_3", "entry_4", "entry_5", "shared_level", "first_pid", "resolved", "other_tid",
    "detail",
)  # fmt: skip


class Rows:
    """A batch; a column that an event does not have is 0 there."""

    def __init__(self, batch: pa.RecordBatch, schema: Schema) -> None:
        self._schema = schema
        self.batch = batch
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self.count: int = batch.num_rows

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        found = self._columns.get(name)
        if found is None:
            values = self.batch.column(name)
            found = self._columns[name] = (values.fill_null(0) if values.null_count else values).to_numpy()
        return found

    def has(self, name: str) -> npt.NDArray[np.bool_]:
        """Which events have the column."""
        valid = self.batch.column(name).is_valid()
        return np.asarray(valid.to_numpy(zero_copy_only=False), bool)

    def words(self, name: str) -> tuple[npt.NDArray[np.int64], list[str]]:
        """A column of few texts: for each event a number, -1 for none, and the texts by number."""
        values = self.batch.column(name)
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        numbers = values.indices.cast(pa.int64()).fill_null(-1).to_numpy()
        return numbers, values.dictionary.to_pylist()

    @cached_property
    def _kinds(self) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
        numbers, names = self.words("event")
        if (numbers < 0).any():
            raise TraceError("an event has no kind")
        return numbers, {name: number for number, name in enumerate(names)}

    @cached_property
    def kinds(self) -> dict[str, int]:
        """How many events of each kind there are."""
        numbers, names = self._kinds
        counts = np.bincount(numbers, minlength=len(names)).tolist()
        return {name: counts[number] for name, number in names.items() if counts[number]}

    def of(self, kind: str) -> npt.NDArray[np.intp]:
        """Where the events of a kind are."""
        numbers, names = self._kinds
        return np.flatnonzero(numbers == names.get(kind, -2))

    def fields(self, kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Where each event of the kernel of this kind is, with its fields.  :class:`emu.trace.reader.TraceError` if
        they are not those of the kind.
        """
        places = self.of(kind)
        texts = self.batch.column("detail").take(pa.array(places)).to_pylist() if len(places) else []
        for at, text in zip(places.tolist(), texts, strict=True):
            try:
                yield at, self._schema[kind].decode(json.loads(text))
            except (EventError, ValueError, TypeError, AttributeError) as error:
                raise TraceError(f"event {int(self['seq'][at])}: {error}") from None

"""DynamoRIO's memtrace (drmemtrace): records of 12 bytes, plain or .gz, or the chunks of a .zip.

Of the records (trace_entry_t of clients/drcachesim/common/trace_entry.h) instructions, loads, stores, processes and
threads count; all others say nothing of accesses.  An instruction is one fetch for each page that it touches.  The
physical addresses in markers change no count of a TLB, and are passed over: pages are mapped by the policy, or as the
file v2p.textproto has it (:class:`emu.lab.page_policy.Frames`).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import numpy as np
import numpy.typing as npt

from emu.lab.batch import BATCH, Batch, StreamError
from emu.lab.foreign.pieces import DAMAGED, crossing, opened, records
from mmu.registers import Access

_RECORD = np.dtype([("type", "<u2"), ("size", "<u2"), ("value", "<u8")])
#: By type: the kind of access, or another word of ours.
_NOTHING, _PID, _NO_FETCH = 255, 254, 253
_PID_TYPE, _HEADER = 24, 25
_MOST_PID = 0xFFFF_FFFF
_KIND = np.full(1 << 16, _NOTHING, np.uint8)
_KIND[0], _KIND[1] = Access.READ, Access.WRITE
_KIND[[10, 11, 12, 13, 14, 15, 16, 48, 49]] = Access.FETCH
_KIND[29] = _NO_FETCH  # the instruction goes on: the next iteration of REP
_KIND[_PID_TYPE] = _PID


def read(path: str, fields: Sequence[str]) -> Iterator[Batch]:
    """The accesses.  :class:`emu.lab.batch.StreamError` if the file is none, or is cut off."""
    with opened(path) as file:
        state = _State(path)
        for chunk, name in _chunks(file, path):
            for some in records(chunk, name, _RECORD, BATCH):
                if state.first and some["type"][0] != _HEADER:
                    raise StreamError(f"{path}: it begins with no header of a memtrace")
                yield state.batch(some)
        if state.first:
            raise StreamError(f"{path}: there is no record in it")


def _chunks(file: IO[bytes], path: str) -> Iterator[tuple[IO[bytes], str]]:
    """The file, or what is in an archive, in the order of the names."""
    if not path.endswith(".zip"):
        yield file, path
        return
    with _sound(path):
        archive = zipfile.ZipFile(file)
    with archive:
        for name in sorted(archive.namelist()):
            if name.startswith("chunk."):
                with _sound(f"{path}: {name}"):
                    chunk = archive.open(name)
                with chunk:
                    yield io.BufferedReader(chunk), f"{path}: {name}"  # type: ignore[type-var]


@contextmanager
def _sound(name: str) -> Iterator[None]:
    """What is wrong with an archive is told in a line."""
    try:
        yield
    except DAMAGED as error:
        raise StreamError(f"{name}: {error}") from None


class _State:
    """What holds from one piece to the next: the process, and the instruction."""

    def __init__(self, path: str) -> None:
        self.first = True
        self._path = path
        self._pid = 0
        self._rip = 0

    def batch(self, some: npt.NDArray[np.void]) -> Batch:
        self.first = False
        kinds, values = _KIND[some["type"]], some["value"]
        if (values[kinds == _PID] > _MOST_PID).any():
            raise StreamError(f"{self._path}: a process has a number above {_MOST_PID}")
        pid = _filled(values, kinds == _PID, self._pid)
        rip = _filled(values, (kinds == Access.FETCH) | (kinds == _NO_FETCH), self._rip)
        if len(some):
            self._pid, self._rip = int(pid[-1]), int(rip[-1])
        there = kinds <= Access.FETCH
        vaddr, which = crossing(self._path, values[there], some["size"][there])
        process = pid[there][which]
        return Batch.of(
            vaddr=vaddr, kind=kinds[there][which], rip=rip[there][which], pid=process.astype(np.int32),
            space=process.astype(np.uint32),
        )  # fmt: skip


def _filled(values: npt.NDArray[np.uint64], there: npt.NDArray[np.bool_], before: int) -> npt.NDArray[np.uint64]:
    """Of each row the value of the last row that is there, or what was before."""
    at = np.maximum.accumulate(np.where(there, np.arange(1, len(values) + 1), 0))
    return np.concatenate((np.array([before], np.uint64), values))[at]

"""Reading files of records piece by piece, compressed or not."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from emu.lab.batch import StreamError

_OPEN: dict[str, Callable[[str, str], Any]] = {".gz": gzip.open, ".xz": lzma.open}
_PIECE = 1 << 22


def opened(path: str) -> Any:
    """The file, through what its name says that it is compressed with."""
    for suffix, opener in _OPEN.items():
        if path.endswith(suffix):
            return opener(path, "rb")
    return open(path, "rb")


def pieces(file: IO[bytes], path: str) -> Iterator[bytes]:
    """What is in a file, some MiB at a time.  :class:`StreamError` if its compression is damaged."""
    while True:
        try:
            piece = file.read(_PIECE)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise StreamError(f"{path}: {error}") from None
        if not piece:
            return
        yield piece


def records(file: IO[bytes], path: str, kind: np.dtype[Any], number: int) -> Iterator[npt.NDArray[Any]]:
    """Records, at most so many at a time.  :class:`StreamError` if the last one is cut off."""
    rest = b""
    for piece in pieces(file, path):
        data = rest + piece
        whole = len(data) // kind.itemsize
        for begin in range(0, whole, number):
            yield np.frombuffer(data, kind, min(number, whole - begin), begin * kind.itemsize)
        rest = data[whole * kind.itemsize :]
    if rest:
        raise StreamError(f"{path}: the last record has {len(rest)} of {kind.itemsize} bytes")


def crossing(
    vaddr: npt.NDArray[np.uint64], size: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    """One access for each page that an operand touches: the addresses, and of which operand each is."""
    one = np.uint64(1)
    last = vaddr + np.maximum(size.astype(np.uint64), one) - one
    twice = np.flatnonzero((vaddr ^ last) >> np.uint64(12))
    which = np.arange(len(vaddr))
    if not len(twice):
        return vaddr, which
    second = last[twice] & ~np.uint64(0xFFF)
    return np.insert(vaddr, twice + 1, second), np.insert(which, twice + 1, twice)

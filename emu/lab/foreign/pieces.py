"""Reading files of records piece by piece, compressed or not."""

from __future__ import annotations

import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from emu.lab.batch import StreamError

_OPEN: dict[str, Callable[[str, str], Any]] = {".gz": gzip.open, ".xz": lzma.open}
_PIECE = 1 << 22
#: The size of the largest operand: what the field of a memtrace holds.
MOST_BYTES = 0xFFFF
#: What reading meets where compressed data is damaged, or is compressed or encrypted in a way that is not known.
DAMAGED = (
    EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, RuntimeError,
    UnicodeDecodeError,
)  # fmt: skip


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
        except (*DAMAGED, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # that of a disk, and not of bz2, which says only so of what is damaged
            raise StreamError(f"{path}: {first_line(error)}") from None
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
    path: str, vaddr: npt.NDArray[np.uint64], size: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    """One access for each page that an operand touches: the addresses, and of which operand each is.
    :class:`StreamError` if one has more than :data:`MOST_BYTES`."""
    one, shift = np.uint64(1), np.uint64(12)
    size = np.maximum(size.astype(np.uint64), one)
    if len(size) and (largest := int(size.max())) > MOST_BYTES:
        raise StreamError(f"{path}: an operand of {largest} bytes is not believed; the largest may have {MOST_BYTES}")
    more = ((vaddr & np.uint64(0xFFF)) + size - one) >> shift  # pages besides the first
    which = np.arange(len(vaddr))
    if not more.any():
        return vaddr, which
    which = np.repeat(which, (more + one).astype(np.intp))
    nth = np.arange(len(which)) - np.searchsorted(which, which)
    page = (vaddr[which] & ~np.uint64(0xFFF)) + (nth.astype(np.uint64) << shift)
    return np.where(nth == 0, vaddr[which], page), which


def first_line(error: Exception) -> str:
    """The first line of a message, or the error's name if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]

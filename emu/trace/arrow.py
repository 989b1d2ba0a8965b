"""Whole numbers between numpy and Arrow.

``pa.array(numbers)`` and ``column.to_numpy()`` import pandas where it is installed, to see whether it is theirs: 0.3 s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def arrow_of(numbers: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """The numbers as an array of a type of whole numbers, whose memory they share where they are of it already.
    :class:`OverflowError` if one does not fit.

    >>> arrow_of(np.arange(3, dtype=np.uint64), pa.uint16()).to_pylist()
    [0, 1, 2]
    """
    wanted = np.dtype(str(kind))
    if not np.can_cast(numbers.dtype, wanted) and len(numbers):
        least, most = int(numbers.min()), int(numbers.max())
        if least < np.iinfo(wanted).min or most > np.iinfo(wanted).max:
            raise OverflowError(f"{least} to {most} do not fit into {kind}")
    same = np.ascontiguousarray(numbers, wanted)
    return pa.Array.from_buffers(kind, len(same), [None, pa.py_buffer(same)])


def numbers_of(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """What ``column.to_numpy()`` gives of whole numbers; not to be written to.

    >>> numbers_of(pa.chunked_array([[1, 2], [3]], pa.uint8()))
    array([1, 2, 3], dtype=uint8)
    """
    if not pa.types.is_integer(column.type) or column.null_count:
        return np.asarray(column.to_numpy(**({} if isinstance(column, pa.ChunkedArray) else {"zero_copy_only": False})))
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    kind = np.dtype(str(column.type))
    parts = [
        np.frombuffer(chunk.buffers()[1] or b"", kind, len(chunk), chunk.offset * kind.itemsize)
        for chunk in chunks
        if len(chunk)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, kind), *parts])

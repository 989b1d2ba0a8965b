"""Arrays that native code and Python share."""

from __future__ import annotations

import ctypes
import functools
import math
import mmap
import struct
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy.typing as npt

R = TypeVar("R", bound=ctypes.Structure)
_MAP_32BIT = 0x40


def low_record(kind: type[R], begins: int = 0) -> R:
    """A record of this class, all zero, in the lowest 2 GiB of the address space where there is room: the address is
    short in instructions.  It ``begins`` so far behind the beginning of a page."""
    flags, size = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, begins + ctypes.sizeof(kind)
    try:
        return kind.from_buffer(mmap.mmap(-1, size, flags=flags | _MAP_32BIT), begins)
    except OSError:
        return kind.from_buffer(mmap.mmap(-1, size, flags=flags), begins)


class HostArray:
    """Whole numbers in the host's memory, all zero, which stay at one :attr:`address`.

    The host gives a page when something is stored in it, and no huge one: native code keeps tables of which a program
    uses a few entries here and there.

    >>> table = HostArray((2, 3), "I")
    >>> table.view[1, 2] |= 5
    >>> table.view.tolist(), table.array.dtype.name
    ([[0, 0, 0], [0, 0, 5]], 'uint32')
    """

    def __init__(self, shape: int | tuple[int, ...], code: str) -> None:
        """``code`` is the numbers' type as :mod:`struct` has it: B, H, I or Q, or b, h, i or q for one with a sign."""
        self._shape = (shape,) if isinstance(shape, int) else shape
        self._type = f"{'u' if code.isupper() else 'i'}{struct.calcsize(code)}"
        size = math.prod(self._shape) * struct.calcsize(code)
        self._memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        #: All of it as bytes.
        self.bytes = memoryview(self._memory)[:size]
        #: The numbers; the fastest way from Python to one of them.
        self.view: memoryview[Any] = self.bytes.cast(code, self._shape) if size else self.bytes.cast(code)  # type: ignore[call-overload]
        #: Where the host has it.
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    @functools.cached_property
    def array(self) -> npt.NDArray[Any]:
        """The numbers for numpy, which is imported now."""
        import numpy as np

        return np.frombuffer(self.bytes, dtype=self._type).reshape(self._shape)

"""Physical memory: one sparse host buffer."""

from __future__ import annotations

import ctypes
import functools
import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
#: The largest memory accepted, in bytes (512 GiB).
MAX_BYTES = 512 << 30

#: A memory of so much is backed by huge pages where the host has them (guests go to and fro in it, and the host's TLB
#: misses take longer than ours); a larger one is not: sparse tables would take 2 MiB each.
_HUGE_PAGES_BYTES = 4 << 30

_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)


class BusError(ValueError):
    """A physical address (or the end of a range) lies outside memory."""


class PhysicalMemory:
    """``size`` bytes of physical memory from address 0, all zero.

    Memory is sparse: what was never written takes no host memory, whatever the size.

    >>> ram = PhysicalMemory(64 << 20)
    >>> ram.write(0x1000, b"abc")
    >>> ram.read(0x1000, 4)
    b'abc\\x00'
    """

    def __init__(self, size: int, *, huge_pages: bool = True) -> None:
        """``size`` in bytes: a multiple of 4096, at most 512 GiB; otherwise ValueError.  MemoryError if the host
        refuses.  ``huge_pages=False``: the host is to give no huge pages, since what is written is scattered.
        """
        if size <= 0 or size % PAGE_SIZE or size > MAX_BYTES:
            raise ValueError(
                f"memory size must be a positive multiple of {PAGE_SIZE} up to {MAX_BYTES} bytes, not {size}"
            )
        self.size = size
        try:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
            self._buffer = mmap.mmap(-1, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            raise MemoryError(f"the host refuses {size} bytes of address space: {error.strerror}") from None
        self.want_huge_pages(huge_pages and size <= _HUGE_PAGES_BYTES)
        #: All of memory as bytes; slices of it copy nothing.
        self.view = memoryview(self._buffer)
        #: All of memory as uint64: the fastest way from Python to one entry (index = physical address / 8).
        self.qwords = self.view.cast("Q")
        #: The host address of physical address 0.
        self.host = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))

    def want_huge_pages(self, want: bool) -> None:
        """Whether the host is to give huge pages from now on; not where what is written is scattered."""
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            self._buffer.madvise(mmap.MADV_HUGEPAGE if want else mmap.MADV_NOHUGEPAGE)

    @functools.cached_property
    def words(self) -> npt.NDArray[np.uint64]:
        """The same as a numpy array, for whole tables at once."""
        import numpy as np  # late: few short runs need it

        return np.frombuffer(self._buffer, dtype=np.uint64)

    @property
    def frames(self) -> int:
        """How many 4 KiB frames there are."""
        return self.size >> PAGE_SHIFT

    def _check(self, paddr: int, length: int) -> None:
        if paddr < 0 or length < 0 or paddr + length > self.size:
            raise BusError(
                f"physical range [{paddr:#x}, {paddr + length:#x}) is outside memory of {self.size:#x} bytes"
            )

    def _check_word(self, paddr: int) -> None:
        self._check(paddr, 8)
        if paddr & 7:
            raise ValueError(f"{paddr:#x} is not aligned: a 64-bit word begins at a multiple of 8")

    def __repr__(self) -> str:
        return f"PhysicalMemory({self.size:#x})"

    def read(self, paddr: int, length: int) -> bytes:
        """``length`` bytes at a physical address.  :class:`BusError` outside memory."""
        self._check(paddr, length)
        return bytes(self.view[paddr : paddr + length])

    def write(self, paddr: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes at a physical address.  :class:`BusError` outside memory."""
        self._check(paddr, len(data))
        self.view[paddr : paddr + len(data)] = data

    def read_u64(self, paddr: int) -> int:
        """The aligned 64-bit word at a physical address.  ValueError if it is not aligned."""
        self._check_word(paddr)
        return self.qwords[paddr >> 3]

    def write_u64(self, paddr: int, value: int) -> None:
        """Store an aligned 64-bit word.  ValueError if it is not aligned, or the value is no such word."""
        self._check_word(paddr)
        self.qwords[paddr >> 3] = value

    def discard(self, paddr: int, length: int) -> None:
        """Give whole pages back to the host: they read as zero afterwards."""
        self._check(paddr, length)
        if paddr % PAGE_SIZE or length % PAGE_SIZE:
            raise ValueError("discard works on whole pages")
        if length:
            self._buffer.madvise(mmap.MADV_DONTNEED, paddr, length)

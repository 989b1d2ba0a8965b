"""The vDSO: a shared object of the kernel's in every process, and the page of time that it reads (arch/x86/entry/vdso).

``vdso.c`` is its source, and ``linux-vdso.so.1`` the image, which ``python -m emu.kernel.vdso.build`` makes of it.  The
time stamp counter counts the nanoseconds of CLOCK_MONOTONIC, so that the clocks are read without a system call.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from emu.linux.clock import TICK_NS
from emu.linux.mman import Prot
from emu.mm.flags import VmFlags
from emu.mm.special import SpecialMapping, SpecialPages
from emu.mm.unmapped_area import unmapped_area
from emu.mm.vma import Vma
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.linux.clock import Clock
    from emu.mm.address_space import AddressSpace
    from emu.mm.frames import FrameAllocator

#: The page of emu.kernel.vsyscall.
VSYSCALL = 0xFFFF_FFFF_FF60_0000
IMAGE = Path(__file__).with_name("linux-vdso.so.1")
#: Pages of [vvar], [vvar_vclock] and [vdso], in the order of their addresses (VDSO_NR_PAGES, VDSO_NR_VCLOCK_PAGES).
VVAR_PAGES, VCLOCK_PAGES, VDSO_PAGES = 4, 2, 2
#: In [vvar]: the time, and the state of the random number generator, which nobody uses; no time namespace has a page.
_TIME_PAGE, _RNG_PAGE = 0, 2
_DATA_FLAGS = (
    VmFlags.DONTEXPAND | VmFlags.DONTDUMP | VmFlags.IO | VmFlags.PFNMAP | VmFlags.NEVERWRITE | VmFlags.NEVEREXEC
)


class Vdso:
    """What the kernel maps into every program."""

    def __init__(self, frames: FrameAllocator, clock: Clock) -> None:
        self._clock = clock
        code = {page: _part_of_the_image(page) for page in range(VDSO_PAGES)}
        times = {_TIME_PAGE: self._times, _RNG_PAGE: lambda: bytes(PAGE_SIZE)}
        self._time = SpecialPages(frames, times, VVAR_PAGES)
        #: Name, size in pages, rights, flags, and the pages, from the lowest address on.
        self._mappings = tuple(
            (SpecialMapping(name), number, prot, flags, pages)
            for name, number, prot, flags, pages in (
                ("[vvar]", VVAR_PAGES, Prot.READ, _DATA_FLAGS, self._time),
                ("[vvar_vclock]", VCLOCK_PAGES, Prot.READ, _DATA_FLAGS, SpecialPages(frames, {}, VCLOCK_PAGES)),
                (
                    "[vdso]", VDSO_PAGES, Prot.READ | Prot.EXEC, VmFlags.DONTEXPAND,
                    SpecialPages(frames, code, VDSO_PAGES),
                ),
            )
        )  # fmt: skip

    def map(self, mm: AddressSpace) -> int:
        """Map everything into a new address space; returns where [vdso] begins (map_vdso).  LinuxError(ENOMEM)."""
        mm.reserve_vmas()
        at = unmapped_area(mm, (VVAR_PAGES + VCLOCK_PAGES + VDSO_PAGES) * PAGE_SIZE)
        start = at
        for operations, number, prot, flags, pages in self._mappings:
            start, at = at, at + number * PAGE_SIZE
            mm.insert(Vma(start, at, prot, flags, page_cache=pages, ops=operations), merge=False)
        return start

    def renew(self) -> None:
        """The time of day has been set, or the time zone (update_vsyscall)."""
        self._time.renew(_TIME_PAGE)

    def _times(self) -> bytes:
        """The page that vdso.c calls ``vvar``."""
        wall = self._clock.realtime_offset
        return struct.pack("<qqqii", wall, wall, TICK_NS, *self._clock.timezone).ljust(PAGE_SIZE, b"\0")


def _part_of_the_image(page: int) -> Callable[[], bytes]:
    def read() -> bytes:
        return IMAGE.read_bytes()[page * PAGE_SIZE : (page + 1) * PAGE_SIZE].ljust(PAGE_SIZE, b"\0")

    return read

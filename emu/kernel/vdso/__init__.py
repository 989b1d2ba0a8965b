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
from emu.linux.namespace import Namespace, TimeNamespace
from emu.mm.flags import VmFlags
from emu.mm.mmap import unmap_range
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
        self._clock, self._frames = clock, frames
        code = {page: _part_of_the_image(page) for page in range(VDSO_PAGES)}
        #: The pages of each time namespace that somebody is in; None: the initial one.
        self._time: dict[TimeNamespace | None, SpecialPages] = {}
        #: Those of them that have ended.
        self._ended: list[TimeNamespace] = []
        #: Name, size in pages, rights, flags, and the pages, from the lowest address on.
        self._mappings = tuple(
            (SpecialMapping(name), number, prot, flags, pages)
            for name, number, prot, flags, pages in (
                ("[vvar]", VVAR_PAGES, Prot.READ, _DATA_FLAGS, self._pages_of(None)),
                ("[vvar_vclock]", VCLOCK_PAGES, Prot.READ, _DATA_FLAGS, SpecialPages(frames, {}, VCLOCK_PAGES)),
                (
                    "[vdso]", VDSO_PAGES, Prot.READ | Prot.EXEC, VmFlags.DONTEXPAND,
                    SpecialPages(frames, code, VDSO_PAGES),
                ),
            )
        )  # fmt: skip

    def _pages_of(self, space: TimeNamespace | None) -> SpecialPages:
        if space is not None and space.is_initial:
            space = None
        pages = self._time.get(space)
        if pages is None:
            contents = {_TIME_PAGE: lambda: self._times(space), _RNG_PAGE: lambda: bytes(PAGE_SIZE)}
            pages = self._time[space] = SpecialPages(self._frames, contents, VVAR_PAGES)
        return pages

    def map(self, mm: AddressSpace, space: TimeNamespace | None = None) -> int:
        """Map everything into a new address space, with the time of a namespace (None: the initial one); returns where
        [vdso] begins (map_vdso).  LinuxError(ENOMEM).
        """
        mm.reserve_vmas()
        at = unmapped_area(mm, (VVAR_PAGES + VCLOCK_PAGES + VDSO_PAGES) * PAGE_SIZE)
        vmas = []
        for operations, number, prot, flags, pages in self._mappings:
            pages = self._pages_of(space) if pages is self._time[None] else pages
            vmas.append(Vma(at, at + number * PAGE_SIZE, prot, flags, page_cache=pages, ops=operations))
            at += number * PAGE_SIZE
        mm.adopt_run(vmas)
        return vmas[-1].start

    def join(self, mm: AddressSpace, space: TimeNamespace) -> None:
        """What the program finds in [vvar] is the time of a namespace from now on (vdso_join_timens)."""
        known = set(self._time.values())
        for vma in [vma for vma in mm.vmas if vma.page_cache in known]:
            unmap_range(mm, vma.start, vma.end)
            pages = self._pages_of(space)
            mm.insert(Vma(vma.start, vma.end, vma.prot, vma.flags, page_cache=pages, ops=vma.ops), merge=False)

    def forget(self, space: Namespace) -> None:
        """A namespace has ended.  Its page goes when no program has it mapped any more: one that ends still has."""
        if isinstance(space, TimeNamespace) and space in self._time:
            self._ended.append(space)
        for ended in [ended for ended in self._ended if not self._time[ended].mappings]:
            self._ended.remove(ended)
            self._time.pop(ended).release()

    def renew(self) -> None:
        """The time of day has been set, or the time zone (update_vsyscall)."""
        for pages in self._time.values():
            pages.renew(_TIME_PAGE)

    def _times(self, space: TimeNamespace | None) -> bytes:
        """The page that vdso.c calls ``vvar``."""
        wall = self._clock.realtime_offset
        ahead = (0, 0) if space is None else (space.monotonic, space.boottime)
        return struct.pack("<qqqiiqq", wall, wall, TICK_NS, *self._clock.timezone, *ahead).ljust(PAGE_SIZE, b"\0")


def _part_of_the_image(page: int) -> Callable[[], bytes]:
    def read() -> bytes:
        return IMAGE.read_bytes()[page * PAGE_SIZE : (page + 1) * PAGE_SIZE].ljust(PAGE_SIZE, b"\0")

    return read

"""Special mappings: memory that the kernel itself maps into a process, without a file (_install_special_mapping)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm import rss
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.memory import set_new_entry
from emu.mm.ordinary import OrdinaryMemory
from emu.mm.pagecache import PageCache
from emu.mm.pagetable import SPECIAL
from mmu.late import np
from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.registers import Access

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.address_space import AddressSpace
    from emu.mm.frames import FrameAllocator
    from emu.mm.vma import Vma


class SpecialPages(PageCache):
    """The pages of a special mapping, made when the first process touches them."""

    def __init__(self, frames: FrameAllocator, pages: dict[int, Callable[[], bytes]], number: int) -> None:
        """``pages`` gives the contents of those that exist; all others of the ``number`` fault with SIGBUS."""
        super().__init__(frames, number << PAGE_SHIFT)
        self._contents = pages

    def check_index(self, index: int) -> bool:
        return index in self._contents

    def get_page(self, index: int) -> int:
        frame = self.find(index)
        if frame is None:
            frame = super().get_page(index)
            self._frames.write(frame, 0, self._contents[index]())
        return frame

    def renew(self, index: int) -> None:
        """The contents of a page have changed: whoever has touched it sees the new ones."""
        frame = self.find(index)
        if frame is not None:
            self._frames.write(frame, 0, self._contents[index]())


class SpecialMapping(OrdinaryMemory):
    """The operations of a special mapping: it is there as a whole or not at all."""

    mergeable = False
    special = True

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self, vma: Vma) -> str:
        return self._name

    def missing(self, mm: AddressSpace, vma: Vma, address: int, access: Access, slot: int) -> FaultResult:
        """One page at a time (special_mapping_fault); those of VM_PFNMAP are nobody's memory (vvar_fault)."""
        cache, index = vma.page_cache, vma.index_of(address)
        assert isinstance(cache, SpecialPages)
        if not vma.flags & VmFlags.PFNMAP and access == Access.WRITE:
            return super().missing(mm, vma, address, access, slot)
        if not cache.check_index(index):
            return FaultResult.ADRERR
        frame, bits = cache.get_page(index), vma.cached_bits
        if vma.flags & VmFlags.PFNMAP:
            bits |= SPECIAL
        else:
            rss.get_cached(mm, (frame,))
        set_new_entry(mm, address, slot, frame << PAGE_SHIFT | bits)
        return FaultResult.MINOR

    def may_split(self, vma: Vma, address: int) -> None:
        raise LinuxError(errno.EINVAL)

    def mincore(self, mm: AddressSpace, vma: Vma, start: int, end: int) -> npt.NDArray[np.bool_]:
        """All of it, as of memory of which a process may not learn more (can_do_mincore)."""
        return np.ones((end - start) // PAGE_SIZE, dtype=np.bool_)

"""What a kernel module can do about mappings that processes make."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma


class MapHook:
    """Told of new mappings; a module adds one to ``kernel.mm_context.map_hooks``."""

    #: The flags of mmap(2) that exist because of this module.
    flags = 0

    def check(self, flags: int) -> None:
        """mmap(2) has been called with flags that modules have added, perhaps with some of :attr:`flags`: raise
        LinuxError for what cannot be.
        """

    def mapped(self, mm: AddressSpace, vma: Vma, flags: int) -> None:
        """A mapping with the flags of mmap(2) is about to be inserted, and nothing can go wrong any more: this is the
        time to give ``vma`` operations.  Must not raise.
        """

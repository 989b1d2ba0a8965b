"""Shared anonymous memory: an object without a name that lives while it is mapped (shmem_zero_setup)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm.commit import Commit, Overcommit
from emu.mm.flags import VmFlags
from emu.mm.kmem import INODE
from emu.mm.shmempages import ShmemPages
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.pagecache import PageCache


class SharedAnonymous(ShmemPages):
    """The pages behind MAP_SHARED|MAP_ANONYMOUS.  The whole size is promised at once; with MAP_NORESERVE each page when
    it is made.

    LinuxError(ENOMEM) if that is more than the overcommit mode allows.
    """

    def __init__(self, mm: AddressSpace, length: int, flags: VmFlags) -> None:
        self._commit: Commit = mm.context.commit
        by_page = bool(flags & VmFlags.NORESERVE) and self._commit.mode != Overcommit.NEVER
        promised = None if by_page else length >> PAGE_SHIFT
        self._commit.charge(promised or 0, mm)
        super().__init__(mm.frames, mm.context.swap, length, self._charge_pages if by_page else None)
        try:
            self.kmem.charge(INODE)
        except LinuxError:
            self._commit.uncharge(promised or 0)
            raise
        self.promised_at_once = promised
        self._thp = mm.context.thp
        self.huge_policy = self
        self.settings_changed()
        mm.context.shmem_inodes += 1
        #: The number of its inode, which /proc/PID/maps shows.
        self.ino = mm.context.shmem_inodes

    @property
    def may_be_made_huge(self) -> bool:
        return self._thp.shmem_unasked or self._thp.shmem_enabled == "force"

    def allows_huge(self, cache: PageCache, index: int, write_end: int, flags: VmFlags | None) -> bool:
        enabled = self._thp.allows_shmem(self._thp.shm_mnt, index, self.size, flags)
        return self._thp.allows_unnamed(index, self.size, flags or VmFlags.NONE, inherited=enabled)

    def _charge_pages(self, pages: int) -> None:
        if pages > 0:
            self._commit.charge_singly(pages)
        else:
            self._commit.uncharge(-pages)

    def release(self) -> None:
        super().release()
        self.kmem.uncharge(INODE)
        self._commit.uncharge(self.promised_at_once or 0)
        self.promised_at_once = 0

"""What the files of one tmpfs take: its pages and inodes, and the limits of both (struct shmem_sb_info)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.superblock import FileSystemType, SuperBlock
from emu.linux.errors import LinuxError
from emu.mm.kmem import INODE, SLAB_RECLAIMABLE, Kmem

if TYPE_CHECKING:
    from emu.fs.resources import Resources
    from emu.mm.flags import VmFlags
    from emu.mm.pagecache import PageCache

#: The space that an inode counts with (BOGO_INODE_SIZE).
INODE_SPACE = 1024


class ShmemSuperBlock(SuperBlock):
    """One tmpfs, as far as it counts; a limit of 0 means none."""

    #: Whether what its files hold counts as promised (Committed_AS).
    promises = True
    #: The kernel's own instance, which has no huge= of its own.
    internal = False

    def __init__(self, resources: Resources, fstype: FileSystemType, *, blocks: int, inodes: int, huge: str) -> None:
        """At most so many blocks and inodes; ``huge`` is its option."""
        super().__init__(resources, fstype)
        self.max_blocks, self.max_inodes = blocks, inodes
        self.used_blocks = 0
        self.used_inodes = 1
        #: What ``user.`` attributes take of the space for inodes, in bytes.
        self.xattr_space = 0
        self.huge_option = huge

    @property
    def _huge(self) -> str:
        return self.resources.thp.shm_mnt if self.internal else self.huge_option

    @property
    def may_be_made_huge(self) -> bool:
        """Whether its files may have huge pages."""
        thp = self.resources.thp
        return self._huge != "never" or thp.shmem_enabled == "force" or (self.internal and thp.shmem_unasked)

    def wants_huge(self, cache: PageCache, index: int, write_end: int, flags: VmFlags | None) -> bool:
        """Whether a page may be huge by huge= (shmem_huge_global_enabled)."""
        return self.resources.thp.allows_shmem(self._huge, index, max(write_end, cache.size), flags)

    def allows_huge(self, cache: PageCache, index: int, write_end: int, flags: VmFlags | None) -> bool:
        enabled = self.wants_huge(cache, index, write_end, flags)
        if flags is None or not self.internal:
            return enabled
        return self.resources.thp.allows_unnamed(index, cache.size, flags, inherited=enabled)

    def check_room(self, blocks: int) -> None:
        """Raise ENOSPC unless ``blocks`` more pages fit."""
        if self.max_blocks and self.used_blocks + blocks > self.max_blocks:
            raise LinuxError(errno.ENOSPC)

    def count_blocks(self, blocks: int) -> None:
        """Count pages that come (or go: a negative number); ENOSPC."""
        if blocks > 0:
            self.check_room(blocks)
        self.used_blocks += blocks

    def charge(self, blocks: int) -> None:
        """The same of pages that nobody has promised yet (shmem_inode_acct_blocks)."""
        commit = self.resources.commit
        if blocks > 0:
            try:
                commit.charge_singly(blocks)
            except LinuxError:
                raise LinuxError(errno.ENOSPC) from None
        try:
            self.count_blocks(blocks)
        except LinuxError:
            commit.uncharge(blocks)
            raise
        if blocks < 0:
            commit.uncharge(-blocks)

    def new_inode(self, size: int = INODE) -> None:
        """Count one more inode, and charge what it takes; ENOSPC, ENOMEM."""
        self._check_inode_space(INODE_SPACE)
        self.hold(size, self.payer())
        self.used_inodes += 1

    def count_xattr(self, size: int) -> None:
        if size > 0:
            self._check_inode_space(size)
        self.xattr_space += size

    def _check_inode_space(self, more: int) -> None:
        """shmem_reserve_inode(): attributes of users take the space of inodes."""
        used = self.used_inodes * INODE_SPACE + self.xattr_space
        if self.max_inodes and used + more > self.max_inodes * INODE_SPACE:
            raise LinuxError(errno.ENOSPC)

    def payer(self) -> Kmem:
        """Where an inode is charged that is made now."""
        return self.resources.kmem.account(SLAB_RECLAIMABLE)

    def free_inode(self, size: int = INODE, payer: Kmem | None = None) -> None:
        """An inode has been freed, which was charged there."""
        self.drop(size, payer)
        self.used_inodes -= 1

"""memfd_secret: memory that the kernel itself does not reach through other processes (mm/secretmem.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import unnamed_path
from emu.fs.file import File
from emu.fs.open import open_unnamed
from emu.fs.shmemfile import TmpfsInode
from emu.fs.tmpfs import TmpfsSuperBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.mm.flags import FaultResult, VmFlags
from emu.mm.mmap import check_may_lock
from emu.mm.ordinary import OrdinaryMemory

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.vfs import Vfs
    from emu.linux.caller import Caller
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma
    from mmu.registers import Access


class SecretMemory(OrdinaryMemory):
    """The operations of such a mapping: only the process itself faults pages in."""

    on_lru = False
    secret = True

    def populate(self, mm: AddressSpace, vma: Vma, start: int, end: int, access: Access) -> FaultResult | None:
        return FaultResult.MAPERR


_SECRET = SecretMemory()


class SecretFile(File):
    """An open file of secret memory: it can be mapped, and nothing else."""

    inode: SecretInode
    seekable = False
    noexec = True

    def prepare_write(self, count: int) -> int:
        raise LinuxError(errno.EINVAL)

    def fsync(self, data_only: bool) -> None:
        raise LinuxError(errno.EINVAL)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        """secretmem_mmap_prepare().  LinuxError: EINVAL, EAGAIN."""
        if not vma.shared:
            raise LinuxError(errno.EINVAL)
        check_may_lock(mm, vma.flags | VmFlags.LOCKED, vma.length)
        vma.flags |= VmFlags.LOCKED | VmFlags.DONTDUMP
        vma.page_cache, vma.ops = self.inode.page_cache, _SECRET


class SecretInode(TmpfsInode):
    """The memory; its size can be set once."""

    def __init__(self, sb: TmpfsSuperBlock) -> None:
        super().__init__(sb, 0o600, promised=0)
        self.seals = None
        self.page_cache.secret = True

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return SecretFile(path, flags)

    def truncate(self, size: int) -> None:
        if self.size:
            raise LinuxError(errno.EINVAL)
        super().truncate(size)


def secretmem_file_create(vfs: Vfs) -> File:
    """A new file, freed with its last reference.  LinuxError(ENFILE, ENOMEM)."""
    mount = vfs.internal_mount("shmem")
    sb = mount.sb
    assert isinstance(sb, TmpfsSuperBlock)
    sb.new_inode()
    inode = SecretInode(sb)
    inode.nlink = 0
    return open_unnamed(
        inode, unnamed_path(mount, inode, "/secretmem (deleted)"), OpenFlags.RDWR | OpenFlags.LARGEFILE, None
    )

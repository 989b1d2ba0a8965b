"""hugetlbfs: files of huge pages (fs/hugetlbfs/inode.c), and the unnamed files behind MAP_HUGETLB and
memfd_create(MFD_HUGETLB).
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.inode import Inode, NewOwner, Stat
from emu.fs.libfs import SimpleDirectory, Symlink, drop_tree, symlink_size
from emu.fs.seals import Seal, check_mapping, check_punch, check_size
from emu.fs.superblock import FileSystemType, StatFs, SuperBlock, parse_id, parse_options, parse_size
from emu.linux.errors import LinuxError
from emu.linux.fileflags import FallocateFlags
from emu.linux.mman import Prot
from emu.mm.flags import VmFlags
from emu.mm.hugefault import HUGETLB
from emu.mm.hugetlb import HPAGE_SHIFT, HPAGE_SIZE, HugePageCache, Promises
from emu.mm.kmem import INODE
from emu.mm.unmapped_area import aligned_area
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.resources import Resources
    from emu.linux.caller import Caller
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

HUGETLBFS_MAGIC = 0x958458F6


class HugetlbFile(File):
    """An open file of huge pages: read(2) works, write(2) does not."""

    inode: HugetlbInode

    def pread(self, count: int, pos: int) -> bytes:
        count = min(count, self.inode.size - pos)
        return self.inode.page_cache.read(pos, count) if count > 0 else b""

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        end = offset + length
        if mode == FallocateFlags.PUNCH_HOLE | FallocateFlags.KEEP_SIZE:
            check_punch(self.inode)
            self.inode.punch_hole(offset, end)
        elif mode in (0, FallocateFlags.KEEP_SIZE):
            for number in range(offset >> HPAGE_SHIFT, -(-end // HPAGE_SIZE)):
                self.inode.page_cache.get_huge(number)  # pages already allocated stay if the next allocation fails
            if not mode and end > self.inode.size:
                self.inode.grow(end)
        else:
            raise LinuxError(errno.EOPNOTSUPP)
        self.inode.touch()

    def get_unmapped_area(self, mm: AddressSpace, address: int, length: int, pgoff: int, flags: int) -> int | None:
        """hugetlb_get_unmapped_area(): whole huge pages, aligned."""
        if length % HPAGE_SIZE:
            raise LinuxError(errno.EINVAL)
        return aligned_area(mm, address, length, HPAGE_SIZE, flags)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        """Promise the pages to the mapping, or if shared to the file.  LinuxError(ENOMEM) if there are too few."""
        if (vma.pgoff << PAGE_SHIFT) % HPAGE_SIZE:
            raise LinuxError(errno.EINVAL)
        inode, cache = self.inode, self.inode.page_cache
        check_mapping(inode, vma)
        start = vma.pgoff << PAGE_SHIFT
        reserve = not vma.flags & VmFlags.NORESERVE
        if vma.shared:
            if reserve:
                cache.promise(start >> HPAGE_SHIFT, start + vma.length >> HPAGE_SHIFT)
        else:
            if reserve:
                cache.pool.reserve(vma.length >> HPAGE_SHIFT)
            vma.private_data = Promises(owner=reserve)
        vma.page_cache, vma.ops = cache, HUGETLB
        vma.flags |= VmFlags.DONTEXPAND
        if vma.prot & Prot.WRITE and inode.size < start + vma.length:
            inode.grow(start + vma.length)


class HugetlbInode(Inode):
    """A file of huge pages; its size is a multiple of their size, unless fallocate(2) sets another."""

    charged = INODE

    def __init__(self, sb: HugetlbSuperBlock, mode: int, uid: int = 0, gid: int = 0) -> None:
        super().__init__(sb, stat.S_IFREG | mode & 0o7777, uid, gid)
        self.page_cache = HugePageCache(sb.resources.huge_pages)
        self.seals = Seal.SEAL

    @property
    def blocks(self) -> int:
        return len(self.page_cache.heads) * (HPAGE_SIZE // 512)

    def getattr(self) -> Stat:
        return super().getattr()._replace(blksize=HPAGE_SIZE)

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return HugetlbFile(path, flags)

    def grow(self, size: int) -> None:
        """Extend the file to at least ``size``."""
        self.size = self.page_cache.size = size

    def truncate(self, size: int) -> None:
        if size % HPAGE_SIZE:
            raise LinuxError(errno.EINVAL)
        check_size(self, size)
        self.page_cache.truncate(size)
        self.size = size
        self.touch()

    def punch_hole(self, start: int, end: int) -> None:
        """Punch a hole: whole huge pages are freed, parts of them zeroed."""
        first, last = -(-start // HPAGE_SIZE) * HPAGE_SIZE, end & -HPAGE_SIZE
        cache = self.page_cache
        if first > last:
            cache.clear(start, end)
            return
        cache.clear(start, first)
        cache.clear(last, end)
        if first < last:
            cache.punch(first >> PAGE_SHIFT, last >> PAGE_SHIFT)

    def evict(self) -> None:
        self.page_cache.release()
        self.sb.drop(INODE)


class HugetlbSymlink(Symlink):
    """A symbolic link."""

    def __init__(self, sb: SuperBlock, target: str, uid: int, gid: int) -> None:
        super().__init__(sb, target, uid, gid)
        self.charged = symlink_size(target)

    def evict(self) -> None:
        self.sb.drop(self.charged)


class HugetlbDirectory(SimpleDirectory):
    """A directory."""

    sb: HugetlbSuperBlock

    def create(self, name: str, owner: NewOwner) -> Inode:
        self.sb.hold(INODE)
        inode = HugetlbInode(self.sb, *owner)
        self.add(name, inode)
        return inode

    def mkdir(self, name: str, owner: NewOwner) -> Inode:
        inode = HugetlbDirectory(self.sb, *owner)
        self.add(name, inode)
        return inode

    def symlink(self, name: str, owner: NewOwner, target: str) -> Inode:
        self.sb.hold(symlink_size(target))
        inode = HugetlbSymlink(self.sb, target, owner.uid, owner.gid)
        self.add(name, inode)
        return inode


class HugetlbSuperBlock(SuperBlock):
    """One instance; all take their pages from the machine's one pool."""

    magic = HUGETLBFS_MAGIC

    def __init__(self, resources: Resources, fstype: FileSystemType, options: str) -> None:
        super().__init__(resources, fstype)
        words = parse_options(options, frozenset({"pagesize", "mode", "uid", "gid"}))
        if parse_size(words.get("pagesize", "2M")) != HPAGE_SIZE:
            raise LinuxError(errno.EINVAL, f"pagesize={words['pagesize']}: the only size of huge pages is 2M")
        try:
            mode = int(words.get("mode", "755"), 8) & 0o1777
        except ValueError:
            raise LinuxError(errno.EINVAL, f"bad mode '{words['mode']}'") from None
        self.root = HugetlbDirectory(self, mode, parse_id(words.get("uid", "0")), parse_id(words.get("gid", "0")))

    def statfs(self) -> StatFs:
        return StatFs(self.magic, HPAGE_SIZE)

    def show_options(self) -> str:
        return ",pagesize=2M"

    def put_super(self) -> None:
        drop_tree(self.root)


class Hugetlbfs(FileSystemType):
    """The file system type ``hugetlbfs``: options pagesize (2M), mode, uid, gid."""

    name = "hugetlbfs"

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return HugetlbSuperBlock(resources, self, options)

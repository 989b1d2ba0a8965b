"""tmpfs: files in the page cache and nowhere else (mm/shmem.c), and unnamed shared memory."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.inode import Inode, NewOwner, Stat
from emu.fs.libfs import Node, SimpleDirectory, Symlink, drop_tree, symlink_size
from emu.fs.seals import Seal, check_mapping, check_punch, check_size, writable_bytes
from emu.fs.superblock import FileSystemType, StatFs, SuperBlock, parse_id, parse_options, parse_size
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MAX_FILE_SIZE, PAGE_SIZE, FallocateFlags, RenameFlags, Whence
from emu.linux.mman import Prot
from emu.mm.hugetlb import HPAGE_SIZE
from emu.mm.kmem import INODE, SLAB_RECLAIMABLE, Kmem
from emu.mm.pagecache import PageCache
from emu.mm.pageflags import BLOCK_FRAMES
from emu.mm.shmempages import ShmemPages
from mmu.late import np

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.resources import Resources
    from emu.linux.caller import Caller, Credentials
    from emu.mm.address_space import AddressSpace
    from emu.mm.flags import VmFlags
    from emu.mm.vma import Vma

TMPFS_MAGIC = 0x01021994
#: The bytes that a directory entry adds to the size of its directory (BOGO_DIRENT_SIZE).
DIRENT_SIZE = 20
#: The space that an inode counts with (BOGO_INODE_SIZE).
INODE_SPACE = 1024
OPTIONS = frozenset({"size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "huge"})
_SHOWN = ("size", "nr_blocks", "nr_inodes", "huge")
#: Values of huge=.
_HUGE = ("never", "always", "within_size", "advise")
#: A number above the index of any page.
LAST_PAGE = 1 << 52
_U64 = (1 << 64) - 1
#: Pages that fallocate() makes at a time.
_ALLOCATION = 1 << 16
#: relatime: a read updates an access time that is older than a day.
DAY_NS = 86400 * 1_000_000_000


class TmpfsFile(File):
    """An open regular file."""

    inode: TmpfsInode

    def pread(self, count: int, pos: int) -> bytes:
        inode = self.inode
        count = min(count, inode.size - pos)
        if count <= 0:
            return b""
        inode.accessed()
        return inode.page_cache.read(pos, count)

    def pwrite(self, data: bytes, pos: int) -> int:
        inode = self.inode
        inode.refuse_swapfile()
        room = MAX_FILE_SIZE - pos
        if room <= 0:
            raise LinuxError(errno.EFBIG)
        room = min(room, writable_bytes(inode, pos, len(data)))
        written = inode.page_cache.write(pos, data[:room])
        inode.written(pos, pos + written)
        inode.grow(pos + written)
        inode.touch()
        return written

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        end = offset + length
        self.inode.refuse_swapfile()
        if mode == FallocateFlags.PUNCH_HOLE | FallocateFlags.KEEP_SIZE:
            check_punch(self.inode)
            self.inode.punch_hole(offset, end)
        elif mode in (0, FallocateFlags.KEEP_SIZE):
            if not mode and end > self.inode.size:
                check_size(self.inode, end)
            self.inode.allocate(offset, end)
            if not mode:
                self.inode.grow(end)
        else:
            raise LinuxError(errno.EOPNOTSUPP)
        self.inode.touch()

    def lseek(self, offset: int, whence: int) -> int:
        if whence in (Whence.DATA, Whence.HOLE) and 0 <= offset < self.inode.size:
            self.pos = self.inode.seek(offset, whence == Whence.DATA)
            return self.pos
        return super().lseek(offset, whence)

    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        check_mapping(self.inode, vma)
        if vma.shared and vma.prot & Prot.WRITE:
            self.inode.refuse_swapfile()
        self.inode.accessed()
        vma.page_cache = self.inode.page_cache


class TmpfsInode(Inode):
    """A regular file: its content is the page cache."""

    can_direct = True
    charged = INODE

    def __init__(
        self, sb: TmpfsSuperBlock, mode: int, uid: int = 0, gid: int = 0, pages: PageCache | None = None,
        promised: int | None = None,
    ) -> None:  # fmt: skip
        """``promised``: so many pages have been promised already; else each is when it is made."""
        super().__init__(sb, stat.S_IFREG | mode & 0o7777, uid, gid)
        resources = sb.resources
        if pages is None:
            at_once = promised if sb.promises else 0
            charge = sb.charge if at_once is None else sb.count_blocks
            pages = ShmemPages(resources.frames, resources.swap, charge=charge)
            pages.huge_policy, pages.may_have_huge = sb, sb.may_be_made_huge
            pages.promised_at_once = at_once
        self.page_cache = pages
        self._sb, self._payer = sb, sb.payer()
        self.seals = Seal.SEAL
        #: Ranges of pages that fallocate has made, but for those that were written since.
        self._allocated: list[tuple[int, int]] = []

    @property
    def blocks(self) -> int:
        return self.page_cache.total_pages * (PAGE_SIZE // 512)

    def getattr(self) -> Stat:
        status, cache = super().getattr(), self.page_cache
        if not cache.may_have_huge or cache.huge_policy is not self._sb or not self._sb.wants_huge(cache, 0, 0, None):
            return status
        return status._replace(blksize=HPAGE_SIZE)

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return TmpfsFile(path, flags)

    def grow(self, size: int) -> None:
        """Extend the file to at least ``size``."""
        if size > self.size:
            self.size = self.page_cache.size = size

    def refuse_swapfile(self) -> None:
        """LinuxError(ETXTBSY) if pages are swapped to it."""
        if self.swapfile:
            raise LinuxError(errno.ETXTBSY)

    def truncate(self, size: int) -> None:
        if size <= self.size:  # inode_newsize_ok()
            self.refuse_swapfile()
        check_size(self, size)
        frees = size <= self.size
        self.page_cache.truncate(size)
        if frees:
            # Pages past the old end too: fallocate() with KEEP_SIZE can make some there.
            self.page_cache.punch(-(-size // PAGE_SIZE), LAST_PAGE)
        self.size = size
        self.touch()

    def punch_hole(self, start: int, end: int) -> None:
        """Make a byte range read as zeros; whole pages are freed."""
        first, last = -(-start // PAGE_SIZE), end // PAGE_SIZE
        if first > last:
            self._zero(start, end)
            return
        self._zero(start, first * PAGE_SIZE)
        self._zero(last * PAGE_SIZE, end)
        if first < last:
            self.page_cache.punch(first, last)

    def seek(self, offset: int, data: bool) -> int:
        """The next offset with (or without) a page, at most the size; ENXIO if no data follows."""
        index = offset // PAGE_SIZE
        if data:
            found = self.page_cache.next_page(index)
            while found is not None and not self._holds_data(found):
                found = self.page_cache.next_page(found + 1)
            if found is None or found * PAGE_SIZE >= self.size:
                raise LinuxError(errno.ENXIO)
            index = found
        else:
            while self._holds_data(index):
                index += 1
        return min(max(offset, index * PAGE_SIZE), self.size)

    def _holds_data(self, index: int) -> bool:
        """Whether there is a page, and it is not one that fallocate has made and nobody has written or mapped since:
        one that is not up to date.
        """
        frames, frame = self.sb.resources.frames, self.page_cache.find(index)
        if frame is None:
            return self.page_cache.holds(index)
        if not any(first <= index < last for first, last in self._allocated):
            return True
        return frames.count(frame) > 1 or any(frames.read(frame, 0, PAGE_SIZE))

    def written(self, start: int, end: int) -> None:
        """The pages of a byte range are up to date."""
        if not self._allocated:
            return
        first, last = start // PAGE_SIZE, -(-end // PAGE_SIZE)
        self._allocated = [
            part
            for low, high in self._allocated
            for part in ((low, min(high, first)), (max(low, last), high))
            if part[0] < part[1]
        ]

    def _zero(self, start: int, end: int) -> None:
        """Zero a range inside one page, if the page exists."""
        if start < end and self.page_cache.holds(start // PAGE_SIZE):
            self.page_cache.write(start, bytes(end - start))

    def allocate(self, start: int, end: int) -> None:
        """Give every page of a byte range a frame; all or nothing (ENOSPC, ENOMEM)."""
        first, last = start // PAGE_SIZE, -(-end // PAGE_SIZE)
        self._sb.check_room(last - first - self.page_cache.total_pages)
        added: list[int] = []
        try:
            for at in range(first, last, BLOCK_FRAMES) if self.page_cache.may_have_huge else ():
                self.page_cache.make_huge(at, end)
            for at in range(first, last, _ALLOCATION):
                frames, fresh = self.page_cache.get_many(at, min(_ALLOCATION, last - at))
                self.page_cache.allocated(frames, fresh)
                added += (np.flatnonzero(fresh) + at).tolist()
            self._allocated += _runs(added)
        except LinuxError:
            for index in added:
                self.page_cache.punch(index, index + 1)
            raise

    def accessed(self) -> None:
        """Update the access time after a read (relatime)."""
        atime, now = self.atime, self.sb.resources.clock.realtime_ns()
        if atime <= self.mtime or atime <= self.ctime or now - atime > DAY_NS:
            self.atime = now

    def evict(self) -> None:
        self.page_cache.release()
        if isinstance(self.page_cache, ShmemPages) and self.page_cache.promised_at_once:
            self.sb.resources.commit.uncharge(self.page_cache.promised_at_once)
            self.page_cache.promised_at_once = 0
        self._sb.free_inode(payer=self._payer)


class TmpfsSymlink(Symlink):
    """A symbolic link that counts as one inode."""

    def __init__(self, sb: TmpfsSuperBlock, owner: NewOwner, target: str) -> None:
        super().__init__(sb, target, owner.uid, owner.gid)
        self._sb, self._payer = sb, sb.payer()
        self.charged = symlink_size(target)

    def evict(self) -> None:
        self._sb.free_inode(self.charged, self._payer)


class TmpfsNode(Node):
    """A FIFO, device or socket that counts as one inode."""

    charged = INODE

    def __init__(self, sb: TmpfsSuperBlock, owner: NewOwner, kind: int, rdev: int) -> None:
        super().__init__(sb, kind | owner.mode, rdev, owner.uid, owner.gid)
        self._sb, self._payer = sb, sb.payer()

    def evict(self) -> None:
        self._sb.free_inode(payer=self._payer)


class TmpfsDirectory(SimpleDirectory):
    """A directory of tmpfs."""

    def __init__(self, sb: TmpfsSuperBlock, mode: int, uid: int = 0, gid: int = 0) -> None:
        super().__init__(sb, mode, uid, gid)
        self._sb = sb
        self.changed()

    def changed(self) -> None:
        self.size = self._sb.dirent_size * (2 + len(self.entries))
        self.touch()

    def create(self, name: str, owner: NewOwner) -> Inode:
        self._sb.new_inode()
        inode = TmpfsInode(self._sb, *owner)
        self.add(name, inode)
        return inode

    def mkdir(self, name: str, owner: NewOwner) -> Inode:
        self._sb.new_inode(0)  # its name has the charge
        inode = TmpfsDirectory(self._sb, *owner)
        self.add(name, inode)
        return inode

    def mknod(self, name: str, owner: NewOwner, kind: int, rdev: int) -> Inode:
        self._sb.new_inode()
        inode = TmpfsNode(self._sb, owner, kind, rdev)
        self.add(name, inode)
        return inode

    def symlink(self, name: str, owner: NewOwner, target: str) -> Inode:
        self._sb.new_inode(symlink_size(target))
        inode = TmpfsSymlink(self._sb, owner, target)
        self.add(name, inode)
        return inode

    def tmpfile(self, owner: NewOwner) -> Inode:
        self._sb.new_inode()
        inode = TmpfsInode(self._sb, *owner)
        inode.nlink = 0
        return inode

    def rename(self, name: str, new_directory: Inode, new_name: str, flags: RenameFlags) -> None:
        super().rename(name, new_directory, new_name, flags & ~RenameFlags.WHITEOUT)
        if flags & RenameFlags.WHITEOUT:
            self.mknod(name, NewOwner(0), stat.S_IFCHR, 0)

    def rmdir(self, name: str, inode: Inode) -> None:
        super().rmdir(name, inode)
        if inode.xattrs is not None:
            inode.xattrs.clear()
        self._sb.free_inode(0)


class TmpfsSuperBlock(SuperBlock):
    """One tmpfs; a limit of 0 means none."""

    magic = TMPFS_MAGIC
    dirent_size = DIRENT_SIZE
    keeps_xattrs = keeps_flags = True
    #: Whether what its files hold counts as promised (Committed_AS).
    promises = True
    #: The kernel's own instance, which has no huge= of its own.
    internal = False
    exported = True

    def __init__(self, resources: Resources, fstype: FileSystemType, options: str = "", limited: bool = True) -> None:
        super().__init__(resources, fstype)
        words = parse_options(options, OPTIONS)
        if words.get("huge", "never") not in _HUGE:
            raise LinuxError(errno.EINVAL)
        half = resources.frames.total // 2 if limited else 0
        self.max_blocks = _block_limit(words, half)
        self.max_inodes = _count(words["nr_inodes"]) if "nr_inodes" in words else half
        self.used_blocks = 0
        self.used_inodes = 1
        #: What ``user.`` attributes take of the space for inodes, in bytes.
        self.xattr_space = 0
        self._shown = {word: words[word] for word in _SHOWN if word in words}
        mode = parse_mode(words["mode"]) if "mode" in words else 0o1777
        self.root = TmpfsDirectory(self, mode, parse_id(words.get("uid", "0")), parse_id(words.get("gid", "0")))

    def made_by(self, who: Credentials, options: str) -> None:
        """Its root is of who makes it, or of whom the options name in his namespace.  LinuxError(EINVAL)."""
        super().made_by(who, options)
        words = parse_options(options, OPTIONS)
        self.root.uid = who.down("uid", parse_id(words["uid"])) if "uid" in words else who.fsuid
        self.root.gid = who.down("gid", parse_id(words["gid"])) if "gid" in words else who.fsgid

    @property
    def _huge(self) -> str:
        return self.resources.thp.shm_mnt if self.internal else self._shown.get("huge", "never")

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

    def statfs(self) -> StatFs:
        free = self.max_blocks - self.used_blocks if self.max_blocks else 0
        inodes_free = self.max_inodes - self.used_inodes if self.max_inodes else 0
        return StatFs(self.magic, PAGE_SIZE, self.max_blocks, free, free, self.max_inodes, inodes_free)

    def show_options(self) -> str:
        shown = self._shown | ({"size": f"{self.max_blocks * PAGE_SIZE // 1024}k"} if "size" in self._shown else {})
        return "".join(f",{word}={value}" for word, value in shown.items() if (word, value) != ("huge", "never"))

    def remount(self, options: str) -> None:
        """Change the limits (shmem_reconfigure); the other options have no effect any more.  LinuxError(EINVAL)."""
        words = parse_options(options, OPTIONS)
        blocks = _block_limit(words, self.max_blocks) if words.keys() & {"size", "nr_blocks"} else self.max_blocks
        inodes = _count(words["nr_inodes"]) if "nr_inodes" in words else self.max_inodes
        if blocks != self.max_blocks and (not self.max_blocks or (blocks and blocks < self.used_blocks)):
            raise LinuxError(errno.EINVAL)
        if inodes != self.max_inodes and (not self.max_inodes or (inodes and inodes < self.used_inodes)):
            raise LinuxError(errno.EINVAL)
        self.max_blocks, self.max_inodes = blocks, inodes
        self._shown |= {word: words[word] for word in _SHOWN if word in words}
        self.resources.thp.tell_caches(self.resources.frames)

    def put_super(self) -> None:
        drop_tree(self.root)


class Tmpfs(FileSystemType):
    """The file system type ``tmpfs``: options size, nr_blocks, nr_inodes, mode, uid, gid."""

    name = "tmpfs"
    options = OPTIONS
    for_users = True

    def check_options(self, options: str) -> None:
        words = parse_options(options, OPTIONS)
        _block_limit(words, 0)
        if "nr_inodes" in words:
            _count(words["nr_inodes"])
        for word in words.keys() & {"uid", "gid"}:
            parse_id(words[word])
        if "mode" in words:
            parse_mode(words["mode"])
        if words.get("huge", "never") not in _HUGE:
            raise LinuxError(errno.EINVAL)

    has_btime = multigrain = True

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return TmpfsSuperBlock(resources, self, options)


class ShmemType(FileSystemType):
    """The kernel's own instance, without limit: memfd_create() and shared anonymous memory."""

    name = "shmem"
    has_btime = multigrain = True

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        sb = TmpfsSuperBlock(resources, self, options, limited=False)
        sb.internal = True
        return sb


def _count(text: str) -> int:
    """A number that fits into a long.  LinuxError(EINVAL)."""
    number = parse_size(text)
    if number >> 63:
        raise LinuxError(errno.EINVAL)
    return number


def _block_limit(words: dict[str, str], default: int) -> int:
    if "nr_blocks" in words:
        return _count(words["nr_blocks"])
    size = words.get("size")
    if size is None:
        return default
    if size.endswith("%"):
        wanted = (parse_size(size[:-1]) * PAGE_SIZE * 2 * default & _U64) // 100
    else:
        wanted = parse_size(size)
    return (wanted + PAGE_SIZE - 1 & _U64) // PAGE_SIZE


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


def parse_mode(text: str) -> int:
    """The permissions of a root directory.  LinuxError(EINVAL)."""
    try:
        if not text.isdigit():
            raise ValueError
        return int(text, 8) & 0o7777
    except ValueError:
        raise LinuxError(errno.EINVAL, f"bad mode '{text}'") from None

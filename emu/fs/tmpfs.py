"""tmpfs: a file system in memory, with its directories and mount options (mm/shmem.c)."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs.inode import Inode, NewOwner
from emu.fs.libfs import Node, SimpleDirectory, Symlink, drop_tree, symlink_size
from emu.fs.shmemfile import TmpfsInode
from emu.fs.shmemsb import ShmemSuperBlock
from emu.fs.superblock import FileSystemType, StatFs, SuperBlock, parse_id, parse_options, parse_size
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PAGE_SIZE, RenameFlags
from emu.mm.kmem import INODE

if TYPE_CHECKING:
    from emu.fs.resources import Resources
    from emu.linux.caller import Credentials

TMPFS_MAGIC = 0x01021994
#: The bytes that a directory entry adds to the size of its directory (BOGO_DIRENT_SIZE).
DIRENT_SIZE = 20
OPTIONS = frozenset({"size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "huge"})
_SHOWN = ("size", "nr_blocks", "nr_inodes", "huge")
#: Values of huge=.
_HUGE = ("never", "always", "within_size", "advise")
_U64 = (1 << 64) - 1


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


class TmpfsSuperBlock(ShmemSuperBlock):
    """One tmpfs."""

    magic = TMPFS_MAGIC
    dirent_size = DIRENT_SIZE
    keeps_xattrs = keeps_flags = True
    exported = True

    def __init__(self, resources: Resources, fstype: FileSystemType, options: str = "", limited: bool = True) -> None:
        words = parse_options(options, OPTIONS)
        if words.get("huge", "never") not in _HUGE:
            raise LinuxError(errno.EINVAL)
        half = resources.frames.total // 2 if limited else 0
        inodes = _count(words["nr_inodes"]) if "nr_inodes" in words else half
        huge = words.get("huge", "never")
        super().__init__(resources, fstype, blocks=_block_limit(words, half), inodes=inodes, huge=huge)
        self._shown = {word: words[word] for word in _SHOWN if word in words}
        mode = parse_mode(words["mode"]) if "mode" in words else 0o1777
        self.root = TmpfsDirectory(self, mode, parse_id(words.get("uid", "0")), parse_id(words.get("gid", "0")))

    def made_by(self, who: Credentials, options: str) -> None:
        """Its root is of who makes it, or of whom the options name in his namespace.  LinuxError(EINVAL)."""
        super().made_by(who, options)
        words = parse_options(options, OPTIONS)
        self.root.uid = who.down("uid", parse_id(words["uid"])) if "uid" in words else who.fsuid
        self.root.gid = who.down("gid", parse_id(words["gid"])) if "gid" in words else who.fsgid

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
        self.huge_option = words.get("huge", self.huge_option)
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


def parse_mode(text: str) -> int:
    """The permissions of a root directory.  LinuxError(EINVAL)."""
    try:
        if not text.isdigit():
            raise ValueError
        return int(text, 8) & 0o7777
    except ValueError:
        raise LinuxError(errno.EINVAL, f"bad mode '{text}'") from None

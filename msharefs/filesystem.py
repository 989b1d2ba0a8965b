"""The file system: instances, regions as files, directories, and mshare_info (observed: mshare-observed section 1)."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.dentry import Path
from emu.fs.file import File
from emu.fs.inode import Inode, NewOwner
from emu.fs.libfs import SimpleDirectory, drop_tree
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.linux.errors import LinuxError
from emu.linux.fileflags import RenameFlags
from emu.linux.mman import Prot
from emu.mm.shared_tables import unit_of
from msharefs.charging import FAULTING
from msharefs.objects import window_rights
from msharefs.options import MountOptions, parse
from msharefs.region import MSHARE_BASE, Region

if TYPE_CHECKING:
    from emu.fs.resources import Resources
    from emu.linux.caller import Caller
    from emu.linux.syscall import Syscall
    from msharefs.regions import Regions

MSHARE_MAGIC = 0x4D534852
INFO_NAME = "mshare_info"


class InfoFile(File):
    """An open mshare_info."""

    inode: InfoInode

    def pread(self, count: int, pos: int) -> bytes:
        return self.inode.text[pos : pos + count]

    def lseek(self, offset: int, whence: int) -> int:
        return self.pos  # noop_llseek


class InfoInode(Inode):
    """``mshare_info``: the unit in bytes, as decimal text."""

    def __init__(self, sb: MshareSuperBlock) -> None:
        super().__init__(sb, stat.S_IFREG | 0o444)
        self.text = f"{sb.unit}\n".encode()

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return InfoFile(path, flags)

    def truncate(self, size: int) -> None:
        """Succeeds and does nothing, as observed."""


class RegionInode(Inode):
    """A region's file.  The interface generation decides how it is opened and used."""

    #: Made by mshare(2): only mshare_unlink(2) removes it (S_IMMUTABLE).
    immutable = False

    def __init__(self, sb: MshareSuperBlock, mode: int, uid: int, gid: int, region: Region) -> None:
        super().__init__(sb, stat.S_IFREG | mode & 0o7777, uid, gid)
        self.region = region
        self._regions = sb.regions

    def evict(self) -> None:
        self._regions.forget(self.region)


class MshareDirectory(SimpleDirectory):
    """The root, or a directory that a guest made."""

    sb: MshareSuperBlock

    def create(self, name: str, owner: NewOwner) -> Inode:
        inode = self.sb.abi.create(self.sb, name, owner)
        self.add(name, inode)
        return inode

    def mkdir(self, name: str, owner: NewOwner) -> Inode:
        inode = type(self)(self.sb, owner.mode, owner.uid, owner.gid)
        self.add(name, inode)
        return inode

    def _refuse(self, name: str) -> None:
        inode = self.entries.get(name)
        if self is self.sb.root and name == INFO_NAME:
            raise LinuxError(errno.EPERM)
        if isinstance(inode, RegionInode) and inode.immutable:
            raise LinuxError(errno.EPERM)

    def link(self, name: str, inode: Inode) -> None:
        if isinstance(inode, RegionInode) and inode.immutable:
            raise LinuxError(errno.EPERM)
        super().link(name, inode)

    def unlink(self, name: str, inode: Inode) -> None:
        self._refuse(name)
        super().unlink(name, inode)

    def rename(self, name: str, new_directory: Inode, new_name: str, flags: RenameFlags) -> None:
        self._refuse(name)
        if isinstance(new_directory, MshareDirectory):
            new_directory._refuse(new_name)
        super().rename(name, new_directory, new_name, flags)


class ClosedDirectory(MshareDirectory):
    """The root if system calls make the files: guests can only look up and list names."""

    def create(self, name: str, owner: NewOwner) -> Inode:
        raise LinuxError(errno.EACCES)

    def mkdir(self, name: str, owner: NewOwner) -> Inode:
        raise LinuxError(errno.EPERM)

    def link(self, name: str, inode: Inode) -> None:
        raise LinuxError(errno.EPERM)

    def unlink(self, name: str, inode: Inode) -> None:
        raise LinuxError(errno.EPERM)

    def rename(self, name: str, new_directory: Inode, new_name: str, flags: RenameFlags) -> None:
        raise LinuxError(errno.EPERM)


def _never(sb: MshareSuperBlock, name: str, owner: NewOwner) -> RegionInode:
    raise AssertionError(f"abi={sb.abi.name}: its directory does not make files")


def _none(mounted: Sequence[MshareSuperBlock]) -> tuple[Syscall, ...]:
    return ()


class Abi(NamedTuple):
    """One interface generation: the properties of an instance that is mounted with it."""

    name: str
    #: The posting.
    source: str
    #: creat(2) of a region's file: the instance, the name, the owner.
    create: Callable[[MshareSuperBlock, str, NewOwner], RegionInode] = _never
    #: The class of the root and of the directories in it.
    directory: type[MshareDirectory] = MshareDirectory
    root_mode: int = 0o777
    #: Whether the root has a file mshare_info.
    has_info: bool = True
    #: Whether mshare(2) and mshare_unlink(2) act on the instance, unless the mount option ``syscalls`` overrides it.
    calls: bool = False
    #: Its own system calls, which the machine has once an instance has been mounted, for all instances.
    own_calls: Callable[[Sequence[MshareSuperBlock]], tuple[Syscall, ...]] = _none
    #: Whether every mount shows the same instance.
    single: bool = False


class MshareSuperBlock(SuperBlock):
    """One mounted instance."""

    magic = MSHARE_MAGIC
    fstype: MshareFsType

    def __init__(self, resources: Resources, fstype: MshareFsType, options: MountOptions) -> None:
        super().__init__(resources, fstype)
        self.regions = fstype.regions
        self.options = options
        self.abi = fstype.abis[options.abi]
        self.level = options.level
        self.unit = unit_of(options.level)
        self.root: MshareDirectory = self.abi.directory(self, self.abi.root_mode)
        if self.abi.has_info:
            self.root.add(INFO_NAME, InfoInode(self))

    def new_region(
        self, name: str, *, host_base: int = MSHARE_BASE, at_owner_exit: str = "persist", tlb: str = "all",
        charge: str = FAULTING,
    ) -> Region:  # fmt: skip
        """A region without a size, owned by the caller; see :class:`Region`.  LinuxError(ENOMEM)."""
        return self.regions.new(
            self, self.options, name, host_base=host_base, at_owner_exit=at_owner_exit, tlb=tlb, charge=charge
        )  # fmt: skip

    @property
    def has_calls(self) -> bool:
        """Whether mshare(2) and mshare_unlink(2) act on this instance."""
        return (self.options.syscalls or ("on" if self.abi.calls else "off")) == "on"

    def show_options(self) -> str:
        return self.options.shown()

    def option(self, name: str) -> str | None:
        return self.options.value(name)

    def remount(self, options: str) -> None:
        """Change options; this takes effect at once, also for existing regions.

        LinuxError(EBUSY) if a window violates ``strict-prot``.
        """
        changed = parse(options, self.fstype.abis, self.options)
        if changed.strict_prot == "on":
            for region in self.regions.of(self):
                allowed = Prot(7)
                for window in window_rights(region):
                    allowed &= window
                if any(vma.prot & ~allowed for vma in region.host.vmas):
                    raise LinuxError(errno.EBUSY, f"a window on {region.name} allows less than its objects")
        self.options = changed
        self.fstype.changed()
        for region in self.regions.of(self):
            region.configure(self.options)

    def put_super(self) -> None:
        """The last mount is gone: remove the regions that still have a name."""
        self.fstype.mounted.remove(self)
        self.fstype.changed()
        drop_tree(self.root)


class MshareFsType(FileSystemType):
    """``msharefs``; its options are those of :class:`MountOptions`."""

    name = "msharefs"

    def __init__(
        self,
        regions: Regions,
        abis: Mapping[str, Abi],
        mounted: list[MshareSuperBlock],
        changed: Callable[[], None],
    ) -> None:
        """``abis``: the interface generations, by the value of ``abi=``; ``mounted``: the instances; ``changed`` is
        called when they or their options change.
        """
        self.regions = regions
        self.abis = abis
        self.mounted = mounted
        self.changed = changed

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        wanted = parse(options, self.abis)
        if self.abis[wanted.abi].single:
            for mounted in self.mounted:
                if mounted.options.abi == wanted.abi:
                    mounted.remount(options)
                    return mounted
        sb = MshareSuperBlock(resources, self, wanted)
        self.mounted.append(sb)
        self.changed()
        return sb

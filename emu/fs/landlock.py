"""Landlock: a thread gives up rights to files, ports and other processes (security/landlock).

A domain is a stack of layers, each of which a call of landlock_restrict_self(2) has added.  What a layer handles is
denied unless one of its rules allows it: rules for a file hold for all that is beneath it, rules for a port for TCP.
"""

from __future__ import annotations

import errno
import operator
import stat
from enum import IntFlag
from typing import TYPE_CHECKING

from emu.fs.anon import AnonFile
from emu.fs.dentry import Path
from emu.linux.caller import MAY_IOCTL_DEV, MAY_TRUNCATE, SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.mm.kmem import LANDLOCK_RULE

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.linux.caller import Credentials

MAX_LAYERS = 16
_ACCMODE = int(OpenFlags.ACCMODE)


class Access(IntFlag):
    """LANDLOCK_ACCESS_FS_*."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = MAY_TRUNCATE
    IOCTL_DEV = MAY_IOCTL_DEV


#: All rights to files, and those that a file can have which is no directory.
FS_ACCESS = (1 << 16) - 1
ACCESS_FILE = int(Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV)
_REFER = int(Access.REFER)
#: LANDLOCK_ACCESS_NET_*, and all LANDLOCK_SCOPE_*.
BIND_TCP, CONNECT_TCP, NET_ACCESS = 1, 2, 3
SCOPES = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL
_MAKE = {
    stat.S_IFLNK: Access.MAKE_SYM, stat.S_IFDIR: Access.MAKE_DIR, stat.S_IFCHR: Access.MAKE_CHAR,
    stat.S_IFBLK: Access.MAKE_BLOCK, stat.S_IFIFO: Access.MAKE_FIFO, stat.S_IFSOCK: Access.MAKE_SOCK,
}  # fmt: skip


def to_make(mode: int) -> int:
    """The right to make something of this kind (get_mode_access)."""
    return int(_MAKE.get(stat.S_IFMT(mode), Access.MAKE_REG))


class Layer:
    """What one call has given up, and the exceptions."""

    def __init__(self, handled_fs: int, handled_net: int, scoped: int) -> None:
        self.handled_fs = handled_fs
        self.handled_net = handled_net
        self.scoped = scoped
        #: By the inode that they hold for; the path keeps it the one that lookups find.
        self.files: dict[Inode, tuple[int, Path]] = {}
        self.ports: dict[int, int] = {}

    def copy(self) -> Layer:
        """As it is now."""
        made = Layer(self.handled_fs, self.handled_net, self.scoped)
        made.files, made.ports = dict(self.files), dict(self.ports)
        return made

    @property
    def size(self) -> int:
        """What its rules take on the host."""
        return LANDLOCK_RULE * (1 + len(self.files) + len(self.ports))


class Domain:
    """The layers that hold for a thread; what it makes inherits them."""

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self.layers = layers
        self.handles_files = any(layer.handled_fs for layer in layers)

    def encloses(self, other: object) -> bool:
        """Whether another domain is this one, or has been made in it."""
        theirs = other.layers if isinstance(other, Domain) else ()
        return len(theirs) >= len(self.layers) and all(map(operator.is_, self.layers, theirs))

    def is_scoped(self, other: object, scope: int) -> bool:
        """Whether something of another domain is out of its reach (domain_is_scoped)."""
        theirs = other.layers if isinstance(other, Domain) else ()
        for at in reversed(range(len(self.layers))):
            if self.layers[at].scoped & scope:
                return not (at < len(theirs) and theirs[at] is self.layers[at])
        return False

    # -- files -----------------------------------------------------------------------------------------------------

    def missing(self, place: Path, request: int) -> list[int]:
        """For each layer, which of the rights to what is at a place it does not give."""
        if place.mount.internal or not self.handles_files:
            return [0] * len(self.layers)
        missing = [request & (layer.handled_fs | _REFER) for layer in self.layers]
        at: Path | None = place
        while at is not None and any(missing):
            inode = at.dentry.inode
            for number, layer in enumerate(self.layers):
                if missing[number] and inode in layer.files:
                    missing[number] &= ~layer.files[inode][0]
            at = _above(at)
        return missing

    def check(self, place: Path, request: int) -> None:
        """LinuxError(EACCES)."""
        if any(self.missing(place, request)):
            raise LinuxError(errno.EACCES)

    def check_make(self, parent: Path, mode: int) -> None:
        """Whether something of this kind may be made in a directory.  LinuxError(EACCES)."""
        self.check(parent, to_make(mode))

    def check_remove(self, parent: Path, *, directory: bool) -> None:
        """Whether a file, or a directory, may be removed from a directory.  LinuxError(EACCES)."""
        self.check(parent, int(Access.REMOVE_DIR if directory else Access.REMOVE_FILE))

    def check_truncate(self, place: Path) -> None:
        """Whether a file may be truncated by its name.  LinuxError(EACCES)."""
        self.check(place, int(Access.TRUNCATE))

    def check_topology(self) -> None:
        """Nobody who has given up rights to files changes what is mounted.  LinuxError(EPERM)."""
        if self.handles_files:
            raise LinuxError(errno.EPERM)

    def check_open(self, place: Path, flags: int, *, execute: bool = False, is_file: bool = False) -> int:
        """Whether a file may be opened so; which rights it then does not have all the same (hook_file_open).
        ``is_file``: a file without a name, which is in the directory.  LinuxError(EACCES).
        """
        inode = place.dentry.inode
        wanted, optional = _to_open(flags, directory=inode.is_directory and not is_file), int(Access.TRUNCATE)
        if execute:
            wanted |= Access.EXECUTE
        if stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            optional |= Access.IOCTL_DEV
        denied = 0
        for bits in self.missing(place, wanted | optional):
            denied |= bits
        if denied & wanted:
            raise LinuxError(errno.EACCES)
        return denied

    def check_refer(
        self, old: Path, source: Inode, new: Path, target: Inode | None, *, removes: bool, exchange: bool = False
    ) -> None:
        """Whether something may be linked, or moved, from one directory to another (current_check_refer_path).
        LinuxError(EACCES), (EXDEV) where it would be free of what binds it.
        """
        here = to_make(target.mode) if exchange and target is not None else 0
        there = to_make(source.mode)
        if removes:
            here |= _to_remove(source)
            there |= _to_remove(target) if target is not None else 0
        if old == new:
            self.check(new, here | there)
            return
        request = (here | _REFER, there | _REFER)
        missing = (self.missing(old, request[0]), self.missing(new, request[1]))
        free = self._stays_bound(source, old, new)
        if exchange and target is not None:
            free = free and self._stays_bound(target, new, old)
        if free and not any(missing[0]) and not any(missing[1]):
            return
        if any(bits & ~_REFER for each in missing for bits in each):
            raise LinuxError(errno.EACCES)
        raise LinuxError(errno.EXDEV)

    def _stays_bound(self, inode: Inode, old: Path, new: Path) -> bool:
        """Whether what is denied of something in a directory is denied in the other one too (no_more_access)."""
        kinds = FS_ACCESS if inode.is_directory else ACCESS_FILE
        for layer, before, after in zip(self.layers, self.missing(old, kinds), self.missing(new, kinds), strict=True):
            own = layer.files[inode][0] if inode in layer.files else 0
            if before & ~own & ~after:
                return False
        return True

    # -- ports -----------------------------------------------------------------------------------------------------

    def handles_net(self, right: int) -> bool:
        """Whether a right to ports is given up."""
        return any(layer.handled_net & right for layer in self.layers)

    def check_port(self, port: int, right: int) -> None:
        """LinuxError(EACCES)."""
        for layer in self.layers:
            if right & layer.handled_net and not layer.ports.get(port, 0) & right:
                raise LinuxError(errno.EACCES)


def _above(place: Path) -> Path | None:
    """The directory that a place is in, whatever is mounted where; None at the top."""
    mount, dentry = place
    if dentry is not mount.root:
        return Path(mount, dentry.parent) if dentry.parent is not dentry else None
    return None if mount.at is None or mount.detached else _above(mount.at)


def _to_open(flags: int, *, directory: bool) -> int:
    reads, writes = flags & _ACCMODE in (0, 2), flags & _ACCMODE in (1, 2)
    if directory:
        return int(Access.READ_DIR) if reads else 0
    return (int(Access.READ_FILE) if reads else 0) | (int(Access.WRITE_FILE) if writes else 0)


def _to_remove(inode: Inode) -> int:
    return int(Access.REMOVE_DIR if inode.is_directory else Access.REMOVE_FILE)


def domain_of(who: Credentials) -> Domain | None:
    """The domain of somebody, if there is one."""
    domain = who.landlock
    assert domain is None or isinstance(domain, Domain)
    return domain


class RulesetFile(AnonFile):
    """A ruleset, to which rules are added, and of which a layer is made."""

    def __init__(self, path: Path, layer: Layer) -> None:
        super().__init__(path, OpenFlags.RDWR)
        self.layer = layer

    def add_file(self, place: Path, access: int) -> None:
        """A rule for a file, or for all that is beneath a directory.  LinuxError(ENOMEM)."""
        files, inode = self.layer.files, place.dentry.inode
        before = files[inode][0] if inode in files else None
        if before is None:
            self.keep(self._kept + LANDLOCK_RULE)
        files[inode] = (access | (before or 0), place)

    def add_port(self, port: int, access: int) -> None:
        """A rule for a port.  LinuxError(ENOMEM)."""
        if port not in self.layer.ports:
            self.keep(self._kept + LANDLOCK_RULE)
        self.layer.ports[port] = self.layer.ports.get(port, 0) | access

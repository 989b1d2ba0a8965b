"""The extended attributes of one inode, kept in memory (simple_xattr of fs/xattr.c)."""

from __future__ import annotations

import errno
from typing import Protocol

from emu.linux.errors import LinuxError
from emu.mm.kmem import SIMPLE_XATTR

XATTR_CREATE, XATTR_REPLACE = 1, 2


class Keeper(Protocol):
    """A superblock, as far as attributes are concerned."""

    def hold(self, size: int) -> None:
        """Charge so many bytes.  LinuxError(ENOMEM)."""

    def drop(self, size: int) -> None:
        """They are free again."""

    def count_xattr(self, size: int) -> None:
        """``user.`` attributes take more space, or less (a negative number).  LinuxError(ENOSPC)."""


class Holder(Protocol):
    """An inode, as far as attributes are concerned."""

    charged: int

    @property
    def sb(self) -> Keeper:
        """Its file system."""


class Xattrs:
    """The attributes of one inode, by name.  Their bytes are charged to its file system."""

    def __init__(self, inode: Holder) -> None:
        self._inode = inode
        self.values: dict[bytes, bytes] = {}
        #: What they are charged with.
        self.charged = 0

    def get(self, name: bytes) -> bytes:
        """LinuxError(ENODATA)."""
        value = self.values.get(name)
        if value is None:
            raise LinuxError(errno.ENODATA)
        return value

    def set(self, name: bytes, value: bytes | None, flags: int) -> None:
        """Set one, or with None remove it (simple_xattr_set).  LinuxError(EEXIST, ENODATA, ENOSPC, ENOMEM)."""
        old = self.values.get(name)
        if flags & XATTR_CREATE and old is not None:
            raise LinuxError(errno.EEXIST)
        if flags & XATTR_REPLACE and old is None:
            raise LinuxError(errno.ENODATA)
        self._account(name, old, value)
        if value is None:
            del self.values[name]
        else:
            self.values[name] = value

    def _account(self, name: bytes, old: bytes | None, new: bytes | None) -> None:
        more = _charge(name, new) - _charge(name, old)
        sb = self._inode.sb
        if name.startswith(b"user."):
            sb.count_xattr(_space(name, new) - _space(name, old))
        try:
            sb.hold(more) if more > 0 else sb.drop(-more)
        except LinuxError:
            sb.count_xattr(_space(name, old) - _space(name, new))
            raise
        self.charged += more
        self._inode.charged += more

    def clear(self) -> None:
        """The inode goes."""
        for name in list(self.values):
            self.set(name, None, 0)


def _charge(name: bytes, value: bytes | None) -> int:
    return 0 if value is None else SIMPLE_XATTR + len(name) + len(value)


def _space(name: bytes, value: bytes | None) -> int:
    """What a ``user.`` attribute takes of the space for inodes (simple_xattr_space)."""
    return 0 if value is None else 40 + len(name) + len(value)

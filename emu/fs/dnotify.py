"""F_NOTIFY: a signal when something happens in a directory (fs/notify/dnotify)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.fasync import POLL_MSG
from emu.fs.notify import Notice, Watch
from emu.linux.errors import LinuxError
from emu.linux.words import Flags
from emu.mm.kmem import FSNOTIFY_MARK

if TYPE_CHECKING:
    from emu.fs.file import File


class DnFlags(Flags, prefix="DN_"):
    """DN_*."""

    ACCESS = 0x1
    MODIFY = 0x2
    CREATE = 0x4
    DELETE = 0x8
    RENAME = 0x10
    ATTRIB = 0x20
    MULTISHOT = 0x80000000


_MULTISHOT = int(DnFlags.MULTISHOT)
_NOTICES = {
    DnFlags.ACCESS: Notice.ACCESS, DnFlags.MODIFY: Notice.MODIFY, DnFlags.CREATE: Notice.CREATE | Notice.MOVED_TO,
    DnFlags.DELETE: Notice.DELETE | Notice.MOVED_FROM, DnFlags.RENAME: Notice.MOVED_FROM | Notice.MOVED_TO,
    DnFlags.ATTRIB: Notice.ATTRIB,
}  # fmt: skip


class Dnotify(Watch):
    """What one open directory wants to know; ``owner`` is the descriptor table through which it was said."""

    def __init__(self, file: File, owner: object, fd: int, wanted: int) -> None:
        self._file = file
        self.owner = owner
        self._fd = fd
        self._wanted = 0
        self._leaving = 0
        self.more(fd, wanted)

    def more(self, fd: int, wanted: int) -> None:
        """Something else is to be told as well."""
        self._fd = fd
        self._wanted |= wanted
        self.mask = 0
        for flag, notice in _NOTICES.items():
            if self._wanted & flag:
                self.mask |= int(notice)

    def tell(self, mask: int, name: str, cookie: int) -> None:
        wanted = self._wanted
        happened = [flag for flag in (DnFlags.ACCESS, DnFlags.MODIFY, DnFlags.ATTRIB) if mask & _NOTICES[flag]]
        if mask & (Notice.CREATE | Notice.MOVED_TO):
            happened.append(DnFlags.CREATE)
        if mask & (Notice.DELETE | Notice.MOVED_FROM):
            happened.append(DnFlags.DELETE)
        if mask & Notice.MOVED_FROM:
            self._leaving = cookie
        if mask & Notice.MOVED_TO and cookie == self._leaving:
            happened.append(DnFlags.RENAME)
        if any(wanted & flag for flag in happened):
            if self._file.owner is not None:
                self._file.owner.send(self._fd, POLL_MSG)
            if not wanted & _MULTISHOT:
                self.end()

    def inode_gone(self) -> None:
        self.end()

    def descriptor_closed(self, owner: object) -> None:
        if owner is self.owner:  # dnotify_flush
            self.end()

    def unmounted(self) -> None:
        self.end()

    def end(self) -> None:
        """Nothing is to be told any more."""
        inode = self._file.inode
        if inode.watches is not None and inode.watches.pop(self._file, None) is not None:
            inode.sb.watches.pop(self, None)
            inode.sb.resources.file_watches -= 1
            inode.sb.resources.kmem.uncharge(FSNOTIFY_MARK)
            self._file.struct_size -= FSNOTIFY_MARK


def notify(file: File, owner: object, fd: int, wanted: int) -> None:
    """F_NOTIFY.  LinuxError(ENOTDIR, ENOMEM)."""
    inode = file.inode
    known = None if inode.watches is None else inode.watches.get(file)
    if not wanted & ~_MULTISHOT:
        if isinstance(known, Dnotify):
            known.end()
        return
    if not inode.is_directory:
        raise LinuxError(errno.ENOTDIR)
    if isinstance(known, Dnotify):
        known.more(fd, wanted)
        return
    inode.sb.resources.kmem.charge(FSNOTIFY_MARK)
    file.struct_size += FSNOTIFY_MARK
    if inode.watches is None:
        inode.watches = {}
    watch = inode.watches[file] = Dnotify(file, owner, fd, wanted)
    inode.sb.watches[watch] = None
    inode.sb.resources.file_watches += 1

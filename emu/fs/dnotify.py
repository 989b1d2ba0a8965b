"""F_NOTIFY: a signal when something happens in a directory (fs/notify/dnotify)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.fasync import POLL_MSG
from emu.fs.notify import Notice, Watch
from emu.linux.errors import LinuxError
from emu.mm.kmem import FSNOTIFY_MARK

if TYPE_CHECKING:
    from emu.fs.file import File


ACCESS, MODIFY, CREATE, DELETE, RENAME, ATTRIB, MULTISHOT = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x80000000
_NOTICES = {
    ACCESS: int(Notice.ACCESS), MODIFY: int(Notice.MODIFY), CREATE: int(Notice.CREATE | Notice.MOVED_TO),
    DELETE: int(Notice.DELETE | Notice.MOVED_FROM), RENAME: int(Notice.MOVED_FROM | Notice.MOVED_TO),
    ATTRIB: int(Notice.ATTRIB),
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
                self.mask |= notice

    def tell(self, mask: int, name: str, cookie: int) -> None:
        wanted = self._wanted
        happened = [flag for flag in (ACCESS, MODIFY, ATTRIB) if mask & _NOTICES[flag]]
        if mask & (Notice.CREATE | Notice.MOVED_TO):
            happened.append(CREATE)
        if mask & (Notice.DELETE | Notice.MOVED_FROM):
            happened.append(DELETE)
        if mask & Notice.MOVED_FROM:
            self._leaving = cookie
        if mask & Notice.MOVED_TO and cookie == self._leaving:
            happened.append(RENAME)
        if any(wanted & flag for flag in happened):
            if self._file.owner is not None:
                self._file.owner.send(self._fd, POLL_MSG)
            if not wanted & MULTISHOT:
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
            self._file.kmem.uncharge(FSNOTIFY_MARK)
            self._file.struct_size -= FSNOTIFY_MARK


def notify(file: File, owner: object, fd: int, wanted: int) -> None:
    """F_NOTIFY.  LinuxError(ENOTDIR, ENOMEM)."""
    inode = file.inode
    known = None if inode.watches is None else inode.watches.get(file)
    if not wanted & ~MULTISHOT:
        if isinstance(known, Dnotify):
            known.end()
        return
    if not inode.is_directory:
        raise LinuxError(errno.ENOTDIR)
    if isinstance(known, Dnotify):
        known.more(fd, wanted)
        return
    file.kmem.charge(FSNOTIFY_MARK)
    file.struct_size += FSNOTIFY_MARK
    if inode.watches is None:
        inode.watches = {}
    watch = inode.watches[file] = Dnotify(file, owner, fd, wanted)
    inode.sb.watches[watch] = None
    inode.sb.resources.file_watches += 1

"""Telling those who watch files and directories of what happens to them (fs/notify)."""

from __future__ import annotations

from typing import Any, Protocol

from emu.linux.words import Flags


class Notice(Flags, prefix="IN_"):
    """IN_*: what happens, and the flags of inotify_add_watch(2)."""

    ACCESS = 0x1
    MODIFY = 0x2
    ATTRIB = 0x4
    CLOSE_WRITE = 0x8
    CLOSE_NOWRITE = 0x10
    OPEN = 0x20
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    UNMOUNT = 0x2000
    Q_OVERFLOW = 0x4000
    IGNORED = 0x8000
    ONLYDIR = 0x1000000
    DONT_FOLLOW = 0x2000000
    EXCL_UNLINK = 0x4000000
    MASK_CREATE = 0x10000000
    MASK_ADD = 0x20000000
    ISDIR = 0x40000000
    ONESHOT = 0x80000000


ISDIR, EXCL_UNLINK = int(Notice.ISDIR), int(Notice.EXCL_UNLINK)
#: Told without saying that it is a directory.
OF_ITSELF = int(Notice.DELETE_SELF | Notice.MOVE_SELF)


#: FAN_OPEN_EXEC, which inotify does not know.
OPEN_EXEC = 0x1000


class Listener(Protocol):
    """Somebody who hears of files by where they are (emu.fs.fanotify): places are Path, files Inode."""

    def happened(self, path: Any, event: int) -> None:
        """Something has happened to what is at a place."""

    def happened_in(self, directory: Any, event: int, name: str, *, is_directory: bool) -> None:
        """Something has happened to a name in a directory, or to an inode itself (no name)."""

    def gone(self, inode: Any) -> None:
        """An inode is no more."""

    def ask(self, path: Any, answers: dict[object, object]) -> None:
        """Whether a file may be opened.  LinuxError(EPERM), LeaseBroken."""


class Watch:
    """Somebody who watches an inode."""

    #: What is to be told, as bits of Notice.
    mask = 0

    def tell(self, mask: int, name: str, cookie: int) -> None:
        """Something has happened: to the inode itself, or to ``name`` in this directory."""
        raise NotImplementedError

    def inode_gone(self) -> None:
        """The last name and the last open file of the inode are gone."""
        raise NotImplementedError

    def descriptor_closed(self, owner: object) -> None:
        """A descriptor of the table ``owner`` for the file that watches was closed; others may remain."""

    def unmounted(self) -> None:
        """The file system of the inode is no longer mounted."""
        raise NotImplementedError

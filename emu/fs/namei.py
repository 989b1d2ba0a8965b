"""Path lookup (fs/namei.c): from a name to a place in the tree."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.dentry import Path, check_name
from emu.linux.capability import DAC_OVERRIDE, DAC_READ_SEARCH
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MAX_SYMLINKS, PATH_MAX, May, MountFlags

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.fs.mount import MountTable
    from emu.linux.caller import Caller, Credentials, FsContext

_EXEC = int(May.EXEC)

_SEARCHES_ALL = 1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH


class Last(NamedTuple):
    """The last component of a name and the directory that it is in.

    ``name`` is ``""`` for the root directory itself, and may be ``.`` or ``..``.
    """

    parent: Path
    name: str
    #: The name ended in a slash: it must be (or become) a directory.
    slash: bool

    @property
    def normal(self) -> bool:
        """Whether the name is an ordinary one, which can be made, removed and renamed."""
        return self.name not in ("", ".", "..")


class PathWalk:
    """Looks names up for one system call, with the rights and root of its caller (None: the kernel itself) and one
    limit for symbolic links.
    """

    def __init__(
        self, mounts: MountTable, fs: FsContext[Path], who: Credentials, caller: Caller[Path] | None = None
    ) -> None:
        self.mounts = mounts
        self.fs = fs
        self.who = who
        self.caller = caller
        self._links = 0
        #: It opens for a program, which waits until holders of leases have given way.
        self.breaks_leases = False
        #: What it has asked others for already, who say whether a file may be opened (fanotify).
        self.answers: dict[object, object] = {}

    def start_again(self) -> None:
        """The call waited, and looks its name up once more."""
        self._links = 0

    def resolve(self, name: str, start: Path | None = None, follow: bool = True) -> Path:
        """The place called ``name``, seen from ``start`` (default: the working directory).

        ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG. Without ``follow`` a symbolic link at the end is the answer.
        """
        return self._walk(name, start, follow)

    def resolve_last(self, name: str, start: Path | None = None) -> Last:
        """The directory of ``name`` and its last component, which is not looked up."""
        current, parts, slash = self._begin(name, start)
        if not parts:
            return Last(current, "", slash)
        last = parts.pop(0)
        current = self._follow_parts(current, parts)
        self._check_search(current.dentry.inode)
        check_name(last)
        return Last(current, last, slash)

    def lookup(self, parent: Path, name: str) -> Path:
        """Look up one component (``.`` and ``..`` too), crossing mounts and not following symbolic links."""
        if name in (".", ""):
            return parent
        if name == "..":
            return self._dotdot(parent)
        check_name(name)
        dentry = parent.dentry
        found = Path(parent.mount, dentry.child(name, dentry.inode.lookup(name)))
        return self.mounts.cross(found)

    def lookup_or_none(self, parent: Path, name: str) -> Path | None:
        """:meth:`lookup`, with None for ENOENT where a name could be made."""
        try:
            return self.lookup(parent, name)
        except LinuxError as error:
            if error.errno != errno.ENOENT or parent.dentry.inode.sb.names_are_given:
                raise
            return None

    def follow_link(self, link: Path) -> str | Path:
        """The target of a symbolic link, which counts towards the limit of 40 (ELOOP)."""
        self._links += 1
        if self._links > MAX_SYMLINKS or link.mount.flags & MountFlags.NOSYMFOLLOW:
            raise LinuxError(errno.ELOOP)
        target = link.dentry.inode.get_link(self.caller)
        if target == "":
            raise LinuxError(errno.ENOENT)
        return target

    def _begin(self, name: str, start: Path | None) -> tuple[Path, list[str], bool]:
        """Where a walk starts, its components (last one first), and whether the name ends in a slash."""
        if not name:
            raise LinuxError(errno.ENOENT)
        if len(name) >= PATH_MAX:
            raise LinuxError(errno.ENAMETOOLONG)
        parts = [part for part in name.split("/") if part]
        parts.reverse()
        if name[0] == "/":
            current = self.fs.root
        else:
            current = start if start is not None else self.fs.cwd
        return current, parts, name[-1] == "/"

    def _walk(self, name: str, start: Path | None, follow: bool) -> Path:
        current, parts, slash = self._begin(name, start)
        if parts:
            last = parts.pop(0)
            current = self._follow_parts(current, parts)
            current = self._step(current, last, follow or slash)
        if slash and not current.dentry.inode.is_directory:
            raise LinuxError(errno.ENOTDIR)
        return current

    def _follow_parts(self, current: Path, parts: list[str]) -> Path:
        while parts:
            current = self._step(current, parts.pop(), True)
        if not current.dentry.inode.is_directory:
            raise LinuxError(errno.ENOTDIR)
        return current

    def _step(self, current: Path, name: str, follow: bool) -> Path:
        self._check_search(current.dentry.inode)
        found = self.lookup(current, name)
        if follow and found.dentry.inode.is_symlink:
            target = self.follow_link(found)
            # The depth of this recursion is bounded by the limit for links.
            return target if isinstance(target, Path) else self._walk(target, current, True)
        return found

    def _check_search(self, inode: Inode) -> None:
        if not inode.is_directory:
            raise LinuxError(errno.ENOTDIR)
        if not self.who.effective & _SEARCHES_ALL or self.who.user_ns is not None:
            inode.permission(_EXEC, self.who)

    def _dotdot(self, path: Path) -> Path:
        if path == self.fs.root:
            return path
        path = self.mounts.up(path)
        return self.mounts.cross(Path(path.mount, path.dentry.parent))

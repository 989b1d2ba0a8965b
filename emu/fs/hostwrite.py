"""Changing a directory tree of the host, where somebody has asked for that (``--bind HOST:GUEST:rw``).

Every change is made to one name in a directory that was opened beneath the top of the tree, and follows no symbolic
link.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from emu.fs.hosttree import HostTree, Names, linux_error
from emu.linux.errors import LinuxError

_SYS_RENAMEAT2 = 316
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OBJECT = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
Result = TypeVar("Result")
#: The bits of a mode that guests may set on the host: never set-user-ID and set-group-ID.
MODE_BITS = 0o1777


class WritableTree(HostTree):
    """A tree that can be changed.  Errors of the host are LinuxErrors with its errno."""

    def create(self, names: Names, mode: int) -> None:
        """Make an empty regular file."""
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._parent(names) as at:
            os.close(os.open(names[-1], flags, mode & MODE_BITS, dir_fd=at))

    def mkdir(self, names: Names, mode: int) -> None:
        """Make a directory."""
        with self._parent(names) as at:
            os.mkdir(names[-1], mode & MODE_BITS, dir_fd=at)

    def mkfifo(self, names: Names, mode: int) -> None:
        """Make a FIFO."""
        with self._parent(names) as at:
            os.mkfifo(names[-1], mode & MODE_BITS, dir_fd=at)

    def symlink(self, names: Names, target: bytes) -> None:
        """Make a symbolic link, wherever it leads: nobody follows it here."""
        with self._parent(names) as at:
            os.symlink(target, names[-1], dir_fd=at)

    def link(self, old: Names, names: Names) -> None:
        """Give an object another name."""
        with self._parent(old) as source, self._parent(names) as at:
            os.link(old[-1], names[-1], src_dir_fd=source, dst_dir_fd=at, follow_symlinks=False)

    def unlink(self, names: Names) -> None:
        """Remove the name of something that is no directory."""
        with self._parent(names) as at:
            os.unlink(names[-1], dir_fd=at)

    def rmdir(self, names: Names) -> None:
        """Remove an empty directory."""
        with self._parent(names) as at:
            os.rmdir(names[-1], dir_fd=at)

    def rename(self, old: Names, new: Names, flags: int) -> None:
        """renameat2(2)."""
        with self._parent(old) as source, self._parent(new) as at:
            if self._libc.syscall(_SYS_RENAMEAT2, source, old[-1], at, new[-1], flags):
                raise OSError(ctypes.get_errno(), "renameat2")

    @contextmanager
    def _parent(self, names: Names) -> Iterator[int]:
        """A descriptor of the directory that the last name is in."""
        if not names:
            raise LinuxError(errno.EBUSY)  # the top itself
        self._check(names)
        at = self._open_beneath(names[:-1], _DIRECTORY)
        try:
            yield at
        except OSError as error:
            raise linux_error(error) from None
        finally:
            os.close(at)

    @contextmanager
    def object_at(self, names: Names) -> Iterator[str]:
        """A name of just this object, for changing its attributes.  EOPNOTSUPP for a symbolic link: it would be
        followed.
        """
        at = self._open_beneath(names, _OBJECT)
        try:
            if stat.S_ISLNK(os.fstat(at).st_mode):
                raise LinuxError(errno.EOPNOTSUPP)
            yield f"/proc/self/fd/{at}"
        except OSError as error:
            raise linux_error(error) from None
        finally:
            os.close(at)


def host_call(action: Callable[[], Result]) -> Result:
    """What a call on an open file of the host returns; its error as a LinuxError."""
    try:
        return action()
    except OSError as error:
        raise linux_error(error) from None

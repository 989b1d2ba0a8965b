"""The open files of a process (files_struct)."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

from emu.fs.file import File
from emu.linux.errors import LinuxError
from emu.linux.limits import INR_OPEN_CUR
from emu.mm.kmem import FD, SLAB_UNRECLAIMABLE, Kmem


class FdTable:
    """File descriptors of one process or of threads that share them (CLONE_FILES).

    Each entry holds one reference on its File. ``limit`` is RLIMIT_NOFILE: setrlimit writes it.  Entries are charged to
    ``kmem``.
    """

    def __init__(self, kmem: Kmem, limit: int = INR_OPEN_CUR) -> None:
        self.limit = limit
        self.kmem = kmem.account(SLAB_UNRECLAIMABLE)
        self._files: dict[int, File] = {}
        self._cloexec: set[int] = set()
        #: No descriptor below this is free.
        self._next = 0
        self._users = 1
        #: The owner of the record lock that this process waits for (deadlock detection).
        self.waiting_for: FdTable | None = None

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._files))

    def items(self) -> Iterable[tuple[int, File]]:
        """Every descriptor with its file."""
        return self._files.items()

    def get(self, fd: int) -> File:
        """The file behind ``fd``; EBADF also for one opened with O_PATH."""
        file = self._files.get(fd)
        if file is None or file.flags & 0o10000000:
            raise LinuxError(errno.EBADF)
        return file

    def get_any(self, fd: int) -> File:
        """The file behind ``fd``, O_PATH or not; EBADF."""
        file = self._files.get(fd)
        if file is None:
            raise LinuxError(errno.EBADF)
        return file

    def install(self, file: File, cloexec: bool = False, lowest: int = 0) -> int:
        """Put ``file`` (whose reference passes to the table) under the lowest free descriptor from ``lowest`` on.

        EMFILE if no descriptor below the limit is free, ENOMEM; then the caller still owns the reference.
        """
        fd = self._lowest_free(lowest)
        self.kmem.charge(FD)
        if lowest <= self._next:
            self._next = fd + 1
        self._files[fd] = file
        if cloexec:
            self._cloexec.add(fd)
        return fd

    def check_room(self) -> None:
        """EMFILE if no descriptor is free; open(2) asks before it makes a file."""
        self._next = self._lowest_free(0)

    def next_two(self) -> tuple[int, int]:
        """The numbers that the next two files will get.  EMFILE."""
        first = self._lowest_free(0)
        return first, self._lowest_free(first + 1)

    def _lowest_free(self, lowest: int) -> int:
        fd = max(self._next, lowest)
        files = self._files
        while fd in files:
            fd += 1
        if fd >= self.limit:
            raise LinuxError(errno.EMFILE)
        return fd

    def open(self, file: File, cloexec: bool = False, lowest: int = 0) -> int:
        """:meth:`install`, but the file is closed if there is no room."""
        try:
            return self.install(file, cloexec, lowest)
        except LinuxError:
            file.put()
            raise

    def close(self, fd: int) -> None:
        """Close ``fd``; EBADF."""
        file = self._files.pop(fd, None)
        if file is None:
            raise LinuxError(errno.EBADF)
        self.kmem.uncharge(FD)
        self._cloexec.discard(fd)
        self._next = min(self._next, fd)
        if file.inode.locks is not None:
            # POSIX: closing any descriptor of a file drops all of the process's record locks on it.
            file.inode.locks.release(self)
        file.flush(self)
        file.put()

    def dup(self, fd: int, lowest: int = 0, cloexec: bool = False) -> int:
        """dup(2) and F_DUPFD; EINVAL if ``lowest`` is beyond the limit."""
        file = self.get_any(fd)
        if not 0 <= lowest < self.limit:
            raise LinuxError(errno.EINVAL)
        new = self.install(file, cloexec, lowest)
        file.get()
        return new

    def dup_to(self, fd: int, new: int, cloexec: bool = False) -> int:
        """dup2(2) and dup3(2) for ``fd != new``: close ``new`` and make it the same file."""
        file = self.get_any(fd)
        if not 0 <= new < self.limit:
            raise LinuxError(errno.EBADF)
        self.kmem.charge(FD)
        file.get()
        if new in self._files:
            self.close(new)
        self._files[new] = file
        if cloexec:
            self._cloexec.add(new)
        return new

    def cloexec(self, fd: int) -> bool:
        """FD_CLOEXEC of ``fd``; EBADF."""
        self.get_any(fd)
        return fd in self._cloexec

    def set_cloexec(self, fd: int, on: bool) -> None:
        """F_SETFD; EBADF."""
        self.get_any(fd)
        if on:
            self._cloexec.add(fd)
        else:
            self._cloexec.discard(fd)

    def close_on_exec(self) -> None:
        """execve: close the descriptors that are marked FD_CLOEXEC."""
        for fd in sorted(self._cloexec):
            self.close(fd)

    def close_range(self, first: int, last: int, only_mark: bool = False) -> None:
        """close_range(2): close, or mark FD_CLOEXEC, everything from ``first`` to ``last``."""
        for fd in [fd for fd in self if first <= fd <= last]:
            if only_mark:
                self._cloexec.add(fd)
            else:
                self.close(fd)

    def close_all(self) -> None:
        """exit: close everything."""
        for fd in self:
            file = self._files.pop(fd)
            self.kmem.uncharge(FD)
            if file.inode.locks is not None:  # as close() does
                file.inode.locks.release(self)
            file.flush(self)
            file.put()
        self._cloexec.clear()
        self._next = 0

    def copy(self) -> FdTable:
        """fork: a table of its own that shares every open file description.  LinuxError(ENOMEM)."""
        table = FdTable(self.kmem, self.limit)
        table.kmem.reserve(FD * len(self._files))
        return self._copy_to(table)

    def _copy_to(self, table: FdTable) -> FdTable:
        """There is room."""
        table.kmem.charge_reserved(FD * len(self._files))
        table._files = {fd: file.get() for fd, file in self._files.items()}
        table._cloexec = set(self._cloexec)
        table._next = self._next
        return table

    def share(self) -> FdTable:
        """clone(CLONE_FILES): one more user of the same table."""
        self._users += 1
        return self

    def put(self) -> None:
        """A user leaves; the last one closes everything."""
        self._users -= 1
        if not self._users:
            self.close_all()

    @property
    def files(self) -> Iterable[File]:
        """The open files, once for each descriptor."""
        return self._files.values()

    @property
    def users(self) -> int:
        """How many tasks share the table."""
        return self._users

    def unshare(self) -> FdTable:
        """A separate table for a task that shared this one, which loses a user.  LinuxError(ENOMEM)."""
        self.reserve_own()
        return self.unshare_reserved()

    def reserve_own(self) -> None:
        """Make sure that there is room for a separate table, if this one is shared.  LinuxError(ENOMEM)."""
        if self._users > 1:
            self.kmem.reserve(FD * len(self._files))

    def unshare_reserved(self) -> FdTable:
        """:meth:`unshare`, where there is no way back any more (execve after CLONE_FILES)."""
        if self._users == 1:
            return self
        own = self._copy_to(FdTable(self.kmem, self.limit))
        self.put()
        return own


def check_deadlock(waiter: FdTable, blocker: object) -> None:
    """EDEADLK if ``blocker``, the owner of a record lock, waits for ``waiter``, directly or through others."""
    while isinstance(blocker, FdTable):
        if blocker is waiter:
            raise LinuxError(errno.EDEADLK)
        blocker = blocker.waiting_for

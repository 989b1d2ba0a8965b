"""How file system calls read their arguments: path names, directories to start from, buffers of user memory."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.namei import PathWalk
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AT_FDCWD, IOV_MAX, MAX_RW_COUNT, PAGE_SIZE, AtFlags
from emu.linux.layout import PATHNAME, PIECE
from emu.linux.stop import Stop

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace

_EMPTY_PATH = int(AtFlags.EMPTY_PATH)
_NOFOLLOW = int(AtFlags.SYMLINK_NOFOLLOW)


def start_of(task: Task, dirfd: int) -> Path | None:
    """The directory of a dirfd; None for AT_FDCWD. (A file that is not a directory fails in the walk.)"""
    return None if dirfd == AT_FDCWD else task.files.get_any(dirfd).path


def at_path(kernel: Kernel, task: Task, dirfd: int, name: str) -> tuple[PathWalk, str, Path | None]:
    """(walker, name, start) for a *at() call; an absolute name ignores dirfd, even a bad one.  (An empty one fails in
    the walk, as getname() defers it.)
    """
    start = None if name[:1] in ("/", "") else start_of(task, dirfd)
    return PathWalk(kernel.vfs.mount_table, task.fs, task.credentials, task), name, start


def resolve_at(
    kernel: Kernel, task: Task, dirfd: int, address: int, flags: int, *, null: bool = False
) -> tuple[PathWalk, Path]:
    """The place that dirfd and the name at an address refer to, with AT_EMPTY_PATH and AT_SYMLINK_NOFOLLOW; ``null``:
    NULL counts as an empty name then.
    """
    walker = PathWalk(kernel.vfs.mount_table, task.fs, task.credentials, task)
    name = "" if null and address == 0 and flags & _EMPTY_PATH else PATHNAME.read(task.mm, address)
    if not name:
        if not flags & _EMPTY_PATH:
            raise LinuxError(errno.ENOENT)
        return walker, start_of(task, dirfd) or task.fs.cwd
    start = None if name[0] == "/" else start_of(task, dirfd)
    return walker, walker.resolve(name, start, not flags & _NOFOLLOW)


def resolve(kernel: Kernel, task: Task, name: str, follow: bool = True) -> tuple[PathWalk, Path]:
    """The place that a name refers to."""
    walker = PathWalk(kernel.vfs.mount_table, task.fs, task.credentials, task)
    return walker, walker.resolve(name, None, follow)


def check_range(mm: AddressSpace, address: int, size: int) -> None:
    """Memory of a program lies below the end of user addresses, whatever is there (access_ok).  LinuxError(EFAULT)."""
    if address + size > mm.task_size:
        raise LinuxError(errno.EFAULT)


class UserBuffer:
    """The buffer of a read or write call: one range, or the pieces of an iovec, used from the start."""

    __slots__ = ("_address", "_back", "_left", "_mm", "_rest", "count")

    def __init__(self, mm: AddressSpace, address: int, count: int) -> None:
        self._mm = mm
        if address + count > mm.task_size:  # as check_range(), which each read and write would call
            raise LinuxError(errno.EFAULT)
        self.count = self._left = count if count < MAX_RW_COUNT else MAX_RW_COUNT
        self._address = address
        self._rest: list[tuple[int, int]] = []
        self._back = b""

    @property
    def kept(self) -> int:
        """What a call keeps of it while it sleeps, in bytes of the host."""
        return len(self._back) + 128 * len(self._rest)

    @property
    def stop(self) -> Stop:
        """Looked at before each piece."""
        return self._mm.stop

    @classmethod
    def from_iovec(cls, mm: AddressSpace, address: int, number: int) -> UserBuffer:
        """The pieces of an iovec array: EINVAL for more than 1024 or for a negative length."""
        if number > IOV_MAX:
            raise LinuxError(errno.EINVAL)
        pieces: list[tuple[int, int]] = []
        total = 0
        vector = list(PIECE.read_array(mm, address, number))
        if any(length >> 63 for _, length in vector):
            raise LinuxError(errno.EINVAL)
        for base, length in vector:
            check_range(mm, base, length)
            length = min(length, MAX_RW_COUNT - total)
            total += length
            if length:
                pieces.append((base, length))
        buffer = cls(mm, 0, 0)
        buffer.count = total
        pieces.reverse()
        buffer._rest = pieces
        return buffer

    def take(self, count: int, first: int = 0) -> bytes:
        """Up to ``count`` of the next bytes: fewer if one cannot be read, EFAULT if the first cannot.

        With ``first``, a short result has ``first`` bytes plus whole pages, as a pipe takes them.
        """
        if self._back:
            data, self._back = self._back[:count], self._back[count:]
            return data
        if count <= self._left:
            try:
                data = self._mm.read(self._address, count)
            except LinuxError:
                return self._whole(self._take_readable(count), first)
            self._address += count
            self._left -= count
            return data
        pieces: list[bytes] = []
        done = 0
        while done < count and self._next_piece():
            want = min(self._left, count - done)
            try:
                piece = self.take(want)
            except LinuxError:
                if not done:
                    raise
                return self._whole(b"".join(pieces), first)
            pieces.append(piece)
            done += len(piece)
            if len(piece) < want:
                return self._whole(b"".join(pieces), first)
        return b"".join(pieces)

    @staticmethod
    def _whole(data: bytes, first: int) -> bytes:
        """The bytes before a fault that count."""
        if first:
            data = data[: first + (len(data) - first) // PAGE_SIZE * PAGE_SIZE] if len(data) >= first else b""
            if not data:
                raise LinuxError(errno.EFAULT)
        return data

    def put(self, data: bytes) -> int:
        """Store ``data`` in the next bytes; returns how many could be stored, EFAULT if none could."""
        size = len(data)
        if size <= self._left:
            try:
                self._mm.write(self._address, data)
            except LinuxError:
                return self._put_writable(data)
            self._address += size
            self._left -= size
            return size
        done = 0
        view = memoryview(data)
        while done < size and self._next_piece():
            want = min(self._left, size - done)
            try:
                stored = self.put(bytes(view[done : done + want]))
            except LinuxError:
                if not done:
                    raise
                break
            done += stored
            if stored < want:
                break
        return done

    def back(self, data: bytes) -> None:
        """Give back the end of what take() returned."""
        self._back = data + self._back

    def _next_piece(self) -> bool:
        if not self._left:
            if not self._rest:
                return False
            self._address, self._left = self._rest.pop()
        return True

    def _take_readable(self, count: int) -> bytes:
        pieces: list[bytes] = []
        done = 0
        while done < count:
            step = min(PAGE_SIZE - self._address % PAGE_SIZE, count - done)
            try:
                piece = self._mm.read(self._address, step)
            except LinuxError:
                if not done:
                    raise
                break
            pieces.append(piece)
            done += step
            self._address += step
            self._left -= step
        return b"".join(pieces)

    def _put_writable(self, data: bytes) -> int:
        done = 0
        while done < len(data):
            step = min(PAGE_SIZE - self._address % PAGE_SIZE, len(data) - done)
            try:
                self._mm.write(self._address, data[done : done + step])
            except LinuxError:
                if not done:
                    raise
                break
            done += step
            self._address += step
            self._left -= step
        return done

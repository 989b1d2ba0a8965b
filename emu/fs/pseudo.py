"""Files whose text a function makes: what /proc and /sys consist of."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.inode import Inode
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.superblock import SuperBlock
    from emu.kernel.task import Task

#: Makes the whole text of a file.
Text = Callable[[], bytes]
#: Takes what is written to a file.  LinuxError(EINVAL) for what makes no sense.
Store = Callable[[bytes], None]
#: Reads ``count`` bytes at ``pos`` of a file too large to make at once.
ReadAt = Callable[[int, int], bytes]
#: Stores bytes at a position; returns how many.
WriteAt = Callable[[bytes, int], int]


class TextHandle(File):
    """An open text file: the text is made by the first read, and anew by each read from the start."""

    inode: TextFile

    def __init__(self, path: Path, flags: int) -> None:
        super().__init__(path, flags)
        self._text: bytes | None = None

    def pread(self, count: int, pos: int) -> bytes:
        if self._text is None or pos == 0:
            self._text = self.inode.text()
        return self._text[pos : pos + count]

    def pwrite(self, data: bytes, pos: int) -> int:
        assert self.inode.store is not None  # else it cannot be opened for writing
        self.inode.store(data)
        return len(data)


class TextFile(Inode):
    """A file with generated text; its size is 0, as in /proc, unless ``size`` says otherwise (/sys: 4096).  Each write
    goes to ``store`` as a whole; without one it is read-only.
    """

    def __init__(
        self, sb: SuperBlock, text: Text, mode: int = 0o444, size: int = 0, ino: int | None = None,
        store: Store | None = None,
    ) -> None:  # fmt: skip
        super().__init__(sb, stat.S_IFREG | mode, ino=ino)
        self.text = text
        self.size = size
        self.store = store

    def open(self, path: Path, flags: int, task: Task | None) -> File:
        file = TextHandle(path, flags)
        if file.writable and self.store is None:
            file.put()
            raise LinuxError(errno.EACCES)
        return file

    def truncate(self, size: int) -> None:
        """O_TRUNC has no effect, as on /proc files."""


class SeekableHandle(File):
    """An open file that is read, and perhaps written, at any offset."""

    inode: SeekableFile

    def pread(self, count: int, pos: int) -> bytes:
        return self.inode.read_at(count, pos)

    def pwrite(self, data: bytes, pos: int) -> int:
        if self.inode.write_at is None:
            raise LinuxError(errno.EINVAL)
        return self.inode.write_at(data, pos)


class SeekableFile(Inode):
    """A file of which a function makes any part (pagemap), and that takes bytes at any place if there is ``write_at``
    (mem).
    """

    def __init__(self, sb: SuperBlock, read_at: ReadAt, mode: int = 0o400, write_at: WriteAt | None = None) -> None:
        super().__init__(sb, stat.S_IFREG | mode)
        self.read_at = read_at
        self.write_at = write_at

    def open(self, path: Path, flags: int, task: Task | None) -> File:
        return SeekableHandle(path, flags)


class LinkFile(Inode):
    """A symbolic link whose target depends on who looks (/proc/self)."""

    def __init__(self, sb: SuperBlock, target: Callable[[Task | None], str], ino: int | None = None) -> None:
        super().__init__(sb, stat.S_IFLNK | 0o777, ino=ino)
        self._target = target

    def readlink(self, task: Task | None) -> str:
        return self._target(task)


class MagicLink(Inode):
    """A link straight to a place (/proc/<pid>/exe): following it needs no name; reading it shows one."""

    def __init__(self, sb: SuperBlock, place: Callable[[], Path], mode: int = 0o777, ino: int | None = None) -> None:
        super().__init__(sb, stat.S_IFLNK | mode, ino=ino)
        self._place = place

    def readlink(self, task: Task | None) -> str:
        root = task.fs.root if task is not None else None
        return self.sb.kernel.vfs.path_string(self._place(), root)

    def get_link(self, task: Task | None) -> str | Path:
        return self._place()

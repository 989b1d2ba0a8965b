"""Files whose text a function makes, and trees of them: what /proc and /sys consist of."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.inode import Inode
from emu.fs.libfs import FixedDirectory
from emu.fs.superblock import SuperBlock
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.linux.caller import Caller

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

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
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

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return SeekableHandle(path, flags)


class LinkFile(Inode):
    """A symbolic link whose target depends on who looks (/proc/self)."""

    def __init__(self, sb: SuperBlock, target: Callable[[Caller[Path] | None], str], ino: int | None = None) -> None:
        super().__init__(sb, stat.S_IFLNK | 0o777, ino=ino)
        self._target = target

    def get_link(self, caller: Caller[Path] | None) -> str:
        return self._target(caller)


class MagicLink(Inode):
    """A link straight to a place (/proc/<pid>/exe): following it needs no name; reading it shows one."""

    def __init__(self, sb: SuperBlock, place: Callable[[], Path], mode: int = 0o777, ino: int | None = None) -> None:
        super().__init__(sb, stat.S_IFLNK | mode, ino=ino)
        self._place = place

    def get_link(self, caller: Caller[Path] | None) -> Path:
        return self._place()


class PseudoSuperBlock(SuperBlock):
    """A tree that the kernel and its modules build and guests only look at (sysfs, debugfs, procfs)."""

    root: FixedDirectory
    #: st_size of its files.
    file_size = 0

    def create_directory(self, name: str) -> FixedDirectory:
        """The directory ``a/b/c``, made with those above it where they are missing."""
        directory = self.root
        for part in name.split("/"):
            inode: Inode | None = directory.entries.get(part)
            if inode is None:
                inode = FixedDirectory(self)
                directory.add(part, inode)
            if not isinstance(inode, FixedDirectory):
                raise ValueError(f"{self.fstype.name}: {part} in {name} is no directory")
            directory = inode
        return directory

    def create_mount_point(self, name: str) -> None:
        """An empty directory on which a module's file system is to be mounted (sysfs_create_mount_point)."""
        self.create_directory(name)

    def remove_mount_point(self, name: str) -> None:
        """Take the directory away again (sysfs_remove_mount_point)."""
        directory, last = self._place(name)
        directory.remove(last).nlink = 0

    def create_file(
        self, name: str, text: Text, mode: int = 0o444, size: int | None = None, store: Store | None = None
    ) -> None:
        """A text file ``a/b/c``; its directories are made where they are missing.  What is written to it goes to
        ``store``.
        """
        directory, last = self._place(name)
        directory.add(last, TextFile(self, text, mode, self.file_size if size is None else size, store=store))

    def create_link(self, name: str, target: str) -> None:
        """A symbolic link ``a/b/c`` with a fixed target."""
        directory, last = self._place(name)
        directory.add(last, LinkFile(self, lambda _: target))

    def _place(self, name: str) -> tuple[FixedDirectory, str]:
        parent, _, last = name.rpartition("/")
        return self.create_directory(parent) if parent else self.root, last


class SysctlSuperBlock(PseudoSuperBlock):
    """A tree with the kernel's parameters in ``sys`` (procfs)."""

    def add_sysctl(self, name: str, text: Text, store: Callable[[int], None] | None = None) -> None:
        """/proc/sys/``name``, for example ``vm/mshare_size``; ``text`` includes the newline.  Read-only, unless
        ``store`` takes a number that is written to it (EINVAL for what is none).
        """
        if store is None:
            self.create_file(f"sys/{name}", text)
        else:
            self.create_file(f"sys/{name}", text, 0o644, store=lambda data: store(_decimal(data)))


def _decimal(data: bytes) -> int:
    """The number that is written to a sysctl (proc_doulongvec_minmax)."""
    word = data.strip(b" \t\n\0")
    if not word.isdigit() or len(word) > 20:
        raise LinuxError(errno.EINVAL)
    return int(word)

"""devpts: the terminals of pseudo-terminals, by number (fs/devpts/inode.c)."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.file import File
from emu.fs.libfs import FixedDirectory, Node
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.resources import Resources
    from emu.linux.caller import Caller

DEVPTS_MAGIC = 0x1CD1
#: kernel.pty.max.
MAX_PTYS = 4096
#: The group tty, which may write there (mesg(1)).
_TTY_GROUP, _MODE = 5, 0o620
#: Opens a terminal, given its place and flags.
Opener = Callable[["Path", int], File]


class TerminalNode(Node):
    """The device node of a terminal."""

    def __init__(self, sb: SuperBlock, rdev: int, uid: int, opener: Opener) -> None:
        super().__init__(sb, stat.S_IFCHR | _MODE, rdev, uid, _TTY_GROUP)
        self._opener = opener

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        return self._opener(path, flags)


class DevptsSuperBlock(SuperBlock):
    """The one tree."""

    magic = DEVPTS_MAGIC
    blksize = 1024
    keeps_dentries = False

    def __init__(self, resources: Resources, fstype: FileSystemType, ptmx: int) -> None:
        super().__init__(resources, fstype)
        self.root: FixedDirectory = FixedDirectory(self, 0o755)
        self.root.add("ptmx", Node(self, stat.S_IFCHR, ptmx))

    def show_options(self) -> str:
        return f",gid={_TTY_GROUP},mode={_MODE:o},ptmxmode=000"

    def free_number(self) -> int:
        """The lowest number that no terminal has.  LinuxError(ENOSPC)."""
        for number in range(MAX_PTYS):
            if str(number) not in self.root.entries:
                return number
        raise LinuxError(errno.ENOSPC)

    def enter(self, number: int, rdev: int, uid: int, opener: Opener) -> None:
        """There is a terminal with this number."""
        self.root.add(str(number), TerminalNode(self, rdev, uid, opener))

    def leave(self, number: int) -> None:
        """It is gone."""
        self.root.remove(str(number)).nlink = 0


class Devpts(FileSystemType):
    """The file system type ``devpts``; every mount shows the same terminals."""

    name = "devpts"
    for_users = True

    def __init__(self, resources: Resources, ptmx: int) -> None:
        self.tree = DevptsSuperBlock(resources, self, ptmx)

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return self.tree

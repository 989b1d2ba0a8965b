"""The files of the first series (Khalid Aziz, April 2022), which the project's founding document describes.

A region's file is immutable and tells where the region is; system calls make and remove it (:mod:`msharefs.calls`).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.file import File
from emu.fs.inode import Attributes
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from msharefs.control import MSHARE_INFO, RangeFile
from msharefs.early_window import EarlyWindow
from msharefs.filesystem import Abi, ClosedDirectory, MshareSuperBlock, RegionInode
from msharefs.region import Region
from msharefs.window import WindowOperations

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.linux.caller import Caller


class RegionV1(RegionInode):
    """A region's file: 16 bytes with the region's address and size."""

    immutable = True

    def __init__(
        self, sb: MshareSuperBlock, mode: int, uid: int, gid: int, region: Region, creator: Task, oflag: int
    ) -> None:
        super().__init__(sb, mode, uid, gid, region)
        self.creator = creator
        self.oflag = oflag
        #: mshare() calls that have not been undone by mshare_unlink().
        self.users = 1
        self.size = MSHARE_INFO.size
        # the posted fault handler tests the window's rights first, which makes a read-only window useless
        posted = sb.options.abi == "v1"
        self.ops = EarlyWindow(region) if posted else WindowOperations(region, identity=True)

    def open(self, path: Path, flags: int, caller: Caller[Path] | None) -> File:
        if flags & OpenFlags.ACCMODE != OpenFlags.RDONLY and caller is not None:
            raise LinuxError(errno.EPERM)
        return InfoV1File(path, flags)

    def setattr(self, change: Attributes) -> None:
        raise LinuxError(errno.EPERM)


class InfoV1File(RangeFile):
    """An open region file."""


ABI = Abi(
    "v1",
    "Khalid Aziz, first series, April 2022",
    directory=ClosedDirectory,
    root_mode=0o755,
    has_info=False,
    calls=True,
    single=True,
)

"""ramfs: tmpfs without limits (fs/ramfs/inode.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.fs.superblock import FileSystemType, SuperBlock
from emu.fs.tmpfs import TmpfsSuperBlock, parse_mode

if TYPE_CHECKING:
    from emu.fs.resources import Resources
    from emu.linux.caller import Credentials

_MAGIC, _MODE = 0x858458F6, 0o755


class RamfsSuperBlock(TmpfsSuperBlock):
    """One ramfs: without limits, and its directories have no size."""

    magic = _MAGIC
    dirent_size = 0
    may_be_made_huge = False
    promises = False

    def __init__(self, resources: Resources, fstype: FileSystemType, options: str) -> None:
        mode = _ramfs_mode(options)
        super().__init__(resources, fstype, f"mode={mode:o}", limited=False)
        self._shown = {} if mode == _MODE else {"mode": f"{mode:o}"}

    def made_by(self, who: Credentials, options: str) -> None:
        super().made_by(who, "")


class Ramfs(FileSystemType):
    """The file system type ``ramfs``, which minds no option but ``mode``."""

    name = "ramfs"
    for_users = True
    has_btime = multigrain = True

    def check_options(self, options: str) -> None:
        _ramfs_mode(options)

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return RamfsSuperBlock(resources, self, options)


def _ramfs_mode(options: str) -> int:
    given = [word.partition("=")[2] for word in options.split(",") if word.startswith("mode=")]
    return parse_mode(given[-1]) if given else _MODE

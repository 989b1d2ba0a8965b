"""Path lookup within bounds: the RESOLVE_* flags of openat2(2)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.namei import PathWalk
from emu.linux.caller import FsContext
from emu.linux.errors import LinuxError
from emu.linux.words import Flags

if TYPE_CHECKING:
    from emu.fs.mount import MountTable
    from emu.linux.caller import Caller


class Resolve(Flags, prefix="RESOLVE_"):
    """RESOLVE_*."""

    NO_XDEV = 1
    NO_MAGICLINKS = 2
    NO_SYMLINKS = 4
    BENEATH = 8
    IN_ROOT = 0x10
    CACHED = 0x20


class ScopedWalk(PathWalk):
    """Looks names up, and refuses what leads out of the bounds: from the directory ``start`` (BENEATH, IN_ROOT: then it
    is the root), over mounts, or over links.
    """

    def __init__(
        self, mounts: MountTable, fs: FsContext[Path], caller: Caller[Path], start: Path | None, resolve: int
    ) -> None:
        self._start = start if start is not None else fs.cwd
        if resolve & Resolve.IN_ROOT:
            fs = FsContext(self._start, self._start, fs.umask)
        super().__init__(mounts, fs, caller.credentials, caller)
        self._resolve = resolve

    def lookup(self, parent: Path, name: str) -> Path:
        if name == ".." and self._resolve & Resolve.BENEATH and parent == self._start:
            raise LinuxError(errno.EXDEV)
        found = super().lookup(parent, name)
        self._stay(parent, found)
        return found

    def follow_link(self, link: Path) -> str | Path:
        if self._resolve & Resolve.NO_SYMLINKS:
            raise LinuxError(errno.ELOOP)
        target = super().follow_link(link)
        if isinstance(target, Path):
            if self._resolve & Resolve.NO_MAGICLINKS:
                raise LinuxError(errno.ELOOP)
            if self._resolve & (Resolve.BENEATH | Resolve.IN_ROOT):
                raise LinuxError(errno.EXDEV)
            self._stay(link, target)
        return target

    def _begin(self, name: str, start: Path | None) -> tuple[Path, list[str], bool]:
        if name[:1] == "/" and self._resolve & Resolve.BENEATH:
            raise LinuxError(errno.EXDEV)
        begun = super()._begin(name, start)
        if name[0] == "/" and start is not None:  # an absolute link
            self._stay(start, begun[0])
        return begun

    def _stay(self, here: Path, there: Path) -> None:
        if self._resolve & Resolve.NO_XDEV and here.mount is not there.mount:
            raise LinuxError(errno.EXDEV)

"""Directories of the host as parts of a machine's tree: its root (``--root``) and others (``--bind``)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.hostfs import Hostfs, HostSuperBlock
from emu.fs.hosttree import HostTree
from emu.fs.overlay import Overlay
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags
from emu.mm.filepages import Reclaim

if TYPE_CHECKING:
    from emu.fs.bind import Bind
    from emu.fs.superblock import FileSystemType
    from emu.fs.vfs import Vfs


class HostFiles:
    """Mounts directories of the host; ``log`` is told what happens to them that should not."""

    def __init__(self, vfs: Vfs, log: Callable[[str], None]) -> None:
        self._vfs = vfs
        self._log = log
        self._reclaim = Reclaim()
        vfs.resources.frames.reclaimer = self._reclaim

    def mount_root(self, directory: str) -> None:
        """Mount a directory on ``/``, where changes stay in the machine.  ValueError: it cannot be."""
        self._vfs.mount(self._overlay(directory), "/", source="overlay")

    def bind(self, bind: Bind) -> None:
        """Mount a directory where it is wanted, so that it cannot be changed, or is changed on the host.  ValueError:
        it cannot be mounted.
        """
        if os.path.exists(bind.host) and not os.path.isdir(bind.host):
            raise ValueError(
                f"{bind.host}: only a directory can be bound; --file {bind.host}:{bind.guest} copies a file"
            )
        kind = self._writable(bind.host) if bind.writable else self._overlay(bind.host)
        flags = MountFlags.NOSUID | MountFlags.NODEV | (0 if bind.writable else MountFlags.RDONLY)
        try:
            self._vfs.mkdir(bind.guest)
            if self._vfs.is_root(bind.guest):
                raise ValueError(
                    f"{bind.host}: cannot be bound to {bind.guest}, which is the root: --root DIR says what is there; "
                    f"bind it to a directory below, such as /mnt"
                )
            self._vfs.mount(kind, bind.guest, source=kind.name, flags=flags)
        except LinuxError as error:
            raise ValueError(f"{bind.host}: cannot be bound to {bind.guest} in the machine: {error.words}") from None

    def _writable(self, directory: str) -> FileSystemType:
        from emu.fs.hostbind import HostBind  # few runs want it
        from emu.fs.hostwrite import WritableTree

        try:
            return HostBind(WritableTree(directory), self._log, self._reclaim)
        except OSError as error:
            raise ValueError(f"{directory or 'an empty name'}: {error.strerror}") from None

    def _overlay(self, directory: str) -> FileSystemType:
        try:
            lower = HostSuperBlock(self._vfs.resources, Hostfs(), HostTree(directory), self._log)
        except OSError as error:
            raise ValueError(f"{directory or 'an empty name'}: {error.strerror}") from None
        return Overlay(lower, self._reclaim)

"""Seals of memfd files, which forbid operations on a file for ever (mm/memfd.c, fcntl(2) F_ADD_SEALS)."""

from __future__ import annotations

import errno
from enum import IntFlag
from typing import TYPE_CHECKING, Protocol

from emu.linux.errors import LinuxError
from emu.linux.fileflags import PAGE_SIZE
from emu.linux.mman import Prot
from emu.mm.flags import VmFlags

if TYPE_CHECKING:
    from emu.mm.pagecache import PageCache
    from emu.mm.vma import Vma


class Seal(IntFlag):
    """F_SEAL_*."""

    NONE = 0
    SEAL = 1  # no more seals
    SHRINK = 2
    GROW = 4
    WRITE = 8
    FUTURE_WRITE = 0x10  # like WRITE, but existing mappings stay writable
    EXEC = 0x20  # the execute bits cannot change


_ALL = Seal.SEAL | Seal.SHRINK | Seal.GROW | Seal.WRITE | Seal.FUTURE_WRITE | Seal.EXEC
_NO_WRITES = Seal.WRITE | Seal.FUTURE_WRITE


class Sealed(Protocol):
    """An inode, as far as seals are concerned."""

    seals: Seal | None
    size: int
    mode: int


def get_seals(inode: Sealed) -> int:
    """F_GET_SEALS: EINVAL for a file that cannot have any."""
    if inode.seals is None:
        raise LinuxError(errno.EINVAL)
    return int(inode.seals)


def add_seals(inode: Sealed, seals: int, cache: PageCache | None, *, writable: bool) -> None:
    """F_ADD_SEALS: EPERM if the file is not open for writing or has F_SEAL_SEAL, EBUSY if a mapping still allows
    writing.
    """
    if not writable:
        raise LinuxError(errno.EPERM)
    if seals & ~int(_ALL) or inode.seals is None:
        raise LinuxError(errno.EINVAL)
    if inode.seals & Seal.SEAL:
        raise LinuxError(errno.EPERM)
    wanted = Seal(seals)
    if wanted & Seal.WRITE and not inode.seals & Seal.WRITE and cache is not None:
        if any(vma.shared and not vma.flags & VmFlags.NEVERWRITE for vma in cache.mappings):
            raise LinuxError(errno.EBUSY)
    if wanted & Seal.EXEC and inode.mode & 0o111:
        wanted |= Seal.SHRINK | Seal.GROW | _NO_WRITES
    inode.seals |= wanted


def writable_bytes(inode: Sealed, pos: int, count: int) -> int:
    """How many of the bytes may be written there, up to a page boundary; LinuxError(EPERM) if not even the first."""
    seals = inode.seals or Seal.NONE
    if seals & _NO_WRITES:
        raise LinuxError(errno.EPERM)
    if not seals & Seal.GROW or pos + count <= inode.size:
        return count
    fits = (inode.size & -PAGE_SIZE) - pos
    if fits <= 0:
        raise LinuxError(errno.EPERM)
    return fits


def check_size(inode: Sealed, size: int) -> None:
    """LinuxError(EPERM) if the file may not get this size."""
    seals = inode.seals or Seal.NONE
    if (seals & Seal.SHRINK and size < inode.size) or (seals & Seal.GROW and size > inode.size):
        raise LinuxError(errno.EPERM)


def check_punch(inode: Sealed) -> None:
    """LinuxError(EPERM) if no hole may be punched."""
    if (inode.seals or Seal.NONE) & _NO_WRITES:
        raise LinuxError(errno.EPERM)


def check_mapping(inode: Sealed, vma: Vma) -> None:
    """Make a shared mapping of a file sealed against writing read-only for ever; LinuxError(EPERM)."""
    if vma.shared and (inode.seals or Seal.NONE) & _NO_WRITES:
        if vma.prot & Prot.WRITE:
            raise LinuxError(errno.EPERM)
        vma.flags |= VmFlags.NEVERWRITE


def check_mode(inode: Sealed, mode: int) -> None:
    """LinuxError(EPERM) if a sealed file's execute bits would change."""
    if (inode.seals or Seal.NONE) & Seal.EXEC and (inode.mode ^ mode) & 0o111:
        raise LinuxError(errno.EPERM)

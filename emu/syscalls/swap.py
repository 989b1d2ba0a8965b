"""swapon and swapoff."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import d_path
from emu.fs.open import open_file
from emu.fs.shmemfile import TmpfsInode
from emu.linux.argument import U32, Pointer, Scalar
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May, OpenFlags
from emu.linux.layout import PATHNAME
from emu.linux.syscall import Syscall
from emu.linux.words import named_bits
from emu.mm.swapfile import SwapArea, read_header
from emu.mm.swapoff import try_to_unuse
from emu.mm.swapstore import FileStore
from emu.syscalls.paths import resolve
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_PRIORITY, _PREFER, _VALID = 0x7FFF, 0x8000, 0x7FFFF
_NAMES = {_PREFER: "SWAP_FLAG_PREFER", 0x10000: "SWAP_FLAG_DISCARD"}


def sys_swapon(kernel: Kernel, task: Task, address: int, flags: int) -> int:
    """swapon(2): of a file of a file system that stands for a disk (the root, with what is below it), whose contents
    stay in the machine's memory, or of the machine's own device.
    """
    if flags & ~_VALID:
        raise LinuxError(errno.EINVAL)
    if not task.credentials.capable(SYS_ADMIN):
        raise LinuxError(errno.EPERM)
    swap = kernel.mm_context.swap
    swap.areas.free_type()
    priority = flags & _PRIORITY if flags & _PREFER else None
    name = PATHNAME.read(task.mm, address)
    device = kernel.swap_device
    if device is not None and _is_device(kernel, task, name):
        if device in swap.areas.active:
            raise LinuxError(errno.EBUSY)
        swap.areas.add(device, priority)
        return 0
    file = _open(kernel, task, name, int(OpenFlags.EXCL))
    try:
        swap.areas.add(_area(kernel, file), priority)
    except LinuxError:
        file.put()
        raise
    file.inode.swapfile = True
    return 0


def _open(kernel: Kernel, task: Task, name: str, more: int = 0) -> File:
    walker, path = resolve(kernel, task, name)
    if path.dentry.inode.is_directory:
        raise LinuxError(errno.EISDIR)
    return open_file(walker, name, int(OpenFlags.RDWR) | more)


def _area(kernel: Kernel, file: File) -> SwapArea:
    """The area in a file.  LinuxError: EINVAL, EBUSY, ENOENT."""
    inode = file.inode
    if inode.nlink == 0:
        raise LinuxError(errno.ENOENT)
    if inode.swapfile:
        raise LinuxError(errno.EBUSY)
    if not isinstance(inode, TmpfsInode) or not inode.sb.keeps_swap:
        raise LinuxError(errno.EINVAL)
    cache = inode.page_cache
    header = read_header(cache.read(0, PAGE_SIZE).ljust(PAGE_SIZE, b"\0"), inode.size >> PAGE_SHIFT, regular=True)
    cache.stay()
    if (cache.find_many(0, header.pages) == 0).any():
        raise LinuxError(errno.EINVAL)  # it has holes
    store = FileStore(kernel.ram, cache, header.pages)
    path = file.path
    return SwapArea(store, header, lambda: d_path(path), inode=inode, file=file)


def _is_device(kernel: Kernel, task: Task, name: str) -> bool:
    """Whether a name is that of the machine's own device, which the caller may write.  LinuxError(EACCES)."""
    inode = resolve(kernel, task, name)[1].inode
    assert kernel.swap_device is not None
    if inode is not kernel.swap_device.inode:
        return False
    inode.permission(int(May.READ | May.WRITE), task.credentials)
    return True


def sys_swapoff(kernel: Kernel, task: Task, address: int) -> int:
    """swapoff(2): ENOMEM if what is in it has no room in memory."""
    if not task.credentials.capable(SYS_ADMIN):
        raise LinuxError(errno.EPERM)
    name = PATHNAME.read(task.mm, address)
    device, context = kernel.swap_device, kernel.mm_context
    areas = context.swap.areas
    if device is not None and _is_device(kernel, task, name):
        found = device if device in areas.active else None
    else:
        file = _open(kernel, task, name)
        found = next((area for area in areas.active if area.inode is file.inode), None)
        file.put()
    if found is None:
        raise LinuxError(errno.EINVAL)
    context.commit.charge(found.pages, task.mm)  # security_vm_enough_memory_mm()
    context.commit.uncharge(found.pages)
    found.closing = True
    areas.changed()
    try:
        try_to_unuse(context, found)
    except LinuxError:
        found.closing = False
        areas.changed()
        raise
    areas.remove(found)
    if found.file is not None:
        found.file.inode.swapfile = False
        found.file.inode.page_cache.stays = False
        found.file.put()
        found.file = None
    return 0


def _flag_words(flags: int) -> str:
    words = named_bits(flags & ~_PRIORITY, _NAMES, "0")
    return f"{words}|{flags & _PRIORITY}" if flags & _PREFER else words


TABLE = (
    Syscall(167, "swapon", sys_swapon, (Pointer(PATHNAME), Scalar("SWAP_FLAG_*", U32, _flag_words))),
    Syscall(168, "swapoff", sys_swapoff, (Pointer(PATHNAME),)),
)

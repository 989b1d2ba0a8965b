"""cachestat, memfd_secret, map_shadow_stack: calls about what is behind memory."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NoReturn

from emu.fs.hugetlbfs import HugetlbFile
from emu.fs.secretmem import secretmem_file_create
from emu.linux.argument import FD, HEX32, MAPPING, SIZE, Bits, Pointer
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May, OpenFlags
from emu.linux.layout import Layout
from emu.linux.syscall import AT_ADDRESS, DESCRIPTOR, Syscall
from emu.mm.pagecache import PageCache
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: struct cachestat_range; struct cachestat: pages there, dirty, being written, evicted, evicted lately.
_RANGE, _CACHESTAT = Layout("cachestat_range", "QQ"), Layout("cachestat", "5Q")
_CLOEXEC = int(OpenFlags.CLOEXEC)
_U64 = (1 << 64) - 1


def sys_cachestat(kernel: Kernel, task: Task, fd: int, address: int, out: int, flags: int) -> int:
    """cachestat(2).  Nothing is ever written back here, and memory is never dirty in this sense."""
    file = task.files.get(fd)
    offset, length = _RANGE.read(task.mm, address)
    if isinstance(file, HugetlbFile):
        raise LinuxError(errno.EOPNOTSUPP)
    _check_writer(task, file)
    if flags:
        raise LinuxError(errno.EINVAL)
    first = offset >> PAGE_SHIFT
    last = _U64 if not length else (offset + length - 1 & _U64) >> PAGE_SHIFT
    cache = getattr(file.inode, "page_cache", None)
    number = 0
    if isinstance(cache, PageCache):
        number = sum(first <= index <= last for index, _ in cache.pages())
    _CACHESTAT.write(task.mm, out, (number, 0, 0, 0, 0))
    return 0


def _check_writer(task: Task, file: File) -> None:
    """Whether the caller could write to the file, and so may know what is cached of it (can_do_cachestat)."""
    if file.writable or task.credentials.owns(file.inode.uid):
        return
    try:
        file.inode.permission(int(May.WRITE), task.credentials)
    except LinuxError:
        raise LinuxError(errno.EPERM) from None


def sys_memfd_secret(kernel: Kernel, task: Task, flags: int) -> int:
    """memfd_secret(2)."""
    if flags & ~_CLOEXEC:
        raise LinuxError(errno.EINVAL)
    task.files.check_room()
    file = secretmem_file_create(kernel.vfs)
    file.inode.belongs_to(task.credentials)
    return task.files.open(file, bool(flags & _CLOEXEC))


def sys_map_shadow_stack(kernel: Kernel, task: Task, address: int, size: int, flags: int) -> NoReturn:
    """map_shadow_stack(2): the CPU has no shadow stacks for user programs."""
    raise LinuxError(errno.EOPNOTSUPP)


TABLE = (
    Syscall(447, "memfd_secret", sys_memfd_secret, (Bits("FD_", CLOEXEC=_CLOEXEC),), DESCRIPTOR),
    Syscall(451, "cachestat", sys_cachestat, (FD, Pointer(_RANGE), Pointer(_CACHESTAT, written=True), HEX32)),
    Syscall(453, "map_shadow_stack", sys_map_shadow_stack, (MAPPING, SIZE, HEX32), AT_ADDRESS),
)

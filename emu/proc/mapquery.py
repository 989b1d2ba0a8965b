"""PROCMAP_QUERY: one mapping of a process as binary data (do_procmap_query of fs/proc/task_mmu.c, Linux 6.11)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.file import file_of
from emu.linux.buildid import build_id_parse
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PATH_MAX
from emu.linux.layout import Layout
from emu.linux.mman import Prot
from emu.proc.memory import file_numbers, vma_name

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.caller import Caller
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

PROCMAP_QUERY = 0xC0686611
#: struct procmap_query, of which a caller may know only the first three fields.
_QUERY = Layout("procmap_query", "9Q4I2Q")
_FIRST = 3 * 8
_READABLE, _WRITABLE, _EXECUTABLE, _SHARED, _COVERING_OR_NEXT, _FILE_BACKED = (1 << bit for bit in range(6))
_RIGHTS = {_READABLE: Prot.READ, _WRITABLE: Prot.WRITE, _EXECUTABLE: Prot.EXEC}


def procmap_query(kernel: Kernel, task: Task, caller: Caller[Path], argument: int) -> int:
    """The ioctl of /proc/PID/maps of ``task``.  LinuxError: E2BIG, EINVAL, EFAULT, ESRCH, ENOENT, ENAMETOOLONG."""
    memory = caller.mm
    size = int.from_bytes(memory.read(argument, 8), "little")
    given = list(_QUERY.read_sized(memory, argument, size, _FIRST))
    flags, address = given[1:3]
    name_size, id_size, name_at, id_at = given[11:]
    if flags & ~0x3F or bool(name_size) != bool(name_at) or bool(id_size) != bool(id_at):
        raise LinuxError(errno.EINVAL)
    if not task.alive:
        raise LinuxError(errno.ESRCH)
    vma = _matching(task.mm, address, flags)
    file = file_of(vma)
    build_id = b""
    if id_size:
        build_id = build_id_parse(file.pread) if file is not None and file.inode.is_regular else b""
        if len(build_id) > id_size:
            raise LinuxError(errno.ENAMETOOLONG)
    name = b""
    if name_size and (text := vma_name(kernel, task, vma)):
        name = text.encode("utf-8", "surrogateescape") + b"\0"
        if len(name) > min(name_size, PATH_MAX):
            raise LinuxError(errno.ENAMETOOLONG)
    for at, data in ((name_at, name), (id_at, build_id)):
        if data:
            memory.write(at, data)
    answer = _QUERY.pack(
        *given[:3], vma.start, vma.end, _flags(vma), vma.ops.page_size, *file_numbers(vma), len(name),
        len(build_id), name_at, id_at,
    )  # fmt: skip
    memory.write(argument, answer[: min(size, _QUERY.size)])
    return 0


def _flags(vma: Vma) -> int:
    flags = sum(flag for flag, right in _RIGHTS.items() if vma.prot & right)
    return flags | (_SHARED if vma.shared else 0)


def _matching(mm: AddressSpace, address: int, flags: int) -> Vma:
    """The VMA that is looked for (query_matching_vma).  LinuxError(ENOENT)."""
    wanted = flags & (_READABLE | _WRITABLE | _EXECUTABLE | _SHARED)
    while True:
        vma = mm.vmas.find(address) or mm.vmas.next_above(address)
        if vma is None:
            raise LinuxError(errno.ENOENT)
        backed = (vma.file is not None or vma.page_cache is not None) and not vma.ops.special
        fits = (not flags & _FILE_BACKED or backed) and _flags(vma) & wanted == wanted
        if fits and (flags & _COVERING_OR_NEXT or vma.start <= address):
            return vma
        if not flags & _COVERING_OR_NEXT:
            raise LinuxError(errno.ENOENT)
        address = vma.end
        mm.stop.check()

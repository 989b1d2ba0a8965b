"""io_uring_register: files, buffers, and others that a ring keeps (io_uring/register.c, io_uring/rsrc.c)."""

from __future__ import annotations

import copy
import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.eventfd import EventFd
from emu.kernel.uring import RingFile, Uring, urings_of
from emu.linux.argument import ADDRESS, FD, S32, UINT
from emu.linux.errors import LinuxError
from emu.linux.layout import PIECE
from emu.linux.syscall import NUMBER, Syscall
from emu.mm.kmem import URING_BUFFER
from emu.syscalls.uringbuffers import BufferRing, Provided
from emu.syscalls.uringfiles import descriptors, new_file, update_files
from emu.syscalls.uringtable import LAST, find_operation
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_MAX_FILES, _MAX_BUFFERS, _MAX_RINGS = 1 << 15, 1 << 14, 16
_GIB = 1 << 30
_PROBE, _PROBE_OP = struct.Struct("<BBHIII"), struct.Struct("<BBHI")
_SUPPORTED = 1
_FILES_UPDATE, _RSRC_UPDATE = struct.Struct("<IIQ"), struct.Struct("<IIQ")
_RSRC_REGISTER, _RSRC_UPDATE2, _SPARSE = struct.Struct("<IIQQQ"), struct.Struct("<IIQQII"), 1
_BUF_REG = struct.Struct("<QIHHQQQ")
_ANY_RING = 0xFFFFFFFF
#: By a registered ring's number, not by a descriptor (IORING_REGISTER_USE_REGISTERED_RING).
_BY_NUMBER = 1 << 31


# Files


def _register_files(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if ring.files:
        raise LinuxError(errno.EBUSY)
    if not count:
        raise LinuxError(errno.EINVAL)
    if count > _MAX_FILES or count > task.files.limit:
        raise LinuxError(errno.EMFILE)
    files: list[File | None] = []
    try:
        for fd in descriptors(task, address, count):
            files.append(new_file(task, fd))
        ring.file.keep_buffers(URING_BUFFER * count)
    except LinuxError:
        for file in files:
            if file is not None:
                file.put()
        raise
    ring.files, ring.file_hint = files, 0
    return 0


def _unregister_files(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if address or count:
        raise LinuxError(errno.EINVAL)
    if not ring.files:
        raise LinuxError(errno.ENXIO)
    files, ring.files = ring.files, []
    ring.file.keep_buffers(-URING_BUFFER * len(files))
    for file in files:
        if file is not None:
            file.put()
    return 0


def _update_files(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if not count:
        raise LinuxError(errno.EINVAL)
    offset, reserved, fds = _FILES_UPDATE.unpack(task.mm.read(address, _FILES_UPDATE.size))
    if reserved:
        raise LinuxError(errno.EINVAL)
    return update_files(task, ring, offset, fds, count)


# Buffers


def _register_buffers(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if ring.buffers:
        raise LinuxError(errno.EBUSY)
    if not 0 < count <= _MAX_BUFFERS:
        raise LinuxError(errno.EINVAL)
    buffers = [(int(base), int(length)) for base, length in PIECE.read_array(task.mm, address, count)]
    for base, length in buffers:
        _check_buffer(kernel, task, base, length)
    ring.file.keep_buffers(URING_BUFFER * count)
    ring.buffers = buffers
    return 0


def _check_buffer(kernel: Kernel, task: Task, base: int, length: int) -> None:
    """Bring its pages in.  LinuxError(EFAULT, EOVERFLOW)."""
    if bool(base) != bool(length):
        raise LinuxError(errno.EFAULT)
    if length > _GIB or base + length > task.mm.task_size:
        raise LinuxError(errno.EFAULT if length > _GIB else errno.EOVERFLOW)
    for page in range(base & -PAGE_SIZE, base + length, PAGE_SIZE):
        kernel.stop.check()
        task.mm.read(page, 1)


def _unregister_buffers(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if address or count:
        raise LinuxError(errno.EINVAL)
    if not ring.buffers:
        raise LinuxError(errno.ENXIO)
    ring.file.keep_buffers(-URING_BUFFER * len(ring.buffers))
    ring.buffers = []
    return 0


def _register_buffer_ring(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if count != 1:
        raise LinuxError(errno.EINVAL)
    at, entries, group, flags, *reserved = _BUF_REG.unpack(task.mm.read(address, _BUF_REG.size))
    if any(reserved) or flags or not at or at % PAGE_SIZE or entries & entries - 1 or not 0 < entries < 1 << 16:
        if flags & 3:
            kernel.log_once(
                "io_uring: a ring of buffers is in the program's own memory, and each is used whole: EINVAL"
            )
        raise LinuxError(errno.EINVAL)
    old = ring.provided.get(group)
    if isinstance(old, BufferRing) or (isinstance(old, Provided) and old.count):
        raise LinuxError(errno.EEXIST)
    task.mm.read(at, 16 * entries)
    ring.provided[group] = BufferRing(task.mm, at, entries)
    return 0


def _unregister_buffer_ring(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if count != 1:
        raise LinuxError(errno.EINVAL)
    _, _, group, *_ = _BUF_REG.unpack(task.mm.read(address, _BUF_REG.size))
    found = ring.provided.get(group)
    if found is None:
        raise LinuxError(errno.ENOENT)
    if not isinstance(found, BufferRing):
        raise LinuxError(errno.EINVAL)
    del ring.provided[group]
    return 0


# Either, with a structure of its own and room that is empty (io_register_rsrc, io_register_rsrc_update)


def _resources(kernel: Kernel, task: Task, address: int, size: int) -> tuple[int, int, bool]:
    """How many, where they are, and whether there is only to be room for them.  LinuxError(EINVAL)."""
    if size != _RSRC_REGISTER.size:
        raise LinuxError(errno.EINVAL)
    number, flags, reserved, data, tags = _RSRC_REGISTER.unpack(task.mm.read(address, size))
    if not number or reserved or flags & ~_SPARSE or (flags and data):
        raise LinuxError(errno.EINVAL)
    _no_tags(kernel, tags)
    return number, data, bool(flags)


def _no_tags(kernel: Kernel, tags: int) -> None:
    if tags:
        kernel.log_once("io_uring: what is registered has no tags: EINVAL")
        raise LinuxError(errno.EINVAL)


def _register_files2(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    number, data, sparse = _resources(kernel, task, address, count)
    if not sparse:
        return _register_files(kernel, task, ring, data, number)
    if ring.files:
        raise LinuxError(errno.EBUSY)
    if number > _MAX_FILES or number > task.files.limit:
        raise LinuxError(errno.EMFILE)
    ring.file.keep_buffers(URING_BUFFER * number)
    ring.files, ring.file_hint = [None] * number, 0
    return 0


def _register_buffers2(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    number, data, sparse = _resources(kernel, task, address, count)
    if not sparse:
        return _register_buffers(kernel, task, ring, data, number)
    if ring.buffers:
        raise LinuxError(errno.EBUSY)
    if number > _MAX_BUFFERS:
        raise LinuxError(errno.EINVAL)
    ring.file.keep_buffers(URING_BUFFER * number)
    ring.buffers = [(0, 0)] * number
    return 0


def _update(kernel: Kernel, task: Task, address: int, size: int) -> tuple[int, int, int]:
    """From which on, where they are, and how many.  LinuxError(EINVAL)."""
    if size != _RSRC_UPDATE2.size:
        raise LinuxError(errno.EINVAL)
    offset, reserved, data, tags, number, more = _RSRC_UPDATE2.unpack(task.mm.read(address, size))
    if reserved or more or not number:
        raise LinuxError(errno.EINVAL)
    _no_tags(kernel, tags)
    return offset, data, number


def _update_files2(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    offset, data, number = _update(kernel, task, address, count)
    return update_files(task, ring, offset, data, number)


def _update_buffers(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    offset, data, number = _update(kernel, task, address, count)
    if not ring.buffers:
        raise LinuxError(errno.ENXIO)
    if offset + number > len(ring.buffers):
        raise LinuxError(errno.EINVAL)
    done = 0
    for base, length in PIECE.read_array(task.mm, data, number):
        try:
            _check_buffer(kernel, task, base, length)
        except LinuxError:
            if done:
                break
            raise
        ring.buffers[offset + done] = (base, length)
        done += 1
    return done


# Others


def _register_eventfd(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if count != 1:
        raise LinuxError(errno.EINVAL)
    if ring.file.eventfd is not None:
        raise LinuxError(errno.EBUSY)
    (fd,) = descriptors(task, address, 1)
    file = task.files.get(fd)
    if not isinstance(file, EventFd):
        raise LinuxError(errno.EINVAL)
    file.get()
    ring.file.eventfd, ring.file.eventfd_async = file, False
    return 0


def _register_eventfd_async(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    _register_eventfd(kernel, task, ring, address, count)
    ring.file.eventfd_async = True
    return 0


def _unregister_eventfd(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if address or count:
        raise LinuxError(errno.EINVAL)
    eventfd, ring.file.eventfd = ring.file.eventfd, None
    if eventfd is None:
        raise LinuxError(errno.ENXIO)
    eventfd.put()
    return 0


def _probe(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    """Which operations there are."""
    if not address or count > 256:
        raise LinuxError(errno.EINVAL)
    count = min(count, LAST)
    if any(task.mm.read(address, _PROBE.size + count * _PROBE_OP.size)):
        raise LinuxError(errno.EINVAL)
    found = b"".join(
        _PROBE_OP.pack(number, 0, _SUPPORTED if find_operation(number) is not None else 0, 0) for number in range(count)
    )
    task.mm.write(address, _PROBE.pack(LAST - 1, count, 0, 0, 0, 0) + found)
    return 0


def _register_personality(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    """Keep the rights that the task has now; their number."""
    if address or count:
        raise LinuxError(errno.EINVAL)
    if len(ring.personalities) >= (1 << 16) - 1:
        raise LinuxError(errno.EBUSY)
    ring.file.keep_buffers(URING_BUFFER)
    number = ring.last_personality
    while True:
        number = number % ((1 << 16) - 1) + 1
        if number not in ring.personalities:
            break
    ring.last_personality = number
    ring.personalities[number] = copy.copy(task.credentials)
    return number


def _unregister_personality(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if address or ring.personalities.pop(count, None) is None:
        raise LinuxError(errno.EINVAL)
    ring.file.keep_buffers(-URING_BUFFER)
    return 0


def _enable(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if address or count:
        raise LinuxError(errno.EINVAL)
    if not ring.disabled:
        raise LinuxError(errno.EBADFD)
    ring.disabled = False
    ring.issuer = task
    return 0


def _max_workers(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    """There are no workers: their numbers are those that the program asks for, and before it did."""
    if not address or count != 2:
        raise LinuxError(errno.EINVAL)
    wanted = struct.unpack("<2I", task.mm.read(address, 8))
    if any(number > 0x7FFFFFFF for number in wanted):
        raise LinuxError(errno.EINVAL)
    task.mm.write(address, struct.pack("<2I", *ring.workers))
    ring.workers = (wanted[0] or ring.workers[0], wanted[1] or ring.workers[1])
    return 0


def _register_rings(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    """Give rings numbers for io_uring_enter(2): how many got one."""
    if not 0 < count <= _MAX_RINGS:
        raise LinuxError(errno.EINVAL)
    mine = urings_of(kernel).registered.setdefault(task, {})
    for done in range(count):
        at = address + done * _RSRC_UPDATE.size
        try:
            offset, reserved, fd = _RSRC_UPDATE.unpack(task.mm.read(at, _RSRC_UPDATE.size))
            free = [slot for slot in range(_MAX_RINGS) if slot not in mine]
            if reserved or (offset != _ANY_RING and offset >= _MAX_RINGS):
                raise LinuxError(errno.EINVAL)
            if not free or (offset != _ANY_RING and offset in mine):
                raise LinuxError(errno.EBUSY)
            slot = free[0] if offset == _ANY_RING else offset
            file = task.files.get(S32(fd))
            if not isinstance(file, RingFile):
                raise LinuxError(errno.EOPNOTSUPP)
            task.mm.write(at, struct.pack("<I", slot))
        except LinuxError:
            if done:
                return done
            raise
        file.get()
        mine[slot] = file
    return count


def _unregister_rings(kernel: Kernel, task: Task, ring: Uring, address: int, count: int) -> int:
    if not 0 < count <= _MAX_RINGS:
        raise LinuxError(errno.EINVAL)
    mine = urings_of(kernel).registered.get(task, {})
    for done in range(count):
        offset, reserved, data = _RSRC_UPDATE.unpack(
            task.mm.read(address + done * _RSRC_UPDATE.size, _RSRC_UPDATE.size)
        )
        if reserved or data or offset >= _MAX_RINGS:
            if done:
                return done
            raise LinuxError(errno.EINVAL)
        file = mine.pop(offset, None)
        if file is not None:
            file.put()
    return count


_COMMANDS: dict[int, Callable[[Kernel, Task, Uring, int, int], int]] = {
    0: _register_buffers, 1: _unregister_buffers, 2: _register_files, 3: _unregister_files, 4: _register_eventfd,
    5: _unregister_eventfd, 6: _update_files, 7: _register_eventfd_async, 8: _probe, 9: _register_personality,
    10: _unregister_personality, 12: _enable, 13: _register_files2, 14: _update_files2, 15: _register_buffers2,
    16: _update_buffers, 19: _max_workers, 20: _register_rings, 21: _unregister_rings,
    22: _register_buffer_ring, 23: _unregister_buffer_ring,
}  # fmt: skip
#: One more than the last that Linux 6.18 knows (IORING_REGISTER_LAST).
_LAST_COMMAND = 36


def sys_io_uring_register(kernel: Kernel, task: Task, fd: int, command: int, address: int, count: int) -> int:
    """io_uring_register(2); without restrictions, tags of resources and workers."""
    number = command & ~_BY_NUMBER
    if number >= _LAST_COMMAND:
        raise LinuxError(errno.EINVAL)
    if command & _BY_NUMBER:
        found = urings_of(kernel).registered.get(task, {}).get(fd)
        if found is None:
            raise LinuxError(errno.EBADF if 0 <= fd < _MAX_RINGS else errno.EINVAL)
    else:
        file = task.files.get(fd)
        if not isinstance(file, RingFile):
            raise LinuxError(errno.EOPNOTSUPP)
        found = file
    ring = found.ring
    if ring.single_issuer and ring.issuer not in (None, task):
        raise LinuxError(errno.EEXIST)
    do = _COMMANDS.get(number)
    if do is None:
        kernel.log_once(f"io_uring_register: command {number} is not supported: EINVAL")
        raise LinuxError(errno.EINVAL)
    return do(kernel, task, ring, address, count)


TABLE = (Syscall(427, "io_uring_register", sys_io_uring_register, (FD, UINT, ADDRESS, UINT), NUMBER),)

"""Restartable sequences: a thread always knows on which CPU it is, and a short piece of its code that is interrupted
starts again elsewhere (kernel/rseq.c).
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable

from emu.kernel.task import Rseq, Task
from emu.linux.errors import LinuxError
from mmu.memory import PAGE_SHIFT
from mmu.registers import Access

#: The first size of struct rseq, and what is there of it now (AT_RSEQ_FEATURE_SIZE, AT_RSEQ_ALIGN).
ORIGINAL_SIZE, FEATURE_SIZE, ALIGN = 32, 28, 32
#: cpu_id of a thread that has registered none, and the offsets of fields: cpu_id_start, rseq_cs, node_id.
_UNINITIALIZED, _CPU_ID_START, _RSEQ_CS, _NODE_ID = 0xFFFF_FFFF, 0, 8, 20
#: struct rseq_cs: version, flags, start_ip, post_commit_offset, abort_ip.
_CS = struct.Struct("<IIQQQ")
_IDS, _NO_SEQUENCE = struct.Struct("<II"), bytes(8)


def register(task: Task, rseq: Rseq) -> None:
    """rseq(2).  LinuxError(EINVAL, EPERM, EBUSY, EFAULT)."""
    old = task.rseq
    if old is not None:
        if (old.address, old.length) != (rseq.address, rseq.length):
            raise LinuxError(errno.EINVAL)
        raise LinuxError(errno.EPERM if old.signature != rseq.signature else errno.EBUSY)
    if rseq.length < ORIGINAL_SIZE or rseq.address % ALIGN:
        raise LinuxError(errno.EINVAL)
    mm = task.mm
    if rseq.address + rseq.length > mm.task_size:
        raise LinuxError(errno.EFAULT)
    if mm.read_u64(rseq.address + _RSEQ_CS):
        mm.write(rseq.address + _RSEQ_CS, bytes(8))
    task.rseq, task.rseq_event = rseq, True


def unregister(task: Task, rseq: Rseq) -> None:
    """RSEQ_FLAG_UNREGISTER.  LinuxError(EINVAL, EPERM, EFAULT)."""
    old = task.rseq
    if old is None or (old.address, old.length) != (rseq.address, rseq.length):
        raise LinuxError(errno.EINVAL)
    if old.signature != rseq.signature:
        raise LinuxError(errno.EPERM)
    _write_ids(task, 0, _UNINITIALIZED, 0, 0)
    task.rseq, task.rseq_event = None, False


def back_to_user(task: Task, running: Iterable[Task]) -> bool:
    """The thread goes on after another one has run on its vCPU, or it has come to another vCPU: a sequence that was cut
    off is aborted, and it learns where it is (rseq_handle_notify_resume); ``running`` are the tasks that have vCPUs.
    False if that is SIGSEGV.
    """
    rseq = task.rseq
    task.rseq_event = False
    if rseq is None:
        return True
    taken = {
        other.rseq.concurrency_id
        for other in running
        if other is not task and other.mm is task.mm and other.rseq is not None
    }
    rseq.concurrency_id = next(number for number in range(len(taken) + 1) if number not in taken) if taken else 0
    if _tell_at_once(task, rseq):
        return True
    try:
        abort(task)
        _write_ids(task, task.cpu, task.cpu, 0, rseq.concurrency_id)
    except LinuxError:
        return False
    return True


def _tell_at_once(task: Task, rseq: Rseq) -> bool:
    """Nearly always there is no sequence, and struct rseq, which is aligned and so in one page, can be written."""
    mm = task.mm
    at = mm.allowed(rseq.address, Access.WRITE)
    if at is None:
        return False
    view = mm.frames.ram.view
    if view[at + _RSEQ_CS : at + _RSEQ_CS + 8] != _NO_SEQUENCE:
        return False
    _IDS.pack_into(view, at + _CPU_ID_START, task.cpu, task.cpu)
    _IDS.pack_into(view, at + _NODE_ID, 0, rseq.concurrency_id)
    mm.frames.stored(at >> PAGE_SHIFT)
    return True


def abort(task: Task) -> None:
    """If RIP is within a sequence, go to where that is aborted (rseq_ip_fixup).

    LinuxError(EFAULT, EINVAL) if what describes the sequence is unusable.
    """
    assert task.rseq is not None
    mm, pointer = task.mm, task.rseq.address + _RSEQ_CS
    at = mm.read_u64(pointer)
    if not at:
        return
    version, flags, start, length, target = _CS.unpack(mm.read(at, _CS.size))
    end = mm.task_size
    if start >= end or start + length >= end or target >= end or version or 0 <= target - start < length:
        raise LinuxError(errno.EINVAL)
    if mm.read_u32(target - 4) != task.rseq.signature:
        raise LinuxError(errno.EINVAL)
    within = 0 <= task.rip - start < length
    if within and (flags or mm.read_u32(pointer + 8)):  # none of the flags has a meaning any more
        raise LinuxError(errno.EINVAL)
    mm.write(pointer, bytes(8))
    if within:
        task.rip, task.last_end = target, 0


def _write_ids(task: Task, start: int, cpu: int, node: int, concurrency_id: int) -> None:
    assert task.rseq is not None
    task.mm.write(task.rseq.address + _CPU_ID_START, _IDS.pack(start, cpu))
    task.mm.write(task.rseq.address + _NODE_ID, _IDS.pack(node, concurrency_id))

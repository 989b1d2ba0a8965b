"""Two tasks that wait for each other, as native code knows them (:mod:`emu.kernel.fastcalls`)."""

from __future__ import annotations

import ctypes

from emu.fs.pipe import Pipe
from emu.fs.pipefile import PipeFile
from emu.kernel.faststate import DESCRIPTORS, MOST_BYTES, NONBLOCKING, READ_END, WRITE_END, Party, PipeRecord, Run
from emu.kernel.task import Task, TaskState
from emu.linux.fileflags import PAGE_SIZE, OpenFlags

_PACKETS, _SET_ID = int(OpenFlags.DIRECT), 0o6000


class Side:
    """One of the two tasks."""

    def __init__(self, task: Task, code: tuple[int, int]) -> None:
        self.task = task
        self.descriptors = (ctypes.c_uint64 * DESCRIPTORS)()
        self.record = Party(
            context=task.context.address, descriptors=ctypes.addressof(self.descriptors), cr3=task.mm.tables.pgd_paddr,
            asid=task.tgid, code_id=code[0], table=code[1],
            rseq=0 if task.rseq is None else task.rseq.address,
        )  # fmt: skip

    def sleeps(self, pipe: int) -> None:
        """It waits for a pipe, or for a word, in the call that its task says."""
        task, record = self.task, self.record
        assert task.syscall is not None
        record.run = Run.SLEEPS if task.state == TaskState.SLEEPING else Run.WOKEN
        record.number, (record.rdi, record.rsi, record.rdx, record.r10, record.r8, record.r9) = task.syscall
        record.pipe, record.told, record.rip = pipe, 1, task.rip
        record.rflags, record.rsp = task.syscall_rflags, task.syscall_rsp

    def count(self) -> None:
        """Add what it has done to its usage."""
        record, usage = self.record, self.task.usage
        usage.instructions += record.instructions
        usage.system_ns += record.system_ns
        usage.voluntary_switches += record.sleeps
        usage.syscr += record.reads
        usage.syscw += record.writes
        usage.rchar += record.bytes_read
        usage.wchar += record.bytes_written


class Pair:
    """Two tasks, of which the first runs, and the pipes that they have."""

    def __init__(self, one: Side, other: Side) -> None:
        self.sides = {ctypes.addressof(side.record): side for side in (one, other)}
        self.pipes: dict[Pipe, tuple[PipeRecord, ctypes.Array[ctypes.c_char]]] = {}

    def add_descriptors(self, side: Side, sleeper: Task) -> None:
        """The pipes among the open files of a task, where nobody else waits for them."""
        for fd, file in side.task.files.items():
            if fd < DESCRIPTORS and isinstance(file, PipeFile):
                record = self._record(file, sleeper)
                if record:
                    ends = READ_END * file.readable | WRITE_END * file.writable
                    side.descriptors[fd] = record | ends | NONBLOCKING * file.nonblocking

    def _record(self, file: PipeFile, sleeper: Task) -> int:
        pipe = file.pipe
        if pipe in self.pipes:
            return ctypes.addressof(self.pipes[pipe][0])
        data, inode = pipe.in_one_piece, file.inode
        if data is None or len(data) > MOST_BYTES or pipe.told or file.fasync is not None:
            return 0
        if not pipe.not_empty.only(sleeper) or not pipe.not_full.only(None):
            return 0
        if file.flags & _PACKETS or inode.mode & _SET_ID or inode.sb.resources.file_watches:
            return 0
        buffer = ctypes.create_string_buffer(data, PAGE_SIZE)
        record = PipeRecord(readers=pipe.readers, writers=pipe.writers, length=len(data), data=ctypes.addressof(buffer))
        self.pipes[pipe] = record, buffer
        return ctypes.addressof(record)

    def pipe_at(self, address: int) -> Pipe:
        """The pipe of a record."""
        return next(pipe for pipe, (record, _) in self.pipes.items() if ctypes.addressof(record) == address)

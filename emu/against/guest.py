"""The run in the machine, observed."""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING

from emu.against.auxv import AT_IGNORE, AT_MINSIGSTKSZ, AT_RANDOM, AT_SYSINFO_EHDR, auxiliary_vector, of_host, word
from emu.against.observer import Observer, Watched
from emu.against.record import Flow
from emu.against.tape import Tape
from emu.fs.dentry import d_path
from emu.fs.devfs import RANDOM, URANDOM
from emu.kernel.signal_state import IGNORED_BY_DEFAULT, SIG_DFL, SIG_IGN, Sig
from emu.kernel.tracer import Tracer
from emu.linux.errors import LinuxError
from emu.proc.memory import maps
from emu.trace.arguments import TaskView
from emu.trace.peek import peek
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.file import File
    from emu.kernel.kernel import Kernel
    from emu.kernel.signal_state import SigInfo
    from emu.kernel.task import Task
    from emu.linux.syscall import Syscall

_FIGURES = frozenset({"proc", "sysfs", "debugfs"})


class GuestView(TaskView, Watched):
    """A task of the machine while it makes a call."""

    def __init__(self, task: Task, kernel: Kernel) -> None:
        super().__init__(task, kernel.cpu)
        self._who = task

    def peek(self, address: int, length: int) -> bytes:
        """What the process would read, or less.  A page that is not there yet is brought in: the call is about to need
        it, or was.
        """
        found = super().peek(address, length)
        if len(found) == length or not address:
            return found
        parts = []
        for start in range(address, address + length, PAGE_SIZE):
            piece = min(PAGE_SIZE - start % PAGE_SIZE, address + length - start)
            try:
                parts.append(self._who.mm.read(start, piece))
            except LinuxError:
                break
        return b"".join(parts)

    def string(self, address: int, limit: int) -> bytes | None:
        """The string there, cut at ``limit`` bytes; None if it cannot be read."""
        self.peek(address, 1)
        return super().string(address, limit)

    def _open(self, fd: int) -> File | None:
        try:
            return self._who.files.get_any(fd)
        except LinuxError:
            return None

    def flow(self, fd: int) -> Flow:
        """What is behind a descriptor."""
        file = self._open(fd)
        if file is None:
            return Flow.NONE
        inode = file.inode
        if inode.rdev in (RANDOM, URANDOM) and stat.S_ISCHR(inode.mode):
            return Flow.RANDOM
        if inode.sb.fstype.name in _FIGURES:
            return Flow.FIGURES
        return Flow.NONE if inode.is_regular or inode.is_directory or stat.S_ISCHR(inode.mode) else Flow.STREAM

    def file(self, fd: int) -> str:
        """The path of a file."""
        file = self._open(fd)
        return "" if file is None else d_path(file.path, self._who.fs.root)


class Guest(Tracer):
    """Observes a machine, and keeps what it gives of its own accord."""

    syscalls = True

    def __init__(self, kernel: Kernel, first: Task, started_ns: int) -> None:
        self._kernel = kernel
        self.observer = Observer(started_ns, owners=os.geteuid() == 0)
        self.tape = Tape()
        self._minsigstksz = of_host().get(AT_MINSIGSTKSZ, 2048)
        self.observer.first(first.pid)

    def syscall_enter(self, task: Task, number: int, call: Syscall | None, arguments: tuple[int, ...]) -> None:
        self.observer.enter(task.pid, number, call, arguments, task.rip, GuestView(task, self._kernel))

    def syscall_exit(self, task: Task, number: int, call: Syscall | None, result: int) -> None:
        given = self.observer.given(task.pid, result)
        if given is not None:
            data = peek(task.mm, given.address, given.length) if given.address else struct.pack("<q", result)
            self.tape.keep(self.observer.name_of(task.pid) or (), given.key, data)
        self.observer.exit(task.pid, result)

    def signal(self, task: Task, info: SigInfo) -> None:
        action = task.signals.actions[info.signo]
        ignored = action.handler == SIG_IGN or (action.handler == SIG_DFL and info.signo in IGNORED_BY_DEFAULT)
        if info.signo != Sig.KILL and not ignored:
            self.observer.signal(task.pid, info, task.rip)

    def fork(self, parent: Task, child: Task) -> None:
        shared, thread = parent.mm is child.mm, parent.group is child.group
        self.observer.forked(parent.pid, child.pid, shares_memory=shared, thread=thread)

    def exec(self, task: Task, path: str, argv: tuple[bytes, ...]) -> None:
        program = path if task.exe is None else d_path(task.exe, task.fs.root)
        self.observer.execed(task.pid, program, maps(self._kernel, task), task.mm.start_brk)
        view = GuestView(task, self._kernel)
        for pair in list(auxiliary_vector(view.peek, task.mm.start_stack)):
            if pair.key == AT_SYSINFO_EHDR:
                task.mm.write(pair.address, word(AT_IGNORE))  # times are asked by calls, which are seen
            elif pair.key == AT_MINSIGSTKSZ:  # which programs make their stacks for signals of
                task.mm.write(pair.address + 8, word(self._minsigstksz))
            elif pair.key == AT_RANDOM:
                self.tape.keep_at_random(self.observer.name_of(task.pid) or (), view.peek(pair.value, 16))

    def exit(self, task: Task, status: int) -> None:
        self.observer.ended(task.pid, status)

    def supersede(self, task: Task, leader: Task) -> None:
        self.observer.superseded(task.pid, leader.pid)

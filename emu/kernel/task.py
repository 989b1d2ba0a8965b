"""A task: a thread, which is what the scheduler runs."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from emu.kernel.signal_state import SignalState
from emu.linux.credentials import Credentials
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.fdtable import FdTable
    from emu.kernel.group import ThreadGroup
    from emu.linux.caller import Caller, FsContext
    from emu.mm.address_space import AddressSpace
    from mmu.unicorn_abi import Context


class TaskState(IntEnum):
    """The letters of /proc/PID/stat are in :data:`STATE_LETTER`."""

    RUNNABLE = 0
    SLEEPING = 1
    ZOMBIE = 2
    DEAD = 3


STATE_LETTER = {TaskState.RUNNABLE: "R", TaskState.SLEEPING: "S", TaskState.ZOMBIE: "Z", TaskState.DEAD: "X"}


@dataclass
class Usage:
    """What a task has used, under getrusage's names where there is one; ``hw_faults`` are #PF exceptions,
    ``link_faults`` shared tables linked."""

    min_flt: int = 0
    maj_flt: int = 0
    link_faults: int = 0
    hw_faults: int = 0
    instructions: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0

    def add(self, other: Usage) -> None:
        """Add another task's figures (for children that were waited for)."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


#: A system call that sleeps: what its handler returned.
Sleeping = Generator[Any, None, int]


@dataclass(eq=False)
class Task:
    """One thread; ``pid`` is its own number (gettid), ``group`` is its process."""

    pid: int
    group: ThreadGroup
    mm: AddressSpace
    files: FdTable
    fs: FsContext[Path]
    context: Context
    credentials: Credentials = field(default_factory=Credentials)
    comm: str = ""
    argv: tuple[bytes, ...] = ()
    exe: Path | None = None
    state: TaskState = TaskState.RUNNABLE
    rip: int = 0
    signals: SignalState = field(default_factory=SignalState)
    usage: Usage = field(default_factory=Usage)
    #: The vCPU on which it runs or ran last, and the mask of those on which it may.
    cpu: int = 0
    affinity: int = -1
    clear_child_tid: int = 0
    robust_list: int = 0
    #: The system call that sleeps, if one does, with its number and arguments.
    sleeping: Sleeping | None = None
    syscall: tuple[int, tuple[int, ...]] | None = None
    syscall_rflags: int = 0
    sleeping_on: tuple[WaitQueue, ...] = ()
    timer: int | None = None
    vfork_done: WaitQueue | None = None
    fault_result: int | None = None
    #: A system call has set every register itself (execve, rt_sigreturn).
    registers_replaced: bool = False
    #: error code, vector and CR2 of the last exception, for the signal frame.
    fault_words: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        self.signals.shared = self.group.pending
        self.group.add(self)

    @property
    def tgid(self) -> int:
        """The number of its process (getpid)."""
        return self.group.tgid

    @property
    def ppid(self) -> int:
        """The process that made its process."""
        return self.group.ppid

    @property
    def pgid(self) -> int:
        """The group of processes that its process is in."""
        return self.group.pgid

    @property
    def sid(self) -> int:
        """The session that its process is in."""
        return self.group.sid

    @property
    def children(self) -> dict[int, Task]:
        """The leaders of its process's children, by pid."""
        return self.group.children

    @property
    def limits(self) -> dict[int, tuple[int, int]]:
        """The resource limits of its process: (soft, hard) of those that were set."""
        return self.group.limits

    @property
    def exit_code(self) -> int:
        """The status word of its process, as wait4 gives it."""
        return self.group.exit_code

    @property
    def alive(self) -> bool:
        """Neither a zombie nor gone."""
        return self.state < TaskState.ZOMBIE

    @property
    def places(self) -> tuple[Path, ...]:
        """Where it stands in the tree, and the program that it runs; none if it has ended."""
        if not self.alive:
            return ()
        standing = (self.fs.cwd, self.fs.root)
        return standing if self.exe is None else (self.exe, *standing)

    @property
    def gone(self) -> bool:
        """Nobody knows it any more."""
        return self.state == TaskState.DEAD

    def __repr__(self) -> str:
        return f"<Task {self.pid} {self.comm} {self.state.name}>"


def task_of(caller: Caller[Path]) -> Task:
    """The task that asks a file system for something: every caller is one."""
    assert isinstance(caller, Task)
    return caller

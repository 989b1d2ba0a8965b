"""A task: what the scheduler runs."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from emu.kernel.credentials import Credentials
from emu.kernel.signal_state import SignalState
from emu.kernel.wait import WaitQueue

if TYPE_CHECKING:
    from emu.fs.fdtable import FdTable, FsContext
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
    """One process (threads share nothing yet: each task has its own address space unless vfork lends it)."""

    pid: int
    ppid: int
    mm: AddressSpace
    files: FdTable
    fs: FsContext
    context: Context
    credentials: Credentials = field(default_factory=Credentials)
    comm: str = ""
    argv: tuple[bytes, ...] = ()
    exe: Any = None  # the Path of the program
    state: TaskState = TaskState.RUNNABLE
    rip: int = 0
    pgid: int = 0
    sid: int = 0
    exit_code: int = 0  # the status word that wait4 gives
    signals: SignalState = field(default_factory=SignalState)
    usage: Usage = field(default_factory=Usage)
    children_usage: Usage = field(default_factory=Usage)
    limits: dict[int, tuple[int, int]] = field(default_factory=dict)
    #: The vCPU on which it runs or ran last, and the mask of those on which it may.
    cpu: int = 0
    affinity: int = -1
    children: dict[int, Task] = field(default_factory=dict)
    parent: Task | None = None
    #: Woken when a child changes state, or a signal arrives.
    child_exit: WaitQueue = field(default_factory=WaitQueue)
    exit_signal: int = 17
    clear_child_tid: int = 0
    robust_list: int = 0
    #: The system call that sleeps, if one does, with its number and arguments.
    sleeping: Sleeping | None = None
    syscall: tuple[int, tuple[int, ...]] | None = None
    syscall_rflags: int = 0
    sleeping_on: tuple[WaitQueue, ...] = ()
    timer: int | None = None
    alarm: tuple[int, int] | None = None
    vfork_done: WaitQueue | None = None
    fault_result: int | None = None
    #: A system call has set every register itself (execve, rt_sigreturn).
    registers_replaced: bool = False
    #: error code, vector and CR2 of the last exception, for the signal frame.
    fault_words: tuple[int, int, int] = (0, 0, 0)

    @property
    def tgid(self) -> int:
        """The process (every task is one of its own)."""
        return self.pid

    @property
    def alive(self) -> bool:
        """Neither a zombie nor gone."""
        return self.state < TaskState.ZOMBIE

    def __repr__(self) -> str:
        return f"<Task {self.pid} {self.comm} {self.state.name}>"

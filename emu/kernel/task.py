"""Tasks: the threads that the scheduler runs (task_struct)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from emu.kernel.signal_state import SignalState, SigPending
from emu.kernel.usage import Usage
from emu.linux.caller import Credentials
from emu.linux.wait import WaitQueue
from emu.mm.kmem import TASK_STRUCT, Kmem
from mmu.record import field, record

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.fdtable import FdTable
    from emu.ipc.key import Key
    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.nsproxy import NsProxy
    from emu.kernel.seccomp import Seccomp
    from emu.kernel.threadgroup import ThreadGroup
    from emu.kernel.traced import Traced
    from emu.linux.caller import Caller, FsContext
    from emu.linux.pidns import PidNamespace
    from emu.mm.address_space import AddressSpace
    from mmu.unicorn_abi import Context


#: The number of the process that began all others.
INIT_PID = 1


class TaskState(IntEnum):
    """The letters of /proc/PID/stat are those of :attr:`Task.state_letter`."""

    RUNNABLE = 0
    SLEEPING = 1
    STOPPED = 2
    TRACED = 3
    FROZEN = 4
    ZOMBIE = 5
    DEAD = 6


_STATE_LETTER = dict(zip(TaskState, "RSTtSZX", strict=True))


class Scheduling(NamedTuple):
    """How urgent a task says it is (sched_setattr(2), ioprio_set(2)).  It is kept and shown."""

    nice: int = 0
    policy: int = 0
    priority: int = 0
    reset_on_fork: bool = False
    #: Of SCHED_DEADLINE, in ns.
    runtime: int = 0
    deadline: int = 0
    period: int = 0
    io: int = 0

    def inherited(self) -> Scheduling:
        """What a child gets (sched_fork)."""
        if not self.reset_on_fork:
            return self
        return (
            Scheduling(io=self.io)
            if self.policy in (1, 2, 6)
            else Scheduling(max(0, self.nice), self.policy, io=self.io)
        )


@record(eq=False, repr=False)
class Rseq:
    """What a thread has registered for restartable sequences (rseq(2))."""

    address: int
    length: int
    signature: int
    #: Its number among the running threads of its address space (mm_cid).
    concurrency_id: int = 0


class Counted(Protocol):
    """What is counted of a task (emu.kernel.perf)."""

    def size_for_child(self, flags: int) -> int:
        """What the counters that a child inherits take on the host."""

    def forked(self, child: Task, flags: int) -> None:
        """A child inherits those that are inherited."""

    def execed(self) -> None:
        """The task runs another program."""


#: A system call that sleeps: what its handler returned.
Sleeping = Generator[Any, None, int]


@record(eq=False, repr=False)
class Task:
    """One thread; ``pid`` is its own number (gettid), ``group`` is its process."""

    pid: int
    group: ThreadGroup
    mm: AddressSpace
    files: FdTable
    fs: FsContext[Path]
    context: Context
    #: Its namespaces, and that of its number (None: the initial one).
    ns: NsProxy
    pid_ns: PidNamespace | None = None
    #: Its control group, and whether that is frozen; None: the root.
    cgroup: Cgroup | None = None
    frozen: bool = False
    credentials: Credentials = field(default_factory=Credentials)
    comm: str = ""
    argv: tuple[bytes, ...] = ()
    exe: Path | None = None
    #: When it was made, on the machine's clock.
    started_ns: int = 0
    state: TaskState = TaskState.RUNNABLE
    rip: int = 0
    #: Its own by default, with no signal blocked.
    signals: SignalState = None  # type: ignore[assignment]
    #: What it is charged with: itself, its arguments and its groups.
    charged: int = TASK_STRUCT
    #: Where that is charged.
    kmem: Kmem = None  # type: ignore[assignment]
    #: Whether a stack in the kernel is charged there too.
    stacked: bool = False
    #: Of a task whose turn ended within a string instruction with REP: where that ends.
    last_end: int = 0
    usage: Usage = field(default_factory=Usage)
    #: The vCPU on which it runs or ran last, and the mask of vCPUs on which it may run.
    cpu: int = 0
    affinity: int = -1
    scheduling: Scheduling = field(default_factory=Scheduling)
    personality: int = 0
    #: Mode and nodes of set_mempolicy(2).
    memory_policy: tuple[int, int] = (0, 0)
    #: Its own keyring, and where keys go that are made for it (KEYCTL_SET_REQKEY_KEYRING).
    thread_keyring: Key | None = None
    request_key_default: int = 0
    #: PR_SET_TIMERSLACK: kept, since timers are exact.
    timer_slack_ns: int = 50_000
    clear_child_tid: int = 0
    #: The signal that it gets when the thread that made its process ends (PR_SET_PDEATHSIG).
    pdeath_signal: int = 0
    #: Which system calls it may still make; None: all.
    seccomp: Seccomp | None = None
    #: It waits for its filter's listener, and only SIGKILL ends that.
    killable: bool = False
    #: What it says of itself, kept and shown (PR_MCE_KILL, PR_SET_IO_FLUSHER), and the slack with which it began.
    default_timer_slack_ns: int = 50_000
    mce_kill: int = 2
    io_flusher: bool = False
    robust_list: int = 0
    #: Its restartable sequences, and whether what they should know has changed.
    rseq: Rseq | None = None
    rseq_event: bool = False
    #: The sleeping system call, if any, with its number and arguments.
    sleeping: Sleeping | None = None
    syscall: tuple[int, tuple[int, ...]] | None = None
    syscall_rflags: int = 0
    syscall_rsp: int = 0
    sleeping_on: tuple[WaitQueue, ...] = ()
    #: It was stopped while it slept: calls that end with EINTR after any signal do so then.
    stopped_in_call: bool = False
    timer: int | None = None
    vfork_done: WaitQueue | None = None
    #: Woken when it ends and when it is waited for, once somebody watches the thread (pidfd).
    end_watchers: WaitQueue | None = None
    #: By whom it is traced, and how (ptrace).
    ptrace: Traced | None = None
    #: What is counted of it, once somebody has asked (perf_event_open).
    perf: Counted | None = None
    #: What it does first when it goes on after a stop: False if it then leaves the CPU again.
    then: Callable[[], bool] | None = None
    #: A call that restart_syscall(2) goes on with.
    restart_block: Callable[[], Sleeping] | None = None
    fault_result: int | None = None
    #: A system call has set every register itself (execve, rt_sigreturn).
    registers_replaced: bool = False
    #: error code, vector and CR2 of the last exception, for the signal frame.
    fault_words: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.kmem is None:
            self.kmem = self.mm.frames.kmem
        self.group.add(self)
        if self.signals is None:
            self.signals = SignalState(SigPending(self.kmem), self.group.pending)

    def new_thread(self, pid: int, context: Context, kmem: Kmem, now_ns: int) -> Task:
        """Another thread of its process, with everything of its own as it is at first, charged to ``kmem``; made
        without ``__init__``, as threads are made often.
        """
        thread, group, signals = object.__new__(Task), self.group, self.signals
        thread.pid, thread.group, thread.mm, thread.files, thread.fs = pid, group, self.mm, self.files, self.fs
        thread.context, thread.ns, thread.pid_ns = context, self.ns, self.pid_ns
        thread.credentials, thread.usage = self.credentials.__copy__(), object.__new__(Usage)
        thread.comm, thread.argv, thread.exe, thread.rip = self.comm, self.argv, self.exe, self.rip
        thread.charged, thread.kmem, thread.stacked, thread.started_ns = self.charged, kmem, True, now_ns
        thread.affinity, thread.scheduling = self.affinity, self.scheduling.inherited()
        thread.personality, thread.memory_policy, thread.seccomp = self.personality, self.memory_policy, self.seccomp
        thread.timer_slack_ns = thread.default_timer_slack_ns = self.timer_slack_ns
        thread.mce_kill, thread.signals = self.mce_kill, signals.of_thread(SigPending(kmem), group.pending)
        group.add(thread)
        return thread

    def charge(self, more: int) -> None:
        """It keeps more (or less: a negative number).  LinuxError(ENOMEM)."""
        self.kmem.charge(more)
        self.charged += more

    def free(self) -> None:
        """Nobody will look at it again."""
        if self.signals.pending:
            self.signals.pending.flush()
        self.free_stack()
        self.kmem.uncharge(self.charged)

    def free_stack(self) -> None:
        """It runs no more (release_task_stack)."""
        if self.stacked:
            self.stacked = False
            self.kmem.drop_stack()

    def sees(self, pid: int) -> int:
        """The number of what has the machine's ``pid`` in its PID namespace; 0: it is not there."""
        return pid if self.pid_ns is None else self.pid_ns.shown(pid)

    def means(self, pid: int) -> int:
        """The machine's number for one that it gives; of a group (a negative one) likewise."""
        return pid if self.pid_ns is None else self.pid_ns.find(pid)

    @property
    def vpid(self) -> int:
        """Its own number in its own PID namespace."""
        return self.pid if self.pid_ns is None else self.pid_ns.shown(self.pid)

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
    def spent(self) -> tuple[int, int, int, int]:
        """What it has run, in user and in kernel mode, in ns, and its minor and major faults."""
        usage = self.usage
        return usage.instructions, usage.system_ns, usage.min_flt, usage.maj_flt

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
    def state_letter(self) -> str:
        """The state in /proc/PID/stat."""
        return "D" if self.killable and self.state == TaskState.SLEEPING else _STATE_LETTER[self.state]

    @property
    def alive(self) -> bool:
        """Neither a zombie nor gone."""
        return self.state < TaskState.ZOMBIE

    @property
    def places(self) -> tuple[Path, ...]:
        """Its places in the file tree (root, working directory) and its program; none if it has ended."""
        if not self.alive:
            return ()
        standing = (self.fs.cwd, self.fs.root)
        return standing if self.exe is None else (self.exe, *standing)

    @property
    def gone(self) -> bool:
        """The task has been released."""
        return self.state == TaskState.DEAD

    def __repr__(self) -> str:
        return f"<Task {self.pid} {self.comm} {self.state.name}>"


def task_of(caller: Caller[Path]) -> Task:
    """The task behind a caller of a file system: every caller is a task."""
    assert isinstance(caller, Task)
    return caller

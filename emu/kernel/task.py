"""Tasks, the threads that the scheduler runs, and the processes that they belong to (task_struct, signal_struct)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from emu.kernel.signal_state import SignalState, SigPending
from emu.linux.caller import Credentials
from emu.linux.capability import IPC_LOCK
from emu.linux.limits import INFINITY, INIT_RLIMITS, Rlimit
from emu.linux.wait import WaitQueue
from emu.mm.kmem import TASK_STRUCT, Kmem
from mmu.record import field, record

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.fdtable import FdTable
    from emu.ipc.keys import Key
    from emu.kernel.cgroup.group import Cgroup
    from emu.kernel.nsproxy import NsProxy
    from emu.kernel.seccomp import Seccomp
    from emu.kernel.timers import ProcessTimers
    from emu.kernel.traced import Traced
    from emu.linux.caller import Caller, FsContext
    from emu.linux.pidns import PidNamespace
    from emu.mm.address_space import AddressSpace
    from emu.tty.tty import Tty
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


_UNLIMITED = (INFINITY, INFINITY)
_STATE_LETTER = dict(zip(TaskState, "RSTtSZX", strict=True))


@record(eq=False, repr=False)
class Usage:
    """A task's resource usage, named as in getrusage where it has a name; ``hw_faults`` counts #PF exceptions,
    ``link_faults`` faults that linked a shared table.
    """

    min_flt: int = 0
    maj_flt: int = 0
    link_faults: int = 0
    hw_faults: int = 0
    #: Faults on user memory in the middle of the kernel's work.
    kernel_faults: int = 0
    #: Minor faults that were no exceptions: pages that the kernel brought in beforehand.
    populated: int = 0
    instructions: int = 0
    #: The kernel's work, in ns; an instruction is a nanosecond of user time.
    system_ns: int = 0
    #: The cycles that its translations cost, where the TLB model counts them.
    translation_cycles: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0
    #: How often it has come to another vCPU.
    migrations: int = 0
    #: Bytes read and written by calls, and how many calls (/proc/PID/io).
    rchar: int = 0
    wchar: int = 0
    syscr: int = 0
    syscw: int = 0
    #: The most pages that were resident at once, of the processes that have ended or called execve.
    max_rss: int = 0

    @property
    def cpu_ns(self) -> int:
        """CPU time: user time and the kernel's."""
        return self.instructions + self.system_ns

    def add(self, other: Usage) -> None:
        """Add another task's figures (for children that were waited for)."""
        most, figures = max(self.max_rss, other.max_rss), self.__dict__
        for name, figure in other.__dict__.items():
            if figure:
                figures[name] = figures.get(name, 0) + figure
        self.max_rss = most


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


@record(eq=False, repr=False)
class ThreadGroup:
    """One process.

    ``tgid`` is its number, that of the leader; ``threads`` are the tasks that have not ended, by tid.  The leader may
    have ended before the others: then it stays a zombie until the last of them ends.
    """

    tgid: int
    ppid: int
    pgid: int
    sid: int
    parent: ThreadGroup | None = None
    #: The thread that made it: the parent for __WNOTHREAD and PR_SET_PDEATHSIG.
    maker: Task | None = None
    #: The machine's owner has started it, and is its parent.
    launched: bool = False
    #: It has called setsid(2), and execve(2) since it was forked.
    leads_session: bool = False
    has_execed: bool = False
    exit_signal: int = 17
    #: Keyrings of the process and of its session.
    process_keyring: Key | None = None
    session_keyring: Key | None = None
    #: /proc/PID/oom_score_adj, and the least that it was made by a privileged process.
    oom_score_adj: int = 0
    oom_score_adj_min: int = 0
    #: The audit's ids (/proc/PID/loginuid, sessionid); -1 before they are set.
    loginuid: int = 0xFFFFFFFF
    sessionid: int = 0xFFFFFFFF
    limits: dict[int, tuple[int, int]] = field(default_factory=dict)
    threads: dict[int, Task] = field(default_factory=dict)
    #: How many threads there have been.
    started: int = 0
    #: Signals that any thread may take.
    pending: SigPending = field(init=False)
    #: Leaders of the child processes, by pid.
    children: dict[int, Task] = field(default_factory=dict)
    #: Numbers of those that may have ended, stopped or gone on without its having waited for that.
    news: set[int] = field(default_factory=set)
    #: How many children it has had, and which of its parent's it is.
    had_children: int = 0
    place: int = 0
    #: Woken when a child changes state.
    child_exit: WaitQueue = field(default_factory=WaitQueue)
    children_usage: Usage = field(default_factory=Usage)
    #: Woken when it ends and when it is waited for, once somebody watches (pidfd).
    end_watchers: WaitQueue | None = None
    #: Usage of the threads that have ended.
    ended_usage: Usage = field(default_factory=Usage)
    #: The memory barriers for which it has registered (membarrier).
    barriers: int = 0
    #: Interval timers and POSIX timers, once there is one.
    timers: ProcessTimers | None = None
    #: Woken when a signal becomes pending, for those who read them from a descriptor.
    signalfd: WaitQueue = field(default_factory=WaitQueue)
    #: Every thread is to end with this status (exit_group, a fatal signal).
    exiting: int | None = None
    #: The status word that wait4 gives.
    exit_code: int = 0
    #: The signal that has stopped it (0: it runs), as long as nobody has waited for that, and that SIGCONT has
    #: continued it, likewise.
    stopped_by: int = 0
    stop_code: int = 0
    continued: bool = False
    #: Its controlling terminal, and the foreground group of the one that its session has lost.
    tty: Tty | None = None
    tty_old_pgrp: int = 0
    #: The tasks that its threads trace, in the order in which they stopped; also ended ones that it was not told of.
    tracees: dict[Task, None] = field(default_factory=dict)
    #: It has ended as the first of its PID namespace, and nobody has waited yet for others in it.
    outlived: bool = False
    #: It is the first of its PID namespace: only what it has a handler for can be done to it.
    unkillable: bool = False
    #: It adopts the orphans among its descendants (PR_SET_CHILD_SUBREAPER).
    subreaper: bool = False
    #: The first thread, or one that has called execve since; there from the first thread on.
    leader: Task = None  # type: ignore[assignment]

    @property
    def alive(self) -> bool:
        """Whether a thread is left."""
        return bool(self.threads)

    @property
    def waitable(self) -> bool:
        """Whether the process is a zombie, which its parent may wait for."""
        return not self.threads and self.leader.state is not TaskState.DEAD and not self.outlived

    def adopt(self, child: ThreadGroup) -> None:
        """It has one more child, of which there may be something to tell already."""
        self.had_children += 1
        child.place = self.had_children
        self.children[child.tgid] = child.leader
        if child.has_news:
            self.news.add(child.tgid)

    @property
    def has_news(self) -> bool:
        """Whether there is something that its parent may wait for."""
        return self.waitable or bool(self.stop_code) or self.continued

    def tell_parent(self) -> None:
        """Its parent may wait for something new."""
        if self.parent is not None:
            self.parent.news.add(self.tgid)

    def children_with_news(self) -> list[Task]:
        """The leaders of the children of which there may be something to tell, the oldest child first."""
        found = []
        for pid in list(self.news):
            child = self.children.get(pid)
            if child is not None and child.group.has_news:
                found.append(child)
            else:
                self.news.discard(pid)
        return found if len(found) < 2 else sorted(found, key=lambda child: child.group.place)

    def add(self, task: Task) -> None:
        """A thread has come into being; the first one leads."""
        self.threads[task.pid] = task
        self.started += 1
        if self.started == 1:
            self.leader = task
            self.pending = SigPending(task.kmem)

    def usage(self) -> Usage:
        """The usage of all threads, ended ones included."""
        if self.started == 1:
            return self.leader.usage
        total = Usage()
        total.add(self.ended_usage)
        for task in {self.leader, *self.threads.values()}:
            total.add(task.usage)
        return total

    def usage_with_children(self) -> Usage:
        """With that of the children for which it has waited: what its parent gets to know (RUSAGE_BOTH)."""
        total = Usage()
        total.add(self.usage())
        total.add(self.children_usage)
        return total


def task_of(caller: Caller[Path]) -> Task:
    """The task behind a caller of a file system: every caller is a task."""
    assert isinstance(caller, Task)
    return caller


def limits_of(task: Task, resource: Rlimit) -> tuple[int, int]:
    """(soft, hard)."""
    return task.group.limits.get(resource) or INIT_RLIMITS.get(resource) or _UNLIMITED


def hard_limit(task: Task | None, resource: Rlimit) -> int | None:
    """The hard limit of a task (None: of the kernel itself, which has the initial one); None if there is no limit."""
    hard = (INIT_RLIMITS.get(resource) or _UNLIMITED if task is None else limits_of(task, resource))[1]
    return None if hard == INFINITY else hard


def soft_limit(task: Task | None, resource: Rlimit) -> int | None:
    """The soft limit of a task (None: of the kernel itself, which has the initial one); None if there is no limit.

    A task that may lock any amount (CAP_IPC_LOCK) has no limit of locked memory.
    """
    if resource == Rlimit.MEMLOCK and (task is None or task.credentials.capable(IPC_LOCK)):
        return None
    own = None if task is None else task.group.limits.get(resource)
    soft = (own or INIT_RLIMITS.get(resource) or _UNLIMITED)[0]
    return None if soft == INFINITY else soft

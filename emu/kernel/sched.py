"""The scheduler: vCPUs that take turns, each with a run queue, and the loop that runs the machine.

Everything here is deterministic: vCPUs take turns in the order of their numbers, each for a fixed number of
instructions.  Kernel code is never preempted and never runs on two vCPUs, as if under one big lock.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

from emu.engine.records import TrapState
from emu.kernel.runqueue import RunQueues, Vcpu
from emu.kernel.task import Task, TaskState
from emu.kernel.taskstates import TaskStates
from emu.linux.cost import Cost
from emu.linux.host_events import HostEvents
from emu.linux.stop import Stop
from emu.linux.wait import WaitQueue

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
    from emu.linux.clock import Clock
    from emu.mm.tlbflush import TlbFlusher

#: Nanoseconds that a task may run before the next task of its vCPU: its instructions, and the kernel's work for it.
TIME_SLICE = 1_000_000
#: The same for a vCPU's turn if there are several.
TURN = 20_000
#: Which of these it is.
_ITERATIONS: int = TrapState.iterations.offset // 8  # type: ignore[attr-defined]
_SWITCH, _ZOMBIE = Cost.SWITCH, int(TaskState.ZOMBIE)
#: The affinity system calls use a single word as CPU mask.
MAX_CPUS = 64
#: How many tasks may wait in the middle of the kernel's work at once, and the frames of Python that each takes.
_DEEPEST, _FRAMES = 500, 60

#: What enters a task, whether to stop, and the time limit.
RunWith = tuple[Callable[[Task], None], Callable[[], bool] | None, float | None]


class StopReason(Enum):
    """Why :meth:`Scheduler.run` returned."""

    EXITED = "every process has ended"
    IDLE = "every process waits, and nothing is left that could wake one"
    TIMEOUT = "the time limit was reached"
    CONDITION = "the caller's condition holds"


class Scheduler(TaskStates):
    """Chooses the next task: on each vCPU first come, first served, one time slice each."""

    def __init__(
        self,
        cpu: Cpu,
        clock: Clock,
        flusher: TlbFlusher,
        tasks: Mapping[int, Task],
        cpus: int = 1,
        turn: int | tuple[int, int] | None = None,
        random: Random | None = None,
    ) -> None:
        """``tasks``: every task, by number; ``turn``: ns of a vCPU's turn (of one vCPU: the time slice), or the least
        and the most, between which each is chosen by ``random``.
        """
        super().__init__(cpu, clock, RunQueues(cpus, self._new_slice))
        self._state = cpu.mmu.state
        #: The words of the TrapState.
        self._trap = memoryview(cpu.trap).cast("B").cast("Q")
        self._flusher = flusher
        self._tasks = tasks
        cpu.guard.signals_wait_in(Scheduler.run, wait=False)
        #: Ends the run from outside.
        self.stop = Stop(cpu.end_slice)
        clock.limit_turn = cpu.limit_slice
        #: Every task sleeps for so many ns: called before they pass.
        self.on_idle: Callable[[int], None] | None = None
        #: Tasks that wait for the host.
        self.host = HostEvents()
        most = turn[1] if isinstance(turn, tuple) else turn
        self.time_slice = TIME_SLICE if most is None or cpus > 1 else most
        self.turn = None if cpus == 1 else most or TURN
        #: Turns are that long at least and no longer than ``turn``, by chance.
        self._shortest, self._random = (turn[0], random) if isinstance(turn, tuple) else (0, None)
        #: What is to be done once the turn of a task is over that has waited so.
        self._after_turn: dict[Task, list[Callable[[], object]]] = {}
        #: Why the run ends, where that was found while such a task waited.
        self._ending: StopReason | None = None
        #: What the run was called with.
        self._run_with: RunWith | None = None
        #: Whether the current task has used up its turn.
        self.slice_over = False
        self._since = self._system_since = 0
        #: Whether somebody sees each turn, so that none may be taken natively; and is told of the task that is the
        #: current one now, before anything is done for it.
        self.turns_are_seen = False
        self.on_current: Callable[[Task], None] | None = None
        #: Is told of the task whose turn begins.
        self.on_turn: Callable[[Task], None] | None = None
        #: Are told of the task each time when what it has done is accounted for.
        self.on_account: list[Callable[[Task], None]] = []
        #: Whether somebody wants to be asked once a turn whether the run ends.
        self._asked_each_turn = False

    def post(self, work: Callable[[], object]) -> None:
        """Do something between two turns, soon.  For handlers of signals, and for what is called while a task runs."""
        self.host.posted.append(work)
        self.stop.end_turn()

    def post_here(self, work: Callable[[], object]) -> None:
        """Do something between two turns, before the current task sees anything of user mode again.  For what a system
        call brings about.
        """
        self.host.posted.append(work)
        self.yielded = self.current is not None

    @property
    def switches(self) -> int:
        """Context switches of all vCPUs."""
        return sum(vcpu.switches for vcpu in self.vcpus)

    @property
    def running(self) -> list[Task]:
        """The tasks that have a vCPU."""
        return [vcpu.task for vcpu in self.vcpus if vcpu.task is not None]

    def running_instructions(self) -> int:
        """Instructions that the current task has retired since its usage was last added up."""
        return self._cpu.clock - self._since

    def running_system_ns(self) -> int:
        """Nanoseconds that the kernel has worked for it since then."""
        return self._clock.system_ns - self._system_since

    # -- waiting in the middle of the kernel's work ------------------------------------------------------------------

    def wait_in_kernel(self, task: Task, queue: WaitQueue) -> bool:
        """The current task waits in the middle of the kernel's work for it, while others run; then the work goes on.
        False if the run is to end first.
        """
        assert self._run_with is not None and task is self.current
        vcpu, clock, cpu = self.vcpus[task.cpu], self._clock, self._cpu
        flags = cpu.trap.rflags
        self.account(task)
        task.context.save()
        clock.end_turn()
        vcpu.slice_left -= cpu.spent + clock.system_ns - self._turn_start
        vcpu.task = self.current = None
        self._in_kernel.add(task)
        self.sleep(task, queue)
        room = sys.getrecursionlimit()
        try:
            sys.setrecursionlimit(room + _FRAMES)
            while self._ending is None and TaskState.SLEEPING <= task.state <= TaskState.FROZEN:
                cpu.guard.raise_interruption()
                self._ending = self._run_turn(*self._run_with)
        finally:
            sys.setrecursionlimit(room)
            self._in_kernel.discard(task)
            self._come_back(task, flags)
            if self._ending is not None:
                cpu.end_slice()
        return self._ending is None

    @property
    def deep(self) -> bool:
        """Whether no further task may wait so: the work of each is done within that of the one before."""
        return len(self._in_kernel) >= _DEEPEST

    def after_turn(self, task: Task, work: Callable[[], object]) -> None:
        """Do something when the turn of a task ends that is about to wait in the middle of the kernel's work."""
        self._after_turn.setdefault(task, []).append(work)

    def _come_back(self, task: Task, flags: int) -> None:
        """Load a task again that has waited in the kernel, if it has not ended meanwhile."""
        vcpu, cpu, clock = self.vcpus[task.cpu], self._cpu, self._clock
        self.current = task
        self._since, self._system_since, self._turn_start = cpu.clock, clock.system_ns, cpu.spent + clock.system_ns
        if self.on_current is not None:
            self.on_current(task)
        if not task.alive:
            return
        self._forget_sleep(task)
        task.state = TaskState.RUNNABLE
        if vcpu.task is not None:
            vcpu.queue.appendleft(vcpu.task)
        vcpu.task = vcpu.last = task
        vcpu.slice_left = self.time_slice
        task.context.restore()
        self._loaded = task
        cpu.trap.rflags = flags
        self._flusher.switch_cpu(vcpu.number, task.mm, task.tgid, task.pid)
        left = self._left(vcpu, task)
        cpu.begin_slice(left)
        clock.begin_turn(left, cpu.clock)

    def account(self, task: Task) -> None:
        """Add the instructions that the current task has retired, and the kernel's work for it, to its usage."""
        instructions, system_ns = self._state.clock, self._clock.system_ns
        retired, system = instructions - self._since, system_ns - self._system_since
        vcpu, usage = self.vcpus[task.cpu], task.usage
        usage.instructions += retired
        usage.system_ns += system
        vcpu.instructions += retired
        vcpu.system_ns += system
        self._since, self._system_since = instructions, system_ns
        for told in self.on_account:
            told(task)

    # -- turns that are taken natively (emu.kernel.fastpath) ---------------------------------------------------------

    @property
    def turns_are_alike(self) -> bool:
        """Whether there is one vCPU, its time slices are all as long as ever, and nothing must be done between two
        turns; what comes from the host may wait for some."""
        if self.turn is not None or self._random is not None or self.time_slice < TIME_SLICE or self._asked_each_turn:
            return False
        if self.turns_are_seen:
            return False
        return not (self.host.posted or self.stop.requested or self.on_account)

    @property
    def turn_began(self) -> tuple[int, int, int]:
        """When the turn began: in instructions, in the kernel's time, and in what slices are counted in."""
        return self._since, self._system_since, self._turn_start

    def turns_taken(
        self, task: Task, began: tuple[int, int, int], switches: int, instructions: int, system_ns: int
    ) -> None:
        """So many turns have ended, in which so much was done, and that of a task has begun."""
        vcpu = self.vcpus[0]
        vcpu.instructions += instructions
        vcpu.system_ns += system_ns
        vcpu.switches += switches
        vcpu.task = vcpu.last = self._loaded = self.current = task
        vcpu.slice_left = self.time_slice
        self._since, self._system_since, self._turn_start = began

    def slice_is_over(self) -> None:
        """The current task has used up its turn."""
        self.slice_over = True
        self._cpu.slice_is_over()

    # -- running ---------------------------------------------------------------------------------------------------

    def run(
        self,
        enter: Callable[[Task], None],
        until: Callable[[], bool] | None = None,
        timeout_s: float | None = None,
        interrupted: Callable[[], bool] | None = None,
    ) -> StopReason:
        """Run until every process has ended or waits for ever, ``until()`` holds (asked once a turn), or time is up.

        ``enter`` runs a task, whose registers are in the CPU, until it must leave the CPU; ``timeout_s`` is in seconds
        of host time, checked once in some turns and by calls that work on much; and so is ``interrupted()``, by which
        the host ends the run.
        """
        self._asked_each_turn = until is not None
        until = until or interrupted
        limit = None if timeout_s is None else time.monotonic() + timeout_s
        self.stop.begin(limit)
        self._run_with, self._ending = (enter, until, limit), None
        with self._cpu.guard as guard:
            while True:
                if guard.interruption is not None:
                    guard.raise_interruption()
                reason = self._run_turn(enter, until, limit)
                if reason is not None:
                    return reason

    def _run_turn(
        self, enter: Callable[[Task], None], until: Callable[[], bool] | None, limit: float | None
    ) -> StopReason | None:
        """One turn of the next vCPU; None if another turn may follow."""
        if self._ending is not None:
            return self._ending
        self._clock.run_timers()
        while self.host.posted:
            self.host.posted.popleft()()
        if self.host.listeners:
            self.host.listen()
        if self.host.awaited:
            self.host.look()
        if until is not None and until():
            return StopReason.CONDITION
        if limit is not None and time.monotonic() >= limit:
            return StopReason.TIMEOUT
        if self.stop.requested:
            return StopReason.CONDITION
        vcpu = self.queues.next_vcpu()
        if vcpu is not None:
            self._take_turn(vcpu, enter)
        elif not any(task.alive for task in self._tasks.values()):
            return StopReason.EXITED
        elif self.host.awaited or (self.host.keyboard and (self._clock.real or self.host.watched)):
            self._wait_for_host()
        else:
            if self.on_idle is not None and (left := self._clock.until_next_timer()):
                self.on_idle(left)
            if not self._clock.sleep(self.stop):
                if not self.host.keyboard:
                    return StopReason.IDLE
                self._wait_for_host()
        return None

    def _wait_for_host(self) -> None:
        """Every task sleeps, and one at least until the host has input or room: now guest time is the host's."""
        left = self._clock.until_next_timer()
        if not self.host.wait(None if left is None else left / 1e9, self.stop) and not self.stop.requested:
            self._clock.sleep(self.stop)

    def _take_turn(self, vcpu: Vcpu, enter: Callable[[Task], None]) -> None:
        """A vCPU's turn: load its task, run it, save it."""
        task, cpu, trap = vcpu.task, self._cpu, self._trap
        assert task is not None
        entered = task
        if self._loaded is not task:
            task.context.restore()
            self._loaded = task
        clock = self._clock
        self._since, self._system_since = instructions, system_ns = self._state.clock, clock.system_ns
        self._turn_start = instructions + trap[_ITERATIONS] + system_ns
        if vcpu.last is not task:
            vcpu.last = task
            vcpu.switches += 1
            clock.system_ns += _SWITCH  # nobody looks between two turns
        self.current = task
        if self.on_current is not None:
            self.on_current(task)
        self.yielded = False
        self._flusher.switch_cpu(vcpu.number, task.mm, task.group.tgid, task.pid)
        if self.on_turn is not None:
            self.on_turn(task)
        left = self._left(vcpu, task)
        cpu.begin_slice(left)
        clock.begin_turn(left, instructions)
        if self.stop.requested or self.host.posted:  # meanwhile
            cpu.end_slice()
        try:
            enter(task)
        except BaseException:
            task = self.current or task
            self.account(task)
            if task.alive:
                task.context.save()
            raise
        finally:
            clock.end_turn()
            if self._after_turn:
                for work in self._after_turn.pop(entered, ()):
                    work()
        task = self.current  # another one where turns were taken natively
        assert task is not None
        self.account(task)
        self.current = None
        if task.group.timers is not None:
            task.group.timers.run_cpu_timers()
        if task.state < _ZOMBIE:
            task.context.save()
        # what account() has seen, with the iterations of repeated instructions
        vcpu.slice_left -= self._since + trap[_ITERATIONS] + clock.system_ns - self._turn_start
        self._end_turn(vcpu, task)

    def _new_slice(self) -> int:
        return self.time_slice if self.turn is not None else self._chosen(self.time_slice)

    def _chosen(self, most: int) -> int:
        return most if self._random is None else self._random.randint(self._shortest, most)

    def _left(self, vcpu: Vcpu, task: Task) -> int:
        """How long a turn lasts: until the time slice is over, or the turn, or the next timer is due."""
        left = vcpu.slice_left if self.turn is None else min(self._chosen(self.turn), vcpu.slice_left)
        timers = task.group.timers
        if timers is not None and timers.cpu:
            left = min(left, timers.cpu_left(task) or left)
        due = self._clock.until_next_timer()
        return left if due is None else max(1, min(left, self._clock.instructions(due)))

    def _end_turn(self, vcpu: Vcpu, task: Task) -> None:
        """Queue or keep a task after its turn: it keeps its vCPU until its time slice is over."""
        slice_over, self.slice_over = self.slice_over, False
        if vcpu.task is not task:
            return  # it has ended
        if slice_over and vcpu.slice_left > 0 and task.state == TaskState.RUNNABLE:
            return
        vcpu.task = None
        if task.state == TaskState.RUNNABLE:
            if slice_over and vcpu.queue:
                task.usage.involuntary_switches += 1
            self.queues.enqueue(task)

"""The states of tasks: who sleeps, who is stopped, and who waits for a vCPU (kernel/sched/core.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.kernel.runqueue import RunQueues
from emu.kernel.task import Task, TaskState
from emu.linux.wait import what_to_wait_for

if TYPE_CHECKING:
    from emu.cpu.cpu import Cpu
    from emu.linux.clock import Clock

#: How soon a signal that ends or stops a task does so, in nanoseconds (10 to 60 us on Linux, by another CPU).
SIGNAL_LATENCY = 20_000


class TaskStates:
    """Changes the states of tasks, and keeps the run queues true to them."""

    def __init__(self, cpu: Cpu, clock: Clock, queues: RunQueues) -> None:
        self._cpu, self._clock = cpu, clock
        self.queues = queues
        self.vcpus = queues.vcpus
        #: The task whose turn it is.
        self.current: Task | None = None
        #: Whether it is to leave its vCPU.
        self.yielded = False
        #: Tasks that wait in the middle of the kernel's work for them: it goes on where it is, and nowhere else.
        self._in_kernel: set[Task] = set()
        #: Whose registers are in the CPU.
        self._loaded: Task | None = None
        #: When the turn began, in what slices are counted in.
        self._turn_start = 0

    def add(self, task: Task) -> None:
        """A new task is runnable."""
        self.queues.add(task)

    def wake(self, task: Task) -> None:
        """Make a sleeping task runnable; does nothing to a task that does not sleep."""
        if task.state != TaskState.SLEEPING:
            return
        self._forget_sleep(task)
        task.state = TaskState.RUNNABLE
        if task not in self._in_kernel:
            self.queues.enqueue(task)

    def wake_unseen(self, task: Task) -> None:
        """A task that sleeps, or is queued, runs already."""
        if task.state == TaskState.SLEEPING:
            self._forget_sleep(task)
            task.state = TaskState.RUNNABLE
        else:
            self.queues.take_off(task)

    def sleep(self, task: Task, wanted: object) -> None:
        """Put the current task to sleep on what its system call yielded: one or more queues, a deadline, or both."""
        queues, deadline = what_to_wait_for(wanted)
        task.state = TaskState.SLEEPING
        task.usage.voluntary_switches += 1
        task.sleeping_on = queues
        for queue in queues:
            queue.add(task, self.wake)
        if deadline is not None:
            task.timer = self._clock.add_timer(deadline, lambda: self._timed_out(task))

    def _forget_sleep(self, task: Task) -> None:
        for queue in task.sleeping_on:
            queue.remove(task)
        task.sleeping_on = ()
        if task.timer is not None:
            self._clock.cancel(task.timer)
            task.timer = None

    def _timed_out(self, task: Task) -> None:
        task.timer = None
        self.wake(task)

    def suspend(self, task: Task, state: TaskState = TaskState.STOPPED) -> None:
        """The task runs no more until :meth:`resume`; a call in which it sleeps then looks at its condition again."""
        if task.state == TaskState.SLEEPING:
            self._forget_sleep(task)
        else:
            self.queues.take_off(task)
        task.state = state

    def resume(self, task: Task) -> None:
        """Let a stopped task go on, unless its control group is frozen."""
        if task.state in (TaskState.STOPPED, TaskState.TRACED, TaskState.FROZEN):
            task.state = TaskState.FROZEN if task.frozen else TaskState.RUNNABLE
            if not task.frozen and task not in self._in_kernel:
                self.queues.enqueue(task)

    def hurry(self, task: Task) -> None:
        """A task has got a signal that ends or stops it: it is its vCPU's next, and soon, as by an interrupt."""
        vcpu = self.vcpus[task.cpu]
        if task not in vcpu.queue:
            return
        vcpu.queue.remove(task)
        vcpu.queue.appendleft(task)
        if self.current is not None and vcpu.task is self.current:
            self._clock.shorten_turn(SIGNAL_LATENCY)
            spent = self._cpu.spent + self._clock.system_ns - self._turn_start
            vcpu.slice_left = min(vcpu.slice_left, spent + SIGNAL_LATENCY)

    def set_affinity(self, task: Task, mask: int) -> None:
        """Let a task run on these vCPUs only; it moves at once if its own is none of them."""
        task.affinity = mask
        if not mask >> task.cpu & 1 and task.state == TaskState.RUNNABLE:
            if task is self.current:
                self.yielded = True  # it is queued again when it has left the CPU
            else:
                self.queues.take_off(task)
                self.queues.enqueue(task)

    def remove(self, task: Task) -> None:
        """The task has ended."""
        self._forget_sleep(task)
        self.queues.take_off(task)
        for vcpu in self.vcpus:
            if vcpu.last is task:
                vcpu.last = None
        if self._loaded is task:
            self._loaded = None

    def current_ends(self, task: Task) -> None:
        """The same of the current task."""
        for vcpu in self.vcpus:
            if vcpu.last is task:
                vcpu.last = None
            if vcpu.task is task:
                vcpu.task = None
        self._loaded = None

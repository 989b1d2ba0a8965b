"""vCPUs, each with a run queue: where a task waits until it runs (struct rq)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.kernel.task import Task


class Vcpu:
    """A virtual CPU: the task that runs on it, and the tasks that wait for it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.queue: deque[Task] = deque()
        #: The task that keeps the vCPU until its time slice is over, and how many instructions of the slice are left.
        self.task: Task | None = None
        self.slice_left = 0
        #: The task that ran last: to run another is a context switch.
        self.last: Task | None = None
        self.instructions = 0
        self.system_ns = 0
        self.switches = 0

    @property
    def load(self) -> int:
        """How many runnable tasks it has."""
        return len(self.queue) + (self.task is not None)


class RunQueues:
    """All of them.  ``new_slice`` gives the time slice of a task that gets a vCPU.

    A new task goes to the vCPU with the fewest tasks (the lowest number of those), a woken task to where it ran last,
    and a vCPU without tasks takes the first that waits for the busiest one.
    """

    def __init__(self, cpus: int, new_slice: Callable[[], int]) -> None:
        self.vcpus = [Vcpu(number) for number in range(cpus)]
        self.all_cpus = (1 << cpus) - 1
        self._new_slice = new_slice
        self._next_turn = 0

    def add(self, task: Task) -> None:
        """A new task is runnable."""
        alone = len(self.vcpus) == 1 and task.affinity & 1
        self._put(task, self.vcpus[0] if alone else self._least_loaded(task))

    @property
    def only_queued(self) -> Task | None:
        """The task that waits for the one vCPU, if it is alone."""
        queue = self.vcpus[0].queue
        return queue[0] if len(queue) == 1 else None

    @property
    def nobody_queued(self) -> bool:
        """Whether nobody waits for the one vCPU."""
        return not self.vcpus[0].queue

    def allowed(self, task: Task) -> int:
        """The mask of the vCPUs on which a task may run."""
        return task.affinity & self.all_cpus

    def _least_loaded(self, task: Task) -> Vcpu:
        allowed = self.allowed(task)
        return min((v for v in self.vcpus if allowed >> v.number & 1), key=lambda v: (v.load, v.number))

    def enqueue(self, task: Task) -> None:
        """A task waits for its vCPU again, or for another one if it may not run there."""
        cpu = task.cpu
        if task.affinity & self.all_cpus & 1 << cpu:
            self.vcpus[cpu].queue.append(task)
        else:
            task.usage.migrations += 1
            self._put(task, self._least_loaded(task))

    def _put(self, task: Task, vcpu: Vcpu) -> None:
        task.cpu = vcpu.number
        vcpu.queue.append(task)

    def take_off(self, task: Task) -> None:
        """A task runs no more and waits no more."""
        vcpu = self.vcpus[task.cpu]
        if vcpu.task is task:
            vcpu.task = None
        if task in vcpu.queue:
            vcpu.queue.remove(task)

    def next_vcpu(self) -> Vcpu | None:
        """The vCPU whose turn it is: the next in order that has, or can get, something to run."""
        number = len(self.vcpus)
        if number == 1:
            vcpu = self.vcpus[0]
            if vcpu.task is None:
                if not vcpu.queue:
                    return None
                self._switch_to(vcpu)
            return vcpu
        for offset in range(number):
            vcpu = self.vcpus[(self._next_turn + offset) % number]
            if vcpu.task is None:
                if not vcpu.queue and not self._pull(vcpu):
                    continue
                self._switch_to(vcpu)
            self._next_turn = (vcpu.number + 1) % number
            return vcpu
        return None

    def _switch_to(self, vcpu: Vcpu) -> None:
        vcpu.task = task = vcpu.queue.popleft()
        vcpu.slice_left = self._new_slice()
        if task.rseq is not None:
            task.rseq_event = True

    def _pull(self, idle: Vcpu) -> bool:
        """Move a waiting task to an idle vCPU from one that has another task to run."""
        for vcpu in sorted((v for v in self.vcpus if v.load > 1), key=lambda v: (-v.load, v.number)):
            task = next((t for t in vcpu.queue if self.allowed(t) >> idle.number & 1), None)
            if task is not None:
                vcpu.queue.remove(task)
                task.usage.migrations += 1
                self._put(task, idle)
                return True
        return False

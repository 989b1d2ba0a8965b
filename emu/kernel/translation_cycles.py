"""Which task the cycles belong to that the TLB model counts for translations (:mod:`mmu.walk_cost`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from mmu.plugin import Mmu


class TranslationCycles:
    """Adds the cycles of each vCPU to the usage of the task that it ran."""

    def __init__(self, mmu: Mmu) -> None:
        self._costs = [model.costs for model in mmu.tlbs]
        #: By vCPU: what had been counted when a task was told last.
        self._known = [0] * len(self._costs)

    def _now(self, cpu: int) -> int:
        costs = self._costs[cpu]
        return 0 if costs is None else costs.total

    def account(self, task: Task) -> None:
        """The task has run on its vCPU since then."""
        now = self._now(task.cpu)
        task.usage.translation_cycles += now - self._known[task.cpu]
        self._known[task.cpu] = now

    def running(self, cpu: int) -> int:
        """The cycles of the task that runs there, since it was told last."""
        return self._now(cpu) - self._known[cpu]

"""The report on processes, living and ended (``--json``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task, ThreadGroup

#: Limits on what is kept, whatever guests do: ended processes, and bytes of the arguments of each.
MAX_FINISHED, MAX_ARGUMENTS = 1 << 16, 4096


class Processes:
    """The figures of every process of a kernel, as they were when it ended."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._finished: list[dict[str, Any]] = []
        kernel.exit_hooks.append(self._remember)

    def _remember(self, last: Task) -> None:
        """Keep the figures of a process that ends; of very many, only the latest."""
        if len(self._finished) >= MAX_FINISHED:
            self._kernel.log_once(f"more than {MAX_FINISHED} processes have ended: the report forgets the first ones")
            del self._finished[0]
        self._finished.append(describe_process(last.group))

    def describe(self) -> list[dict[str, Any]]:
        """Ended and living processes, by pid."""
        groups = {task.group for task in self._kernel.tasks.values() if task.alive}
        living = [describe_process(group) for group in groups]
        return sorted([*self._finished, *living], key=lambda process: int(process["pid"]))


def _shown_arguments(argv: tuple[bytes, ...]) -> list[str]:
    """Arguments for the report, cut off after some thousand bytes."""
    shown, left = [], MAX_ARGUMENTS
    for argument in argv:
        shown.append(argument[:left].decode("utf-8", "replace"))
        left -= len(argument) + 1
        if left <= 0:
            break
    return shown


def describe_process(group: ThreadGroup) -> dict[str, Any]:
    """A process as the ``--json`` report shows it; ``threads``: how many it has had."""
    status, task, usage = group.exit_code, group.leader, group.usage()
    code = (128 + (status & 0x7F) if status & 0x7F else status >> 8) if not group.alive else None
    return {
        "pid": group.tgid,
        "ppid": task.ppid,
        "argv": _shown_arguments(task.argv),
        "exit_status": code,
        "threads": group.started,
        "minor_faults": usage.min_flt,
        "major_faults": usage.maj_flt,
        "link_faults": usage.link_faults,
        "hardware_faults": usage.hw_faults,
        "instructions": usage.instructions,
        "rss_bytes": (task.mm.rss_anon + task.mm.rss_cache) << 12,
        "pagetable_bytes": task.mm.tables.table_bytes,
    }

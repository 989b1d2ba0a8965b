"""The report on processes, living and ended (``--json``)."""

from __future__ import annotations

import struct
from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.kernel.threadgroup import ThreadGroup

#: Limits on what is kept, whatever guests do: ended processes, bytes of the arguments of each, and of all.
MAX_FINISHED, MAX_ARGUMENTS, MAX_ALL_ARGUMENTS = 1 << 16, 4096, 8 << 20
#: What an argument takes besides its bytes.
_TEXT_SIZE = 64


class _Ended(NamedTuple):
    """The figures of an ended process, packed."""

    numbers: bytes
    argv: list[str]
    #: What ``argv`` takes; 0 if it is the previous one's.
    size: int


#: The report's columns, in its order.
_COLUMNS = (
    "pid", "ppid", "argv", "exit_status", "threads", "minor_faults", "major_faults", "link_faults", "hardware_faults",
    "instructions", "translation_cycles", "rss_bytes", "pagetable_bytes",
)  # fmt: skip
_NAMES = tuple(name for name in _COLUMNS if name != "argv")
_numbers_of = itemgetter(*_NAMES)
_NUMBERS = struct.Struct(f"<{len(_NAMES)}q")


class Processes:
    """The figures of every process of a kernel, as they were when it ended."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._finished: deque[_Ended] = deque()
        self._last_argv: tuple[bytes, ...] = ()
        self._size = 0
        kernel.exit_hooks.append(self._remember)

    def _remember(self, last: Task) -> None:
        """Keep the figures of a process that ends; of very many, only the latest."""
        row = describe_process(last.group)
        argv, size = row["argv"], 0
        if self._finished and self._last_argv is last.group.leader.argv:
            argv = self._finished[-1].argv
        else:
            size = sum(map(len, argv)) + _TEXT_SIZE * len(argv)
        self._last_argv = last.group.leader.argv
        if len(self._finished) >= MAX_FINISHED:
            self._kernel.log_once(f"more than {MAX_FINISHED} processes have ended: the report forgets the first ones")
            self._forget_first()
        self._finished.append(_Ended(_NUMBERS.pack(*_numbers_of(row)), argv, size))
        self._size += size
        while self._size > MAX_ALL_ARGUMENTS:
            self._kernel.log_once("ended processes had too many arguments: the report forgets the first ones")
            self._forget_first()

    def _forget_first(self) -> None:
        self._size -= self._finished.popleft().size

    def describe(self) -> list[dict[str, Any]]:
        """Ended and living processes, by pid."""
        groups = {task.group for task in self._kernel.tasks.values() if task.alive}
        living = [describe_process(group) for group in groups]
        return sorted([*map(_unpack, self._finished), *living], key=lambda process: int(process["pid"]))


def _unpack(ended: _Ended) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(_NAMES, _NUMBERS.unpack(ended.numbers), strict=True))
    return {name: ended.argv if name == "argv" else row[name] for name in _COLUMNS}


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
        "translation_cycles": usage.translation_cycles,
        "rss_bytes": (task.mm.rss_anon + task.mm.rss_cache) << 12,
        "pagetable_bytes": task.mm.tables.table_bytes,
    }

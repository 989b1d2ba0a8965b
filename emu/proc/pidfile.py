"""The declaration of a file of /proc/PID."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.pidns import PidNamespace

#: Makes the text of /proc/<pid>/NAME; with numbers of processes, as a PID namespace (None: the initial one) has them.
PidText = Callable[["Kernel", "Task"], bytes]
NumberText = Callable[["Kernel", "Task", "PidNamespace | None"], bytes]


class PidFile(NamedTuple):
    """A file of /proc/<pid>: its text, its permissions, and who takes what is written to it."""

    text: PidText
    mode: int = 0o444
    store: Callable[[Kernel, Task, bytes], None] | None = None
    #: Only of processes, not in /proc/<pid>/task/<tid>; or only there.
    of_process: bool = True
    of_thread: bool = True
    #: In place of ``text``, where that has numbers of processes.
    with_numbers: NumberText | None = None


def no_text(kernel: Kernel, task: Task) -> bytes:
    """The text of a file that is made with numbers."""
    raise NotImplementedError("the text of a file of /proc/PID needs a namespace")


def sees(space: PidNamespace | None, pid: int) -> int:
    """The number of something in a namespace."""
    return pid if space is None else space.shown(pid)

"""The declaration of a file of /proc/PID."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: Makes the text of /proc/<pid>/NAME.
PidText = Callable[["Kernel", "Task"], bytes]


class PidFile(NamedTuple):
    """A file of /proc/<pid>: its text, its permissions, and who takes what is written to it."""

    text: PidText
    mode: int = 0o444
    store: Callable[[Kernel, Task, bytes], None] | None = None
    #: Only of processes, not in /proc/<pid>/task/<tid>; or only there.
    of_process: bool = True
    of_thread: bool = True

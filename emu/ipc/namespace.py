"""All System V objects of a machine (struct ipc_namespace)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.ipc.msg import MessageQueues
from emu.ipc.sem import SemaphoreSets
from emu.ipc.shm import Segments

if TYPE_CHECKING:
    from emu.fs.vfs import Vfs
    from emu.linux.clock import Clock


class IpcNamespace:
    """Segments, semaphore sets and message queues."""

    def __init__(self, vfs: Vfs, clock: Clock, current_tgid: Callable[[], int | None]) -> None:
        self.shm = Segments(vfs, clock, current_tgid)
        self.sem = SemaphoreSets(clock, vfs.resources.kmem)
        self.msg = MessageQueues(clock, vfs.resources.kmem)

    @property
    def charged(self) -> int:
        """What all objects take on the host."""
        return sum(each.charged for ids in (self.shm, self.sem, self.msg) for each in ids)

    def exit(self, tgid: int) -> None:
        """A process has ended."""
        self.sem.exit(tgid)

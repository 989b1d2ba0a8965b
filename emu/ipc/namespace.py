"""All System V objects of a machine, or of a part of it (struct ipc_namespace)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from emu.ipc.msg import MessageQueues
from emu.ipc.sem import SemaphoreSets
from emu.ipc.shm import Segments

if TYPE_CHECKING:
    from emu.fs.vfs import Vfs
    from emu.linux.clock import Clock
    from emu.linux.namespace import UserNamespace


class _Process(Protocol):
    @property
    def tgid(self) -> int: ...


class IpcNamespace:
    """Segments, semaphore sets and message queues; ``user``: in which capabilities count for them."""

    def __init__(
        self, vfs: Vfs, clock: Clock, current_tgid: Callable[[], int | None], user: UserNamespace | None = None
    ) -> None:
        self.shm = Segments(vfs, clock, current_tgid)
        self.sem = SemaphoreSets(clock, vfs.resources.kmem)
        self.msg = MessageQueues(clock, vfs.resources.kmem)
        for ids in (self.shm, self.sem, self.msg):
            ids.user = user

    @property
    def charged(self) -> int:
        """What all objects take on the host."""
        return sum(each.charged for ids in (self.shm, self.sem, self.msg) for each in ids)

    def exit(self, tgid: int) -> None:
        """A process has ended."""
        self.sem.exit(tgid)

    def process_ended(self, last: _Process) -> None:
        """The same, for a list of what is to be told."""
        self.sem.exit(last.tgid)

    def release(self) -> None:
        """Nobody can find the objects any more (free_ipc_ns): segments go with their last attachment."""
        for segment in list(self.shm):
            self.shm.rmid(segment)
        for found in list(self.sem):
            self.sem.rmid(found)
        for queue in list(self.msg):
            self.msg.rmid(queue)

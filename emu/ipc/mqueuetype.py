"""The file system type ``mqueue``; its tree is made for the first who asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.superblock import FileSystemType, SuperBlock
from emu.ipc.limits import MqueueLimits

if TYPE_CHECKING:
    from emu.fs.resources import Resources


class MqueueType(FileSystemType):
    """Every mount shows the same queues, which are there without a mount too."""

    name = "mqueue"

    def __init__(self, current_tgid: Callable[[], int | None]) -> None:
        self.limits = MqueueLimits()
        self._current_tgid = current_tgid
        self.tree: SuperBlock | None = None

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        from emu.ipc.mqueue import MqueueSuperBlock

        if self.tree is None:
            self.tree = MqueueSuperBlock(resources, self, self.limits, self._current_tgid)
            self.tree.active = 1  # the kernel's own mount
        return self.tree

"""The file system type ``mqueue``; the tree of a namespace is made for the first who asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.mount import VfsMount
from emu.fs.superblock import FileSystemType, SuperBlock
from emu.ipc.limits import MqueueLimits
from emu.mm.kmem import MOUNT

if TYPE_CHECKING:
    from emu.fs.resources import Resources
    from emu.linux.namespace import Namespace


class MqueueType(FileSystemType):
    """Every mount in an IPC namespace shows the same queues, which are there without a mount too."""

    name = "mqueue"
    for_users = True

    def __init__(self, current_tgid: Callable[[], int | None], current_space: Callable[[], Namespace]) -> None:
        """``current_tgid``, ``current_space``: process and IPC namespace of who makes a call."""
        self._current_tgid = current_tgid
        self._current_space = current_space
        self._limits: dict[Namespace, MqueueLimits] = {}
        #: The kernel's own mounts, one for each namespace.
        self.mounts: dict[Namespace, VfsMount] = {}

    @property
    def limits(self) -> MqueueLimits:
        """Those of who makes a call."""
        return self._limits.setdefault(self._current_space(), MqueueLimits())

    def own_mount(self, resources: Resources) -> VfsMount:
        """The kernel's mount in the namespace of who makes a call."""
        space = self._current_space()
        mount = self.mounts.get(space)
        if mount is None:
            from emu.ipc.mqueue import MqueueSuperBlock

            tree = MqueueSuperBlock(resources, self, self.limits, self._current_tgid)
            tree.hold(MOUNT)
            tree.active = 1
            mount = self.mounts[space] = VfsMount(tree, self.name, 0, None)
            mount.internal = True
        return mount

    def mount(self, resources: Resources, options: str) -> SuperBlock:
        return self.own_mount(resources).sb

    def forget(self, space: Namespace) -> None:
        """A namespace has ended: its queues go, unless they are mounted or open."""
        self._limits.pop(space, None)
        mount = self.mounts.pop(space, None)
        if mount is not None:
            mount.detached = True
            if not mount.pins:
                mount.release()

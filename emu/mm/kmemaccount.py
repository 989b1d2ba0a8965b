"""Objects of the kernel that a control group pays for (obj_cgroup_charge and mod_objcg_state of mm/memcontrol.c).

What a process, an address space, an open file or a pipe takes is charged to the group of whoever has it made, until it
is gone, wherever he goes.  A group counts bytes, and is charged with the pages that they fill.
"""

from __future__ import annotations

from typing import Any, Protocol

from emu.linux.errors import LinuxError
from emu.mm.kmem import Kmem

#: THREAD_SIZE: the kernel's stack of a task.  It takes nothing on the host.
THREAD_SIZE = 16384
#: Its line of memory.stat.
STACKS = "kernel_stack"


class Books(Protocol):
    """The memory controller (:class:`emu.mm.memcontrol.MemControl`)."""

    def charge_kernel(self, group: Any, kind: str, size: int, *, at_once: bool = False) -> None:
        """Charge so many bytes more.  LinuxError(ENOMEM) unless it is to be done at once."""

    def uncharge_kernel(self, group: Any, kind: str, size: int) -> None:
        """They are gone."""

    def reserve_kernel(self, group: Any, size: int) -> None:
        """Make sure that there is room for so many bytes.  LinuxError(ENOMEM)."""

    def has_kernel_room(self, group: Any, size: int) -> bool:
        """Whether there is, as things are."""


class Account(Kmem):
    """The charges against the machine and a group of its objects that have a line of memory.stat."""

    def __init__(self, machine: Kmem, control: Books, group: Any, kind: str) -> None:
        self._machine, self._control, self.group, self.kind = machine, control, group, kind

    @property
    def charged(self) -> int:  # type: ignore[override]
        """The bytes that are charged now."""
        size: int = self.group.kernel[self.kind]
        return size

    def charge(self, size: int) -> None:
        self._control.charge_kernel(self.group, self.kind, size)
        try:
            self._machine.charge(size)
        except LinuxError:
            self._control.uncharge_kernel(self.group, self.kind, size)
            raise

    def uncharge(self, size: int) -> None:
        self._machine.uncharge(size)
        self._control.uncharge_kernel(self.group, self.kind, size)

    def reserve(self, size: int) -> None:
        self._control.reserve_kernel(self.group, size)
        self._machine.reserve(size)

    def has_room(self, size: int) -> bool:
        return self._control.has_kernel_room(self.group, size) and self._machine.has_room(size)

    def charge_reserved(self, size: int) -> None:
        self._control.charge_kernel(self.group, self.kind, size, at_once=True)
        self._machine.charge_reserved(size)

    def account(self, kind: str) -> Kmem:
        return self._machine.account(kind)

    def add_stack(self) -> None:
        self._control.charge_kernel(self.group, STACKS, THREAD_SIZE)

    def drop_stack(self) -> None:
        self._control.uncharge_kernel(self.group, STACKS, THREAD_SIZE)

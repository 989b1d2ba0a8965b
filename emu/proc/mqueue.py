"""/proc/sys/fs/mqueue: the limits of POSIX message queues (ipc/mq_sysctl.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.ipc.limits import HARD_MSGMAX, HARD_MSGSIZEMAX, MIN_MSGMAX, MIN_MSGSIZEMAX
from emu.ipc.mqueuetype import MqueueType

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

_MESSAGES, _BYTES = (MIN_MSGMAX, HARD_MSGMAX), (MIN_MSGSIZEMAX, HARD_MSGSIZEMAX)
_ANY = (-(1 << 31), (1 << 31) - 1)
#: The least and the most of each.
RANGES = {
    "queues_max": _ANY, "msg_max": _MESSAGES, "msgsize_max": _BYTES, "msg_default": _MESSAGES,
    "msgsize_default": _BYTES,
}  # fmt: skip


def init(kernel: Kernel) -> None:
    """The files."""
    kind = kernel.vfs.filesystems["mqueue"]
    assert isinstance(kind, MqueueType)
    for name, (low, high) in RANGES.items():
        _add(kernel, kind, name, low, high)


def _add(kernel: Kernel, kind: MqueueType, name: str, low: int, high: int) -> None:
    def get() -> int:
        value: int = getattr(kind.limits, name)
        return value

    kernel.vfs.procfs.add_number(f"fs/mqueue/{name}", get, lambda value: setattr(kind.limits, name, value), low, high)

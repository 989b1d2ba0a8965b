"""get_mempolicy, set_mempolicy: the NUMA policy of a thread (mm/mempolicy.c), kept as data: there is one node."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.argument import MAPPING, SIZE, Bits, OneOf, Pointer
from emu.linux.errors import LinuxError
from emu.linux.layout import Opaque
from emu.linux.syscall import Syscall
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_NODE, _ADDR, _MEMS_ALLOWED = 1, 2, 4
_DEFAULT, _PREFERRED, _BIND, _INTERLEAVE, _LOCAL, _PREFERRED_MANY, _WEIGHTED_INTERLEAVE = range(7)
_BALANCING, _RELATIVE, _STATIC = 0x2000, 0x4000, 0x8000
_MODE_FLAGS = _BALANCING | _RELATIVE | _STATIC
#: The number of the node, the mask of all, and the bytes of a mask.
_NODE_NUMBER, _ALL_NODES, _MASK_BYTES = 0, 1, 8
#: The most nodes that a kernel knows of (CONFIG_NODES_SHIFT).
_MAX_NODES = 1024


def sys_set_mempolicy(kernel: Kernel, task: Task, mode: int, mask: int, bits: int) -> int:
    """set_mempolicy(2)."""
    flags, mode = mode & _MODE_FLAGS, mode & ~_MODE_FLAGS
    if not 0 <= mode <= _WEIGHTED_INTERLEAVE or flags & (_STATIC | _RELATIVE) == _STATIC | _RELATIVE:
        raise LinuxError(errno.EINVAL)
    if flags & _BALANCING and mode not in (_BIND, _PREFERRED_MANY):
        raise LinuxError(errno.EINVAL)
    nodes = _read_nodes(task, mask, bits)
    if mode == _PREFERRED and not nodes and not flags:
        mode = _LOCAL
    if mode in (_DEFAULT, _LOCAL):
        if nodes or (mode == _LOCAL and flags):
            raise LinuxError(errno.EINVAL)
        task.memory_policy = (mode | flags, 0) if mode else (_DEFAULT, 0)
        return 0
    if not nodes & (~0 if flags & _RELATIVE else _ALL_NODES):
        raise LinuxError(errno.EINVAL)
    task.memory_policy = (mode | flags, nodes if flags else nodes & _ALL_NODES)
    return 0


def _read_nodes(task: Task, mask: int, bits: int) -> int:
    """A mask of nodes (get_nodes).  LinuxError(EINVAL) for nodes that no kernel knows, or too many bits."""
    bits -= 1
    if bits == 0 or not mask:
        return 0
    if not 0 < bits <= PAGE_SIZE * 8:
        raise LinuxError(errno.EINVAL)
    nodes = int.from_bytes(task.mm.read(mask, (bits + 63) // 64 * 8), "little") & ((1 << bits) - 1)
    if nodes >> _MAX_NODES:
        raise LinuxError(errno.EINVAL)
    return nodes


def sys_get_mempolicy(kernel: Kernel, task: Task, mode: int, mask: int, bits: int, addr: int, flags: int) -> int:
    """get_mempolicy(2): of the thread, or of memory, for which nobody can set another than the default."""
    if (mask and not bits) or flags & ~(_NODE | _ADDR | _MEMS_ALLOWED):
        raise LinuxError(errno.EINVAL)
    value, nodes = task.memory_policy
    if flags & _MEMS_ALLOWED:
        if flags & (_NODE | _ADDR):
            raise LinuxError(errno.EINVAL)
        value, nodes = _DEFAULT, _ALL_NODES
    elif flags & _ADDR:
        if task.mm.vmas.find(addr) is None:
            raise LinuxError(errno.EFAULT)
        value, nodes = _DEFAULT, 0
        if flags & _NODE:
            task.mm.read(addr, 1)
            value = _NODE_NUMBER
    elif addr or (flags & _NODE and value & ~_MODE_FLAGS not in (_INTERLEAVE, _WEIGHTED_INTERLEAVE)):
        raise LinuxError(errno.EINVAL)
    elif flags & _NODE:
        value = _NODE_NUMBER
    if mode:
        task.mm.write_u32(mode, value)
    if mask:
        size = (bits - 1 + 63) // 64 * 8
        if size > PAGE_SIZE:
            raise LinuxError(errno.EINVAL)
        task.mm.write(mask, nodes.to_bytes(max(size, _MASK_BYTES), "little")[:size])
    return 0


_MODE, _NODES = (
    Pointer(Opaque("int"), written=True, null=True),
    Pointer(Opaque("unsigned long"), written=True, null=True),
)
_FLAGS = Bits("MPOL_F_", NODE=_NODE, ADDR=_ADDR, MEMS_ALLOWED=_MEMS_ALLOWED)

_MODES = OneOf(
    "MPOL_", DEFAULT=_DEFAULT, PREFERRED=_PREFERRED, BIND=_BIND, INTERLEAVE=_INTERLEAVE, LOCAL=_LOCAL,
    PREFERRED_MANY=_PREFERRED_MANY, WEIGHTED_INTERLEAVE=_WEIGHTED_INTERLEAVE,
)  # fmt: skip

TABLE = (
    Syscall(238, "set_mempolicy", sys_set_mempolicy, (_MODES, Pointer(Opaque("unsigned long"), null=True), SIZE)),
    Syscall(239, "get_mempolicy", sys_get_mempolicy, (_MODE, _NODES, SIZE, MAPPING, _FLAGS)),
)

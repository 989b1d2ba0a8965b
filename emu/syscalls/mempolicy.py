"""The NUMA policies of threads and of memory (mm/mempolicy.c), kept as data, and moving pages between nodes
(mm/migrate.c): there is one node, so that no page ever has to move.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.argument import MAPPING, PID, S32, SIZE, Bits, OneOf, Pointer
from emu.linux.caller import may_access
from emu.linux.capability import SYS_NICE
from emu.linux.errors import LinuxError
from emu.linux.layout import Opaque
from emu.linux.syscall import NUMBER, Syscall
from emu.mm.address_space import page_align
from emu.mm.pagetable import SPECIAL
from emu.mm.swapops import is_here
from emu.mm.vmamodify import carve, check_map_count, may_split
from emu.mm.vmatree import merge_neighbours
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

#: A mode with its flags, and the nodes.
Policy = tuple[int, int]


_NODE, _ADDR, _MEMS_ALLOWED = 1, 2, 4
_DEFAULT, _PREFERRED, _BIND, _INTERLEAVE, _LOCAL, _PREFERRED_MANY, _WEIGHTED_INTERLEAVE = range(7)
_BALANCING, _RELATIVE, _STATIC = 0x2000, 0x4000, 0x8000
_MODE_FLAGS = _BALANCING | _RELATIVE | _STATIC
_MF_STRICT, _MF_MOVE, _MF_MOVE_ALL = 1, 2, 4
_U64 = (1 << 64) - 1
#: The number of the node, the mask of all, and the bytes of a mask.
_NODE_NUMBER, _ALL_NODES, _MASK_BYTES = 0, 1, 8
#: The most nodes that a kernel knows of (CONFIG_NODES_SHIFT).
_MAX_NODES = 1024


def _sanitize(mode: int) -> tuple[int, int]:
    """A mode without its flags, and the flags (sanitize_mpol_flags).  LinuxError(EINVAL)."""
    flags, mode = mode & _MODE_FLAGS, mode & ~_MODE_FLAGS
    if not 0 <= mode <= _WEIGHTED_INTERLEAVE or flags & (_STATIC | _RELATIVE) == _STATIC | _RELATIVE:
        raise LinuxError(errno.EINVAL)
    if flags & _BALANCING and mode not in (_BIND, _PREFERRED_MANY):
        raise LinuxError(errno.EINVAL)
    return mode, flags


def _new_policy(mode: int, flags: int, nodes: int) -> Policy | None:
    """The policy of a mode; None for the default one (mpol_new, mpol_set_nodemask).  LinuxError(EINVAL)."""
    if mode == _PREFERRED and not nodes and not flags:
        mode = _LOCAL
    if mode in (_DEFAULT, _LOCAL):
        if nodes or (mode == _LOCAL and flags):
            raise LinuxError(errno.EINVAL)
        return (mode, 0) if mode else None
    if not nodes & (~0 if flags & _RELATIVE else _ALL_NODES):
        raise LinuxError(errno.EINVAL)
    return mode | flags, nodes if flags else nodes & _ALL_NODES


def sys_set_mempolicy(kernel: Kernel, task: Task, mode: int, mask: int, bits: int) -> int:
    """set_mempolicy(2)."""
    mode, flags = _sanitize(mode)
    task.memory_policy = _new_policy(mode, flags, _read_nodes(task, mask, bits)) or (_DEFAULT, 0)
    return 0


def sys_mbind(kernel: Kernel, task: Task, start: int, length: int, mode: int, mask: int, bits: int, flags: int) -> int:
    """mbind(2): the policy of a range.  Every page is on the one node, so that none has to move."""
    mode, mode_flags = _sanitize(mode)
    nodes = _read_nodes(task, mask, bits)
    if flags & ~(_MF_STRICT | _MF_MOVE | _MF_MOVE_ALL):
        raise LinuxError(errno.EINVAL)
    if flags & _MF_MOVE_ALL and not task.credentials.capable(SYS_NICE):
        raise LinuxError(errno.EPERM)
    end = _end(start, length)
    if end == start:
        return 0
    policy = _new_policy(mode, mode_flags, nodes)
    pieces = list(_pieces(task.mm, start, end))
    covered = sum(high - low for _, low, high in pieces)
    if not pieces or (policy is not None and covered < end - start):
        raise LinuxError(errno.EFAULT)
    set_policy(task.mm, start, end, policy)
    return 0


def _end(start: int, length: int) -> int:
    """Where a range ends.  LinuxError(EINVAL)."""
    end = start + (page_align(length) & _U64)
    if start & (PAGE_SIZE - 1) or end >= 1 << 64:
        raise LinuxError(errno.EINVAL)
    return end


def _pieces(mm: AddressSpace, start: int, end: int) -> Iterator[tuple[Vma, int, int]]:
    """The VMAs of a range, and the part of each that lies within."""
    for vma in mm.vmas.overlapping(start, end):
        yield vma, max(vma.start, start), min(vma.end, end)


def set_policy(mm: AddressSpace, start: int, end: int, policy: Policy | None) -> None:
    """Give what is mapped in [start, end) a policy (mbind_range).  LinuxError(EINVAL, ENOMEM)."""
    for vma, low, high in _pieces(mm, start, end):
        mm.stop.check()
        if vma.policy != policy:
            may_split(mm, vma, low, high)
            check_map_count(mm, vma, low, high, policy=policy)
            part = carve(mm, vma, low, high)
            part.policy = policy
            merge_neighbours(mm.vmas, part)


def sys_set_mempolicy_home_node(kernel: Kernel, task: Task, start: int, length: int, node: int, flags: int) -> int:
    """set_mempolicy_home_node(2), which on the one node changes nothing."""
    if start & (PAGE_SIZE - 1) or flags or node != _NODE_NUMBER:
        raise LinuxError(errno.EINVAL)
    end = _end(start, length)
    if end == start:
        return 0
    policies = [vma.policy for vma, _, _ in _pieces(task.mm, start, end) if vma.policy is not None]
    if any(mode & ~_MODE_FLAGS not in (_BIND, _PREFERRED_MANY) for mode, _ in policies):
        raise LinuxError(errno.EOPNOTSUPP)
    if not policies:
        raise LinuxError(errno.ENOENT)
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
    """get_mempolicy(2): of the thread, or of memory."""
    if (mask and not bits) or flags & ~(_NODE | _ADDR | _MEMS_ALLOWED):
        raise LinuxError(errno.EINVAL)
    value, nodes = task.memory_policy
    if flags & _MEMS_ALLOWED:
        if flags & (_NODE | _ADDR):
            raise LinuxError(errno.EINVAL)
        value, nodes = _DEFAULT, _ALL_NODES
    elif flags & _ADDR:
        vma = task.mm.vmas.find(addr)
        if vma is None:
            raise LinuxError(errno.EFAULT)
        value, nodes = vma.policy or (_DEFAULT, 0)
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


def sys_migrate_pages(kernel: Kernel, task: Task, pid: int, bits: int, old: int, new: int) -> int:
    """migrate_pages(2)."""
    _read_nodes(task, old, bits)
    nodes = _read_nodes(task, new, bits)
    target = _target(kernel, task, pid)
    if nodes & ~_ALL_NODES and not task.credentials.capable(SYS_NICE):
        raise LinuxError(errno.EPERM)
    if not nodes & _ALL_NODES or not target.alive:
        raise LinuxError(errno.EINVAL)
    return 0


def _target(kernel: Kernel, task: Task, pid: int) -> Task:
    """LinuxError: ESRCH, EPERM."""
    target = kernel.find_task(pid) if pid else task
    if target is None:
        raise LinuxError(errno.ESRCH)
    if not may_access(task, target):
        raise LinuxError(errno.EPERM)
    return target


def sys_move_pages(
    kernel: Kernel, task: Task, pid: int, number: int, pages: int, nodes: int, status: int, flags: int
) -> int:
    """move_pages(2): where pages are, or what becomes of an attempt to move each."""
    if flags & ~(_MF_MOVE | _MF_MOVE_ALL):
        raise LinuxError(errno.EINVAL)
    if flags & _MF_MOVE_ALL and not task.credentials.capable(SYS_NICE):
        raise LinuxError(errno.EPERM)
    target = _target(kernel, task, pid)
    if not target.alive:
        raise LinuxError(errno.EINVAL)
    for index in range(number):
        kernel.stop.check()
        address = task.mm.read_u64(pages + 8 * index)
        if nodes and S32(task.mm.read_u32(nodes + 4 * index)) != _NODE_NUMBER:
            raise LinuxError(errno.ENODEV)
        task.mm.write_u32(status + 4 * index, _where(target.mm, address))
    return 0


def _where(mm: AddressSpace, address: int) -> int:
    """The node of a page, or why there is none as a negative number."""
    vma = mm.vmas.find(address & -PAGE_SIZE)
    if vma is None:
        return -errno.EFAULT
    pte = mm.tables.pte(address)
    if not is_here(pte) or not vma.ops.leaf_level:  # a table of another's is not looked into
        return -errno.ENOENT
    return -errno.EFAULT if pte & SPECIAL else _NODE_NUMBER


_MODE, _NODES = (
    Pointer(Opaque("int"), written=True, null=True),
    Pointer(Opaque("unsigned long"), written=True, null=True),
)
_FLAGS = Bits("MPOL_F_", NODE=_NODE, ADDR=_ADDR, MEMS_ALLOWED=_MEMS_ALLOWED)

_MODES = OneOf(
    "MPOL_", DEFAULT=_DEFAULT, PREFERRED=_PREFERRED, BIND=_BIND, INTERLEAVE=_INTERLEAVE, LOCAL=_LOCAL,
    PREFERRED_MANY=_PREFERRED_MANY, WEIGHTED_INTERLEAVE=_WEIGHTED_INTERLEAVE,
)  # fmt: skip

_MOVE_FLAGS = Bits("MPOL_MF_", STRICT=_MF_STRICT, MOVE=_MF_MOVE, MOVE_ALL=_MF_MOVE_ALL)
_MASK = Pointer(Opaque("unsigned long"), null=True)
_ADDRESSES, _NUMBERS = Pointer(Opaque("void *"), null=True), Pointer(Opaque("int"), null=True)
_STATUS = Pointer(Opaque("int"), written=True)

TABLE = (
    Syscall(237, "mbind", sys_mbind, (MAPPING, SIZE, _MODES, _MASK, SIZE, _MOVE_FLAGS)),
    Syscall(238, "set_mempolicy", sys_set_mempolicy, (_MODES, Pointer(Opaque("unsigned long"), null=True), SIZE)),
    Syscall(239, "get_mempolicy", sys_get_mempolicy, (_MODE, _NODES, SIZE, MAPPING, _FLAGS)),
    Syscall(256, "migrate_pages", sys_migrate_pages, (PID, SIZE, _MASK, _MASK), NUMBER),
    Syscall(279, "move_pages", sys_move_pages, (PID, SIZE, _ADDRESSES, _NUMBERS, _STATUS, _MOVE_FLAGS)),
    Syscall(450, "set_mempolicy_home_node", sys_set_mempolicy_home_node, (MAPPING, SIZE, SIZE, SIZE)),
)

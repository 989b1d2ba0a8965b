"""lsm_get_self_attr, lsm_set_self_attr, lsm_list_modules: the security modules that there are (security/security.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.argument import ADDRESS, HEX32, UINT, Pointer
from emu.linux.errors import LinuxError
from emu.linux.layout import Layout
from emu.linux.syscall import NUMBER, Syscall
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: LSM_ID_CAPABILITY and LSM_ID_LANDLOCK, neither of which has an attribute.
MODULES = (100, 110)
_SINGLE = 1
#: struct lsm_ctx: the module, flags, its length, and that of what follows.
LSM_CTX = Layout("lsm_ctx", "4Q")
_ID = Layout("u64", "Q")


def sys_lsm_get_self_attr(kernel: Kernel, task: Task, attribute: int, context: int, size: int, flags: int) -> int:
    """lsm_get_self_attr(2): no module has an attribute (EOPNOTSUPP)."""
    if not attribute or not size:
        raise LinuxError(errno.EINVAL)
    UINT.read(task.mm, size)
    if flags:
        if flags != _SINGLE or not context or not LSM_CTX.read(task.mm, context)[0]:
            raise LinuxError(errno.EINVAL)
    UINT.write(task.mm, size, 0)
    raise LinuxError(errno.EOPNOTSUPP)


def sys_lsm_set_self_attr(kernel: Kernel, task: Task, attribute: int, context: int, size: int, flags: int) -> int:
    """lsm_set_self_attr(2): no module has an attribute (EOPNOTSUPP)."""
    if flags or size < LSM_CTX.size:
        raise LinuxError(errno.EINVAL)
    if size > PAGE_SIZE:
        raise LinuxError(errno.E2BIG)
    _, _, length, context_length = LSM_CTX.unpack(task.mm.read(context, size)[: LSM_CTX.size])
    if size < length or length < LSM_CTX.size + context_length:
        raise LinuxError(errno.EINVAL)
    raise LinuxError(errno.EOPNOTSUPP)


def sys_lsm_list_modules(kernel: Kernel, task: Task, ids: int, size: int, flags: int) -> int:
    """lsm_list_modules(2)."""
    if flags:
        raise LinuxError(errno.EINVAL)
    room, total = UINT.read(task.mm, size), len(MODULES) * _ID.size
    UINT.write(task.mm, size, total)
    if room < total:
        raise LinuxError(errno.E2BIG)
    task.mm.write(ids, b"".join(map(_ID.pack, MODULES)))
    return len(MODULES)


_SIZE_OF = Pointer(UINT, written=True)

TABLE = (
    Syscall(459, "lsm_get_self_attr", sys_lsm_get_self_attr, (UINT, ADDRESS, _SIZE_OF, HEX32), NUMBER),
    Syscall(460, "lsm_set_self_attr", sys_lsm_set_self_attr, (UINT, ADDRESS, UINT, HEX32)),
    Syscall(461, "lsm_list_modules", sys_lsm_list_modules, (ADDRESS, _SIZE_OF, HEX32), NUMBER),
)

"""rseq(2), which every program of glibc's calls for each of its threads."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.kernel.task import Rseq
from emu.linux.argument import HEX, HEX32
from emu.linux.errors import LinuxError
from emu.linux.syscall import Syscall

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_UNREGISTER = 1


def sys_rseq(kernel: Kernel, task: Task, address: int, length: int, flags: int, signature: int) -> int:
    """rseq(2)."""
    from emu.kernel.rseq import register, unregister  # not for programs of other libraries

    if flags & ~_UNREGISTER:
        raise LinuxError(errno.EINVAL)
    change = unregister if flags else register
    change(task, Rseq(address, length, signature))
    return 0


#: As strace prints them.
TABLE = (Syscall(334, "rseq", sys_rseq, (HEX, HEX32, HEX32, HEX32)),)

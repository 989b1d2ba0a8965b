"""PR_SET_MDWE: memory that can be written is never executed (map_deny_write_exec of linux/mman.h, Linux 6.3)."""

from __future__ import annotations

import errno

from emu.linux.errors import LinuxError
from emu.linux.mman import Prot

#: PR_MDWE_*.
REFUSE_EXEC_GAIN, NO_INHERIT = 1, 2


def check_exec_gain(mdwe: int, old: Prot, new: Prot) -> None:
    """Whether a mapping may get rights; ``old`` are those that it has, or is to have.  LinuxError(EACCES)."""
    if mdwe and new & Prot.EXEC and (new & Prot.WRITE or not old & Prot.EXEC):
        raise LinuxError(errno.EACCES)


def inherited(mdwe: int) -> int:
    """What a child has of it, and a new program."""
    return 0 if mdwe & NO_INHERIT else mdwe

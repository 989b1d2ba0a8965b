"""prctl: what a process says about itself (kernel/sys.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.kernel.signal_state import NSIG
from emu.linux.argument import ADDRESS, INT
from emu.linux.caller import ALL_CAPABILITIES
from emu.linux.errors import LinuxError
from emu.linux.layout import TEXT
from emu.linux.syscall import NUMBER, Syscall

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 1, 2, 3, 4
_PR_SET_NAME, _PR_GET_NAME, _PR_CAPBSET_READ = 15, 16, 23
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39


def sys_prctl(kernel: Kernel, task: Task, option: int, argument: int) -> int:
    """prctl(2): EINVAL for the options that are not known."""
    if option == _PR_SET_NAME:
        task.comm = TEXT.read(task.mm, argument)[:15].decode("utf-8", "surrogateescape")
    elif option == _PR_GET_NAME:
        task.mm.write(argument, task.comm.encode("utf-8", "surrogateescape").ljust(16, b"\0"))
    elif option == _PR_GET_DUMPABLE:
        return 1
    elif option == _PR_SET_PDEATHSIG:
        if argument > NSIG:
            raise LinuxError(errno.EINVAL)
        task.pdeath_signal = argument
    elif option == _PR_GET_PDEATHSIG:
        INT.write(task.mm, argument, task.pdeath_signal)
    elif option == _PR_SET_CHILD_SUBREAPER:
        task.group.subreaper = bool(argument)
    elif option == _PR_GET_CHILD_SUBREAPER:
        INT.write(task.mm, argument, int(task.group.subreaper))
    elif option == _PR_SET_NO_NEW_PRIVS and argument == 1:
        task.no_new_privs = True
    elif option == _PR_GET_NO_NEW_PRIVS and not argument:
        return int(task.no_new_privs)
    elif option == _PR_CAPBSET_READ:
        if argument >= ALL_CAPABILITIES.bit_length():
            raise LinuxError(errno.EINVAL)
        return 1  # nothing is ever dropped from the bounding set
    elif option != _PR_SET_DUMPABLE:
        raise LinuxError(errno.EINVAL)
    return 0


TABLE = (Syscall(157, "prctl", sys_prctl, (INT, ADDRESS), NUMBER),)

"""The declaration of a file of /proc/PID."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.linux.pidns import PidNamespace

#: Makes the text of /proc/<pid>/NAME; with numbers of processes, as a PID namespace (None: the initial one) has them.
PidText = Callable[["Kernel", "Task"], bytes]
NumberText = Callable[["Kernel", "Task", "PidNamespace | None"], bytes]


#: st_size of the links to files that are open or mapped.
LINK_SIZE = 64


class PidFile(NamedTuple):
    """A file of /proc/<pid>: its text, its permissions, and who takes what is written to it.  Either ``text`` or
    ``with_numbers`` makes the text.
    """

    text: PidText | None
    mode: int = 0o444
    store: Callable[[Kernel, Task, bytes], None] | None = None
    #: Only of processes, not in /proc/<pid>/task/<tid>; or only there.
    of_process: bool = True
    of_thread: bool = True
    #: What has numbers of processes.
    with_numbers: NumberText | None = None
    #: For those only who may look into the process; it is not written.
    private: bool = False


def sees(space: PidNamespace | None, pid: int) -> int:
    """The number of something in a namespace."""
    return pid if space is None else space.shown(pid)


def number_of(name: str) -> int:
    """A decimal name; ENOENT for anything else, as for an unused number."""
    if not name.isascii() or not name.isdigit() or (name[0] == "0" and name != "0") or len(name) > 10:
        raise LinuxError(errno.ENOENT)
    return int(name)

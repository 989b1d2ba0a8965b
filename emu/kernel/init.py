"""Process 1 of the machine: it began all others, and adopts those whose parent ends (init/main.c, kernel_init).

It is no program here.  It sleeps for ever, ends its children's zombies at once, handles no signal, and so none reaches
it.  It is made for the first who asks for number 1, and is not among :attr:`Kernel.tasks`: nothing waits for its end,
and no figure of the machine's programs counts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.fs.fdtable import FdTable
from emu.kernel.task import INIT_PID, Task, TaskState
from emu.kernel.threadgroup import ThreadGroup
from emu.linux.caller import FsContext
from emu.mm.address_space import AddressSpace

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.nsproxy import NsProxy
    from emu.mm.context import MmContext
    from mmu.unicorn_abi import Context


def new_init(mm_context: MmContext, context: Context, root: Path, ns: NsProxy) -> Task:
    """Process 1, with memory in which nothing is mapped.  ``context``: registers that it never has.
    LinuxError(ENOMEM).
    """
    mm = AddressSpace(mm_context, "init")
    group = ThreadGroup(
        tgid=INIT_PID, ppid=0, pgid=INIT_PID, sid=INIT_PID, leads_session=True, has_execed=True, unkillable=True
    )
    return Task(
        pid=INIT_PID, group=group, mm=mm, files=FdTable(mm.kmem), fs=FsContext(root, root), context=context, ns=ns,
        comm="init", argv=(b"/sbin/init",), charged=0, state=TaskState.SLEEPING,
    )  # fmt: skip

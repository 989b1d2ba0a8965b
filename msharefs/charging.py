"""Who pays for the pages and tables of a region: which control group they are charged to.

The first and the second series of 2025 leave pages to the process that touches them, and give tables to the group of
the file's creator (20/20); the third gives both to that of the owner, so that its memory is what runs out.  The earlier
postings have nothing of that, and a host mm without an owner leaves both to whoever is running.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace
    from emu.mm.memcontrol import MemCgroup

#: What an interface may have.
FAULTING, CREATOR, OWNER = "faulting", "creator", "owner"


class TablesPayer:
    """For whom page tables are made."""

    def __init__(self, payer: Callable[[], MemCgroup]) -> None:
        self.payer: Callable[[], MemCgroup] | None = payer


def set_payers(kernel: Kernel, host: AddressSpace, owner: Task | None, who: str) -> None:
    """A region has been made, by a task if not by the machine's owner."""
    if owner is None or who == FAULTING:
        return
    if who == CREATOR:
        # without groups it was made in the root
        made_in = None if host.frames.memcg is None else kernel.cgroups.memory.group_of(owner)
        host.tables.payer = TablesPayer(lambda: kernel.cgroups.memory.control.root if made_in is None else made_in)
    else:
        host.payer = lambda: kernel.cgroups.memory.group_of(owner)
        host.tables.payer = host

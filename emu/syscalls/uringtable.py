"""The operations of an io_uring, by number."""

from __future__ import annotations

from emu.syscalls import uringbuffers, uringfiles, uringnet, uringops, uringwaits
from emu.syscalls.uringops import Prepare

#: One more than the last that Linux 6.18 knows (IORING_OP_LAST).
LAST = 63
_BUFFERS = {31: uringbuffers.provide, 32: uringbuffers.remove, 20: uringfiles.files_update}


def find_operation(number: int) -> Prepare | None:
    """What checks an entry with this number; None: there is no such operation."""
    for table in (uringops.OPERATIONS, uringnet.OPERATIONS, uringwaits.OPERATIONS, _BUFFERS):
        found = table.get(number)
        if found is not None:
            return found
    return None

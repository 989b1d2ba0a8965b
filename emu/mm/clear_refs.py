"""clear_refs: forget which pages have been accessed (fs/proc/task_mmu.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import numpy as np

from emu.kernel.errors import LinuxError
from emu.mm.pagetable import A

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace

_ALL, _ANON, _MAPPED, _SOFT_DIRTY, _HIWATER = range(1, 6)


def clear_refs(mm: AddressSpace, data: bytes) -> None:
    """What is written to /proc/PID/clear_refs: 1 clears the A bit of all pages, 2 of anonymous, 3 of mapped ones.

    4 (soft-dirty bits, of which there are none) and 5 are accepted.  LinuxError(EINVAL) for anything else.
    """
    try:
        kind = int(data.strip(b" \n\0"))
    except ValueError:
        raise LinuxError(errno.EINVAL) from None
    if kind not in (_ALL, _ANON, _MAPPED, _SOFT_DIRTY, _HIWATER):
        raise LinuxError(errno.EINVAL)
    if kind in (_SOFT_DIRTY, _HIWATER):
        return
    for vma in mm.vmas:
        if kind != _ALL and (vma.file is None) != (kind == _ANON):
            continue
        flush = mm.obligation(vma.start, vma.end)
        for _, slot, number in mm.tables.pte_tables(vma.start, vma.end):
            view = mm.tables.words[slot : slot + number]
            view[view != 0] &= np.uint64(~A & (1 << 64) - 1)
        flush.flush()

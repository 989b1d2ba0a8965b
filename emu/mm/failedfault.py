"""What is done about a page fault for which there is no frame: others are made free, or a process ends."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError, NoPage
from emu.mm.flags import FaultResult

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma
    from mmu.registers import Access

#: Frames that are made free at once where one was missing.
_RECLAIMED = 32
#: How often that is tried for a control group (MAX_RECLAIM_RETRIES).
_RECLAIM_RETRIES = 16
#: How often a fault without a frame is tried again, whatever is made free meanwhile.
_MOST_TRIES = 4096


def failed_fault(mm: AddressSpace, vma: Vma, address: int, access: Access, error: LinuxError) -> FaultResult:
    """No frame for a table or a page: try again as long as others can be made free.  Or a page cannot be read, or
    its file have no more.
    """
    if error.errno != errno.ENOMEM:
        return FaultResult.ADRERR
    if mm.frames.memcg is not None and mm.context.group_is_full():
        return _fault_in_full_group(mm, vma, address, access)
    return _fault_without_frames(mm, vma, address, access)


def _fault_without_frames(mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
    """No frame is left: try as long as others can be made free, or a process ended (__alloc_pages_slowpath)."""
    for tries in range(_MOST_TRIES):
        if not mm.context.take_pages(_RECLAIMED << tries.bit_length()) and not mm.context.out_of_memory(mm):
            break
        try:
            return vma.ops.fault(mm, vma, address, access)
        except NoPage:
            continue
        except LinuxError as error:
            return FaultResult.OOM if error.errno == errno.ENOMEM else FaultResult.ADRERR
    return FaultResult.OOM


def _fault_in_full_group(mm: AddressSpace, vma: Vma, address: int, access: Access) -> FaultResult:
    """A control group has no room for a page: try as long as others of it can be taken, or a process of it ended
    (try_charge_memcg).
    """
    retries = _RECLAIM_RETRIES
    for _ in range(_MOST_TRIES):
        retries -= 1
        if retries < 0 or not mm.context.shrink_group(_RECLAIMED):
            if not mm.context.end_one_of_group(mm):
                break
            retries = _RECLAIM_RETRIES
        try:
            return vma.ops.fault(mm, vma, address, access)
        except LinuxError:
            if not mm.context.group_is_full():
                break
    return FaultResult.OOM

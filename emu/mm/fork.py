"""dup_mm(): a child's address space, by copying tables, never data."""

from __future__ import annotations

from emu.linux.cost import Cost
from emu.linux.errors import LinuxError
from emu.mm.address_space import AddressSpace
from emu.mm.execgain import inherited
from emu.mm.flags import LOCK_FLAGS, UFFD_FLAGS, VmFlags
from emu.mm.uffdevents import dup, dup_complete
from emu.mm.userfault import Features
from emu.mm.vma import AnonVma, Vma
from mmu.memory import PAGE_SHIFT

#: It is looked whether the run is to end before each so many VMAs.
_OFTEN = 64
_LOCKS, _ACCOUNT, _DONTCOPY = int(LOCK_FLAGS), int(VmFlags.ACCOUNT), int(VmFlags.DONTCOPY)


def dup_mm(parent: AddressSpace, name: str) -> AddressSpace:
    """A copy of ``parent``: every VMA, and the tables of private ones, without write access on both sides.

    Mappings without private pages are not copied entry by entry: the child faults them in from the page cache
    (vma_needs_copy() in Linux). LinuxError(ENOMEM, EINTR) leaves the parent as it was, apart from pages that it must
    now fault on to write.
    """
    parent.reserve_vmas(len(parent.vmas))
    parent.context.clock.charge(Cost.ADDRESS_SPACE)
    if parent.context.swapping:
        parent.context.make_room(sum(parent.tables.tables.values()))
    child = AddressSpace(parent.context, name)
    for attribute in (
        "mmap_base", "bottom_up", "random", "start_code", "end_code", "start_data", "end_data", "start_brk", "brk_end",
        "start_stack", "arg_start", "arg_end", "env_start", "env_end", "auxv",
        "dumpable", "root_user", "root_group", "thp_disable", "may_have_huge",
    ):  # fmt: skip
        setattr(child, attribute, getattr(parent, attribute))
    child.mdwe = inherited(parent.mdwe)
    flush = parent.obligation(0, parent.task_size, "fork")
    try:
        if parent.ldt:
            child.charge_more(len(parent.ldt))
            child.ldt = parent.ldt
        for number, vma in enumerate(parent.vmas):
            if not number % _OFTEN:
                parent.stop.check()
            if not int(vma.flags) & _DONTCOPY:
                _dup_vma(parent, child, vma)
    except LinuxError:
        child.put()
        raise
    finally:
        flush.flush()
    if any(vma.uffd is not None for vma in child.vmas):
        _tell_monitors(parent, child)
    child.exe_file = None if parent.exe_file is None else parent.exe_file.get()
    child.code_id, child.catches_faults = parent.code_id, parent.catches_faults
    return child


def _tell_monitors(parent: AddressSpace, child: AddressSpace) -> None:
    try:
        dup_complete(parent, child, dup(child))
    except LinuxError:
        child.put()
        raise


def _dup_vma(parent: AddressSpace, child: AddressSpace, vma: Vma) -> None:
    copy = vma.copy(vma.start, vma.end)
    copy.ops.drop_promises(copy)
    if int(copy.flags) & _LOCKS:
        copy.flags &= ~LOCK_FLAGS
    if copy.uffd is not None and not copy.uffd.has(Features.EVENT_FORK):
        copy.flags &= ~UFFD_FLAGS
        copy.uffd = None
    if vma.anon_vma is not None:
        copy.anon_vma = None if vma.flags & VmFlags.WIPEONFORK else AnonVma(forked=True)
    if int(copy.flags) & _ACCOUNT:
        parent.context.commit.charge(copy.length >> PAGE_SHIFT, parent)
    child.adopt_last(copy)
    vma.ops.copy(parent, child, vma, copy)

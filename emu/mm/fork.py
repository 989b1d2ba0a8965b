"""dup_mm(): a child's address space, by copying tables, never data."""

from __future__ import annotations

from emu.linux.cost import Cost
from emu.linux.errors import LinuxError
from emu.mm.address_space import AddressSpace
from emu.mm.execgain import inherited
from emu.mm.flags import LOCK_FLAGS, UFFD_FLAGS, VmFlags
from emu.mm.memory import copy_entries
from emu.mm.uffdevents import dup, dup_complete
from emu.mm.userfault import Features
from emu.mm.vma import AnonVma, Vma
from mmu.memory import PAGE_SHIFT

#: It is looked whether the run is to end before each so many VMAs.
_OFTEN = 64
_LOCKS, _ACCOUNT, _DONTCOPY = int(LOCK_FLAGS), int(VmFlags.ACCOUNT), int(VmFlags.DONTCOPY)
_WIPEONFORK = int(VmFlags.WIPEONFORK)
#: Entries of other ordinary memory are copied only if there are private pages.
_COPIED_ALWAYS = int(VmFlags.PFNMAP | VmFlags.MAYBE_GUARD)


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
        watched = _dup_vmas(parent, child)
    except LinuxError:
        child.put()
        raise
    finally:
        flush.flush()
    if watched:
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


def _dup_vmas(parent: AddressSpace, child: AddressSpace) -> bool:
    """Copy every VMA that is copied, and its entries; whether a userfaultfd hears of one.  LinuxError leaves the child
    with some.
    """
    copies: list[Vma] = []
    filled: list[tuple[Vma, Vma]] = []
    watched = False
    commit = parent.context.commit
    promised, unquestioned = 0, commit.unquestioned
    try:
        for number, vma in enumerate(parent.vmas.listed()):
            if not number % _OFTEN:
                parent.stop.check()
            bits = vma.bits
            if bits & _DONTCOPY:
                continue
            copy = vma.copy(vma.start, vma.end)
            if bits & _LOCKS:
                copy.flags &= ~LOCK_FLAGS
            if copy.uffd is not None:
                if copy.uffd.has(Features.EVENT_FORK):
                    watched = True
                else:
                    copy.flags &= ~UFFD_FLAGS
                    copy.uffd = None
            if vma.anon_vma is not None:
                copy.anon_vma = None if bits & _WIPEONFORK else AnonVma(forked=True)
            if not vma.ops.ordinary:
                copy.ops.drop_promises(copy)
                filled.append((vma, copy))
            elif copy.anon_vma is not None or bits & _COPIED_ALWAYS:
                filled.append((vma, copy))
            if bits & _ACCOUNT:
                pages = (vma.end - vma.start) >> PAGE_SHIFT
                if pages <= unquestioned:
                    promised += pages
                else:
                    commit.charge(pages, parent)
            copies.append(copy)
    finally:
        child.adopt_last(copies)
        commit.pages += promised
    copy_entries(parent, child, filled)
    return watched

"""The mappings of a program, made at once in a new address space (the elf_load() of fs/binfmt_elf.c)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from emu.linux.limits import Rlimit
from emu.linux.mman import MapFlags, Prot
from emu.mm.flags import VmFlags
from emu.mm.mmap import is_accountable
from emu.mm.vma import DAC_MMAP_MIN_ADDR, Vma
from mmu.memory import PAGE_SHIFT

if TYPE_CHECKING:
    from emu.mm.address_space import AddressSpace
    from emu.mm.vmops import MappedFile

_OF_FILE = MapFlags.PRIVATE | MapFlags.FIXED
_ANONYMOUS = _OF_FILE | MapFlags.ANONYMOUS


class Piece(NamedTuple):
    """Private memory of a program: whole pages, counted from where the program's address 0 is."""

    start: int
    end: int
    prot: Prot
    #: The page of the file with which it begins; None for anonymous memory.
    pgoff: int | None


def are_apart(pieces: Sequence[Piece]) -> bool:
    """Whether pieces ascend, none covers a part of another, and no two of them become one mapping."""
    for low, high in pairwise(pieces):
        alike = low.prot == high.prot and (low.pgoff is None) == (high.pgoff is None)
        if low.end > high.start or (low.end == high.start and alike):
            return False
    return True


def map_image(mm: AddressSpace, file: MappedFile, pieces: Sequence[Piece], bias: int) -> bool:
    """What as many calls of :func:`emu.mm.mmap.do_mmap` do, with MAP_PRIVATE and MAP_FIXED, for pieces that are apart.

    False, and nothing is done, where more than usual is to be looked at.  LinuxError: the address space is to be given
    up.
    """
    low, high, context = pieces[0].start + bias, pieces[-1].end + bias, mm.context
    if low < DAC_MMAP_MIN_ADDR or high > mm.task_size or mm.mdwe or mm.default_lock:
        return False
    if mm.vmas.overlapping(low - 1, high + 1) or len(mm.vmas) + len(pieces) > context.max_map_count:
        return False
    if context.limit(Rlimit.AS) is not None or context.limit(Rlimit.DATA) is not None:
        return False
    if file.get_unmapped_area(mm, low, high - low, 0, _OF_FILE) is not None:
        return False
    mm.reserve_vmas(len(pieces) + 3)
    flags = VmFlags.NEVEREXEC if file.noexec else VmFlags.NONE
    vmas: list[Vma] = []
    promised = 0
    try:
        for start, end, prot, pgoff in pieces:
            start, end, pages = start + bias, end + bias, (end - start) >> PAGE_SHIFT
            vm_flags = VmFlags.NONE if pgoff is None else flags
            accountable = is_accountable(prot, vm_flags)
            if accountable:
                context.commit.charge(pages, mm)
                promised += pages
                vm_flags |= VmFlags.ACCOUNT
            if pgoff is None:
                vma = Vma(start, end, prot, vm_flags, pgoff=start >> PAGE_SHIFT)
            else:
                vma = Vma(start, end, prot, vm_flags, file=file, pgoff=pgoff)
                file.mmap(mm, vma)
                if accountable and not vma.ops.accountable:
                    context.commit.uncharge(pages)
                    promised -= pages
                    vma.flags &= ~VmFlags.ACCOUNT
            vmas.append(vma)
    except BaseException:
        context.commit.uncharge(promised)
        raise
    for hook in context.map_hooks:
        for vma in vmas:
            hook.mapped(mm, vma, _ANONYMOUS if vma.file is None else _OF_FILE)
    mm.adopt_run(vmas)
    return True

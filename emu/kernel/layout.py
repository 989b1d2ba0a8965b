"""Where a new program's memory goes: fixed places, or random ones (arch/x86/mm/mmap.c, fs/binfmt_elf.c)."""

from __future__ import annotations

from enum import IntFlag
from random import Random
from typing import NamedTuple

from emu.linux.words import tested_often
from emu.mm.address_space import TASK_SIZE, page_align
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

STACK_TOP = TASK_SIZE
#: Where a position-independent program with an interpreter goes (rounded down), and the heap of one without (up).
ELF_ET_DYN_BASE = TASK_SIZE // 3 * 2
#: The room of the stack: at least, at most, and what it keeps to the mapping below.
_LEAST_GAP, _MOST_GAP, _STACK_GUARD_GAP = 128 << 20, TASK_SIZE // 6 * 5, 1 << 20
#: Random bits of addresses of pages (vm.mmap_rnd_bits, STACK_RND_MASK); the ranges of the heap and within the stack.
MMAP_RND_BITS, _STACK_RND_BITS = 28, 22
_BRK_RANGE, _STACK_ALIGN_RANGE = 1 << 30, 8192


@tested_often
class Persona(IntFlag):
    """personality(2)."""

    UNAME26 = 0x0020000
    ADDR_NO_RANDOMIZE = 0x0040000
    MMAP_PAGE_ZERO = 0x0100000
    ADDR_COMPAT_LAYOUT = 0x0200000
    READ_IMPLIES_EXEC = 0x0400000
    STICKY_TIMEOUTS = 0x4000000
    #: The part that names a system, and Linux on 32 bits.
    PER_MASK = 0x00FF
    PER_LINUX32 = 0x0008


#: What execve of a set-user-id program takes away (PER_CLEAR_ON_SETID).
CLEARED_ON_SETID = (
    Persona.READ_IMPLIES_EXEC | Persona.ADDR_NO_RANDOMIZE | Persona.ADDR_COMPAT_LAYOUT | Persona.MMAP_PAGE_ZERO
)


class Layout(NamedTuple):
    """The places of one program."""

    stack_top: int
    #: The lower end of what the stack may take, or where mappings begin if the next one is put above the last.
    mmap_base: int
    bottom_up: bool
    #: What is added to ELF_ET_DYN_BASE, to the heap, and taken from the stack pointer; 0 if nothing is random.
    program: int
    heap: int
    stack: int
    #: The chance in places that are chosen later.
    random: Random | None = None


class LayoutRandom:
    """The chance in places.  Those of stack and heap are new for each program; code is moved by the same in all that a
    machine runs, since the engine keeps translated code by its address, and would translate every library again.
    """

    def __init__(self, seed: int) -> None:
        self.each = Random(f"layout {seed}")
        self.mappings = self.each.getrandbits(MMAP_RND_BITS) << PAGE_SHIFT
        self.program = self.each.getrandbits(MMAP_RND_BITS) << PAGE_SHIFT


def choose_layout(random: LayoutRandom | None, persona: int, stack_limit: int | None, *, heap: bool) -> Layout:
    """Choose the places by chance, or the fixed ones without ``random``; ``stack_limit`` is RLIMIT_STACK (None: none),
    ``heap``: whether the heap is random too (kernel.randomize_va_space is 2).
    """
    shift = 0 if random is None else random.mappings
    bottom_up = bool(persona & Persona.ADDR_COMPAT_LAYOUT)
    if bottom_up:
        base = page_align(TASK_SIZE // 3) + shift
    else:
        gap = _MOST_GAP
        if stack_limit is not None:
            gap = stack_limit + _STACK_GUARD_GAP + (0 if random is None else PAGE_SIZE << _STACK_RND_BITS)
        base = page_align(TASK_SIZE - min(max(gap, _LEAST_GAP), _MOST_GAP) - shift)
    if random is None:
        return Layout(STACK_TOP, base, bottom_up, 0, 0, 0)
    return Layout(
        stack_top=STACK_TOP - (random.each.getrandbits(_STACK_RND_BITS) << PAGE_SHIFT),
        mmap_base=base,
        bottom_up=bottom_up,
        program=random.program,
        heap=random.each.randrange(_BRK_RANGE >> PAGE_SHIFT) << PAGE_SHIFT if heap else 0,
        stack=random.each.randrange(_STACK_ALIGN_RANGE),
        random=random.each,
    )

"""What native code knows of system calls that it may answer, and of two tasks that wait for each other.

:mod:`emu.kernel.fastpath` fills it in, :mod:`emu.kernel.fastcalls` works on it.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum

from mmu.state import fields

CALLS, DESCRIPTORS = 512, 32
#: Beside a PipeRecord: which end it is; a read that finds nothing does not wait.
READ_END, WRITE_END, NONBLOCKING = 1, 2, 4
#: A write of more costs more, and is left to the kernel.
MOST_BYTES = 1023


class Run(IntEnum):
    """Whether one of the two tasks runs."""

    RUNS = 0
    SLEEPS = 1
    WOKEN = 2  # and waits for the CPU


class Party(ctypes.Structure):
    """One of the two tasks.  Every field is a uint64."""

    run: int
    context: int  # host address of its uc_context
    descriptors: int  # host address of uint64[DESCRIPTORS]: the PipeRecord, with the bits below; 0: not for us
    cr3: int
    asid: int
    code_id: int
    table: int  # TrapState.table for that
    rseq: int  # the address of its struct rseq, or 0
    # the call in which it sleeps
    number: int
    pipe: int  # host address of the PipeRecord that it waits for, or 0: for the word at its first argument
    told: int  # whether the kernel knows that it sleeps in this call
    rip: int  # behind the instruction
    rflags: int
    rsp: int
    rdi: int
    rsi: int
    rdx: int
    r10: int
    r8: int
    r9: int
    # what the kernel is to count
    instructions: int
    system_ns: int
    sleeps: int
    reads: int
    writes: int
    bytes_read: int
    bytes_written: int

    _fields_ = fields(__annotations__)


class PipeRecord(ctypes.Structure):
    """A pipe that holds one piece of data at most.  Every field is a uint64."""

    readers: int
    writers: int
    length: int
    data: int  # host address

    _fields_ = fields(__annotations__)


class FastState(ctypes.Structure):
    """What the entry point works on.  Every field is a uint64."""

    trap: int  # host address of the TrapState
    mmu: int  # of the MmuState
    answers: int  # of uint64[CALLS]: by the number of a call its result plus 1, or 0
    costs: int  # of uint64[CALLS]: what a call costs
    system_ns: int  # the clock's
    look_at: int
    answered: int  # calls
    # the clock of the task's CPU time that it asks for
    clocks: int  # whether it is known
    clockid: int
    clock_began: int  # what it says, less the instructions and the time of the kernel; modulo 1 << 64
    # signal handlers
    signals: int  # whether one may return, as no signal is pending
    registers: int  # host address of the SignalRegisters
    self: int  # the process, if it may send itself the signal that is there; else 0
    blocks: int  # what is blocked while its handler runs
    blocked: int  # what is now
    masks: int  # whether it may be changed, as no signal is pending
    # calls of which the work is done later (emu.kernel.latework): the next mapping
    place: int  # where it begins, or 0: nothing is known of it
    length: int  # in bytes, whole pages
    prot: int  # of mmap(2)
    flags: int
    rights: int  # of mprotect(2)
    mapped: int  # whether it has been made
    low: int  # the part of it that has been given these rights
    high: int  # up to there; 0: none has
    # or that mapping is there, and may be unmapped
    stands: int  # whether it may
    unmapped: int  # whether it has been: 1; 2 if a frame had no reference
    pages: int  # how many pages it had then
    guard: int  # below there it has none
    entries: int  # host address of the EntryWork
    flush_page: int  # of tlb_flush_page()
    engine_cpu: int  # its first argument
    faults: int  # host address of the FaultState, or 0: no fault is answered where it has been mapped again
    page_bits: int  # the entry of a page that is written to there, but for its frame
    zeroing: int  # host address of memset()
    # and the one word at which somebody waits
    word: int  # its address, or 0
    woken: int  # how many have been woken
    # the two tasks
    current: int  # host address of the Party that runs; 0 for none
    other: int
    task_size: int
    futexes: int  # whether nobody else waits at any word
    since: int  # when the turn began, in instructions and in the time of the kernel
    system_since: int
    start: int  # the same together, with the iterations of repeated instructions
    turn_end: int
    time_slice: int
    switches: int
    most: int
    instructions: int  # of the vCPU
    vcpu_ns: int
    context_save: int  # host addresses of Unicorn's functions
    context_restore: int
    reg_write: int
    scratch: int  # of two words for that
    windows: int  # and of the engine's first TLB window

    _fields_ = fields(__annotations__)


def place_of(field: str) -> int:
    """Which of its words a field is: Python reads and writes those of a memoryview in a third of the time."""
    offset: int = getattr(FastState, field).offset
    return offset // 8


#: Those that each entry of the engine needs.
SYSTEM_NS, LOOK_AT, ANSWERED, SIGNALS, BLOCKED, MASKS, TASK_SIZE = map(
    place_of, ("system_ns", "look_at", "answered", "signals", "blocked", "masks", "task_size")
)
PLACE, MAPPED, LOW, HIGH, STANDS, UNMAPPED, PAGES, WORD, WOKEN = map(
    place_of, ("place", "mapped", "low", "high", "stands", "unmapped", "pages", "word", "woken")
)

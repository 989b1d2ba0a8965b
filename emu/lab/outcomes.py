"""The native loop of a replay that notes where each access was found, and what its walk read last."""

from __future__ import annotations

import ctypes

from emu.lab.replay_loop import CONTROL_BYTES, RUN_BYTES, Replay, do_control, state_of
from mmu.access import access_once
from mmu.native import entry, load32, load64, native, store8, store64
from mmu.state import MmuState, Status, fields

_KIND = 0xFF


class Notes(ctypes.Structure):
    """Host addresses of arrays with an element for each access."""

    levels: int  # uint8: the TLB level that hit, 0 for none
    slots: int  # uint64: of a walk that found a 4K page, the physical address of the PTE; else 0.  No array: 0
    entries: int  # uint64: that entry

    _fields_ = fields(__annotations__)


@native
def note_some(state: MmuState, runs: int, begin: int, end: int, notes: Notes) -> None:
    """The runs from one number to another, each of one access, on one vCPU."""
    while begin < end:
        at = runs + begin * RUN_BYTES
        status = access_once(state, load64(at), load64(at + 8) & _KIND, False)
        store8(notes.levels + begin, state.last_access.level)
        if notes.slots != 0 and status == Status.OK and state.last_access.walked != 0 and state.walked.level == 1:
            store64(notes.slots + begin * 8, state.slots[1])
            store64(notes.entries + begin * 8, state.walked.leaf)
        begin += 1


@entry("void", Replay, "u64", "u64", "u64", "u64", "u64", Notes)
def replay_noting(replay: Replay, runs: int, begin: int, end: int, controls: int, last: int, notes: Notes) -> None:
    """As emu.lab.replay_loop.replay, for runs of one access each, which are noted."""
    while controls < last:
        at = load32(controls + 16)
        if at > begin:
            note_some(state_of(replay, replay.turn), runs, begin, at, notes)
            begin = at
        word = load64(controls + 16)
        vcpu = (word >> 40) & 0xFF
        do_control(replay, state_of(replay, vcpu), (word >> 32) & 0xFF, vcpu, load64(controls), load64(controls + 8))
        controls += CONTROL_BYTES
    note_some(state_of(replay, replay.turn), runs, begin, end, notes)

"""The native loop of a replay that notes where each access was found."""

from __future__ import annotations

from emu.lab.replay_loop import CONTROL_BYTES, RUN_BYTES, Replay, do_control, state_of
from mmu.access import access_once
from mmu.native import entry, load32, load64, native, store8
from mmu.state import MmuState

_KIND = 0xFF


@native
def note_some(state: MmuState, runs: int, begin: int, end: int, levels: int) -> None:
    """The runs from one number to another, each of one access, on one vCPU."""
    while begin < end:
        at = runs + begin * RUN_BYTES
        access_once(state, load64(at), load64(at + 8) & _KIND, False)
        store8(levels + begin, state.last_access.level)
        begin += 1


@entry("void", Replay, "u64", "u64", "u64", "u64", "u64", "u64")
def replay_noting(replay: Replay, runs: int, begin: int, end: int, controls: int, last: int, levels: int) -> None:
    """As emu.lab.replay_loop.replay, for runs of one access each.  The byte of each in the array ``levels`` becomes the
    TLB level that hit, 0 for none."""
    while controls < last:
        at = load32(controls + 16)
        if at > begin:
            note_some(state_of(replay, replay.turn), runs, begin, at, levels)
            begin = at
        word = load64(controls + 16)
        vcpu = (word >> 40) & 0xFF
        do_control(replay, state_of(replay, vcpu), (word >> 32) & 0xFF, vcpu, load64(controls), load64(controls + 8))
        controls += CONTROL_BYTES
    note_some(state_of(replay, replay.turn), runs, begin, end, levels)

"""Memory that was given up with MADV_FREE goes when memory is short, and only then."""

from __future__ import annotations

from tests.booted import MIB, MakeMachine

TWO = (
    "@p = mmap 2T 40M RW PRIVATE|MAP_FIXED -1 0; @touch p 40M; {advice};"
    "@q = mmap 3T 40M RW PRIVATE|MAP_FIXED -1 0; @touch q 40M; load q; load p; load p+40M-4K"
)


def test_it_makes_room(machine: MakeMachine) -> None:
    booted = machine(64 * MIB)
    assert booted.calls(TWO.format(advice="@madvise p 40M 8")) == ["load = 1", "load = 0", "load = 1"]


def test_what_was_written_again_stays(machine: MakeMachine) -> None:
    booted = machine(64 * MIB)
    assert booted.calls(TWO.format(advice="@madvise p 40M 8; @touch p 4M")) == ["load = 1", "load = 1", "load = 1"]
    booted = machine(64 * MIB)
    lines = booted.calls(TWO.format(advice="@madvise p 40M 8; @touch p 4M").replace("load p;", "load p; load p+4M;"))
    assert lines == ["load = 1", "load = 1", "load = 0", "load = 1"]


def test_droppable_memory_makes_room_though_it_was_written(machine: MakeMachine) -> None:
    booted = machine(64 * MIB)
    assert booted.calls(TWO.format(advice="").replace("PRIVATE|MAP_FIXED", "0x38", 1)) == [
        "load = 1",
        "load = 0",
        "load = 1",
    ]


def test_what_a_child_has_too_stays(machine: MakeMachine) -> None:
    """The child has not given it up."""
    booted = machine(64 * MIB)
    lines = booted.calls(
        "@p = mmap 2T 20M RW PRIVATE|MAP_FIXED -1 0; @touch p 20M; @fork c; @pause; end; @sched_yield;"
        "@madvise p 20M 8; @q = mmap 3T 30M RW PRIVATE|MAP_FIXED -1 0; @touch q 30M; load p; load p+20M-4K;"
        "@kill c 9; @wait c"
    )
    assert lines[-2:] == ["load = 1", "load = 1"]

"""perf_event_open: what only this machine counts, and that everything is given back (the rest is in tests/native)."""

from __future__ import annotations

import errno

import pytest

from emu.linux.errors import LinuxError
from emu.mm.kmem import PERF_COUNTER, TASK_STRUCT
from tests.booted import Booted

_INHERIT, _EXCLUDE_USER = 2, 16
_INSTRUCTIONS, _DTLB_LOADS, _DTLB_MISSES, _FAULTS = (0, 1), (3, 3), (3, 3 | 1 << 16), (1, 2)


def opened(kind: tuple[int, int], bits: int = 0, pid: int = 0, cpu: int = -1) -> str:
    """Statements that open an event, whose descriptor is ``fd``."""
    number, config = kind
    return (
        f"@a = words {number | 64 << 32} {config} 0 0 0 {bits} 0 0; fd = syscall 298 a {pid} {cpu} -1 0; @b = bytes 8"
    )


def value(lines: list[str]) -> int:
    return int(lines[-1].rpartition(" ")[2])


READ = "@read fd b 8; load b"


def test_instructions_are_counted() -> None:
    few = value(Booted().calls(f"{opened(_INSTRUCTIONS)}; {READ}"))
    many = value(Booted().calls(f"{opened(_INSTRUCTIONS)}; repeat 50; @say 1; end; {READ}"))
    assert 0 < few < many
    assert value(Booted().calls(f"{opened(_INSTRUCTIONS, _EXCLUDE_USER)}; {READ}")) == 0


def test_misses_of_the_tlb_are_counted_of_one_task() -> None:
    """64 pages are touched by the task itself, and 64 by a child, which is counted only if it inherits."""
    script = "@p = mmap 0 4M RW ANON -1 0; @touch p 4M; {}; @touch p 4M; @fork c; @touch p 4M; end; @wait c; " + READ
    alone = value(Booted(tlb="skylake-sp").calls(script.format(opened(_DTLB_LOADS))))
    both = value(Booted(tlb="skylake-sp").calls(script.format(opened(_DTLB_LOADS, _INHERIT))))
    assert 0 < alone < both
    machine = Booted(tlb="skylake-sp")
    assert value(machine.calls(script.format(opened(_DTLB_MISSES, _INHERIT)))) > 0


def test_the_tlb_is_counted_in_exact_mode_only() -> None:
    machine = Booted()
    outcome = machine.outcome("calls", opened(_DTLB_MISSES))
    assert outcome.stdout == "fd = ENOENT\n"
    assert "events of the TLB are counted with --tlb only" in machine.logged[0]


def test_a_vcpu_counts_no_faults() -> None:
    machine = Booted()
    outcome = machine.outcome("calls", opened(_FAULTS, pid=-1, cpu=0))
    assert outcome.stdout == "fd = EOPNOTSUPP\n"
    assert "of a task only" in machine.logged[0]
    assert value(Booted().calls(f"{opened(_INSTRUCTIONS, pid=-1, cpu=0)}; {READ}")) > 0


def test_every_counter_is_given_back() -> None:
    machine = Booted()
    child = "@fork c; @fork d; @pause; end; @kill d 9; @wait d; end; @wait c"
    script = f"{opened(_FAULTS, _INHERIT)}; repeat 3; {child}; end; {READ}"
    charged = []
    for _ in range(2):
        machine.calls(script)
        charged.append(machine.kernel.frames.kmem.charged)
    assert charged[0] == charged[1]


def test_a_child_that_cannot_be_counted_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Booted()
    kmem, charge = machine.kernel.frames.kmem, machine.kernel.frames.kmem.charge
    seen: list[int] = []

    def refuse(size: int) -> None:
        seen.append(size)
        if size > TASK_STRUCT and seen.count(PERF_COUNTER):
            raise LinuxError(errno.ENOMEM)
        charge(size)

    monkeypatch.setattr(kmem, "charge", refuse)
    assert machine.calls(f"{opened(_FAULTS, _INHERIT)}; syscall 57; syscall 39")[1] == "syscall = ENOMEM"
    assert len(machine.kernel.tasks) <= 1

"""Huge pages, private and shared, go to swap in parts and come back small; small ones that lie there become huge."""

from __future__ import annotations

import random

import pytest

from emu.testing import GuestMachine

_MIB = 1 << 20
_KINDS = {"private": "PRIVATE|MAP_ANONYMOUS", "shared": "MAP_SHARED|MAP_ANONYMOUS"}


def _machine(memory: int, swap: int = 0) -> GuestMachine:
    machine = GuestMachine(memory, modules={}, record=False, swap=swap)
    machine.kernel.mm_context.thp.enabled = machine.kernel.mm_context.thp.shmem_enabled = "always"
    return machine


@pytest.mark.parametrize("kind", _KINDS)
def test_they_go_and_come_back(kind: str) -> None:
    machine = _machine(32 * _MIB, 16 * _MIB)
    script = f"@p = mmap 2T 4M RW {_KINDS[kind]}|MAP_FIXED -1 0; @touch p 4M; @store p+1M 7; @store p+3M+8 9;"
    lines = f"{script} madvise p 4M 21; load p; load p+1M; load p+3M+8; @store p+1M 8; load p+1M; @munmap p 4M"
    assert machine.run_guest("calls", lines).stdout.split()[2::3] == ["0", "1", "7", "9", "8"]
    events = machine.kernel.mm_context.swap.events
    assert events["pswpout"] == 1024 and events["pswpin"] == 3
    assert machine.kernel.mm_context.thp.events["thp_swpout"] == (2 if kind == "private" else 0)
    assert machine.close() == []


@pytest.mark.parametrize("kind", _KINDS)
def test_they_become_huge_again(kind: str) -> None:
    machine = _machine(32 * _MIB, 16 * _MIB)
    script = f"@p = mmap 2T 2M RW {_KINDS[kind]}|MAP_FIXED -1 0; @touch p 2M; @store p+1M 7; @madvise p 2M 21;"
    result = machine.run_guest("calls", f"{script} madvise p 2M 25; load p; load p+1M; load p+2M-4K; @scan p 2M")
    assert result.stdout.split()[2::3] == ["0", "1", "7", "1"]
    swap = machine.kernel.mm_context.swap
    assert swap.events["pswpin"] == 512 and swap.areas.free == swap.areas.total
    assert machine.close() == []


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_random_programs(kind: str, seed: int) -> None:
    chance, pages = random.Random(seed), 2048
    lines = [f"@p = mmap 2T 8M RW {_KINDS[kind]}|MAP_FIXED -1 0; @touch p 8M"]
    for n in range(60):
        at, number = chance.randrange(pages - 64) * 4096, chance.randrange(1, 64) * 4096
        lines.append(
            chance.choice(
                [
                    f"@store p+{at} {n + 2}; load p+{at}",
                    f"@touch p+{at} {number}",
                    f"load p+{at}; load p+{at + number}",
                    f"@madvise p+{at} {number} 4",
                    f"@mprotect p+{at} {number} PROT_READ; load p+{at}; @mprotect p+{at} {number} RW",
                    f"@madvise p+{at & -0x200000} 2M 25; load p+{at}",
                    f"@fork c; load p+{at}; @store p+{at} {n + 100}; end; @wait c; load p+{at}",
                ]
            )
        )
    lines += [f"load p+{at * 4096}" for at in range(0, pages, 5)]
    script = "; ".join(lines)
    plain = _machine(64 * _MIB)
    expected = plain.run_guest("calls", script).stdout
    assert plain.close() == []
    small = _machine(6 * _MIB, 32 * _MIB)
    result = small.run_guest("calls", script)
    assert (result.stdout, result.status) == (expected, 0)
    assert small.kernel.mm_context.swap.events["pswpin"] > 100
    assert small.close() == []

"""The host's memory: what a machine takes of it is bounded, whatever guests do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import emu.cpu.cpu
import guests
from emu.engine.records import BLOCK_BYTES, TABLE_ENTRIES
from emu.mm import kmem
from tests.booted import MIB, MakeMachine

#: README and --help state it: the reserve for kernel objects, the buffer for translated code, what is known of blocks,
#: and a rest.
CONSTANT, BLOCKS, REST = 352 * MIB, 96 * MIB, 64 * MIB

#: A machine whose constants are small, so that they are soon used up; prints what it took more than when it was new.
CHILD = """
import json, sys
import emu.cpu.cpu, emu.instructions.blocks
from emu.mm import kmem
kind, program, memory, kmem.RESERVE, emu.cpu.cpu.CODE_BUFFER = *sys.argv[1:3], *map(int, sys.argv[3:])
emu.instructions.blocks.MOST_BLOCKS = 4096
from emu.machine import Machine
from msharefs.module import init

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

printed, logged = bytearray(), []
import numpy, mmu.unicorn_proof  # numpy is imported once, when a guest changes many entries

mmu.unicorn_proof.self_test()  # which only the first start runs: its engines are no growth
machine = Machine(memory, stdout=printed.extend, log=logged.append, modules={"msharefs": init})
before = peak()
machine.spawn(program, [kind])
reason = machine.run(timeout_s=60)
took = peak() - before
slab = machine.kernel.frames.kmem.pages << 12
json.dump([took, slab, printed.decode(), "".join(logged), reason.name, machine.audit()], sys.stdout)
"""

MEMORY, RESERVE, CODE_BUFFER, SMALL_REST = 8 * MIB, 1 * MIB, 16 * MIB, 8 * MIB


def hoard(kind: str, most: int) -> tuple[int, int, str]:
    """(bytes more than before the program ran, bytes of memory that objects took, what the program or else the OOM
    killer said last).  More than ``most`` counts only if it is seen three times: what is not bounded is more each time,
    and once in some hundred runs a process's memory has a peak of 10 MiB that no guest has made.
    """
    for _ in range(3):
        found = _hoard(kind)
        if found[0] <= most:
            break
    return found


def _hoard(kind: str) -> tuple[int, int, str]:
    sizes = [str(size) for size in (MEMORY, RESERVE, CODE_BUFFER)]
    command = [sys.executable, "-c", CHILD, kind, str(guests.path("hoard")), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    took, slab, printed, logged, reason, findings = json.loads(done.stdout)
    assert reason in ("EXITED", "IDLE") and not findings, (reason, findings)
    return took, slab, printed or logged


@pytest.mark.parametrize(
    "kind",
    ["vmas", "splits", "unnamed", "descriptors", "tasks", "arguments", "groups", "names", "inodes", "pages", "pipes",
     "writers", "polls", "signals", "locks", "texts", "listings", "regions", "messages", "semaphores", "sockets",
     "posix_timers"],
)  # fmt: skip
def test_objects_of_the_kernel_are_paid_for_with_memory(kind: str) -> None:
    most = MEMORY + RESERVE + SMALL_REST
    took, slab, last = hoard(kind, most)
    assert slab and took <= most
    ends = ("ENOMEM", "an unknown errno")  # ENOLCK
    assert last in [f"{kind}: {end}\n" for end in ends] or last.startswith("out of memory: killed process")


@pytest.mark.parametrize(("kind", "end"), [("files", "ENFILE"), ("memfds", "ENFILE"), ("watches", "ENOSPC")])
def test_what_has_a_limit_of_its_own(kind: str, end: str) -> None:
    most = MEMORY + RESERVE + SMALL_REST
    took, _, printed = hoard(kind, most)
    assert took <= most and printed == f"{kind}: {end}\n"


@pytest.mark.parametrize("kind", ["read_pipes", "timers", "processes", "sendings"])
def test_what_is_over_is_not_kept(kind: str) -> None:
    took, _, printed = hoard(kind, SMALL_REST)
    assert took <= SMALL_REST and printed == f"{kind}: done\n"


@pytest.mark.parametrize("kind", ["code", "blocks"])
def test_code_fills_no_more_than_the_buffer(kind: str) -> None:
    """Code that changes each time, and code that is entered at each of its bytes."""
    most = CODE_BUFFER + SMALL_REST + (TABLE_ENTRIES * BLOCK_BYTES if kind == "blocks" else 0)
    took, _, printed = hoard(kind, most)
    assert took <= most and printed == f"{kind}: done\n"


def test_the_stated_constant_is_the_sum() -> None:
    assert kmem.RESERVE + emu.cpu.cpu.CODE_BUFFER + BLOCKS + REST == CONSTANT
    top = Path(__file__).resolve().parents[2]
    for page in ("README.md", "docs/memory.md"):
        text = (top / page).read_text()
        assert all(f"{size // MIB} MiB" in text for size in (CONSTANT, kmem.RESERVE)), page


@pytest.mark.parametrize("name", ["fpu", "traps", "hello_musl"])
def test_forgetting_blocks_changes_nothing(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    runs = []
    for most in (1 << 17, 16):
        monkeypatch.setattr("emu.instructions.blocks.MOST_BLOCKS", most)
        booted = machine()
        outcome = booted.outcome(name)
        runs.append((outcome, booted.kernel.cpu.clock, booted.kernel.cpu.mmu.counters.page_faults))
    assert runs[0] == runs[1]
    assert len(booted.kernel.cpu.blocks._blocks) <= 16 + 1

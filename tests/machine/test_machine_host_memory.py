"""The host's memory: what a machine takes of it is bounded, whatever guests do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
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

#: For each line that it reads, a kind of hoard and the machine's memory, a process of its own.  Its machine's constants
#: are small, so that they are soon used up; it prints what it took more than when it was new.  All is imported once.
SERVER = """
import importlib, json, os, pkgutil, sys
import numpy.typing, emu.cpu.cpu, emu.instructions.blocks, mmu.unicorn_proof
for room in ("fs", "instructions", "kernel", "mm", "net", "proc", "syscalls"):  # a machine imports some late
    for module in pkgutil.walk_packages(importlib.import_module(f"emu.{room}").__path__, f"emu.{room}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
from emu.mm import kmem
program, kmem.RESERVE, emu.cpu.cpu.CODE_BUFFER = sys.argv[1], *map(int, sys.argv[2:])
emu.instructions.blocks.MOST_BLOCKS = 4096
from emu.machine import Machine
from msharefs.module import init

def peak():  # without the pages of libraries, which come as they are used
    with open("/proc/self/status") as status:
        sizes = dict(line.split(":") for line in status)
    return int(sizes["VmHWM"].split()[0]) - int(sizes["RssFile"].split()[0]) << 10

def hoard(kind, memory):
    printed, logged = bytearray(), []
    machine = Machine(int(memory), stdout=printed.extend, log=logged.append, modules={"msharefs": init})
    before = peak()
    machine.spawn(program, [kind])
    reason = machine.run(timeout_s=60)
    took = peak() - before
    slab = machine.kernel.frames.kmem.pages << 12
    return [took, slab, printed.decode(), "".join(logged), reason.name, machine.audit()]

mmu.unicorn_proof.self_test()  # which only the first start runs: its engines are no growth
for line in sys.stdin:
    if not os.fork():
        print(json.dumps(hoard(*line.split())), flush=True)
        os._exit(0)
    if os.wait()[1]:
        sys.exit("it failed")
"""

MEMORY, RESERVE, CODE_BUFFER, SMALL_REST = 4 * MIB, 1 * MIB, 16 * MIB, 5 * MIB

#: (bytes more than before the program ran, bytes of memory that objects took, what the program or else the OOM killer
#: said last) of a kind of hoard.  More than the second argument counts only if it is seen three times: what is not
#: bounded is more each time, and once in some hundred runs a process's memory has a peak of 10 MiB that no guest made.
Hoard = Callable[..., tuple[int, int, str]]


@pytest.fixture(scope="module")
def hoard() -> Iterator[Hoard]:
    sizes = [str(size) for size in (RESERVE, CODE_BUFFER)]
    command = [sys.executable, "-c", SERVER, str(guests.path("hoard")), *sizes]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as server:
        assert server.stdin and server.stdout
        lines_in, lines_out = server.stdin, server.stdout

        def once(kind: str, memory: int) -> tuple[int, int, str]:
            lines_in.write(f"{kind} {memory}\n")
            took, slab, printed, logged, reason, findings = json.loads(lines_out.readline())
            assert reason in ("EXITED", "IDLE") and not findings, (reason, findings)
            return took, slab, printed or logged

        def of(kind: str, most: int, memory: int = MEMORY) -> tuple[int, int, str]:
            for _ in range(3):
                found = once(kind, memory)
                if found[0] <= most:
                    break
            return found

        yield of
        server.stdin.close()
        assert server.wait(60) == 0


@pytest.mark.parametrize(
    "kind",
    ["vmas", "splits", "unnamed", "descriptors", "tasks", "arguments", "groups", "names", "inodes", "pages", "pipes",
     "writers", "polls", "signals", "locks", "texts", "listings", "regions", "messages", "semaphores", "sockets",
     "posix_timers"],
)  # fmt: skip
def test_objects_of_the_kernel_are_paid_for_with_memory(hoard: Hoard, kind: str) -> None:
    most = MEMORY + RESERVE + SMALL_REST
    took, slab, last = hoard(kind, most)
    assert slab and took <= most
    ends = ("ENOMEM", "an unknown errno")  # ENOLCK
    assert last in [f"{kind}: {end}\n" for end in ends] or last.startswith("out of memory: killed process")


@pytest.mark.parametrize(("kind", "end"), [("files", "ENFILE"), ("memfds", "ENFILE"), ("watches", "ENOSPC")])
def test_what_has_a_limit_of_its_own(hoard: Hoard, kind: str, end: str) -> None:
    memory = 8 * MIB  # or it ends earlier
    most = memory + RESERVE + SMALL_REST
    took, _, printed = hoard(kind, most, memory)
    assert took <= most and printed == f"{kind}: {end}\n"


@pytest.mark.parametrize("kind", ["read_pipes", "timers", "processes", "sendings"])
def test_what_is_over_is_not_kept(hoard: Hoard, kind: str) -> None:
    took, _, printed = hoard(kind, SMALL_REST)
    assert took <= SMALL_REST and printed == f"{kind}: done\n"


@pytest.mark.parametrize("kind", ["code", "blocks"])
def test_code_fills_no_more_than_the_buffer(hoard: Hoard, kind: str) -> None:
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

"""Page faults that are answered natively: nobody can tell them from those that the kernel resolves."""

from __future__ import annotations

import io
import zlib
from dataclasses import asdict, dataclass
from typing import Any

import pytest

import guests
from emu.kernel import fastfaults
from emu.kernel.sched import StopReason
from emu.machine import Machine
from emu.mm import rss
from emu.mm.frames import Coming
from emu.mm.pageflags import FrameKind
from emu.trace.formats.jsonlines import JsonLines
from emu.trace.recorder import Recorder
from emu.trace.selection import EVERYTHING, Selection
from tests.exhaustive import by_default


@dataclass
class Ran:
    """All that can be seen of a run, and how many faults were answered natively."""

    seen: dict[str, Any]
    answered: int


def run(words: str, *, fast: bool, memory: int = 16 << 20, recorded: Selection | None = None, **kind: Any) -> Ran:
    out, trace = io.BytesIO(), io.BytesIO()
    machine = Machine(memory, stdout=out, stderr=out, engine_fast=fast, **kind)
    guest, *arguments = words.split()
    kernel = machine.kernel
    if recorded is not None:
        kernel.tracer = recorder = Recorder(
            machine, JsonLines(trace.write), command=[], seed=0, version="1", selection=recorded
        )
    task = machine.spawn(guests.path(guest), arguments)
    reason = machine.run(timeout_s=300)
    if recorded is not None:
        recorder.finish()
    frames = kernel.frames
    seen = {
        "ending": (reason, task.exit_code),
        "output": out.getvalue().decode(),
        "audit": machine.audit(),
        "usage": asdict(task.group.usage_with_children()),
        "clock": (kernel.cpu.clock, kernel.cpu.spent, kernel.clock.system_ns, kernel.clock.now_ns()),
        "vcpus": [(vcpu.instructions, vcpu.system_ns, vcpu.switches) for vcpu in kernel.scheduler.vcpus],
        "mmu": kernel.cpu.mmu.counters,
        "kmem": frames.kmem.charged,
        "frames": (frames.used, frames.free, frames.alloc_many(FrameKind.ANON, frames.free).tolist()),
        "memory": zlib.crc32(machine.ram.view),
        "trace": trace.getvalue().splitlines(),
    }
    return Ran(seen, kernel.entry.fast_path.faults.answered)


def compare(words: str, **kind: Any) -> Ran:
    """Run it in both ways."""
    ours, kernels = run(words, fast=True, **kind), run(words, fast=False, **kind)
    assert ours.seen["output"] == kernels.seen["output"]
    assert ours.seen == kernels.seen
    assert kernels.answered == 0
    return ours


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is answered natively that can be."""
    monkeypatch.setattr(fastfaults, "_FEW", 1)
    monkeypatch.setattr(fastfaults, "_PATIENCE", 1)


def test_most_faults_of_a_program_that_touches_new_memory() -> None:
    ran = compare(f"touch_pages {2000 * 4096}")
    assert ran.seen["ending"] == (StopReason.EXITED, 0)
    assert ran.answered > 1750


@pytest.mark.parametrize("seed", range(by_default(2, 4)))
@pytest.mark.parametrize("who", ["alone", "children", "threads"])
def test_pages_touched_by_chance(who: str, seed: int, eager: None) -> None:
    ran = compare(f"touches {who} 60 {seed}")
    assert ran.seen["ending"] == (StopReason.EXITED, 0)
    assert ran.answered > 300


def test_copies_on_write(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    private = from_files = 0
    came = rss.came

    def counted(mm: Any, coming: Coming, number: int, *, copies: int, cached: int) -> None:
        nonlocal private, from_files
        private, from_files = private + copies, from_files + cached
        came(mm, coming, number, copies=copies, cached=cached)

    monkeypatch.setattr(rss, "came", counted)
    compare("touches children 60 0")
    assert private > 10 and from_files > 10


@pytest.mark.parametrize("kind", [{"cpus": 3}, {"cpus": 2, "turn": (1000, 9000)}, {"la57": True}, {"swap": 64 << 20}])
def test_on_other_machines(kind: dict[str, Any], eager: None) -> None:
    assert compare("touches threads 20 9", **kind).answered > 150


def test_until_memory_is_out(eager: None) -> None:
    ran = compare(f"touch_pages {10 << 20}", memory=10 << 20)
    assert ran.seen["ending"][1] == 9
    assert ran.answered > 2000


def test_on_and_on_through_swap(eager: None) -> None:
    ran = compare(f"touch_pages {20 << 20}", memory=10 << 20, swap=32 << 20)
    assert ran.seen["ending"] == (StopReason.EXITED, 0)
    assert ran.answered > 2000


@pytest.mark.parametrize("words", ["touches children 30 0", "touches threads 20 9"])
def test_the_events_are_the_same(words: str, eager: None) -> None:
    ran = compare(words, recorded=EVERYTHING)
    assert ran.answered > 100
    for how in ("demand_zero", "zero_page", "cow"):
        assert any(f'"resolved":"{how}"'.encode() in line for line in ran.seen["trace"]), how


@pytest.mark.parametrize(
    "selection",
    [
        Selection(one_in=3, seed=5),
        Selection(kinds=frozenset({"flush", "accessed_dirty", "switch"})),
        Selection(addresses=range(0x400000, 0x7FF0_0000_0000), levels=frozenset({1})),
    ],
)
def test_and_those_that_are_chosen(selection: Selection, eager: None) -> None:
    ran = compare("touches children 40 1", recorded=selection, cpus=2)
    assert ran.answered > 100 and len(ran.seen["trace"]) > 100

"""A program that runs twice: once the code that the engine generates counts its instructions itself, or in exact mode
has its accesses modelled by our own helpers, and once hooks do that.  Perhaps a third time: then aligned operands are
checked by the hook, too, and blocks cut before them."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from emu.testing import GuestMachine
from emu.trace.formats.jsonlines import JsonLines
from emu.trace.recorder import Recorder
from mmu.model import TlbModel

#: Where a run is cut off that takes longer.
MOST_INSTRUCTIONS = 300_000


class Ran(NamedTuple):
    """All that is seen of a run: each event has the number of instructions that were retired by then."""

    ended: str
    output: tuple[bytes, bytes]
    trace: list[bytes]
    clock: tuple[int, int, int]
    counters: dict[str, Any]
    memory: int
    findings: list[str]
    #: What the TLB model of each processor has counted, and holds.
    tlb: list[Any]
    #: How many blocks count themselves, or how many loads and stores are known to the helpers.
    made: int


def run(
    program: Path,
    arguments: tuple[str, ...] = (),
    *,
    fast: bool,
    guards: bool = True,
    most: int = MOST_INSTRUCTIONS,
    events: bool = True,
    **options: Any,
) -> Ran:
    """Run a program in a machine of its own, with every event recorded, or none; without ``guards`` the hook checks
    operands.
    """
    machine = GuestMachine(
        record=False, engine_fast=fast, max_instructions=most, timeout_s=600,
        **{"modules": {}, "memory": 16 << 20, **options},
    )  # fmt: skip
    if not guards:
        machine.kernel.cpu.blocks.guard = None
    trace = list[bytes]()
    if events:
        recorder = Recorder(machine, JsonLines(trace.append), command=[], seed=0, version="")
        machine.kernel.tracer = recorder
    machine.kernel.vfs.mkdir("/tmp/guest", 0o755)
    task = machine.spawn(machine.install(program, f"/bin/{program.stem}"), arguments, in_guest=True, cwd="/tmp/guest")
    try:
        machine.finish()
        ended = str(machine.ending(task))
    except AssertionError as error:  # it goes on for longer
        ended = type(error).__name__
    if events:
        recorder.finish()
    kernel = machine.kernel
    inlining, path = kernel.cpu.inlining, kernel.cpu.mmu.fast_path
    why_not, made = inlining.why_not, inlining.record.made
    if path is not None:
        why_not, made = path.why_not, path.places
        assert not path.missed, path.state()
    assert fast == (not why_not), why_not
    return Ran(
        ended, (bytes(machine.out), bytes(machine.err)), b"".join(trace).splitlines(),
        (kernel.cpu.clock, kernel.cpu.spent, kernel.clock.now_ns()), asdict(kernel.cpu.mmu.counters),
        zlib.crc32(machine.ram.view), machine.audit(), [_modelled(tlb) for tlb in kernel.cpu.mmu.tlbs], made,
    )  # fmt: skip


def _modelled(tlb: TlbModel) -> tuple[Any, ...]:
    return tlb.access_counters(), tlb.array_counters(), tlb.structure_counters(), tlb.places()


def compare(program: Path, arguments: tuple[str, ...] = (), **options: Any) -> Ran:
    """AssertionError where the two ways differ."""
    slow, fast = (run(program, arguments, fast=fast, **options) for fast in (False, True))
    for number, (one, other) in enumerate(zip(slow.trace, fast.trace, strict=False)):
        assert one == other, f"event {number}"
    assert not slow.made
    assert slow == fast._replace(made=0)
    return fast


def compare_guards(program: Path, arguments: tuple[str, ...] = (), **options: Any) -> Ran:
    """AssertionError where it differs from that how the hook checks operands.  What the engine asks the MMU for does
    depend on it: each piece of a block is fetched."""
    fast, pieces = (run(program, arguments, fast=True, guards=guards, **options) for guards in (True, False))
    for number, (one, other) in enumerate(zip(_without_fills(pieces.trace), _without_fills(fast.trace), strict=False)):
        assert one == other, f"event {number} but fills"
    assert pieces._replace(trace=[], counters={}, made=0) == fast._replace(trace=[], counters={}, made=0)
    return fast


def _without_fills(trace: list[bytes]) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in trace]
    return [{**event, "seq": 0} for event in events if event.get("event") not in ("walk", "fill")]

"""System calls that are answered natively: nobody can tell them from those that the kernel does."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from typing import Any

import pytest

import guests
from emu.kernel import fastpairs, fastpath
from emu.kernel.sched import StopReason
from emu.kernel.signal_state import SigInfo
from emu.kernel.task import Task
from emu.kernel.tracer import Tracer
from emu.machine import Machine
from tests.exhaustive import by_default


class Watcher(Tracer):
    """Sees every system call, so that none is answered natively."""

    syscalls = True


@dataclass
class Ran:
    """All that can be seen of a run, and how many calls were answered natively."""

    seen: dict[str, Any]
    answered: int


def run(
    words: str,
    *,
    watched: bool = False,
    prepare: Callable[[Machine], object] | None = None,
    standard_input: str = "",
    **kind: Any,
) -> Ran:
    out = io.BytesIO()
    machine = Machine(16 << 20, stdin=io.BytesIO(standard_input.encode()), stdout=out, stderr=out, **kind)
    if watched:
        machine.kernel.tracer = Watcher()
    if prepare is not None:
        prepare(machine)
    guest, *arguments = words.split()
    task = machine.spawn(guests.path(guest), arguments)
    reason = machine.run(timeout_s=100)
    kernel = machine.kernel
    seen = {
        "ending": (reason, task.exit_code),
        "output": out.getvalue().decode(),
        "audit": machine.audit(),
        "usage": asdict(task.group.usage_with_children()),
        "clock": (kernel.cpu.clock, kernel.clock.system_ns, kernel.clock.now_ns()),
        "vcpus": [(vcpu.instructions, vcpu.system_ns, vcpu.switches) for vcpu in kernel.scheduler.vcpus],
        "mmu": kernel.cpu.mmu.counters,
        "kmem": kernel.frames.kmem.charged,
        "memory": zlib.crc32(machine.ram.view),
    }
    return Ran(seen, kernel.entry.fast_path.answered)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is answered natively that can be."""
    monkeypatch.setattr(fastpath, "_FEW", 1)
    monkeypatch.setattr(fastpairs, "_TURNS", 1)
    monkeypatch.setattr(fastpairs, "_WORTH", 0)


@pytest.mark.parametrize(
    ("words", "least"),
    [
        ("costs calls 300", 200),
        ("costs clocks 1000", 600),
        ("costs signals 300", 500),
        ("costs pipes 300", 1000),
        ("costs threads 300", 500),
        ("costs joins 200", 500),
        ("getpid_loop 300", 200),
    ],
)
def test_calls_are_answered(words: str, least: int) -> None:
    ours, kernels = run(words), run(words, watched=True)
    assert ours.seen == kernels.seen
    assert ours.answered >= least
    assert kernels.answered == 0


WHO, RARE, SEEDS = ("processes", "threads", "words"), (2, 15, 200), range(4)


@pytest.mark.parametrize(
    ("who", "rare", "seed"),
    by_default(
        [(who, rare, (WHO.index(who) + RARE.index(rare)) % len(SEEDS)) for who in WHO for rare in RARE],
        list(product(WHO, RARE, SEEDS)),
    ),
)
def test_whatever_comes_between_turns(who: str, rare: int, seed: int, eager: None) -> None:
    words = f"turns {who} 60 {seed} {rare}"
    ours, kernels = run(words, seed=seed), run(words, watched=True, seed=seed)
    assert ours.seen == kernels.seen
    assert ours.seen["ending"] == (StopReason.EXITED, 0)
    assert ours.answered > 20


@pytest.mark.parametrize("seed", range(by_default(2, 6)))
def test_signals_and_what_changes_between_them(seed: int, eager: None) -> None:
    words = f"handlers 150 {seed}"
    ours, kernels = run(words, seed=seed), run(words, watched=True, seed=seed)
    assert ours.seen == kernels.seen
    assert ours.seen["ending"] == (StopReason.EXITED, 0)
    assert ours.answered > 100


@pytest.mark.parametrize("seed", range(by_default(2, 6)))
def test_signal_masks_and_threads(seed: int, eager: None) -> None:
    ours, kernels = run(f"joins 60 {seed}"), run(f"joins 60 {seed}", watched=True)
    assert ours.seen == kernels.seen
    assert ours.seen["ending"] == (StopReason.EXITED, 0)
    assert ours.answered > 20


@pytest.mark.parametrize("kind", [{"cpus": 2}, {"tlb": "skylake-sp"}, {"la57": True}, {"turn": (500, 5000)}])
def test_signal_masks_on_other_machines(kind: dict[str, Any], eager: None) -> None:
    assert run("joins 30 1", **kind).seen == run("joins 30 1", watched=True, **kind).seen


def test_who_is_told_of_signals_is_told_of_each() -> None:
    class Listener(Tracer):
        heard = 0

        def signal(self, task: Task, info: SigInfo) -> None:
            self.heard += 1

    listener = Listener()
    assert run("costs signals 200", prepare=lambda machine: setattr(machine.kernel, "tracer", listener)).answered > 100
    assert listener.heard == 200


def test_three_tasks(eager: None) -> None:
    words = "turns three 60 1 20"
    assert run(words).seen == run(words, watched=True).seen


@pytest.mark.parametrize("words", ["pthreads", "restart", "pipes", "timers", "sysv", "fpu", "traps"])
def test_other_programs(words: str, eager: None) -> None:
    assert run(words).seen == run(words, watched=True).seen


@pytest.mark.parametrize(
    "kind", [{"cpus": 2}, {"tlb": "skylake-sp"}, {"la57": True}, {"turn": 5000}, {"turn": (500, 5000)}]
)
def test_machines_that_switch_otherwise(kind: dict[str, Any], eager: None) -> None:
    for words in ("costs pipes 30", "costs clocks 150", "turns threads 20 1 20", "getpid_loop 30", "handlers 20 1"):
        assert run(words, **kind).seen == run(words, watched=True, **kind).seen


def test_who_watches_each_turn_sees_each() -> None:
    def switches(until: bool) -> tuple[list[int], int]:
        machine, seen = Machine(64 << 20, stdout=io.BytesIO()), []

        def note() -> bool:
            seen.append(machine.kernel.scheduler.switches)
            return False

        machine.spawn(guests.path("costs"), ["pipes", "300"])
        reason = machine.run(note) if until else machine.run(interrupted=note)
        assert reason == StopReason.EXITED
        return seen, machine.kernel.entry.fast_path.answered

    every, answered = switches(until=True)
    assert answered == 0
    assert set(every) == set(range(max(every) + 1))
    some, answered = switches(until=False)
    assert answered > 1000
    assert some[-1] == every[-1]
    assert len(some) < 100


def test_a_machine_that_is_interrupted_goes_on() -> None:
    """However long two tasks wait for each other, the host is asked now and then."""
    machine, asked = Machine(64 << 20, stdout=io.BytesIO()), []

    def interrupted() -> bool:
        asked.append(machine.kernel.scheduler.switches)
        return len(asked) % 20 == 0

    task = machine.spawn(guests.path("costs"), ["pipes", "20000"])
    reasons = [machine.run(interrupted=interrupted)]
    while reasons[-1] == StopReason.CONDITION:
        reasons.append(machine.run(interrupted=interrupted))
    assert reasons[-1] == StopReason.EXITED
    assert len(reasons) > 2
    assert task.exit_code == 0
    assert max(after - before for before, after in pairwise(asked)) <= 1100


def test_a_call_that_a_module_replaces_is_its_own() -> None:
    def replace(machine: Machine) -> None:
        entry = machine.kernel.entry
        getpid = entry.lookup(39)
        assert getpid is not None
        numbers = iter(range(1000, 1_000_000))
        entry.register(getpid._replace(handler=lambda kernel, task: next(numbers)), replace=True)

    assert run("costs calls 300", prepare=replace).seen["ending"][1] != 0  # it wants the same one each time

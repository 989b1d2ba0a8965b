"""Private memory of which nothing is special is mapped, protected and unmapped by a short way: nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import emu.mm.mmap
import emu.mm.mprotect
import emu.syscalls.memory
from emu.kernel.sched import StopReason
from emu.mm import fastentries
from emu.testing import GuestMachine
from tests.exhaustive import by_default
from tests.machine.test_machine_fast_path import Ran, run

_WAYS: tuple[tuple[Any, str], ...] = (
    (emu.syscalls.memory, "map_private"),
    (emu.mm.mprotect, "protect_private"),
    (emu.mm.mmap, "unmap_private"),
)


def _run_both(words: str, monkeypatch: pytest.MonkeyPatch, **kind: Any) -> tuple[Ran, Ran, dict[str, int]]:
    """The run by the short ways, and by the long ones alone; and how often each short way was gone to its end."""
    done = dict.fromkeys((name for _, name in _WAYS), 0)

    def counted(name: str, way: Callable[..., Any]) -> Callable[..., Any]:
        def gone(*arguments: Any) -> Any:
            result = way(*arguments)
            done[name] += bool(result)
            return result

        return gone

    with monkeypatch.context() as patch:
        for module, name in _WAYS:
            patch.setattr(module, name, counted(name, getattr(module, name)))
        short = run(words, **kind)
    with monkeypatch.context() as patch:
        for module, name in _WAYS:
            patch.setattr(module, name, lambda *_: None)
        return short, run(words, **kind), done


@pytest.mark.parametrize("seed", range(by_default(3, 10)))
def test_by_chance(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long, done = _run_both(f"joins 150 {seed}", monkeypatch)
    assert short.seen == long.seen
    assert short.seen["ending"] == (StopReason.EXITED, 0)
    assert min(done.values()) > 20, done


@pytest.mark.parametrize("kind", [{"cpus": 2}, {"tlb": "skylake-sp"}, {"la57": True}])
def test_other_machines(kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    short, long, done = _run_both("joins 80 3", monkeypatch, **kind)
    assert short.seen == long.seen
    assert done["map_private"] > 10


@pytest.mark.parametrize("words", ["pthreads", "many threads 40 20", "touches threads 60 1", "costs mappings 2 50"])
def test_other_programs(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long, _ = _run_both(words, monkeypatch)
    assert short.seen == long.seen


@pytest.mark.parametrize(("page", "others"), [(0, [31]), (5, []), (20, [3, 30]), (31, [0, 7])])
def test_what_has_been_unmapped_cannot_be_reached(
    page: int, others: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where pages were mapped is the engine told to forget them."""
    monkeypatch.setattr(fastentries, "_FEW", 1)
    machine = GuestMachine(memory=32 << 20, modules={})
    stores = "; ".join(f"store {0x1000_0000 + (each << 12)} {each}" for each in sorted({page, *others}))
    mapped = "@p = mmap 0x10000000 128K RW PRIVATE|MAP_ANONYMOUS|MAP_FIXED -1 0"
    at = 0x1000_0000 + (page << 12)
    result = machine.run_guest("calls", f"{mapped}; @munmap p 128K; {mapped}; {stores}; @munmap p 128K; load {at}")
    assert result.stdout.endswith("load = SEGV_MAPERR\n")
    machine.close()

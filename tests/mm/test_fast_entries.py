"""Entries of page tables are cleared and copied natively, and otherwise, and what is left is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emu.mm import fastentries
from emu.mm.entrystate import MOST
from emu.mm.fastentries import FastEntries
from emu.testing import GuestMachine
from tests.mm.random_memory import script

PAGES = "@p = mmap 0x10000000 8192K RW PRIVATE|MAP_ANONYMOUS|MAP_FIXED -1 0; "
FILE = (
    '@f = open "/tmp/f" O_RDWR|O_CREAT 0600; '
    "@ftruncate f 262144; "
    "@s = mmap 0x20000000 256K RW MAP_SHARED|MAP_FIXED f 0; @q = mmap 0x21000000 256K RW PRIVATE|MAP_FIXED f 0; "
)
SCRIPTS: dict[str, str] = {
    "many": PAGES + f"@touch p {(MOST + 8) << 12}; fork c; store p 7; end; @wait c; load p; @munmap p 8192K",
    "just as many": PAGES + f"@touch p {MOST << 12}; fork c; store p 7; end; @wait c; load p; @munmap p 8192K",
    "tables": "; ".join(
        f"@a{n} = mmap {n << 39 | n << 30 | n << 21} 4K RW PRIVATE|MAP_ANONYMOUS|MAP_FIXED -1 0; store a{n} {n}; "
        f"@munmap a{n} 4K"
        for n in (1, 2, 3, 200)
    ),
    "neighbours": PAGES + "@touch p 8192K; @munmap 0x10000000 1M; @munmap 0x10200000 1M; @munmap 0x10100000 1M",
    "a file": FILE
    + "; ".join(f"store {place + (n << 12)} {n}" for place in (0x2000_0000, 0x2100_0000) for n in range(0, 60, 7))
    + "; load 0x20001000; load 0x21002000; fork c; store 0x21003000 5; load 0x20003000; end; @wait c; "
    "@madvise s 256K 4; load s; load 0x20001000; @munmap s 256K; @munmap q 256K; "
    "@s = mmap 0x20000000 256K RW MAP_SHARED|MAP_FIXED f 0; load s; load 0x20001000; @munmap s 256K; load q",
    "left to the end": PAGES
    + "@touch p 64K; "
    + FILE
    + "; ".join(f"store {place + (n << 12)} {n}" for place in (0x2000_0000, 0x2100_0000) for n in range(0, 60, 9))
    + "; load 0x20001000; load 0x21001000; @h = mmap 0x30000000 64K RW PRIVATE|MAP_ANONYMOUS -1 0; store h 1; "
    "fork c; load 0x20001000; store 0x21001000 3; store h 2; load 0x10008000; end; @wait c; load h; load 0x21001000",
    "wiped": PAGES + "@touch p 64K; @madvise p 64K 18; fork c; load p; end; @wait c; load p",
    "guards": PAGES + "@touch p 64K; @madvise 0x10004000 16K 102; fork c; load 0x10008000; end; @wait c; @munmap p 64K",
    **{f"chance {seed}": script(seed) for seed in range(3)},
}


def _state(machine: GuestMachine) -> Any:
    kernel = machine.kernel
    frames = kernel.frames
    order = [frames._freed.pop() for _ in range(min(len(frames._freed), 4000))]
    return (
        frames.counts.tolist(), frames.kinds.tolist(), frames.flags.tolist(), frames.used, order, frames.events,
        kernel.clock.now_ns(), kernel.mm_context.commit.pages, kernel.frames.kmem.charged,
        machine.kernel.cpu.mmu.counters, frames.order.oldest_first(np.ones(frames.total, dtype=bool)).tolist(),
    )  # fmt: skip


def _left(monkeypatch: pytest.MonkeyPatch, text: str, *, natively: bool) -> tuple[Any, int]:
    done: list[object] = []

    def noted(original: Callable[..., Any]) -> Callable[..., Any]:
        def note(*arguments: Any, **keywords: Any) -> Any:
            result = original(*arguments, **keywords)
            done.extend([1] if result else [])
            return result

        return note

    with monkeypatch.context() as patch:
        for limit in ("_FEW", "_NEVER"):  # the latter in reference mode
            patch.setattr(fastentries, limit, 0 if natively else 1 << 62)
        for name in ("clear", "clear_ranges", "copy", "free_tables"):
            patch.setattr(FastEntries, name, noted(getattr(FastEntries, name)))
        machine = GuestMachine(64 << 20, modules={}, record=False)
        try:
            results = [machine.run_guest("calls", text) for _ in range(2)]
            assert [result.status for result in results] == [0, 0], results
            return ([result.stdout for result in results], *_state(machine)), len(done)
        finally:
            assert machine.close() == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_left_is_the_same(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    here, natively = _left(monkeypatch, SCRIPTS[name], natively=True)
    other, not_at_all = _left(monkeypatch, SCRIPTS[name], natively=False)
    assert natively > not_at_all == 0
    assert here[0] == other[0]
    for number, (one, another) in enumerate(zip(here, other, strict=True)):
        assert one == another, number

"""The two modes are one MMU: native code and plain Python (NUMBA_DISABLE_JIT=1) tell the same, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmu import EVENT, EventKind

ROOT = Path(__file__).resolve().parents[2]
SEED = 4711

Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Told]:
    """What traced_guest.py says in (native, reference) mode."""
    directory = tmp_path_factory.mktemp("modes")
    running = []
    for flag in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": flag, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.mmu.traced_guest", str(SEED), str(directory / flag)]
        running.append(subprocess.Popen(command, cwd=ROOT, env=environment))
    assert [process.wait() for process in running] == [0, 0]
    native, reference = (json.loads((directory / flag).read_text()) for flag in ("0", "1"))
    assert (native["mode"], reference["mode"]) == ("native", "reference")
    return native, reference


def events(told: Told) -> np.ndarray[Any, Any]:
    return np.frombuffer(bytes.fromhex(told["guest"]["events"]), dtype=EVENT)


def test_every_event_is_the_same(told: tuple[Told, Told]) -> None:
    native, reference = (events(one) for one in told)
    for ours, theirs in zip(native, reference, strict=False):
        assert ours.tobytes() == theirs.tobytes(), f"native {ours}, reference {theirs}"
    assert len(native) == len(reference)
    assert told[0]["guest"]["lost"] == told[1]["guest"]["lost"] == 0


@pytest.mark.parametrize("what", ["counters", "faults", "failures", "registers", "memory"])
def test_all_else_is_the_same(told: tuple[Told, Told], what: str) -> None:
    native, reference = told
    assert native["guest"][what] == reference["guest"][what]


def test_every_walk_is_the_same(told: tuple[Told, Told]) -> None:
    native, reference = (one["walks"] for one in told)
    for ours, theirs in zip(native, reference, strict=True):
        assert ours == theirs


def test_the_guest_did_everything(told: tuple[Told, Told]) -> None:
    """Two empty lists would be equal too."""
    seen, guest = events(told[0]), told[0]["guest"]
    assert {(EventKind(kind), int(access)) for kind, access in seen[["kind", "access"]].tolist()} >= {
        (kind, access) for kind in (EventKind.FILL, EventKind.WALK, EventKind.FAULT) for access in (0, 1, 2)
    } | {(EventKind.ACCESSED_DIRTY, 1), (EventKind.FLUSH, 0), (EventKind.CR3_LOAD, 0)}
    assert set(seen["cpl"]) == {0, 3}
    assert {0, 1, 2} <= set(seen["level"])
    codes = {code for _, code in guest["faults"]}
    assert {0, 2, 3, 4, 6, 7, 0x11, 0x15} <= codes
    assert len(guest["failures"]) > 3
    assert all(value > 0 for value in guest["counters"].values())
    assert list(seen["seq"]) == list(range(len(seen)))
    kinds = ("#PF", "0x")
    assert all(sum(walk.startswith(kind) for walk in told[0]["walks"]) > 1000 for kind in kinds)

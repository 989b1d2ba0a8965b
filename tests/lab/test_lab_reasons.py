"""Misses of a model by reason, against the model's own counters and lists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emu.cli.main import main
from emu.lab.analysis import analyse
from emu.lab.batch import Op
from emu.lab.reasons import Reasons, array_sets
from emu.lab.simulation import Simulation
from emu.lab.stream import open_stream
from emu.lab.stream_file import facts_of
from mmu.geometry import Array, Geometry, Kinds, PageSizes
from mmu.presets import find_preset
from tests.lab.stacks import Page, SlowTlb, pages_of

ALL = PageSizes.K4 | PageSizes.M2 | PageSizes.G1
#: One way a set for data, so that there are conflicts; level 2 is for everything.
NARROW = Geometry(
    "narrow",
    (
        Array("L1D", 1, Kinds.LOAD | Kinds.STORE, ALL, sets=8, ways=1),
        Array("L1I", 1, Kinds.FETCH, ALL, sets=1, ways=2),
        Array("L2", 2, Kinds.LOAD | Kinds.STORE | Kinds.FETCH, ALL, sets=1, ways=24),
    ),
)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("streams") / "a.parquet")
    assert main(["run", "--record", path, "gups", "128K", "3000"]) == 0
    return path


def reasons_of(stream: str, geometry: Geometry) -> Reasons:
    reasons = Reasons(geometry, int(facts_of(stream)["memory_bytes"]))
    analyse(open_stream(stream), [reasons])
    return reasons


def test_reasons_are_those_of_lists(stream: str) -> None:
    figures = reasons_of(stream, NARROW).finding().figures
    simulation = Simulation([NARROW], int(facts_of(stream)["memory_bytes"]))
    counts = {"cold": 0, "capacity": 0, "invalidation": 0}
    full, kept, seen = SlowTlb(8), SlowTlb(8), set[Page]()
    for batch in open_stream(stream):
        simulation.add(batch)
        controls = [(int(c["at"]), int(c["op"]), int(c["a"])) for c in batch.controls]
        rows = zip(pages_of(batch), batch.kind.tolist(), batch.shift.tolist(), strict=True)
        for at, (page, kind, shift) in enumerate(rows):
            while controls and controls[0][0] <= at:
                _, op, a = controls.pop(0)
                if op == Op.INVALIDATE:
                    full.held = []
                elif op in (Op.PAGE_FAULT, Op.INVLPG):
                    full.held = [held for held in full.held if held.number != a >> 12]
            if kind == 2 or not shift:
                continue
            missed_full, missed_kept = not full.access(page), not kept.access(page)
            if page not in seen:
                counts["cold"] += 1
            elif missed_kept:
                counts["capacity"] += 1  # the model, whose pages are among 8 places, misses whatever 8 places miss ...
            elif missed_full:
                counts["invalidation"] += 1
            seen.add(page)
    data = figures["level 1: L1D"]
    # ... but for accesses where it is lucky, as one that is not LRU may be
    assert counts["cold"] == data["cold"]
    assert counts["capacity"] + counts["invalidation"] == data["capacity"] + data["invalidation"] + data["lucky"]
    assert data["conflict"] > 0 and data["capacity"] > 0 and data["invalidation"] > 0
    assert data["misses"] == sum(data[name] for name in ("cold", "capacity", "conflict", "invalidation"))
    level_1 = simulation.figures()[0]["tlb"]["L1"]["L1D"]
    assert data["misses"] == level_1["installs"]  # an access that faulted installs nothing


def test_a_fully_associative_lru_model_has_no_conflicts(stream: str) -> None:
    figures = reasons_of(stream, find_preset("zen4").geometry).finding().figures
    data = figures["level 1: L1D"]
    assert (data["entries"], data["conflict"], data["lucky"]) == (72, 0, 0) and data["misses"] > 30


def test_arrays_that_hold_the_same_are_one_set() -> None:
    sets = {each.name: pairs for each, pairs in array_sets(NARROW).items()}
    assert sets["level 1: L1D"] == {(kind, shift) for kind in (0, 1) for shift in (12, 21, 30)}
    assert sets["level 2: L2"] == {(kind, shift) for kind in (0, 1, 2) for shift in (12, 21, 30)}


def test_the_command(stream: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "r.json"
    assert main(["tlb", "analyze", "--reasons", "--tlb", "zen4", "--json", str(figures), stream]) == 0
    assert "level 1: L1D" in capsys.readouterr().out
    assert json.loads(figures.read_bytes())["reasons"]["level 1: L1D"]["entries"] == 72


@pytest.mark.parametrize(
    ("words", "told"),
    [([], "--reasons needs --tlb: a preset"), (["--tlb", "zen40"], "analyze --tlb: ")],
)
def test_a_model_is_needed(stream: str, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tlb", "analyze", "--reasons", *words, stream]) == 2
    assert told in capsys.readouterr().err

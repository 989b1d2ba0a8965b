"""The studies of docs/tlb-lab.md: their specifications run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emu.lab.point import point_of, run_point
from emu.lab.spec import read_spec
from tests.docs.pages import ROOT, blocks

STUDIES = sorted((ROOT / "examples" / "lab").glob("*.toml"))


def test_there_are_three() -> None:
    assert len(STUDIES) == 3
    page = (ROOT / "docs" / "tlb-lab.md").read_text("utf-8")
    for study in STUDIES:
        assert f"`unimmu tlb sweep examples/lab/{study.name}`" in page
        assert f"(lab-{study.stem.replace('_', '-')}.svg)" in page


def test_the_page_quotes_one_as_it_is() -> None:
    quoted = next(block.text for block in blocks(ROOT / "docs" / "tlb-lab.md") if block.language == "toml")
    heading, _, text = quoted.partition("\n")
    assert text in (ROOT / heading.removeprefix("# ")).read_text("utf-8")


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_a_point_of_a_study_has_what_is_drawn(study: Path) -> None:
    """The first one, which is the smallest."""
    spec = read_spec(study)
    task = spec.tasks()[0]
    point = point_of(task.words, spec.directory, spec.timeout_s, task.replay, spec.ends)
    outcome = json.loads(run_point(point.to_bytes()))
    assert "figures" in outcome, outcome
    assert all(measure.of(outcome["figures"]) is not None for measure in spec.measures)

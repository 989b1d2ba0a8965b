"""docs/sharing-designs.md has the measured figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.designs.measure import DESIGNS, Design, measure, row

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "sharing-designs.md"


@pytest.mark.parametrize("design", DESIGNS, ids=[design.name for design in DESIGNS])
def test_the_table_is_true(design: Design) -> None:
    assert row(design, measure(design)) in DOCUMENT.read_text(encoding="utf-8").splitlines()

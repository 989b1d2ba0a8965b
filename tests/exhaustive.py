"""How much a run takes of what could go on for long: some cases of each kind, or every one with UNIMMU_EXHAUSTIVE=1."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

EXHAUSTIVE = os.environ.get("UNIMMU_EXHAUSTIVE", "0") not in ("", "0")


def by_default(few: T, whole: T) -> T:
    """``few``, or ``whole`` where every case is wanted: a number of seeds or of steps, or a list of cases."""
    return whole if EXHAUSTIVE else few

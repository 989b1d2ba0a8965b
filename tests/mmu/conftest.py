from __future__ import annotations

import pytest

from tests.mmu.guest import DATA, DATA_PADDR, Guest
from tests.raising import no_garbage, nothing_is_left

__all__ = ["guest", "no_garbage", "nothing_is_left"]


@pytest.fixture
def guest() -> Guest:
    """A guest with one page of data, whose A and D are clear."""
    made = Guest()
    made.tables.map_page(DATA, DATA_PADDR)
    return made

"""The shape of a second dimension of paging: data only, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: EPT has as many levels (SDM vol. 3, 29.3.2).
NESTED_LEVELS = 4


@dataclass(frozen=True)
class Nested:
    """A second dimension of paging.

    ``page_level``: its pages are of 4K (1), 2M (2) or 1G (3).  ``structure_caches`` has by level (2 to 4) how many
    entries the fully associative LRU cache of EPT entries that refer to tables has; ``tlb`` is that of guest-physical
    mappings.
    """

    page_level: int
    structure_caches: Mapping[int, int] = field(default_factory=dict)
    tlb: int = 0


def wrong_in_nested(nested: Nested) -> str | None:
    """What of it cannot be modelled."""
    if not 1 <= nested.page_level <= 3:
        return f"nested: pages of level {nested.page_level}; there are levels 1 to 3"
    for level, entries in nested.structure_caches.items():
        if not 2 <= level <= NESTED_LEVELS:
            return f"nested: there is no structure cache of level {level}"
        if entries < 0:
            return f"nested: a structure cache of {entries} entries"
    return f"nested: a TLB of {nested.tlb} entries" if nested.tlb < 0 else None

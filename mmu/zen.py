"""Which Zen a processor of AMD's is, and what the preset of that Zen assumes of it, where CPUID does not tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmu.cpuid_leaves import AUTHENTIC_AMD, Leaves, family_and_model
from mmu.geometry import Array, Geometry, IndexHash, PageSizes
from mmu.presets import load_preset

#: The last family before Zen.
_BEFORE_ZEN = 0x16
#: Of each family which models are of which Zen, the first that fits (Linux, tools/perf: arch/x86/mapfile.csv).
_MODELS: dict[int, tuple[tuple[tuple[range, ...], int], ...]] = {
    0x17: (((range(0x30),), 1), ((range(0x100),), 2)),
    0x19: (((range(0x10), range(0x20, 0x30), range(0x40, 0x60)), 3), ((range(0x100),), 4)),
    0x1A: (((range(0x30), range(0x40, 0x50), range(0x60, 0x80)), 5),),
}


@dataclass(frozen=True)
class Zen:
    """A processor: which Zen, 1 to 5, and how CPUID leaf 1 says so."""

    number: int
    family: int
    model: int


def zen_of(leaves: Leaves) -> tuple[Zen | None, str | None]:
    """Which Zen it is.  None where it is an older core, or, with a note that says so, where that is not known or no
    preset is of it.
    """
    if (0, 0) not in leaves or (1, 0) not in leaves:
        return None, "CPUID leaf 0 or 1 is missing, and so which Zen it is: no pages are assumed to be coalesced"
    family, model = family_and_model(leaves)
    if leaves[0, 0][1:] == AUTHENTIC_AMD:
        for models, number in _MODELS.get(family, ()):
            if any(model in some for some in models):
                return Zen(number, family, model), None
    if family <= _BEFORE_ZEN:
        return None, None
    return None, f"no preset is of family {family:X}h, model {model:X}h: no pages are assumed to be coalesced"


def with_assumptions(geometry: Geometry, zen: Zen) -> tuple[Geometry, tuple[str, ...]]:
    """What CPUID says of a Zen, with what its preset says besides: which arrays coalesce pages or are skewed, how large
    the paging-structure caches are, what becomes of 1G pages in the second level, and whose events are counted.  Then
    the same in words, of the structure caches last.
    """
    preset = load_preset(f"zen{zen.number}")
    base = preset.name.partition(":")[0]
    arrays = tuple(_as_in(array, preset) for array in geometry.arrays)
    holds_1g = any(array.level == 2 and PageSizes.G1 in array.page_sizes for array in arrays)
    smash_1g = preset.smash_1g and not holds_1g
    coalesced = ", ".join(array.name for array in arrays if array.coalesce > 1)
    skewed = ", ".join(array.name for array in arrays if array.index_hash == IndexHash.SKEWED)
    says = (
        f"family {zen.family:X}h, model {zen.model:X}h is Zen {zen.number}; assumptions, as of the preset {base}, "
        f"because CPUID does not tell: {preset.coalesce} pages of 4K may be one entry ({coalesced}), {skewed} is skewed"
        + (", 1G pages enter the second level as 2M pieces" if smash_1g else ""),
        "CPUID does not tell: replacement (LRU assumed), inclusion (neither assumed)",
        f"paging-structure caches: CPUID does not tell; those of the preset {base}, assumptions too",
    )
    return replace(
        geometry,
        name=f"{geometry.name}, as {base} where CPUID does not tell",
        arrays=arrays,
        structure_caches=preset.structure_caches,
        smash_1g=smash_1g,
        counters=preset.counters,
    ), says


def _as_in(array: Array, preset: Geometry) -> Array:
    """The array, coalescing and skewed as what holds pages of 4K for the same accesses in the preset."""
    for other in preset.arrays:
        alike = (other.level, other.kinds) == (array.level, array.kinds)
        if alike and PageSizes.K4 in array.page_sizes & other.page_sizes:
            return replace(array, coalesce=other.coalesce, index_hash=other.index_hash)
    return array

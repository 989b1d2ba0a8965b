"""The list of VMAs: what it finds is what a search through all of them finds."""

from __future__ import annotations

from random import Random

from emu.linux.mman import Prot
from emu.mm.vma import Vma
from emu.mm.vmalist import VmaList


def _vma(start: int) -> Vma:
    return Vma(start, start + 2, Prot.READ)


def test_an_empty_list_finds_nothing() -> None:
    vmas = VmaList[Vma]()
    assert len(vmas) == 0 and list(vmas) == [] and vmas.at_or_below(5) is None and vmas.above(5) is None
    assert list(vmas.downwards(None)) == list(vmas.downwards(9)) == []


def test_random_changes() -> None:
    """With so many that there are several pieces, and again few."""
    random, vmas, places = Random(5), VmaList[Vma](), dict[int, Vma]()
    for target in (5000, 3, 2500, 0):
        while len(places) != target:
            start = random.randrange(20_000) * 2
            if len(places) < target and start not in places:
                places[start] = _vma(start)
                assert vmas.add(places[start]) == vmas.beside(places[start])
            elif len(places) > target:
                vmas.remove(places.pop(random.choice(list(places)) if target else min(places)))
        _check(vmas, places, random)


def _check(vmas: VmaList[Vma], places: dict[int, Vma], random: Random) -> None:
    ordered = [places[start] for start in sorted(places)]
    assert list(vmas) == ordered and len(vmas) == len(ordered)
    for at in [0, 1, 39_999, 40_001, *(random.randrange(40_000) for _ in range(200))]:
        low, high = [vma for vma in ordered if vma.start <= at], [vma for vma in ordered if vma.start > at]
        assert vmas.at_or_below(at) is (low[-1] if low else None) and vmas.above(at) is (high[0] if high else None)
        assert list(vmas.downwards(at + 1)) == low[::-1]
        end = at + random.randrange(9000)
        assert vmas.between(at, end) == [vma for vma in ordered if at <= vma.start < end]
    assert list(vmas.downwards(None)) == ordered[::-1]
    for index in range(0, len(ordered), 97):
        around = [None, *ordered, None][index : index + 3]
        assert vmas.beside(ordered[index]) == (around[0], around[2])


def test_many_at_once_above_all_others() -> None:
    """As if each had been added singly."""
    vmas, ordered = VmaList[Vma](), [_vma(4 * number) for number in range(3000)]
    for first, last in ((0, 1), (1, 900), (900, 900), (900, 2100), (2100, 3000)):
        vmas.extend(ordered[first:last])
    assert list(vmas) == ordered and len(vmas) == 3000
    for at in (0, 1, 1022, 1023, 1024, 1025, 2047, 2048, 2999):
        below, above = ordered[at - 1] if at else None, ordered[at + 1] if at < 2999 else None
        assert vmas.beside(ordered[at]) == (below, above)
        assert vmas.above(4 * at - 1) is vmas.at_or_below(4 * at + 3) is ordered[at]
        assert vmas.above(4 * at) is above
    vmas.remove_run(ordered[1:2999])
    assert list(vmas) == [ordered[0], ordered[2999]] and vmas.beside(ordered[0]) == (None, ordered[2999])

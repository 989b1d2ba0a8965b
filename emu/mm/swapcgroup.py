"""Swap in control groups: each slot is charged to the group that its page was charged to (mm/swap_cgroup.c).

A page that comes back is charged to that group again, as long as it exists, whoever takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from emu.mm.memcontrol import MemCgroup, sums_of
from mmu.host_array import HostArray
from mmu.late import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from emu.mm.frameusers import Payer
    from emu.mm.freeframes import Frames
    from emu.mm.memcontrol import MemControl
    from emu.mm.swapfile import SwapArea, SwapAreas


class _Group:
    """Somebody for whose group a page is."""

    def __init__(self, group: MemCgroup) -> None:
        self.payer: Callable[[], Any] | None = lambda: group


class SwapCharges:
    """The charges of the slots of a machine."""

    def __init__(self, control: MemControl, areas: SwapAreas) -> None:
        self._control, self._areas = control, areas
        self._owners: dict[SwapArea, HostArray] = {}

    def owners(self, area: SwapArea) -> npt.NDArray[np.uint16]:
        """The number of the group of each slot of an area; 0: the root's."""
        known = self._owners.get(area)
        if known is None:
            self._owners = {each: owners for each, owners in self._owners.items() if each in self._areas.active}
            known = self._owners[area] = HostArray(area.max, "H")
            area.freed = self._uncharge
        return known.array

    # -- out -------------------------------------------------------------------------------------------------------

    def may_go(self) -> npt.NDArray[np.bool_]:
        """Which frames are charged to groups that may have more in swap."""
        full = [group for group in self._control.groups if not group.swap_margin]
        return ~self._control.charged_to(full)

    def room(self, frames: Frames) -> int:
        """How many of these pages, from the first on, may go; a group that has no room for all is told of it."""
        numbers = self._control.owners[frames]
        known = {group.number: group for group in self._control.groups}
        wanted: dict[MemCgroup, int] = {}
        for number, pages in enumerate(np.bincount(numbers).tolist()):
            for each in known[number].chain if number and pages else ():
                wanted[each] = wanted.get(each, 0) + pages
        full = [group for group, pages in wanted.items() if group.swap_usage + pages > group.swap_max]
        if not full:
            return len(frames)
        fits = len(frames)
        for group in full:
            below = np.zeros(1 + max(known), dtype=np.bool_)
            below[[each.number for each in self._control.below(group)]] = True
            inside = np.flatnonzero(below[numbers])
            left = max(0, group.swap_max - group.swap_usage)
            fits = min(fits, int(inside[left])) if left < len(inside) else fits
            group.swap_event("max")
            group.swap_event("fail")
        return fits

    def charge(self, area: SwapArea, offsets: Frames, frames: Frames) -> None:
        """These pages have got slots."""
        numbers = self._control.owners[frames]
        if not numbers.any():
            return
        self.owners(area)[offsets] = numbers
        self._count(numbers, 1)

    def _uncharge(self, area: SwapArea, offsets: Frames) -> None:
        owners = self.owners(area)
        numbers = owners[offsets]
        if numbers.any():
            self._count(numbers, -1)
            owners[offsets] = 0

    def _count(self, numbers: npt.NDArray[np.uint16], sign: int) -> None:
        for number, slots in enumerate(np.bincount(numbers).tolist()):
            if number and slots:
                self._control.numbered(number).add_swap(sign * slots)

    def happened(self, event: str, frames: Frames) -> None:
        """Something has happened to these pages."""
        self._control.happened(event, frames)

    # -- in --------------------------------------------------------------------------------------------------------

    def payer(self, area: SwapArea, offset: int, mm: Payer | None) -> Payer | None:
        """For whom a page comes back (mem_cgroup_swapin_charge_folio)."""
        if area not in self._owners:
            return mm
        number = int(self.owners(area)[offset])
        group = self._control.numbered(number) if number else None
        return mm if group is None or not group.online else _Group(group)

    def check(self) -> Iterator[str]:
        """For the audit: what groups count against the slots that are charged to them."""
        found: dict[int, int] = {}
        for area in self._areas.active:
            if area not in self._owners:
                continue
            for number, slots in enumerate(np.bincount(self.owners(area)).tolist()):
                found[number] = found.get(number, 0) + slots
            free = np.flatnonzero((self.owners(area) != 0) & (area.counts == 0))
            for offset in free.tolist():
                yield f"slot {offset:#x}, which is free, is charged to a group"
        sums = sums_of({group: group.swap_local for group in self._control.groups})
        for group in self._control.groups:
            if group.swap_local != found.get(group.number, 0):
                yield (
                    f"group {group.name} counts {group.swap_local} slots of swap, and {found.get(group.number, 0)} are"
                    " charged to it"
                )
            if group.swap_usage != sums[group]:
                yield f"group {group.name} counts {group.swap_usage} slots here and below, and there are {sums[group]}"

"""Reclaim in one control group: pages of it that can be had again are taken (mm/vmscan.c, shrink_lruvec)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from emu.mm.lazyfree import shrink_lazyfree

if TYPE_CHECKING:
    from emu.mm.context import MmContext
    from emu.mm.memcontrol import MemCgroup, MemControl


def reclaim(
    context: MmContext, control: MemControl, top: MemCgroup, wanted: int, why: str = "direct", *, mapped: bool = True,
    recursive: bool = True,
) -> int:  # fmt: skip
    """Take at least so many pages of a group and of those below, if there are; returns how many were taken.  ``mapped``
    ones only where nobody holds an entry of a table; ``recursive``: memory_recursiveprot.

    What memory.min protects stays, and what memory.low protects is taken only if nothing else is there.
    """
    groups, taken = control.below(top), 0
    least = protections(groups, top, "min", recursive=recursive)
    low = protections(groups, top, "low", recursive=recursive)
    for spare_low in (True, False):
        eligible = [g for g in groups if g is top or (g.usage > least[g] and (not spare_low or g.usage > low[g]))]
        before = {group: group.local for group in groups}
        _take(context, control, eligible, wanted - taken, mapped=mapped)
        for group in eligible:
            stolen = before[group] - group.local
            taken += stolen
            if stolen > 0 and not spare_low and group is not top and low[group]:
                group.event("low")
            for each in group.chain:
                each.stolen[why] += stolen
                each.scanned[why] += stolen
        if taken >= wanted or not any(low.values()):
            break
    return taken


def _take(
    context: MmContext, control: MemControl, groups: list[MemCgroup], wanted: int, *, mapped: bool
) -> None:  # fmt: skip
    among, taken, reclaimer = control.charged_to(groups), 0, context.frames.reclaimer
    if not among.any():
        return
    if reclaimer is not None:
        taken += reclaimer.unmapped(wanted, among)
    if mapped and taken < wanted:
        taken += shrink_lazyfree(context, wanted - taken, among)
    if mapped and taken < wanted and reclaimer is not None:
        taken += reclaimer.mapped(wanted - taken, among)
    if mapped and taken < wanted and context.swapping:
        context.shrink_to_swap(wanted - taken, among)


def protections(groups: list[MemCgroup], top: MemCgroup, name: str, *, recursive: bool) -> dict[MemCgroup, int]:
    """How many pages of each group memory.min or memory.low protects from reclaim in ``top``, which is itself not
    protected (page_counter_calculate_protection).
    """
    if not any(getattr(group, name) for group in groups):
        return dict.fromkeys(groups, 0)
    found: dict[MemCgroup, int] = {}
    claimed: Counter[MemCgroup | None] = Counter()
    for group in groups:
        claimed[group.above] += min(group.usage, getattr(group, name))
    for group in sorted(groups, key=lambda group: group.depth):
        setting, above = getattr(group, name), group.above
        if group is top or above is None:
            found[group] = 0
        elif above is top or above not in found:
            found[group] = setting
        else:
            shares = claimed[above]
            found[group] = _effective(group.usage, above.usage, setting, found[above], shares, recursive=recursive)
    return found


def _effective(usage: int, usage_above: int, setting: int, above: int, siblings: int, *, recursive: bool) -> int:
    """effective_protection()."""
    protected = min(usage, setting)
    if siblings > above:
        return protected * above // siblings
    if recursive and above > siblings and usage_above > siblings and usage > protected:
        protected += (above - siblings) * (usage - protected) // (usage_above - siblings)
    return protected

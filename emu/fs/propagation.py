"""What is mounted inside a mount appears in its peers and its slaves too (fs/pnode.c, sharedsubtree.rst).

Mounts with one number of a group are peers; a mount whose ``master`` is the number of a group is its slave, and may
have peers of its own besides.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from emu.fs.dentry import Dentry, Path
from emu.fs.mount import VfsMount

if TYPE_CHECKING:
    from emu.fs.mount import MountNumber, MountTable


def peers(table: MountTable, group: int) -> list[VfsMount]:
    """The mounts of a group, those of trees in no place included."""
    return [mount for mount in table.everything() if mount.group == group] if group else []


def slaves(table: MountTable, group: int) -> list[VfsMount]:
    """The mounts that hear from a group."""
    return [mount for mount in table.everything() if mount.master == group] if group else []


def leave_groups(table: MountTable, mounts: Iterable[VfsMount]) -> None:
    """Mounts are no peers of their groups any more; the slaves of one that is empty hear from its master
    (change_mnt_propagation).
    """
    masters: dict[int, int] = {}
    for mount in mounts:
        if mount.group:
            masters[mount.group], mount.group = mount.master, 0
    if not masters:
        return
    everything = table.everything()
    for mount in everything:
        masters.pop(mount.group, None)
    for mount in everything if masters else ():
        while mount.master in masters:
            mount.master = masters[mount.master]


def receivers(table: MountTable, mount: VfsMount) -> list[VfsMount]:
    """All in which appears what is mounted in a mount, without itself (propagation_next)."""
    found: list[VfsMount] = []
    pending = [mount.group] if mount.group else []
    seen = {mount}
    while pending:
        group = pending.pop(0)
        for other in (*peers(table, group), *slaves(table, group)):
            if other not in seen:
                seen.add(other)
                found.append(other)
                if other.group not in (0, group):
                    pending.append(other.group)
    return found


def make_shared(table: MountTable, mounts: Iterable[VfsMount]) -> None:
    """Mounts that are in no group get one each (invent_group_ids, set_mnt_shared)."""
    for mount in mounts:
        mount.group = mount.group or table.new_group()
        mount.unbindable = False


def propagate(
    table: MountTable, to: VfsMount, dentry: Dentry, tree: list[VfsMount], *, count_tree: bool
) -> list[list[VfsMount]]:  # fmt: skip
    """Copies of a tree, whose mounts are shared, for all that hear from a mount, each at its place (propagate_mnt).

    ``count_tree``: the tree is new in its namespace too.  LinuxError(ENOSPC): there would be too many mounts.
    """
    made: list[list[VfsMount]] = []
    number = table.number()
    if count_tree and to.ns is not None:
        number.add(len(tree), to.ns)
    _to_group(table, to.group, dentry, tree, {to}, made, number)
    return made


def _to_group(
    table: MountTable, group: int, dentry: Dentry, tree: list[VfsMount], done: set[VfsMount],
    made: list[list[VfsMount]], number: MountNumber,
) -> None:  # fmt: skip
    for peer in peers(table, group):
        _copy_to(peer, dentry, tree, done, made, number, [(mount.group, mount.master) for mount in tree])
    hearing = slaves(table, group)
    for slave in hearing:
        if not slave.group:
            _copy_to(slave, dentry, tree, done, made, number, [(0, mount.group) for mount in tree])
    for other in dict.fromkeys(slave.group for slave in hearing if slave.group not in (0, group)):
        types = [(table.new_group(), mount.group) for mount in tree]
        model = _copies(tree, types)
        _to_group(table, other, dentry, model, done, made, number)


def _copy_to(
    mount: VfsMount, dentry: Dentry, tree: list[VfsMount], done: set[VfsMount], made: list[list[VfsMount]],
    number: MountNumber, types: list[tuple[int, int]],
) -> None:  # fmt: skip
    if mount in done or mount.ns is None or not dentry.is_inside(mount.root):
        return
    done.add(mount)
    number.add(len(tree), mount.ns)
    copies = _copies(tree, types)
    copies[0].at = Path(mount, dentry)
    made.append(copies)


def _copies(tree: list[VfsMount], types: list[tuple[int, int]]) -> list[VfsMount]:
    """A copy of a tree, with other groups and masters."""
    of: dict[VfsMount, VfsMount] = {}
    for original, (group, master) in zip(tree, types, strict=True):
        copy = VfsMount(original.sb, original.source, int(original.flags), None, original.root)
        copy.group, copy.master, copy.locked_flags = group, master, original.locked_flags
        if original.at is not None and original.at.mount in of:
            copy.at = Path(of[original.at.mount], original.at.dentry)
        of[original] = copy
    return list(of.values())


def dominating(table: MountTable, mount: VfsMount, reachable: Iterable[VfsMount]) -> int:
    """The nearest group above a slave of which somebody can be reached (get_dominating_id); 0: none."""
    near = {other.group for other in reachable if other.group}
    group, seen = mount.master, set[int]()
    while group and group not in seen:
        if group in near:
            return group
        seen.add(group)
        group = next((other.master for other in peers(table, group)), 0)
    return 0

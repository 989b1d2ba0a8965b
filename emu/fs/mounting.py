"""Changes of the tree of mounts: bind and move mounts, remounting, what propagates, pivot_root (fs/namespace.c)."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

from emu.fs.dentry import Dentry, Path
from emu.fs.mount import KEPT, MountNamespace, VfsMount
from emu.fs.propagation import leave_groups, make_shared, peers, propagate, receivers
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags
from emu.mm.kmem import MOUNT

if TYPE_CHECKING:
    from emu.fs.mount import MountTable
    from emu.fs.superblock import SuperBlock

#: Flags that say what propagates.
PROPAGATION = int(MountFlags.SHARED | MountFlags.PRIVATE | MountFlags.SLAVE | MountFlags.UNBINDABLE)
#: Flags that cannot be cleared in a user namespace that did not set them (MNT_LOCK_*).
_LOCKABLE = MountFlags.RDONLY | MountFlags.NODEV | MountFlags.NOSUID | MountFlags.NOEXEC
_TIMES = MountFlags.NOATIME | MountFlags.NODIRATIME | MountFlags.STRICTATIME


def check_kinds(mounted: Path, at: Path) -> None:
    """A directory is mounted on a directory, and anything else on what is none.  LinuxError(ENOTDIR)."""
    if mounted.inode.is_directory != at.inode.is_directory:
        raise LinuxError(errno.ENOTDIR)


def check_mounted(path: Path, ns: MountNamespace) -> VfsMount:
    """The mount whose root a place is, in the tree of a namespace.  LinuxError(EINVAL)."""
    if path.dentry is not path.mount.root or path.mount.ns is not ns:
        raise LinuxError(errno.EINVAL)
    return path.mount


def clone(table: MountTable, source: Path) -> VfsMount:
    """A mount, in no place yet, of what is at ``source`` (clone_mnt).  LinuxError(ENOMEM)."""
    original = source.mount
    original.sb.resources.kmem.reserve(MOUNT)
    made = VfsMount(original.sb, original.source, int(original.flags), None, source.dentry)
    made.group, made.master, made.unbindable = original.group, original.master, original.unbindable
    made.locked, made.locked_flags = original.locked, original.locked_flags
    return made


def clone_tree(
    table: MountTable, source: Path, *, recursive: bool, unbindable: bool = False
) -> dict[VfsMount, VfsMount]:
    """Copies of the mount at a place and, if so wanted, of those inside, each at its place in the copies (copy_tree);
    of ``unbindable`` ones too.
    """
    top = clone(table, source)
    copies = {source.mount: top}
    if recursive:
        for child in table.tree(source.mount)[1:]:
            at = child.at
            if at is None or at.mount not in copies or (child.unbindable and not unbindable):
                continue
            if at.mount is source.mount and not at.dentry.is_inside(source.dentry):
                continue
            copy = clone(table, child.root_path)
            copy.at = Path(copies[at.mount], at.dentry)
            copies[child] = copy
    return copies


def check_source(table: MountTable, source: Path, ns: MountNamespace, *, recursive: bool) -> None:
    """Whether a place can be mounted elsewhere (do_loopback).  LinuxError(EINVAL)."""
    mount = source.mount
    if mount.unbindable:
        raise LinuxError(errno.EINVAL)
    if mount.ns is not ns and not (mount.internal and mount.sb.bindable):
        raise LinuxError(errno.EINVAL)
    children = table.children(mount)
    if not recursive and any(c.locked and c.at is not None and c.at.dentry.is_inside(source.dentry) for c in children):
        raise LinuxError(errno.EINVAL)


def attach(table: MountTable, mounts: list[VfsMount], at: Path, ns: MountNamespace, *, beneath: bool = False) -> None:
    """Hang a tree of mounts at a place, and copies of it wherever that appears (attach_recursive_mnt); ``beneath`` what
    is mounted there.

    LinuxError(EINVAL, ENOTDIR, ENOENT, ENOSPC).
    """
    top = mounts[0]
    at = at if beneath else table.cross(at)
    if at.mount.ns is not ns:
        raise LinuxError(errno.EINVAL)
    check_kinds(top.root_path, at)
    if at.dentry.deleted:
        raise LinuxError(errno.ENOENT)
    if at.mount.group and any(mount.unbindable for mount in mounts):
        raise LinuxError(errno.EINVAL)
    copies: list[list[VfsMount]] = []
    if at.mount.group:
        make_shared(table, mounts)
        copies = propagate(table, at.mount, at.dentry, mounts, count_tree=True)
    else:
        table.check_number(len(mounts), ns)
    top.at = at
    for tree in (mounts, *copies):
        place = tree[0].at
        assert place is not None, "a tree of mounts has no place"
        space = place.mount.ns
        for mount in tree:
            mount.ns, mount.detached = space, False
        if space is not ns and space is not None and space.user is not ns.user:
            lock_tree(tree)
        covered = table.mounted_on(place)
        for mount in tree:
            table.add(mount)
        if covered is not None:
            table.rehang(covered, tree[0].root_path)
    table.settle()


def lock_tree(tree: list[VfsMount]) -> None:
    """What a user namespace gets from another, it cannot take apart (lock_mnt_tree)."""
    for mount in tree:
        mount.locked_flags |= mount.flags & _LOCKABLE | _TIMES
        mount.locked = mount is not tree[0]


def bind(table: MountTable, source: Path, at: Path, ns: MountNamespace, *, recursive: bool) -> None:
    """MS_BIND (do_loopback)."""
    check_source(table, source, ns, recursive=recursive)
    tree = list(clone_tree(table, source, recursive=recursive).values())
    tree[0].locked = False
    attach(table, tree, at, ns)


def move(table: MountTable, source: Path, at: Path, ns: MountNamespace, *, beneath: bool = False) -> None:
    """MS_MOVE (do_move_mount).  LinuxError(EINVAL, ELOOP, ENOTDIR)."""
    mount = check_mounted(source, ns)
    if mount.at is None or mount.locked:
        raise LinuxError(errno.EINVAL)
    if beneath:
        at = place_beneath(table, at, ns)
    else:
        at = table.cross(at)
    if at.mount.ns is not ns or source.inode.is_directory != at.inode.is_directory:
        raise LinuxError(errno.EINVAL)
    tree = table.tree(mount)
    if mount.at.mount.group or (at.mount.group and any(each.unbindable for each in tree)):
        raise LinuxError(errno.EINVAL)
    above: VfsMount | None = at.mount
    while above is not None:
        if above is mount:
            raise LinuxError(errno.ELOOP)
        above = above.at.mount if above.at is not None else None
    if at.mount.group:
        make_shared(table, tree)
        for copies in propagate(table, at.mount, at.dentry, tree, count_tree=False):
            place = copies[0].at
            assert place is not None, "a copy has no place"
            attach_copies(table, copies, place)
        table.settle()
    covered = table.mounted_on(at)
    table.rehang(mount, at)
    if covered is not None:
        table.rehang(covered, mount.root_path)


def attach_copies(table: MountTable, copies: list[VfsMount], place: Path) -> None:
    """Hang what has propagated beneath what is mounted at its place."""
    covered = table.mounted_on(place)
    for copy in copies:
        copy.ns = place.mount.ns
        table.add(copy)
    if covered is not None:
        table.rehang(covered, copies[0].root_path)


def place_beneath(table: MountTable, at: Path, ns: MountNamespace) -> Path:
    """The place of the mount whose root a place is (can_move_mount_beneath).  LinuxError(EINVAL)."""
    mount = table.cross(at).mount
    if at.dentry is not at.mount.root or mount.at is None or mount.locked or mount.ns is not ns:
        raise LinuxError(errno.EINVAL)
    return mount.at


def set_group(source: Path, target: Path) -> None:
    """MOVE_MOUNT_SET_GROUP: a private mount gets the peers and the master of another (do_set_group).

    LinuxError(EINVAL).
    """
    giver, taker = source.mount, target.mount
    roots = source.dentry is giver.root and target.dentry is taker.root
    if not roots or giver.sb is not taker.sb or not taker.root.is_inside(giver.root):
        raise LinuxError(errno.EINVAL)
    if taker.group or taker.master or not (giver.group or giver.master):
        raise LinuxError(errno.EINVAL)
    taker.group, taker.master, taker.unbindable = giver.group, giver.master, False


def remount(table: MountTable, path: Path, flags: int, options: str, ns: MountNamespace) -> None:
    """MS_REMOUNT: the file system and this mount; with MS_BIND only the mount.

    LinuxError(EINVAL, EBUSY, EACCES), (EPERM) for a flag that is locked.
    """
    mount = check_mounted(path, ns)
    kept = MountFlags(flags & KEPT)
    if not flags & (_TIMES | MountFlags.RELATIME):
        kept |= mount.flags & _TIMES
    check_locked(mount, kept)
    read_only = bool(flags & MountFlags.RDONLY)
    if flags & MountFlags.BIND:
        if read_only and mount.writers:
            raise LinuxError(errno.EBUSY)
    else:
        reconfigure(table, mount.sb, options, read_only)
    mount.flags = kept


def check_locked(mount: VfsMount, flags: MountFlags) -> None:
    """LinuxError(EPERM): a flag that is locked would change (can_change_locked_flags)."""
    locked = mount.locked_flags
    if locked & _LOCKABLE & ~flags or (locked & _TIMES and (mount.flags ^ flags) & _TIMES):
        raise LinuxError(errno.EPERM)


def reconfigure(table: MountTable, sb: SuperBlock, options: str, read_only: bool | None) -> None:
    """Change a file system (reconfigure_super); None leaves it as writable as it is.  LinuxError(EBUSY, EACCES)."""
    if read_only is not None and read_only != sb.read_only:
        same = [other for other in (*table, *table.internal.values()) if other.sb is sb]
        if read_only and any(other.writers for other in same):
            raise LinuxError(errno.EBUSY)
        if sb.never_written:
            raise LinuxError(errno.EACCES)
    sb.remount(options)
    if read_only is not None:
        sb.read_only = read_only


def set_attributes(
    table: MountTable, mount: VfsMount, wanted: int, cleared: int, propagation: int, *, recursive: bool
) -> None:
    """mount_setattr(2): set and clear flags of a mount, and of those inside.  LinuxError(EBUSY, EPERM)."""
    changed = [mount, *(mount.pending or ()), *table.tree(mount)[1:]] if recursive else [mount]
    if wanted & MountFlags.RDONLY and any(each.writers and not each.flags & MountFlags.RDONLY for each in changed):
        raise LinuxError(errno.EBUSY)
    for each in changed:
        check_locked(each, MountFlags(int(each.flags) & ~cleared | wanted))
    for each in changed:
        each.flags = MountFlags(int(each.flags) & ~cleared | wanted)
        if propagation:
            set_propagation(table, each, propagation)


def change_type(table: MountTable, path: Path, flags: int, ns: MountNamespace) -> None:
    """MS_SHARED and its like (do_change_type).  LinuxError(EINVAL)."""
    if path.dentry is not path.mount.root:
        raise LinuxError(errno.EINVAL)
    kind = flags & PROPAGATION
    if flags & ~(PROPAGATION | int(MountFlags.REC | MountFlags.SILENT)) or kind.bit_count() != 1:
        raise LinuxError(errno.EINVAL)
    mount = check_mounted(path, ns)
    for each in table.tree(mount) if flags & MountFlags.REC else [mount]:
        set_propagation(table, each, kind)


def set_propagation(table: MountTable, mount: VfsMount, kind: int) -> None:
    """Change one mount: a slave of nobody is private (change_mnt_propagation)."""
    mount.unbindable = kind == MountFlags.UNBINDABLE
    if kind == MountFlags.SHARED:
        mount.group = mount.group or table.new_group()
        table.settle()
        return
    group = mount.group
    if group:
        leave_groups(table, [mount])
    if kind != MountFlags.SLAVE:
        mount.master = 0
    elif group and peers(table, group):
        mount.master = group


# Taking mounts away


def covered_by(table: MountTable, going: Iterable[VfsMount]) -> dict[VfsMount, None]:
    """The mounts that go with others, as they have appeared with them: those at their places in whatever hears from the
    mounts that they are in, but for those in which something stays that does not cover all (propagate_umount).
    """
    inside = table.numbers_of_children()  # but for those that cover all
    places, hearing, candidates = set[tuple[int, Dentry]](), dict[int, list[VfsMount]](), dict[VfsMount, None]()
    gone = dict.fromkeys(going)
    for mount in gone:
        if mount.at is None:
            continue
        parent, dentry = mount.at
        inside[parent] -= dentry is not parent.root
        if not parent.group or (parent.group, dentry) in places:
            continue
        places.add((parent.group, dentry))
        if parent.group not in hearing:
            hearing[parent.group] = [parent, *receivers(table, parent)]
        for other in hearing[parent.group]:
            each = table.mounted_on(Path(other, dentry))
            if each is not None and each not in gone and not each.locked:
                candidates[each] = None
    found, empty = dict[VfsMount, None](), [each for each in candidates if not inside[each]]
    while empty:
        each = empty.pop()
        found[each] = None
        assert each.at is not None
        parent, dentry = each.at
        if dentry is not parent.root:
            inside[parent] -= 1
            if parent in candidates and not inside[parent]:
                empty.append(parent)
    return found


def take_out(table: MountTable, mounts: Iterable[VfsMount]) -> None:
    """Mounts leave their groups and their tree; what stays and has covered one is then at its place."""
    going = dict.fromkeys(mounts)
    covering = [(table.mounted_on(mount.root_path), mount.at) for mount in going]
    leave_groups(table, going)
    for mount in going:
        table.remove(mount)
    for cover, at in covering:
        if cover is not None and cover not in going:
            while at is not None and at.mount in going:
                at = at.mount.at
            table.rehang(cover, at)


def pivot_root(table: MountTable, root: Path, new: Path, old: Path, ns: MountNamespace) -> None:
    """pivot_root(2): ``new``, the root of a mount, becomes the root, and the old one goes to ``old``.

    LinuxError(EINVAL, EBUSY).
    """
    new_mount, root_mount = new.mount, root.mount
    around = [mount.at.mount for mount in (new_mount, root_mount) if mount.at is not None]
    if any(mount.group for mount in (old.mount, *around)):
        raise LinuxError(errno.EINVAL)
    if root_mount.ns is not ns or new_mount.ns is not ns or new_mount.locked:
        raise LinuxError(errno.EINVAL)
    if new.dentry.deleted:
        raise LinuxError(errno.ENOENT)
    if new_mount is root_mount or old.mount is root_mount:
        raise LinuxError(errno.EBUSY)
    if root.dentry is not root_mount.root or new.dentry is not new_mount.root or new_mount.at is None:
        raise LinuxError(errno.EINVAL)
    if not _beneath(old, new) or not _beneath(new, root):
        raise LinuxError(errno.EINVAL)
    place = root_mount.at
    table.rehang(new_mount, place)
    table.rehang(root_mount, table.cross(old))
    new_mount.locked, root_mount.locked = root_mount.locked, False
    if place is None:
        ns.root = new_mount


def _beneath(path: Path, ancestor: Path) -> bool:
    """Whether a place is the other, or below it, over mounts."""
    while path.mount is not ancestor.mount:
        if path.mount.at is None:
            return False
        path = path.mount.at
    return path.dentry.is_inside(ancestor.dentry)

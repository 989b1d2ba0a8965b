"""Changes of the tree of mounts: bind and move mounts, remounting, what propagates, pivot_root (fs/namespace.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import Path
from emu.fs.mount import KEPT, Propagation, VfsMount
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags
from emu.mm.kmem import MOUNT

if TYPE_CHECKING:
    from emu.fs.superblock import SuperBlock
    from emu.fs.vfs import Vfs

_PROPAGATION = {
    int(MountFlags.SHARED): Propagation.SHARED,
    int(MountFlags.PRIVATE): Propagation.PRIVATE,
    int(MountFlags.SLAVE): Propagation.SLAVE,
    int(MountFlags.UNBINDABLE): Propagation.UNBINDABLE,
}
PROPAGATION = sum(_PROPAGATION)


def check_kinds(mounted: Path, at: Path) -> None:
    """A directory is mounted on a directory, and anything else on what is none.  LinuxError(ENOTDIR)."""
    if mounted.inode.is_directory != at.inode.is_directory:
        raise LinuxError(errno.ENOTDIR)


def check_mounted(path: Path) -> VfsMount:
    """The mount whose root a place is, in the tree.  LinuxError(EINVAL)."""
    if path.dentry is not path.mount.root or path.mount.detached:
        raise LinuxError(errno.EINVAL)
    return path.mount


def clone(vfs: Vfs, source: Path) -> VfsMount:
    """A mount, in no place yet, of what is at ``source`` (clone_mnt).  LinuxError(ENOMEM, EINVAL)."""
    original = source.mount
    if original.propagation is Propagation.UNBINDABLE or original.internal:
        raise LinuxError(errno.EINVAL)
    vfs.resources.kmem.reserve(MOUNT)
    made = VfsMount(original.sb, original.source, int(original.flags), None, source.dentry)
    made.propagation, made.group = original.propagation, original.group
    return made


def clone_tree(vfs: Vfs, source: Path, *, recursive: bool) -> list[VfsMount]:
    """The same with the mounts inside, if so wanted, each at its place in the copies (copy_tree)."""
    top = clone(vfs, source)
    made = [top]
    if recursive:
        copies = {source.mount: top}
        for child in list(vfs.mount_table):
            at = child.at
            if at is None or at.mount not in copies or child.propagation is Propagation.UNBINDABLE:
                continue
            if at.mount is source.mount and not at.dentry.is_inside(source.dentry):
                continue
            copy = clone(vfs, child.root_path)
            copy.at = Path(copies[at.mount], at.dentry)
            copies[child] = copy
            made.append(copy)
    return made


def attach(vfs: Vfs, mounts: list[VfsMount], at: Path) -> None:
    """Hang a tree of mounts at a place (attach_recursive_mnt).  LinuxError(ENOTDIR, ENOENT, ENOSPC)."""
    top = mounts[0]
    at = vfs.mount_table.cross(at)
    check_kinds(top.root_path, at)
    if at.dentry.deleted:
        raise LinuxError(errno.ENOENT)
    vfs.check_number(len(mounts))
    top.at = at
    for mount in mounts:
        mount.detached = False
        vfs.mount_table.add(mount)


def bind(vfs: Vfs, source: Path, at: Path, *, recursive: bool) -> None:
    """MS_BIND (do_loopback)."""
    attach(vfs, clone_tree(vfs, source, recursive=recursive), at)


def move(vfs: Vfs, source: Path, at: Path) -> None:
    """MS_MOVE (do_move_mount).  LinuxError(EINVAL, ELOOP, ENOTDIR)."""
    mount = check_mounted(source)
    if mount.at is None:
        raise LinuxError(errno.EINVAL)
    at = vfs.mount_table.cross(at)
    if source.inode.is_directory != at.inode.is_directory:
        raise LinuxError(errno.EINVAL)
    if mount.at.mount.propagation is Propagation.SHARED:
        raise LinuxError(errno.EINVAL)
    above: VfsMount | None = at.mount
    while above is not None:
        if above is mount:
            raise LinuxError(errno.ELOOP)
        above = above.at.mount if above.at is not None else None
    vfs.mount_table.rehang(mount, at)


def remount(vfs: Vfs, path: Path, flags: int, options: str) -> None:
    """MS_REMOUNT: the file system and this mount; with MS_BIND only the mount.  LinuxError(EINVAL, EBUSY, EACCES)."""
    mount = check_mounted(path)
    read_only = bool(flags & MountFlags.RDONLY)
    if flags & MountFlags.BIND:
        if read_only and mount.writers:
            raise LinuxError(errno.EBUSY)
    else:
        reconfigure(vfs, mount.sb, options, read_only)
    mount.flags = MountFlags(flags & KEPT)


def reconfigure(vfs: Vfs, sb: SuperBlock, options: str, read_only: bool | None) -> None:
    """Change a file system (reconfigure_super); None leaves it as writable as it is.  LinuxError(EBUSY, EACCES)."""
    if read_only is not None and read_only != sb.read_only:
        same = [other for other in (*vfs.mount_table, *vfs.internal_mounts) if other.sb is sb]
        if read_only and any(other.writers for other in same):
            raise LinuxError(errno.EBUSY)
        if sb.never_written:
            raise LinuxError(errno.EACCES)
    sb.remount(options)
    if read_only is not None:
        sb.read_only = read_only


def set_attributes(vfs: Vfs, mount: VfsMount, wanted: int, cleared: int, propagation: int, *, recursive: bool) -> None:
    """mount_setattr(2): set and clear flags of a mount, and of those inside.  LinuxError(EBUSY)."""
    changed = [mount, *(mount.pending or ())] if recursive else [mount]
    if recursive:
        for other in vfs.mount_table:
            if other.at is not None and other.at.mount in changed:
                changed.append(other)
    if wanted & MountFlags.RDONLY and any(each.writers and not each.flags & MountFlags.RDONLY for each in changed):
        raise LinuxError(errno.EBUSY)
    for each in changed:
        each.flags = MountFlags(int(each.flags) & ~cleared | wanted)
        if propagation:
            set_propagation(vfs, each, _PROPAGATION[propagation])


def change_type(vfs: Vfs, path: Path, flags: int) -> None:
    """MS_SHARED and its like (do_change_type).  LinuxError(EINVAL)."""
    mount = check_mounted(path)
    kind = flags & PROPAGATION
    if flags & ~(PROPAGATION | int(MountFlags.REC | MountFlags.SILENT)) or kind not in _PROPAGATION:
        raise LinuxError(errno.EINVAL)
    changed = [mount]
    if flags & MountFlags.REC:
        for other in vfs.mount_table:
            if other.at is not None and other.at.mount in changed:
                changed.append(other)
    for each in changed:
        set_propagation(vfs, each, _PROPAGATION[kind])


def set_propagation(vfs: Vfs, mount: VfsMount, kind: Propagation) -> None:
    """Change one mount: a slave of nobody is private."""
    if kind is Propagation.SLAVE:
        peers = [other for other in vfs.mount_table if other.group == mount.group and other is not mount]
        if not mount.group or not peers:
            kind = Propagation.PRIVATE
    if kind is Propagation.SHARED:
        mount.group = mount.group or vfs.mount_table.new_group()
    elif kind is not Propagation.SLAVE:
        mount.group = 0
    mount.propagation = kind


def pivot_root(vfs: Vfs, root: Path, new: Path, old: Path) -> None:
    """pivot_root(2): ``new``, the root of a mount, becomes the root, and the old one goes to ``old``.

    LinuxError(EINVAL, EBUSY).
    """
    table = vfs.mount_table
    new_mount, root_mount = new.mount, root.mount
    if Propagation.SHARED in (old.mount.propagation, root_mount.propagation):
        raise LinuxError(errno.EINVAL)
    if new_mount.at is not None and new_mount.at.mount.propagation is Propagation.SHARED:
        raise LinuxError(errno.EINVAL)
    if new_mount is root_mount or old.mount is root_mount:
        raise LinuxError(errno.EBUSY)
    if root.dentry is not root_mount.root or new.dentry is not new_mount.root or new_mount.at is None:
        raise LinuxError(errno.EINVAL)
    if not _beneath(old, new) or not _beneath(new, root):
        raise LinuxError(errno.EINVAL)
    place = root_mount.at
    table.rehang(new_mount, place)
    table.rehang(root_mount, table.cross(old))
    if place is None:
        vfs.root = new_mount.root_path


def _beneath(path: Path, ancestor: Path) -> bool:
    """Whether a place is the other, or below it, over mounts."""
    while path.mount is not ancestor.mount:
        if path.mount.at is None:
            return False
        path = path.mount.at
    return path.dentry.is_inside(ancestor.dentry)

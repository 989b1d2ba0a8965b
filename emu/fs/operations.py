"""The operations that change names and attributes, after the system call has read its arguments (fs/namei.c)."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from emu.fs import acl
from emu.fs.dentry import Path, d_path
from emu.fs.fileattr import APPEND, IMMUTABLE, check_changeable
from emu.fs.inode import Attributes, NewOwner
from emu.fs.notify import Notice
from emu.linux.capability import CHOWN, FSETID, MKNOD
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MAX_FILE_SIZE, May, RenameFlags
from emu.mm.kmem import NEW_NAME, SLAB_RECLAIMABLE

if TYPE_CHECKING:
    from emu.fs.inode import Inode
    from emu.fs.namei import Last, PathWalk
    from emu.linux.caller import Caller, Credentials

_WRITE_EXEC = int(May.WRITE | May.EXEC)
#: What those who watch files are told.
_ACCESS, _MODIFY, _ATTRIB = int(Notice.ACCESS), int(Notice.MODIFY), int(Notice.ATTRIB)
_CREATE, _DELETE = int(Notice.CREATE), int(Notice.DELETE)
_MOVED_FROM, _MOVED_TO, _MOVE_SELF = int(Notice.MOVED_FROM), int(Notice.MOVED_TO), int(Notice.MOVE_SELF)


def check_may_create(walker: PathWalk, parent: Path) -> None:
    """ENOENT in a removed directory, EACCES without write permission; ENOSPC if there are too many names; ENOMEM."""
    directory = parent.dentry.inode
    if directory.nlink == 0:
        raise LinuxError(errno.ENOENT)
    directory.permission(_WRITE_EXEC, walker.who)
    resources = directory.sb.resources
    if resources.names >= resources.max_names:
        raise LinuxError(errno.ENOSPC)
    resources.kmem.account(SLAB_RECLAIMABLE).reserve(NEW_NAME)


def check_may_delete(walker: PathWalk, parent: Path, victim: Path, want_directory: bool) -> None:
    """Check permission on the directory, its sticky bit, the kind of the victim, and that nothing is mounted on it."""
    directory, inode = parent.dentry.inode, victim.dentry.inode
    directory.permission(_WRITE_EXEC, walker.who)
    if directory.mode & stat.S_ISVTX and walker.who.fsuid != directory.uid and not walker.who.owns(inode.uid):
        raise LinuxError(errno.EPERM)
    if directory.fs_flags & APPEND:
        raise LinuxError(errno.EPERM)
    check_changeable(inode)
    if inode.swapfile:
        raise LinuxError(errno.EPERM)
    if want_directory:
        if not inode.is_directory:
            raise LinuxError(errno.ENOTDIR)
    elif inode.is_directory:
        raise LinuxError(errno.EISDIR)
    if victim.mount is not parent.mount or walker.mounts.is_mountpoint(victim.dentry):
        raise LinuxError(errno.EBUSY)


def new_owner(walker: PathWalk, parent: Path, mode: int) -> NewOwner:
    """Mode (after umask) and owner of something made in ``parent``; a set-group-ID directory passes its group on."""
    directory = parent.dentry.inode
    inherits = directory.mode & stat.S_ISGID
    mode &= 0o7777
    if directory.default_acl is None:
        mode &= ~walker.fs.umask
    else:
        mode = mode & ~0o777 | acl.inherited(directory.default_acl, mode)[1] & 0o777
    if inherits and mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP:
        if not in_group(walker.who, directory.gid):  # mode_strip_sgid()
            mode &= ~stat.S_ISGID
    return NewOwner(mode, walker.who.fsuid, directory.gid if inherits else walker.who.fsgid)


def inherit_acl(parent: Path, made: Inode, mode: int) -> None:
    """What was made with ``mode`` in a directory with a default access list gets a list of its own
    (simple_acl_create).
    """
    default = parent.dentry.inode.default_acl
    if default is not None:
        made.acl = acl.inherited(default, mode)[0]
        if made.is_directory:
            made.default_acl = default


def _free_place(walker: PathWalk, name: str, start: Path | None, directory: bool) -> Last:
    """The place of a new entry: EEXIST if the name is taken, EROFS."""
    last = walker.resolve_last(name, start)
    if not last.normal or walker.lookup_or_none(last.parent, last.name) is not None:
        raise LinuxError(errno.EEXIST)
    if last.slash and not directory:
        raise LinuxError(errno.ENOENT)
    last.parent.mount.want_write()
    return last


def _place_for_new(walker: PathWalk, name: str, start: Path | None, kind: int) -> Last:
    """:func:`_free_place`, with a check of the permission to make an entry of a kind (S_IFMT) there."""
    last = _free_place(walker, name, start, kind == stat.S_IFDIR)
    if walker.who.landlock is not None:
        walker.who.landlock.check_make(last.parent, kind)
    check_may_create(walker, last.parent)
    return last


def mkdir(walker: PathWalk, name: str, mode: int, start: Path | None = None) -> None:
    """Make a directory."""
    last = _place_for_new(walker, name, start, stat.S_IFDIR)
    owner = new_owner(walker, last.parent, mode & 0o1777)
    if last.parent.dentry.inode.mode & stat.S_ISGID:
        owner = owner._replace(mode=owner.mode | stat.S_ISGID)
    inherit_acl(last.parent, last.parent.dentry.inode.mkdir(last.name, owner), mode)
    last.parent.dentry.inode.notify(_CREATE, last.name, directory=True)


def node_kind(mode: int) -> int:
    """The S_IFMT part of mknod's mode (0 means a regular file); EPERM for a directory, EINVAL for no kind at all."""
    kind = stat.S_IFMT(mode) or stat.S_IFREG
    if kind == stat.S_IFDIR:
        raise LinuxError(errno.EPERM)
    if kind not in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK):
        raise LinuxError(errno.EINVAL)
    return kind


def mknod(walker: PathWalk, name: str, mode: int, rdev: int, start: Path | None = None) -> None:
    """Make a node: a FIFO, a socket name, an empty regular file, or (root only) a device."""
    kind = node_kind(mode)
    last = _place_for_new(walker, name, start, kind)
    directory, owner = last.parent.dentry.inode, new_owner(walker, last.parent, mode)
    if kind == stat.S_IFREG:
        inherit_acl(last.parent, directory.create(last.name, owner), mode)
        directory.notify(_CREATE, last.name)
        return
    if kind in (stat.S_IFCHR, stat.S_IFBLK) and not walker.who.capable(MKNOD):
        raise LinuxError(errno.EPERM)
    made = directory.mknod(last.name, owner, kind, rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0)
    inherit_acl(last.parent, made, mode)
    directory.notify(_CREATE, last.name)


def symlink(walker: PathWalk, target: str, name: str, start: Path | None = None) -> None:
    """Make a symbolic link ``name`` -> ``target``."""
    if not target:
        raise LinuxError(errno.ENOENT)
    last = _place_for_new(walker, name, start, stat.S_IFLNK)
    owner = NewOwner(0o777, *new_owner(walker, last.parent, 0o777)[1:])
    last.parent.dentry.inode.symlink(last.name, owner, target)
    last.parent.dentry.inode.notify(_CREATE, last.name)


def link(walker: PathWalk, old: Path, name: str, start: Path | None = None) -> None:
    """Make a hard link ``name`` to what is at ``old``."""
    last = _free_place(walker, name, start, directory=False)
    if last.parent.mount is not old.mount:
        raise LinuxError(errno.EXDEV)
    inode = old.dentry.inode
    _may_link(walker, inode)
    domain = walker.who.landlock
    if domain is not None:
        domain.check_refer(_directory_of(old), inode, last.parent, None, removes=False)
    check_changeable(inode)
    check_may_create(walker, last.parent)
    if inode.is_directory:
        raise LinuxError(errno.EPERM)
    if inode.nlink == 0 and not inode.linkable:
        raise LinuxError(errno.ENOENT)
    last.parent.dentry.inode.link(last.name, inode)
    if inode.nlink == 1:  # its first name; without names again, it gets no other
        inode.linkable = False
    inode.ctime = inode.sb.now()
    inode.notify(_ATTRIB)
    last.parent.dentry.inode.notify(_CREATE, last.name)


def _directory_of(place: Path) -> Path:
    return place if place.dentry is place.mount.root else Path(place.mount, place.dentry.parent)


def _may_link(walker: PathWalk, inode: Inode) -> None:
    """EPERM for a hard link to another user's file that the caller cannot write, or that is special or set-ID.

    This is fs.protected_hardlinks = 1, which every distribution sets.
    """
    if walker.who.owns(inode.uid):
        return
    set_group_id = inode.mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP
    if not inode.is_regular or inode.mode & stat.S_ISUID or set_group_id:
        raise LinuxError(errno.EPERM)
    try:
        inode.permission(int(May.READ | May.WRITE), walker.who)
    except LinuxError:
        raise LinuxError(errno.EPERM) from None


def readlink(path: Path, caller: Caller[Path]) -> str:
    """The target of a symbolic link; for one that leads straight to a place, the path by which ``caller`` would reach
    it.
    """
    target = path.dentry.inode.get_link(caller)
    return target if isinstance(target, str) else d_path(target, caller.fs.root)


def unlink(walker: PathWalk, name: str, start: Path | None = None) -> None:
    """Remove a name that is no directory."""
    last = walker.resolve_last(name, start)
    if not last.normal:
        raise LinuxError(errno.EISDIR)
    last.parent.mount.want_write()
    victim = walker.lookup(last.parent, last.name)
    if last.slash:
        raise LinuxError(errno.EISDIR if victim.dentry.inode.is_directory else errno.ENOTDIR)
    if walker.who.landlock is not None:
        walker.who.landlock.check_remove(last.parent, directory=False)
    check_may_delete(walker, last.parent, victim, want_directory=False)
    inode = victim.dentry.inode
    last.parent.dentry.inode.unlink(last.name, inode)
    last.parent.dentry.drop(last.name)
    inode.notify(_ATTRIB)
    inode.drop_if_unused()
    last.parent.dentry.inode.notify(_DELETE, last.name)


def rmdir(walker: PathWalk, name: str, start: Path | None = None) -> None:
    """Remove an empty directory."""
    last = walker.resolve_last(name, start)
    if not last.normal:
        raise LinuxError({".": errno.EINVAL, "..": errno.ENOTEMPTY, "": errno.EBUSY}[last.name])
    last.parent.mount.want_write()
    victim = walker.lookup(last.parent, last.name)
    if walker.who.landlock is not None:
        walker.who.landlock.check_remove(last.parent, directory=True)
    check_may_delete(walker, last.parent, victim, want_directory=True)
    last.parent.dentry.inode.rmdir(last.name, victim.dentry.inode)
    last.parent.dentry.drop(last.name)
    victim.dentry.inode.tell_if_gone()
    last.parent.dentry.inode.notify(_DELETE, last.name, directory=True)


def check_rename_flags(flags: int) -> RenameFlags:
    """EINVAL for flags that do not exist or exclude each other."""
    wanted = RenameFlags(flags & 7)
    if flags & ~7 or (wanted & RenameFlags.EXCHANGE and wanted & (RenameFlags.NOREPLACE | RenameFlags.WHITEOUT)):
        raise LinuxError(errno.EINVAL)
    return wanted


def rename(
    walker: PathWalk, old_name: str, new_name: str, old_start: Path | None, new_start: Path | None, flags: int
) -> None:
    """renameat2(2)."""
    wanted = check_rename_flags(flags)
    old, new = walker.resolve_last(old_name, old_start), walker.resolve_last(new_name, new_start)
    if old.parent.mount is not new.parent.mount:
        raise LinuxError(errno.EXDEV)
    if not old.normal:
        raise LinuxError(errno.EBUSY)
    if not new.normal:
        raise LinuxError(errno.EEXIST if wanted & RenameFlags.NOREPLACE else errno.EBUSY)
    old.parent.mount.want_write()
    source = walker.lookup(old.parent, old.name)
    target = walker.lookup_or_none(new.parent, new.name)
    _check_rename(old, new, source, target, wanted)
    if source.mount is not old.parent.mount or (target is not None and target.mount is not new.parent.mount):
        raise LinuxError(errno.EBUSY)
    domain = walker.who.landlock
    if domain is not None:
        there = None if target is None else target.dentry.inode
        swaps = bool(wanted & RenameFlags.EXCHANGE)
        domain.check_refer(old.parent, source.dentry.inode, new.parent, there, removes=True, exchange=swaps)
    if target is not None and target.dentry.inode is source.dentry.inode:
        return
    _check_rename_permission(walker, old, new, source, target, wanted)
    _do_rename(old, new, source.dentry.inode, target, wanted)


def _check_rename(old: Last, new: Last, source: Path, target: Path | None, flags: RenameFlags) -> None:
    """Check existence, trailing slashes, and that no directory is moved into itself."""
    if target is not None and flags & RenameFlags.NOREPLACE:
        raise LinuxError(errno.EEXIST)
    exchange = bool(flags & RenameFlags.EXCHANGE)
    if target is None and exchange:
        raise LinuxError(errno.ENOENT)
    if exchange and target is not None and new.slash and not target.dentry.inode.is_directory:
        raise LinuxError(errno.ENOTDIR)
    if not source.dentry.inode.is_directory and (old.slash or (new.slash and not exchange)):
        raise LinuxError(errno.ENOTDIR)
    if new.parent.dentry.is_inside(source.dentry):
        raise LinuxError(errno.EINVAL)
    if target is not None and old.parent.dentry.is_inside(target.dentry):
        raise LinuxError(errno.EINVAL if exchange else errno.ENOTEMPTY)


def _check_rename_permission(
    walker: PathWalk, old: Last, new: Last, source: Path, target: Path | None, flags: RenameFlags
) -> None:
    inode = source.dentry.inode
    exchange = bool(flags & RenameFlags.EXCHANGE)
    check_may_delete(walker, old.parent, source, inode.is_directory)
    if target is None:
        check_may_create(walker, new.parent)
    else:
        other = target.dentry.inode
        check_may_delete(walker, new.parent, target, other.is_directory if exchange else inode.is_directory)
        if exchange and other.is_directory and new.parent != old.parent:
            other.permission(int(May.WRITE), walker.who)
    if inode.is_directory and new.parent != old.parent:
        # Its ".." entry changes.
        inode.permission(int(May.WRITE), walker.who)


def _do_rename(old: Last, new: Last, inode: Inode, target: Path | None, flags: RenameFlags) -> None:
    old_dentry, new_dentry = old.parent.dentry, new.parent.dentry
    moved = old_dentry.child(old.name, inode)
    old_dentry.inode.rename(old.name, new_dentry.inode, new.name, flags)
    if target is not None and flags & RenameFlags.EXCHANGE:
        moved.exchange(target.dentry)
        _notify_move(old, new, inode)
        _notify_move(new, old, target.dentry.inode)
        return
    if target is not None:
        target.dentry.deleted = True
    moved.move(new_dentry, new.name)
    _notify_move(old, new, inode, None if target is None else target.dentry.inode)
    if target is not None:
        target.dentry.inode.drop_if_unused()


def _notify_move(old: Last, new: Last, inode: Inode, replaced: Inode | None = None) -> None:
    """Those who watch hear of a renaming (fsnotify_move)."""
    resources = inode.sb.resources
    if resources.file_watches:
        cookie = resources.rename_cookie = resources.rename_cookie + 1
        old.parent.dentry.inode.notify(_MOVED_FROM, old.name, cookie=cookie, directory=inode.is_directory)
        new.parent.dentry.inode.notify(_MOVED_TO, new.name, cookie=cookie, directory=inode.is_directory)
        if replaced is not None:
            replaced.notify(_ATTRIB, directory=replaced.is_directory)
        inode.notify(_MOVE_SELF)


# Attributes


def in_group(who: Credentials, gid: int) -> bool:
    """Whether ``who`` belongs to a group, or may act as a member."""
    return who.in_group(gid) or (who.capable_here(FSETID) and who.up("gid", gid) is not None)


def kept_set_ids(inode: Inode, who: Credentials) -> int:
    """The mode without the set-ID bits that a change by ``who`` takes away (setattr_should_drop_suidgid)."""
    mode = inode.mode & 0o7777 & ~stat.S_ISUID
    if mode & stat.S_ISGID and (mode & stat.S_IXGRP or not in_group(who, inode.gid)):
        mode &= ~stat.S_ISGID
    return mode


def remove_privileges(inode: Inode, who: Credentials) -> None:
    """Clear the set-ID bits of a file that is written, unless root writes (file_remove_privs)."""
    if (
        inode.mode & (stat.S_ISUID | stat.S_ISGID)
        and not who.capable_over(FSETID, inode.uid, inode.gid)
        and inode.is_regular
    ):
        mode = kept_set_ids(inode, who)
        if mode != inode.mode & 0o7777:
            inode.setattr(Attributes(mode=mode))


def truncate_path(path: Path, size: int, who: Credentials | None = None) -> None:
    """Set the size of a file for which the caller (None: the kernel) has write permission."""
    inode = path.dentry.inode
    if size < 0:
        raise LinuxError(errno.EINVAL)
    if inode.is_directory:
        raise LinuxError(errno.EISDIR)
    if not inode.is_regular:
        raise LinuxError(errno.EINVAL)
    if size > MAX_FILE_SIZE:
        raise LinuxError(errno.EFBIG)
    path.mount.want_write()
    if inode.fs_flags & APPEND:
        raise LinuxError(errno.EPERM)
    inode.setattr(Attributes(size=size))
    path.notify(_MODIFY)
    if who is not None:
        remove_privileges(inode, who)


def chmod(walker: PathWalk, path: Path, mode: int) -> None:
    """Change the permission bits; only the owner and root may."""
    inode = path.dentry.inode
    path.mount.want_write()
    if inode.is_symlink:
        raise LinuxError(errno.EOPNOTSUPP)
    check_changeable(inode)
    if inode.unchangeable:
        raise LinuxError(errno.EOPNOTSUPP)
    if not walker.who.owns(inode.uid):
        raise LinuxError(errno.EPERM)
    if not in_group(walker.who, inode.gid):
        mode &= ~stat.S_ISGID
    inode.setattr(Attributes(mode=mode & 0o7777))
    path.notify(_ATTRIB)


def chown(walker: PathWalk, path: Path, uid: int | None, gid: int | None) -> None:
    """Change the owner (root) or the group (root, or the owner to its own group); None leaves it."""
    inode = path.dentry.inode
    path.mount.want_write()
    check_changeable(inode)
    if inode.unchangeable:
        raise LinuxError(errno.EOPNOTSUPP)
    who = walker.who
    if not who.capable_over(CHOWN, inode.uid, inode.gid):
        if uid is not None and (who.fsuid != inode.uid or uid != inode.uid):
            raise LinuxError(errno.EPERM)
        if gid is not None and (who.fsuid != inode.uid or not (gid == inode.gid or who.in_group(gid))):
            raise LinuxError(errno.EPERM)
    # A change of owner clears the set-ID bits, even if root makes it.
    mode = None if inode.is_directory or not inode.mode & 0o6000 else kept_set_ids(inode, who)
    if mode not in (None, inode.mode & 0o7777) and not who.owns(inode.uid):
        raise LinuxError(errno.EPERM)
    inode.setattr(Attributes(mode=mode, uid=uid, gid=gid))
    if uid is not None or gid is not None:
        path.notify(_ATTRIB)


def utimes(walker: PathWalk, path: Path, atime: int | None, mtime: int | None, explicit: bool) -> None:
    """Set timestamps (ns); ``explicit`` is False where both are set to now, which needs only write permission."""
    inode = path.dentry.inode
    path.mount.want_write()
    if inode.fs_flags & (IMMUTABLE if not explicit else IMMUTABLE | APPEND):
        raise LinuxError(errno.EPERM)
    if not walker.who.owns(inode.uid):
        if explicit:
            raise LinuxError(errno.EOPNOTSUPP if inode.unchangeable else errno.EPERM)
        inode.permission(int(May.WRITE), walker.who)
    if inode.unchangeable:
        raise LinuxError(errno.EOPNOTSUPP)
    inode.setattr(Attributes(atime=atime, mtime=mtime))
    path.notify(_MODIFY if atime is None else _ACCESS if mtime is None else _ATTRIB)

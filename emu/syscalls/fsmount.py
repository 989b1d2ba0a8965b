"""fsopen, fsconfig, fsmount, fspick, open_tree, move_mount, mount_setattr: mounting step by step."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs import mounting
from emu.fs.dentry import decode_name
from emu.fs.file import File
from emu.fs.fscontext import FsContext, Phase
from emu.fs.mount import VfsMount
from emu.linux.argument import DIRFD, FD, HEX32, INT, SIZE, UINT, Bits, Pointer
from emu.linux.errors import LinuxError
from emu.linux.fileflags import AT_FDCWD, PAGE_SIZE, AtFlags, MountFlags, OpenFlags
from emu.linux.layout import LATE_PATH, STRING, Layout, Opaque
from emu.linux.syscall import DESCRIPTOR, Syscall
from emu.linux.words import Choice
from emu.syscalls.mounts import check_may_mount, check_type
from emu.syscalls.paths import resolve_at

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_EMPTY, _NOFOLLOW, _AUTOMOUNT = int(AtFlags.EMPTY_PATH), int(AtFlags.SYMLINK_NOFOLLOW), int(AtFlags.NO_AUTOMOUNT)
_RECURSIVE, _CLONE, _TREE_CLOEXEC = 0x8000, 1, int(OpenFlags.CLOEXEC)
_FSPICK_CLOEXEC, _FSPICK_NOFOLLOW, _FSPICK_EMPTY = 1, 2, 8
_PARAMETER_MAX, _BINARY_MAX = 256, 1 << 20
_MOVE_F_SYMLINKS, _MOVE_F_EMPTY, _MOVE_T_SYMLINKS, _MOVE_T_EMPTY, _MOVE_GROUP, _MOVE_BENEATH = (
    1, 4, 0x10, 0x40, 0x100, 0x200,
)  # fmt: skip
_MOVE_KNOWN = 0x377
#: MOUNT_ATTR_* and the flags of mount(2) that they are; those of times exclude each other.
_ATTRIBUTES = {
    0x1: MountFlags.RDONLY, 0x2: MountFlags.NOSUID, 0x4: MountFlags.NODEV, 0x8: MountFlags.NOEXEC,
    0x80: MountFlags.NODIRATIME, 0x200000: MountFlags.NOSYMFOLLOW,
}  # fmt: skip
_ATIME, _RELATIME, _NOATIME, _STRICTATIME = 0x70, 0, 0x10, 0x20
_TIMES = {_RELATIME: 0, _NOATIME: int(MountFlags.NOATIME), _STRICTATIME: int(MountFlags.STRICTATIME)}
_KNOWN_ATTRIBUTES = sum(_ATTRIBUTES) | _ATIME
_TIME_FLAGS = int(MountFlags.NOATIME | MountFlags.STRICTATIME)
#: struct mount_attr: to set, to clear, what propagates, a user namespace.
MOUNT_ATTR = Layout("mount_attr", "4Q")


class FsConfig(Choice, prefix="FSCONFIG_"):
    """What fsconfig(2) does."""

    SET_FLAG = 0
    SET_STRING = 1
    SET_BINARY = 2
    SET_PATH = 3
    SET_PATH_EMPTY = 4
    SET_FD = 5
    CMD_CREATE = 6
    CMD_RECONFIGURE = 7
    CMD_CREATE_EXCL = 8


def _text(task: Task, address: int, most: int) -> str:
    """strndup_user().  LinuxError(EFAULT, EINVAL)."""
    try:
        return decode_name(task.mm.read_cstring(address, most))
    except LinuxError as error:
        raise LinuxError(errno.EINVAL if error.errno == errno.ENAMETOOLONG else error.errno) from None


def sys_fsopen(kernel: Kernel, task: Task, name: int, flags: int) -> int:
    """fsopen(2)."""
    check_may_mount(task)
    if flags & ~1:
        raise LinuxError(errno.EINVAL)
    named = _text(task, name, PAGE_SIZE)
    kind = kernel.vfs.filesystems.get(named)
    if kind is None:
        raise LinuxError(errno.ENODEV)
    task.files.check_room()
    return task.files.open(FsContext(kernel.vfs.anon_inode("[fscontext]"), kind), bool(flags & 1))


def sys_fspick(kernel: Kernel, task: Task, dirfd: int, path: int, flags: int) -> int:
    """fspick(2)."""
    check_may_mount(task)
    if flags & ~0xF:
        raise LinuxError(errno.EINVAL)
    how = (_EMPTY if flags & _FSPICK_EMPTY else 0) | (_NOFOLLOW if flags & _FSPICK_NOFOLLOW else 0)
    _, place = resolve_at(kernel, task, dirfd, path, how)
    mount = mounting.check_mounted(place, task.ns.mnt)
    task.files.check_room()
    context = FsContext(kernel.vfs.anon_inode("[fscontext]"), mount.sb.fstype, mount)
    return task.files.open(context, bool(flags & _FSPICK_CLOEXEC))


def _check_config(command: int, key: int, value: int, aux: int) -> None:
    """What each command takes (SYSCALL_DEFINE5(fsconfig))."""
    wrong = {
        FsConfig.SET_FLAG: not key or value or aux,
        FsConfig.SET_STRING: not key or not value or aux,
        FsConfig.SET_BINARY: not key or not value or not 0 < aux <= _BINARY_MAX,
        FsConfig.SET_PATH: not key or not value or (aux != AT_FDCWD and aux < 0),
        FsConfig.SET_PATH_EMPTY: not key or not value or (aux != AT_FDCWD and aux < 0),
        FsConfig.SET_FD: not key or value or aux < 0,
    }
    if command > FsConfig.CMD_CREATE_EXCL:
        raise LinuxError(errno.EOPNOTSUPP)
    if wrong.get(FsConfig(command), key or value or aux):
        raise LinuxError(errno.EINVAL)


def _context(task: Task, fd: int) -> FsContext:
    file = task.files.get(fd)
    if not isinstance(file, FsContext):
        raise LinuxError(errno.EINVAL)
    return file


def sys_fsconfig(kernel: Kernel, task: Task, fd: int, command: int, key: int, value: int, aux: int) -> int:
    """fsconfig(2); no file system here has a parameter that is a file or a path (EINVAL)."""
    if fd < 0:
        raise LinuxError(errno.EINVAL)
    _check_config(command, key, value, aux)
    context = _context(task, fd)
    if command in (FsConfig.CMD_CREATE, FsConfig.CMD_CREATE_EXCL):
        check_may_mount(task)
        check_type(kernel, task, context.kind.name)
        context.create(kernel.vfs.resources)
        if context.sb is not None and not context.sb.active:
            context.sb.user = task.credentials.user_ns
        return 0
    if command == FsConfig.CMD_RECONFIGURE:
        _reconfigure(kernel, context)
        return 0
    name = _text(task, key, _PARAMETER_MAX)
    if command == FsConfig.SET_FLAG:
        context.set(name, None)
    elif command == FsConfig.SET_STRING:
        context.set(name, _text(task, value, _PARAMETER_MAX))
    else:
        raise LinuxError(errno.EINVAL)
    return 0


def _reconfigure(kernel: Kernel, context: FsContext) -> None:
    options, read_only = context.reconfigure()
    assert context.sb is not None, "a file system is configured anew and does not exist"
    mounting.reconfigure(kernel.vfs.mount_table, context.sb, options, read_only)


def _flags_of(attributes: int) -> int:
    """MOUNT_ATTR_* as flags of mount(2).  LinuxError(EINVAL)."""
    if attributes & ~_KNOWN_ATTRIBUTES or attributes & _ATIME not in _TIMES:
        raise LinuxError(errno.EINVAL)
    flags = _TIMES[attributes & _ATIME]
    for attribute, flag in _ATTRIBUTES.items():
        flags |= int(flag) if attributes & attribute else 0
    return flags


def _descriptor(kernel: Kernel, task: Task, mounts: list[VfsMount], cloexec: bool) -> int:
    """A descriptor of a tree of mounts that is in no place; the tree goes with it."""
    task.files.check_room()
    table, top, counted = kernel.vfs.mount_table, mounts[0], list[VfsMount]()
    file = File(top.root_path, int(OpenFlags.PATH))
    try:
        for mount in mounts:
            table.count(mount)
            counted.append(mount)
    except LinuxError:
        file.put()
        for mount in counted:
            mount.release()
        raise
    table.loose.update(dict.fromkeys(mounts))
    top.detached, top.pending = True, mounts[1:]
    return task.files.open(file, cloexec)


def sys_fsmount(kernel: Kernel, task: Task, fd: int, flags: int, attributes: int) -> int:
    """fsmount(2)."""
    check_may_mount(task)
    if flags & ~1:
        raise LinuxError(errno.EINVAL)
    wanted = _flags_of(attributes)
    context = _context(task, fd)
    if context.sb is None:
        raise LinuxError(errno.EINVAL)
    if context.phase is not Phase.AWAITING_MOUNT:
        raise LinuxError(errno.EBUSY)
    kernel.vfs.mount_table.check_number(1, task.ns.mnt)
    made = _descriptor(kernel, task, [VfsMount(context.sb, context.source or "none", wanted, None)], bool(flags & 1))
    context.taken()
    return made


def sys_open_tree(kernel: Kernel, task: Task, dirfd: int, path: int, flags: int) -> int:
    """open_tree(2)."""
    known = _EMPTY | _AUTOMOUNT | _RECURSIVE | _NOFOLLOW | _CLONE | _TREE_CLOEXEC
    if flags & ~known or (flags & _RECURSIVE and not flags & _CLONE):
        raise LinuxError(errno.EINVAL)
    if flags & _CLONE:
        check_may_mount(task)
    _, place = resolve_at(kernel, task, dirfd, path, flags)
    cloexec = bool(flags & _TREE_CLOEXEC)
    if not flags & _CLONE:
        return task.files.open(File(place, int(OpenFlags.PATH)), cloexec)
    table, recursive = kernel.vfs.mount_table, bool(flags & _RECURSIVE)
    mounting.check_source(table, place, task.ns.mnt, recursive=recursive)
    mounts = list(mounting.clone_tree(table, place, recursive=recursive).values())
    return _descriptor(kernel, task, mounts, cloexec)


def sys_open_tree_attr(kernel: Kernel, task: Task, dirfd: int, path: int, flags: int, attr: int, size: int) -> int:
    """open_tree_attr(2); without mapped ids."""
    if not attr and size:
        raise LinuxError(errno.EINVAL)
    descriptor = sys_open_tree(kernel, task, dirfd, path, flags)
    try:
        change = _read_change(task, attr, size) if attr else None
        if change is not None:
            place = task.files.get_any(descriptor).path
            _change_attributes(kernel, task, place, change, recursive=bool(flags & _RECURSIVE))
    except LinuxError:
        task.files.close(descriptor)
        raise
    return descriptor


def sys_move_mount(kernel: Kernel, task: Task, from_fd: int, source: int, to_fd: int, target: int, flags: int) -> int:
    """move_mount(2)."""
    check_may_mount(task)
    if flags & ~_MOVE_KNOWN or flags & (_MOVE_GROUP | _MOVE_BENEATH) == _MOVE_GROUP | _MOVE_BENEATH:
        raise LinuxError(errno.EINVAL)
    table, beneath = kernel.vfs.mount_table, bool(flags & _MOVE_BENEATH)
    how = (_EMPTY if flags & _MOVE_F_EMPTY else 0) | (0 if flags & _MOVE_F_SYMLINKS else _NOFOLLOW)
    _, moved = resolve_at(kernel, task, from_fd, source, how)
    how = (_EMPTY if flags & _MOVE_T_EMPTY else 0) | (0 if flags & _MOVE_T_SYMLINKS else _NOFOLLOW)
    _, place = resolve_at(kernel, task, to_fd, target, how)
    mount = moved.mount
    if task.credentials.landlock is not None:
        task.credentials.landlock.check_topology()
    if flags & _MOVE_GROUP:
        if None in (mount.ns, place.mount.ns):
            raise LinuxError(errno.EINVAL)
        mounting.set_group(moved, place)
    elif mount.detached and mount.pending is not None:
        if moved.dentry is not mount.root or moved.inode.is_directory != place.inode.is_directory:
            raise LinuxError(errno.EINVAL)
        if beneath:
            place = mounting.place_beneath(table, place, task.ns.mnt)
        mounting.attach(table, [mount, *mount.pending], place, task.ns.mnt, beneath=beneath)
        mount.pending = None
    else:
        mounting.move(table, moved, place, task.ns.mnt, beneath=beneath)
    return 0


def sys_mount_setattr(kernel: Kernel, task: Task, dirfd: int, path: int, flags: int, attr: int, size: int) -> int:
    """mount_setattr(2); without mapped ids."""
    if flags & ~(_EMPTY | _RECURSIVE | _NOFOLLOW | _AUTOMOUNT):
        raise LinuxError(errno.EINVAL)
    change = _read_change(task, attr, size)
    if change is not None:
        _, place = resolve_at(kernel, task, dirfd, path, flags & (_EMPTY | _NOFOLLOW))
        _change_attributes(kernel, task, place, change, recursive=bool(flags & _RECURSIVE))
    return 0


def _read_change(task: Task, attr: int, size: int) -> tuple[int, int, int] | None:
    """Flags to set and to clear, and the propagation; None: nothing is to change (wants_mount_setattr)."""
    MOUNT_ATTR.check_size(size)
    check_may_mount(task)
    wanted, cleared, propagation, _ = MOUNT_ATTR.read_sized(task.mm, attr, size)
    if not (wanted or cleared or propagation):
        return None
    set_flags, clear_flags = _changes(wanted, cleared)
    if propagation & ~mounting.PROPAGATION or propagation.bit_count() > 1:
        raise LinuxError(errno.EINVAL)
    return set_flags, clear_flags, propagation


def _change_attributes(
    kernel: Kernel, task: Task, place: Path, change: tuple[int, int, int], *, recursive: bool
) -> None:
    """do_mount_setattr()."""
    mount, table = place.mount, kernel.vfs.mount_table
    if place.dentry is not mount.root or (mount.ns is not task.ns.mnt and mount not in table.loose):
        raise LinuxError(errno.EINVAL)
    mounting.set_attributes(table, mount, *change, recursive=recursive)


def _changes(wanted: int, cleared: int) -> tuple[int, int]:
    """The flags of mount(2) to set and to clear (build_mount_kattr).  LinuxError(EINVAL)."""
    if (wanted | cleared) & ~_KNOWN_ATTRIBUTES:
        raise LinuxError(errno.EINVAL)
    clear_flags = _flags_of(cleared & ~_ATIME)
    if cleared & _ATIME:
        if cleared & _ATIME != _ATIME:
            raise LinuxError(errno.EINVAL)
        clear_flags |= _TIME_FLAGS
    elif wanted & _ATIME:
        raise LinuxError(errno.EINVAL)
    return _flags_of(wanted), clear_flags


_ATTR = Pointer(Opaque("mount_attr"))
_TREE_FLAGS = Bits("", name="OPEN_TREE_*", OPEN_TREE_CLONE=1, OPEN_TREE_CLOEXEC=_TREE_CLOEXEC, AT_RECURSIVE=_RECURSIVE)

TABLE = (
    Syscall(428, "open_tree", sys_open_tree, (DIRFD, LATE_PATH, _TREE_FLAGS), DESCRIPTOR),
    Syscall(429, "move_mount", sys_move_mount, (DIRFD, LATE_PATH, DIRFD, LATE_PATH, HEX32)),
    Syscall(430, "fsopen", sys_fsopen, (STRING, HEX32), DESCRIPTOR),
    Syscall(431, "fsconfig", sys_fsconfig, (FD, UINT, STRING, STRING, INT)),
    Syscall(432, "fsmount", sys_fsmount, (FD, HEX32, HEX32), DESCRIPTOR),
    Syscall(433, "fspick", sys_fspick, (DIRFD, LATE_PATH, HEX32), DESCRIPTOR),
    Syscall(442, "mount_setattr", sys_mount_setattr, (DIRFD, LATE_PATH, HEX32, _ATTR, SIZE)),
    Syscall(467, "open_tree_attr", sys_open_tree_attr, (DIRFD, LATE_PATH, _TREE_FLAGS, _ATTR, SIZE), DESCRIPTOR),
)

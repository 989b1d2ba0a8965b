"""statmount and listmount: mounts by their numbers (fs/namespace.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from emu.fs.dentry import Path, d_path, encode_name
from emu.fs.mount import MountNamespace, VfsMount
from emu.fs.propagation import dominating
from emu.linux.argument import HEX32, SIZE, U64, UINT, Pointer, Scalar
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags, major, minor
from emu.linux.layout import Layout, Opaque
from emu.linux.syscall import NUMBER, Syscall
from emu.syscalls.paths import check_range

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: struct mnt_id_req: size, a descriptor, the mount, a parameter, a namespace; the first version ends before that.
_REQUEST, _FIRST_SIZE = Layout("mnt_id_req", "IIQQQ"), 24
_UNIQUE_ID_OFFSET, _ROOT = 1 << 31, (1 << 64) - 1
_REVERSE, _MOST_IDS = 1, 1_000_000
(
    _SB_BASIC, _MNT_BASIC, _PROPAGATE_FROM, _MNT_ROOT, _MNT_POINT, _FS_TYPE, _NS_ID, _OPTIONS, _SUBTYPE, _SOURCE,
    _OPT_ARRAY, _OPT_SEC_ARRAY, _SUPPORTED,
) = (1 << bit for bit in range(13))  # fmt: skip
_ALL = 0x1FFF
#: struct statmount, 512 bytes, without the strings.
STATMOUNT = Layout("statmount", "IIQIIQIIQQIIQQQQQIIQIIIIIIQ4I344x")
_UNIQUE = Scalar("u64", U64)
_ATTRIBUTES = {
    MountFlags.RDONLY: 1, MountFlags.NOSUID: 2, MountFlags.NODEV: 4, MountFlags.NOEXEC: 8, MountFlags.NOATIME: 0x10,
    MountFlags.STRICTATIME: 0x20, MountFlags.NODIRATIME: 0x80, MountFlags.NOSYMFOLLOW: 0x200000,
}  # fmt: skip


def _request(kernel: Kernel, task: Task, address: int) -> tuple[int, int, MountNamespace]:
    """The mount's number, the parameter and the namespace (copy_mnt_id_req).

    LinuxError(E2BIG, EINVAL, ENOENT, EPERM).
    """
    size = UINT.read(task.mm, address)
    _, descriptor, number, parameter, namespace = _REQUEST.read_sized(task.mm, address, size, _FIRST_SIZE)
    if descriptor or number <= _UNIQUE_ID_OFFSET:
        raise LinuxError(errno.EINVAL)
    return number, parameter, _space(kernel, task, namespace)


def _space(kernel: Kernel, task: Task, number: int) -> MountNamespace:
    """The mount namespace of a number; 0: the caller's.  LinuxError(ENOENT, EPERM)."""
    if not number:
        return task.ns.mnt
    for space in (kernel.namespaces.mnt, *kernel.namespaces.others):
        if isinstance(space, MountNamespace) and kernel.namespaces.id_of(space) == number:
            if not task.credentials.capable_in(SYS_ADMIN, space.user):
                raise LinuxError(errno.EPERM)
            return space
    raise LinuxError(errno.ENOENT)


def _mount(kernel: Kernel, ns: MountNamespace, number: int) -> VfsMount:
    for mount in kernel.vfs.mount_table.of(ns):
        if mount.unique_id == number:
            return mount
    raise LinuxError(errno.ENOENT)


def _beneath(mount: VfsMount, place: Path) -> bool:
    """Whether a mount can be reached from a place (is_path_reachable)."""
    path = mount.root_path
    while path.mount is not place.mount:
        if path.mount.at is None:
            return False
        path = path.mount.at
    return path.dentry.is_inside(place.dentry)


def sys_listmount(kernel: Kernel, task: Task, request: int, ids: int, number: int, flags: int) -> int:
    """listmount(2)."""
    if flags & ~_REVERSE:
        raise LinuxError(errno.EINVAL)
    if number > _MOST_IDS:
        raise LinuxError(errno.EOVERFLOW)
    check_range(task.mm, ids, number * 8)
    wanted, last, ns = _request(kernel, task, request)
    if last and last <= _UNIQUE_ID_OFFSET:
        raise LinuxError(errno.EINVAL)
    root = task.fs.root if ns is task.ns.mnt else ns.root.root_path
    above = root if wanted == _ROOT else _mount(kernel, ns, wanted).root_path
    if not task.credentials.capable_in(SYS_ADMIN, ns.user) and not _beneath(above.mount, root):
        raise LinuxError(errno.EPERM)
    found = [mount for mount in kernel.vfs.mount_table.of(ns) if mount.unique_id != wanted and _beneath(mount, above)]
    numbers = sorted((mount.unique_id for mount in found), reverse=bool(flags & _REVERSE))
    if last:
        numbers = [each for each in numbers if (each < last if flags & _REVERSE else each > last)]
    for index, each in enumerate(numbers[:number]):
        _UNIQUE.write(task.mm, ids + 8 * index, each)
    return min(len(numbers), number)


def sys_statmount(kernel: Kernel, task: Task, request: int, buffer: int, size: int, flags: int) -> int:
    """statmount(2)."""
    if flags:
        raise LinuxError(errno.EINVAL)
    wanted, mask, ns = _request(kernel, task, request)
    mount = _mount(kernel, ns, wanted)
    root = task.fs.root if ns is task.ns.mnt else ns.root.root_path
    if not task.credentials.capable_in(SYS_ADMIN, ns.user) and not _beneath(mount, root):
        raise LinuxError(errno.EPERM)
    strings, at = _strings(task, mount, mask)
    filled = mask & (_SB_BASIC | _MNT_BASIC | _PROPAGATE_FROM | _NS_ID | _SUPPORTED) | sum(at)
    others = kernel.namespaces.id_of(ns), _above(kernel, mount, root) if mask & _PROPAGATE_FROM else 0
    data = _pack(mount, mask, filled, at, min(size, STATMOUNT.size + len(strings)), others) + strings
    if strings and size < len(data):
        raise LinuxError(errno.EOVERFLOW)
    task.mm.write(buffer, data[:size])
    return 0


def _above(kernel: Kernel, mount: VfsMount, root: Path) -> int:
    """The nearest group above a slave of which a mount can be reached."""
    table = kernel.vfs.mount_table
    reachable = [] if mount.ns is None else [other for other in table.of(mount.ns) if _beneath(other, root)]
    return dominating(table, mount, reachable)


def _strings(task: Task, mount: VfsMount, mask: int) -> tuple[bytes, dict[int, int]]:
    """The strings that were asked for, and where each begins."""
    options = mount.sb.show_options().lstrip(",")
    texts = {
        _FS_TYPE: mount.sb.fstype.name, _MNT_ROOT: mount.root_name,
        _MNT_POINT: d_path(mount.root_path, task.fs.root), _OPTIONS: options, _SOURCE: mount.source,
    }  # fmt: skip
    joined, at = b"", {}
    for bit, text in texts.items():
        if mask & bit and text:
            joined = joined or b"\0"  # an offset of 0 means no string
            at[bit] = len(joined)
            joined += encode_name(text) + b"\0"
    return joined, at


def _pack(mount: VfsMount, mask: int, filled: int, at: dict[int, int], size: int, others: tuple[int, int]) -> bytes:
    """``others``: the numbers of the namespace, and of the group above that can be reached."""
    sb, parent = mount.sb, mount.at.mount if mount.at is not None else mount
    namespace, above = others
    of_sb = (major(sb.dev), minor(sb.dev), sb.magic, int(sb.read_only)) if mask & _SB_BASIC else (0, 0, 0, 0)
    of_mount = (0,) * 8
    if mask & _MNT_BASIC:
        attributes = sum(bit for flag, bit in _ATTRIBUTES.items() if mount.flags & flag)
        shared, master = mount.group, mount.master
        kind = int(MountFlags.SHARED if shared else 0) | int(MountFlags.SLAVE if master else 0)
        kind = kind or int(MountFlags.UNBINDABLE if mount.unbindable else MountFlags.PRIVATE)
        of_mount = (
            mount.unique_id, parent.unique_id, mount.id, parent.id, attributes, kind, shared, master,
        )  # fmt: skip
    packed: bytes = STATMOUNT.pack(
        size, at.get(_OPTIONS, 0), filled, *of_sb, at.get(_FS_TYPE, 0), *of_mount, above, at.get(_MNT_ROOT, 0),
        at.get(_MNT_POINT, 0), namespace if mask & _NS_ID else 0, 0, at.get(_SOURCE, 0), 0, 0, 0, 0,
        _ALL if mask & _SUPPORTED else 0, 0, 0, 0, 0,
    )  # fmt: skip
    return packed


_REQUEST_POINTER = Pointer(Opaque("mnt_id_req"))
_BUFFER, _IDS = Pointer(Opaque("statmount"), written=True), Pointer(Opaque("u64"), written=True)

TABLE = (
    Syscall(457, "statmount", sys_statmount, (_REQUEST_POINTER, _BUFFER, SIZE, HEX32)),
    Syscall(458, "listmount", sys_listmount, (_REQUEST_POINTER, _IDS, SIZE, HEX32), NUMBER),
)

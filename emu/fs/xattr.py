"""Extended attributes of a place: who may read and set which, and access control lists among them (fs/xattr.c)."""

from __future__ import annotations

import errno
import stat
import struct
from typing import TYPE_CHECKING

from emu.fs import acl
from emu.fs.fileattr import check_changeable
from emu.fs.inode import Attributes
from emu.fs.notify import Notice
from emu.fs.simple_xattr import XATTR_REPLACE, Xattrs
from emu.linux.capability import FSETID, SETFCAP, SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.fileflags import May

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.inode import Inode
    from emu.linux.caller import Credentials

_USER, _TRUSTED, _SECURITY, _SYSTEM = b"user.", b"trusted.", b"security.", b"system."
_PREFIXES = (_USER, _TRUSTED, _SECURITY)
_CAPABILITY = b"security.capability"
#: struct vfs_cap_data: the revision of its two sizes (validheader() of security/commoncap.c).
_CAP_REVISIONS = {20: 0x02000000, 24: 0x03000000}
_REVISION_MASK = 0xFF000000
_WRITE, _READ = int(May.WRITE), int(May.READ)


def _check_permission(inode: Inode, name: bytes, mask: int, who: Credentials) -> None:
    """xattr_permission() of fs/xattr.c."""
    if mask == _WRITE:
        check_changeable(inode)
    if name.startswith((_SECURITY, _SYSTEM)):
        return
    refused = errno.EPERM if mask == _WRITE else errno.ENODATA
    if name.startswith(_TRUSTED):
        if not who.capable(SYS_ADMIN):
            raise LinuxError(refused)
        return
    if name.startswith(_USER):
        if not (inode.is_regular or inode.is_directory):
            raise LinuxError(refused)
        sticky = inode.is_directory and inode.mode & stat.S_ISVTX
        if sticky and mask == _WRITE and not who.owns(inode.uid):
            raise LinuxError(errno.EPERM)
    inode.permission(mask, who)


def _check_kind(inode: Inode, name: bytes) -> None:
    """xattr_resolve_name(): EOPNOTSUPP for a kind of attribute that the file system does not keep, EINVAL without a
    name behind the prefix.
    """
    if inode.sb.keeps_xattrs:
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                if name == prefix:
                    raise LinuxError(errno.EINVAL)
                return
    raise LinuxError(errno.EOPNOTSUPP)


def _check_capability(inode: Inode, value: bytes, who: Credentials) -> None:
    """cap_convert_nscap()."""
    word = struct.unpack_from("<I", value)[0] if len(value) >= 4 else 0
    if word & _REVISION_MASK != _CAP_REVISIONS.get(len(value)):
        raise LinuxError(errno.EINVAL)
    if not who.capable_over(SETFCAP, inode.uid, inode.gid):
        raise LinuxError(errno.EPERM)


def setxattr(path: Path, name: bytes, value: bytes, flags: int, who: Credentials) -> None:
    """vfs_setxattr() and do_set_acl()."""
    inode = path.inode
    path.mount.want_write()
    if name in acl.NAMES:
        _set_acl(path, name, acl.parse(value) if value else None, who)
        return
    _check_permission(inode, name, _WRITE, who)
    if name == _CAPABILITY and value:
        _check_capability(inode, value, who)
    elif name.startswith(_SECURITY) and not who.capable(SYS_ADMIN):
        raise LinuxError(errno.EPERM)
    _check_kind(inode, name)
    _store(path, name, value, flags)


def _store(path: Path, name: bytes, value: bytes | None, flags: int) -> None:
    inode = path.inode
    if inode.is_directory and not inode.nlink:
        raise LinuxError(errno.ENOENT)
    if inode.xattrs is None:
        inode.xattrs = Xattrs(inode)
    inode.setattr(Attributes())
    inode.xattrs.set(name, value, flags)
    path.notify(Notice.ATTRIB)


def _set_acl(path: Path, name: bytes, entries: acl.Acl | None, who: Credentials) -> None:
    """set_posix_acl() and simple_set_acl()."""
    inode = path.inode
    if not inode.sb.keeps_xattrs or inode.is_symlink:
        raise LinuxError(errno.EOPNOTSUPP)
    default = name == acl.DEFAULT
    if default and not inode.is_directory:
        if entries is not None:
            raise LinuxError(errno.EACCES)
        return
    if not who.owns(inode.uid):
        raise LinuxError(errno.EPERM)
    if entries is not None:
        acl.check_valid(entries)
    if default:
        inode.setattr(Attributes())
        inode.default_acl = entries
    else:
        mode = inode.mode & 0o7777
        if entries is not None:
            mode, kept = acl.equivalent_mode(entries, mode)
            entries = entries if kept else None
        if not (who.in_group(inode.gid) or who.capable_over(FSETID, inode.uid, inode.gid)):
            mode &= ~stat.S_ISGID
        inode.setattr(Attributes(mode=mode))
        inode.acl = entries
    path.notify(Notice.ATTRIB)


def getxattr(path: Path, name: bytes, who: Credentials) -> bytes:
    """vfs_getxattr() and do_get_acl()."""
    inode = path.inode
    if name in acl.NAMES:
        if not inode.sb.keeps_xattrs or inode.is_symlink:
            raise LinuxError(errno.EOPNOTSUPP)
        entries = inode.default_acl if name == acl.DEFAULT else inode.acl
        if entries is None:
            raise LinuxError(errno.ENODATA)
        return acl.pack(entries)
    _check_permission(inode, name, _READ, who)
    _check_kind(inode, name)
    if inode.xattrs is None:
        raise LinuxError(errno.ENODATA)
    return inode.xattrs.get(name)


def removexattr(path: Path, name: bytes, who: Credentials) -> None:
    """vfs_removexattr() and vfs_remove_acl()."""
    inode = path.inode
    path.mount.want_write()
    if name in acl.NAMES:
        _set_acl(path, name, None, who)
        return
    _check_permission(inode, name, _WRITE, who)
    if name.startswith(_SECURITY) and not who.capable(SYS_ADMIN):
        raise LinuxError(errno.EPERM)
    _check_kind(inode, name)
    _store(path, name, None, XATTR_REPLACE)


def listxattr(path: Path, who: Credentials) -> bytes:
    """The names, each with a NUL behind it: those of access lists first, then the last of the alphabet
    (simple_xattr_list)."""
    inode = path.inode
    names = [acl.ACCESS] if inode.acl is not None else []
    names += [acl.DEFAULT] if inode.default_acl is not None else []
    if inode.xattrs is not None:
        root = who.capable(SYS_ADMIN)
        names += [name for name in sorted(inode.xattrs.values, reverse=True) if root or not name.startswith(_TRUSTED)]
    return b"".join(name + b"\0" for name in names)

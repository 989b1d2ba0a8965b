"""landlock_create_ruleset, landlock_add_rule, landlock_restrict_self (security/landlock/syscalls.c)."""

from __future__ import annotations

import copy
import errno
from typing import TYPE_CHECKING

from emu.fs.landlock import (
    ACCESS_FILE,
    FS_ACCESS,
    MAX_LAYERS,
    NET_ACCESS,
    SCOPES,
    Domain,
    Layer,
    RulesetFile,
    domain_of,
)
from emu.linux.argument import ADDRESS, FD, SIZE, Bits, OneOf, Pointer
from emu.linux.capability import SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.layout import Layout, Opaque
from emu.linux.syscall import DESCRIPTOR, Syscall
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: The version of the ABI, and the faults of earlier ones that are mended.
_ABI, _ERRATA = 7, 7
_VERSION_FLAG, _ERRATA_FLAG = 1, 2
#: struct landlock_ruleset_attr, whose first version has files only.
_RULESET, _FIRST_SIZE = Layout("landlock_ruleset_attr", "3Q"), 8
_PATH_BENEATH, _NET_PORT = Layout("landlock_path_beneath_attr", "Qi"), Layout("landlock_net_port_attr", "QQ")
_BENEATH, _PORT = 1, 2
_MAX_PORT = (1 << 16) - 1
_LOG_SUBDOMAINS_OFF, _LOG_FLAGS = 4, 7


def sys_landlock_create_ruleset(kernel: Kernel, task: Task, address: int, size: int, flags: int) -> int:
    """landlock_create_ruleset(2)."""
    if flags:
        if address or size or flags not in (_VERSION_FLAG, _ERRATA_FLAG):
            raise LinuxError(errno.EINVAL)
        return _ABI if flags == _VERSION_FLAG else _ERRATA
    if not address:
        raise LinuxError(errno.EFAULT)
    if size < _FIRST_SIZE:
        raise LinuxError(errno.EINVAL)
    if size > PAGE_SIZE:
        raise LinuxError(errno.E2BIG)
    files, net, scoped = _RULESET.read_sized(task.mm, address, size, _FIRST_SIZE)
    if files & ~FS_ACCESS or net & ~NET_ACCESS or scoped & ~SCOPES:
        raise LinuxError(errno.EINVAL)
    if not (files or net or scoped):
        raise LinuxError(errno.ENOMSG)
    task.files.check_room()
    file = RulesetFile(kernel.vfs.anon_inode("[landlock-ruleset]"), Layer(files, net, scoped))
    return task.files.open(file, cloexec=True)


def _ruleset(task: Task, fd: int) -> RulesetFile:
    """LinuxError(EBADF, EBADFD)."""
    file = task.files.get(fd)
    if not isinstance(file, RulesetFile):
        raise LinuxError(errno.EBADFD)
    return file


def sys_landlock_add_rule(kernel: Kernel, task: Task, fd: int, kind: int, address: int, flags: int) -> int:
    """landlock_add_rule(2)."""
    if flags:
        raise LinuxError(errno.EINVAL)
    ruleset = _ruleset(task, fd)
    if kind == _BENEATH:
        _add_path(task, ruleset, address)
    elif kind == _PORT:
        _add_port(task, ruleset, address)
    else:
        raise LinuxError(errno.EINVAL)
    return 0


def _add_path(task: Task, ruleset: RulesetFile, address: int) -> None:
    access, fd = _PATH_BENEATH.read(task.mm, address)
    if not access:
        raise LinuxError(errno.ENOMSG)
    if access & ~ruleset.layer.handled_fs:
        raise LinuxError(errno.EINVAL)
    file = task.files.get_any(fd)
    if file.path.mount.internal:
        raise LinuxError(errno.EBADFD)
    if not file.inode.is_directory and access & ~ACCESS_FILE:
        raise LinuxError(errno.EINVAL)
    ruleset.add_file(file.path, access)


def _add_port(task: Task, ruleset: RulesetFile, address: int) -> None:
    access, port = _NET_PORT.read(task.mm, address)
    if not access:
        raise LinuxError(errno.ENOMSG)
    if access & ~ruleset.layer.handled_net or port > _MAX_PORT:
        raise LinuxError(errno.EINVAL)
    ruleset.add_port(port, access)


def sys_landlock_restrict_self(kernel: Kernel, task: Task, fd: int, flags: int) -> int:
    """landlock_restrict_self(2); nothing is logged, whatever the flags say."""
    who = task.credentials
    if not who.no_new_privs and not who.capable_here(SYS_ADMIN):
        raise LinuxError(errno.EPERM)
    if flags & ~_LOG_FLAGS:
        raise LinuxError(errno.EINVAL)
    if fd == -1 and flags == _LOG_SUBDOMAINS_OFF:
        return 0
    ruleset = _ruleset(task, fd)
    before = domain_of(who)
    layers = () if before is None else before.layers
    if len(layers) >= MAX_LAYERS:
        raise LinuxError(errno.E2BIG)
    task.charge(ruleset.layer.size)
    new = copy.copy(who)
    new.landlock = Domain((*layers, ruleset.layer.copy()))
    task.credentials = new
    return 0


_CREATE_FLAGS = Bits("LANDLOCK_CREATE_RULESET_", VERSION=_VERSION_FLAG, ERRATA=_ERRATA_FLAG)
_RULE = OneOf("LANDLOCK_RULE_", PATH_BENEATH=_BENEATH, NET_PORT=_PORT)
_NO_FLAGS = Bits("", name="unsigned int")
_RESTRICT_FLAGS = Bits(
    "LANDLOCK_RESTRICT_SELF_LOG_", SAME_EXEC_OFF=1, NEW_EXEC_ON=2, SUBDOMAINS_OFF=_LOG_SUBDOMAINS_OFF
)  # fmt: skip
_ATTR = Pointer(Opaque("landlock_ruleset_attr"), null=True)

TABLE = (
    Syscall(444, "landlock_create_ruleset", sys_landlock_create_ruleset, (_ATTR, SIZE, _CREATE_FLAGS), DESCRIPTOR),
    Syscall(445, "landlock_add_rule", sys_landlock_add_rule, (FD, _RULE, ADDRESS, _NO_FLAGS)),
    Syscall(446, "landlock_restrict_self", sys_landlock_restrict_self, (FD, _RESTRICT_FLAGS)),
)

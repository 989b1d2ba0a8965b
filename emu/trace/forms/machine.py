"""What concerns the whole machine, and calls that this Linux is built without, as strace writes them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from emu.linux.argument import S32, U32, Shown, View
from emu.linux.words import pointer, unknown
from emu.trace.forms.form import (
    ADDRESS,
    DECIMAL,
    HEXED,
    MOST_SHOWN,
    SIGNED,
    UNSIGNED,
    Box,
    Form,
    Forms,
    Record,
    argument,
    array,
    bits_of,
    buffer,
    escaped,
    flags,
    given,
    hexed,
    names_of,
    number,
    one_of,
    pointed,
    string,
)

# -- reboot, swap, the log -----------------------------------------------------------------------------------------

_MAGIC = {
    0xFEE1DEAD: "LINUX_REBOOT_MAGIC1", 672274793: "LINUX_REBOOT_MAGIC2", 85072278: "LINUX_REBOOT_MAGIC2A",
    369367448: "LINUX_REBOOT_MAGIC2B", 537993216: "LINUX_REBOOT_MAGIC2C",
}  # fmt: skip
_REBOOTS = {
    0x01234567: "RESTART", 0xCDEF0123: "HALT", 0x89ABCDEF: "CAD_ON", 0: "CAD_OFF", 0x4321FEDC: "POWER_OFF",
    0xA1B2C3D4: "RESTART2", 0xD000FCE2: "SW_SUSPEND", 0x45584543: "KEXEC",
}  # fmt: skip
_RESTART2 = 0xA1B2C3D4
_magic = number(one_of(_MAGIC, "LINUX_REBOOT_MAGIC_"))
_reboot = number(one_of({at: f"LINUX_REBOOT_CMD_{name}" for at, name in _REBOOTS.items()}, "LINUX_REBOOT_CMD_"))
_SWAP = {0x8000: "PREFER", 0x10000: "DISCARD", 0x20000: "DISCARD_ONCE", 0x40000: "DISCARD_PAGES"}
_swap = flags({bit: f"SWAP_FLAG_{name}" for bit, name in _SWAP.items()}, "SWAP_FLAG_")
_PRIORITY = 0x7FFF


def _swap_flags(value: int) -> str:
    """Flags of swapon, and a priority."""
    kinds = U32(value) & ~_PRIORITY
    return f"{_swap(kinds)}|{value & _PRIORITY}" if kinds else str(value & _PRIORITY)


def reboot(values: tuple[int, ...], view: View) -> Forms:
    """reboot(2), which looks at a string for one command only."""
    return {0: _magic, 1: _magic, 2: _reboot, 3: string() if U32(values[2]) == _RESTART2 else None}


# -- quotas --------------------------------------------------------------------------------------------------------

_GET_WITH_ID = frozenset({0x800007, 0x800009, 0x5803, 0x5809})
_QUOTA = {
    **names_of("Q_", "SYNC QUOTAON QUOTAOFF GETFMT GETINFO SETINFO GETQUOTA SETQUOTA GETNEXTQUOTA", 0x800001),
    **names_of(
        "Q_", "XQUOTAON XQUOTAOFF XGETQUOTA XSETQLIM XGETQSTAT XQUOTARM XQUOTASYNC XGETQSTATV XGETNEXTQUOTA", 0x5801
    ),
}
_WHOSE = {0: "USRQUOTA", 1: "GRPQUOTA", 2: "PRJQUOTA"}
_FORMATS = names_of("QFMT_VFS_", "OLD V0 OCFS2 V1", 1)
_INFO = Record("QQII", ("dqi_bgrace", str), ("dqi_igrace", str), ("dqi_flags", hexed), ("dqi_valid", hexed))
_LIMITS = Record(
    "6Q", *((f"dqb_{name}", str) for name in (
        "bhardlimit", "bsoftlimit", "curspace", "ihardlimit", "isoftlimit", "curinodes",
    )), rest=True,
)  # fmt: skip
_XFS_LIMITS = Record(
    "bbHIQQQQQQ", ("d_version", str), ("d_flags", hexed), ("d_fieldmask", hexed), ("d_id", str),
    *((f"d_{name}", str) for name in (
        "blk_hardlimit", "blk_softlimit", "ino_hardlimit", "ino_softlimit", "bcount", "icount",
    )), rest=True,
)  # fmt: skip
_QUOTA_FILE = string(None)


def _quota_command(value: int) -> str:
    command, whose = U32(value) >> 8, value & 0xFF
    kind = _WHOSE.get(whose) or f"{whose:#x} /* ???QUOTA */"
    return f"QCMD({_QUOTA.get(command) or unknown(command, 'Q_')}, {kind})"


def _quota(at: int, command: int) -> Forms:
    """The arguments from the number of an owner, the ``at``-th, on."""
    if command in (0x800001, 0x800003, 0x5807):  # Q_SYNC, Q_QUOTAOFF, Q_XQUOTASYNC
        return {at: None, at + 1: None}
    if command == 0x800002:  # Q_QUOTAON
        return {at: number(one_of(_FORMATS, "QFMT_VFS_")), at + 1: _QUOTA_FILE}
    if command in (0x800004, 0x800005, 0x5805, 0x5808):  # Q_GETFMT, Q_GETINFO, Q_XGETQSTAT, Q_XGETQSTATV
        return {at: None, at + 1: ADDRESS}
    shapes = {0x800006: _INFO, 0x5801: _NUMBER, 0x5802: _NUMBER, 0x5806: _NUMBER}
    if command in shapes:
        return {at: None, at + 1: given(shapes[command])}
    limits = {0x800008: _LIMITS, 0x5804: _XFS_LIMITS}
    return {at: SIGNED, at + 1: given(limits[command]) if command in limits else ADDRESS}


_NUMBER = Box("I", hexed)


def quotactl(values: tuple[int, ...], view: View) -> Forms:
    """quotactl(2)."""
    return {0: number(_quota_command), **_quota(2, U32(values[0]) >> 8)}


def quotactl_fd(values: tuple[int, ...], view: View) -> Forms:
    """quotactl_fd(2)."""
    return {1: number(_quota_command), **_quota(2, U32(values[1]) >> 8)}


# -- segments ------------------------------------------------------------------------------------------------------

_DESC_BITS = (
    ("seg_32bit", 0, 1), ("contents", 1, 3), ("read_exec_only", 3, 1), ("limit_in_pages", 4, 1),
    ("seg_not_present", 5, 1), ("useable", 6, 1), ("lm", 7, 1),
)  # fmt: skip


class _UserDesc(Record):
    """struct user_desc."""

    def __init__(self) -> None:
        super().__init__("4I")

    def words(self, values: tuple[Any, ...]) -> str:
        entry, base, limit, bits = values
        text = f"entry_number={S32(entry)}, base_addr={_eight(base)}, limit={_eight(limit)}"
        return "{" + ", ".join([text, *(f"{name}={bits >> at & mask}" for name, at, mask in _DESC_BITS)]) + "}"


def _eight(value: int) -> str:
    return f"{value:#010x}" if value else "00000000"


_USER_DESC = _UserDesc()


def _descriptor(at: int, call: Shown) -> str:
    size = call.values[at + 1]
    return pointed(_USER_DESC, call.view, call.values[at]) if size == _USER_DESC.size else pointer(call.values[at])


def ldt_result(found: int, call: Shown) -> str | None:
    """What modify_ldt returns: an ``int``, whatever it says, in a register of 64 bits."""
    error = -S32(found)
    name = errno.errorcode.get(error) if 0 < error < 4096 else None
    return f"{U32(found)} {name} ({_strerror(error)})" if name else str(found)


def _strerror(error: int) -> str:
    import os  # needed only here

    return os.strerror(error)


def _random(at: int, call: Shown) -> str:
    """Random bytes, which are nobody's text."""
    size = 0 if call.failed else call.result or 0
    data = call.view.peek(call.values[at], min(size, MOST_SHOWN)) if call.values[at] else b""
    if call.failed or not call.values[at] or len(data) < min(size, MOST_SHOWN):
        return pointer(call.values[at])
    return escaped(data) + ("..." if size > MOST_SHOWN else "")


# -- calls that this Linux is built without --------------------------------------------------------------------------

_MODULE = {1: "MODULE_INIT_IGNORE_MODVERSIONS", 2: "MODULE_INIT_IGNORE_VERMAGIC", 4: "MODULE_INIT_COMPRESSED_FILE"}
_KEXEC = {1: "KEXEC_ON_CRASH", 2: "KEXEC_PRESERVE_CONTEXT"}
_KEXEC_FILE = bits_of("KEXEC_FILE_", "UNLOAD ON_CRASH NO_INITRAMFS")
_MACHINES = {0: "KEXEC_ARCH_DEFAULT", 3 << 16: "KEXEC_ARCH_386", 62 << 16: "KEXEC_ARCH_X86_64"}


def _kexec_flags(value: int) -> str:
    kind, rest = value & 0xFFFF0000, value & ~0xFFFF0000
    name = _MACHINES.get(kind) or f"{hexed(kind)} /* KEXEC_ARCH_??? */"
    return f"{name}|{flags(_KEXEC, 'KEXEC_')(rest)}" if rest else name


_SEGMENT = Record("QQQQ", ("buf", pointer), ("bufsz", str), ("mem", pointer), ("memsz", str))


def _plain(count: int) -> tuple[Form, ...]:
    return (HEXED,) * count


#: The arguments of calls that have no row, as Linux itself has none of these.
UNBUILT: dict[str, tuple[Form, ...]] = {
    "uselib": (string(None),), "_sysctl": (ADDRESS,), "iopl": (SIGNED,), "ioperm": (HEXED, HEXED, SIGNED),
    "create_module": _plain(2), "init_module": (ADDRESS, DECIMAL, string()),
    "delete_module": (string(), number(flags({0x800: "O_NONBLOCK", 0x200: "O_TRUNC"}, "O_"))),
    "get_kernel_syms": _plain(1),
    "query_module": _plain(5), "nfsservctl": _plain(3), "getpmsg": _plain(5), "putpmsg": _plain(5),
    "afs_syscall": _plain(5), "tuxcall": _plain(3), "security": _plain(3), "set_thread_area": (ADDRESS,),
    "get_thread_area": (ADDRESS,), "lookup_dcookie": (DECIMAL, ADDRESS, DECIMAL), "epoll_ctl_old": _plain(4),
    "epoll_wait_old": _plain(4), "vserver": _plain(5),
    "kexec_load": (ADDRESS, DECIMAL, array(_SEGMENT, argument(1)), number(_kexec_flags)),
    "finit_module": (SIGNED, string(), number(flags(_MODULE, "MODULE_INIT_"))),
    "kexec_file_load": (
        SIGNED, SIGNED, DECIMAL, buffer(2),
        number(flags(_KEXEC_FILE, "KEXEC_FILE_")),
    ),
}  # fmt: skip


def device(value: int) -> str:
    """A device number, as makedev() makes it."""
    major, minor = value >> 8 & 0xFFF, value & 0xFF | value >> 12 & 0xFFF00
    return f"makedev({hexed(major)}, {hexed(minor)})"


_MOST_OF_A_NAME = 64


def _name(at: int, call: Shown) -> str:
    return pointer(call.values[at]) if U32(call.values[at + 1]) > _MOST_OF_A_NAME else buffer(at + 1).text(at, call)


_NAME: Forms = {0: Form(_name), 1: UNSIGNED}
ByArguments = Callable[[tuple[int, ...], View], Forms]
COMMANDS: dict[str, ByArguments] = {"reboot": reboot, "quotactl": quotactl, "quotactl_fd": quotactl_fd}
FORMS: dict[str, Forms] = {
    "swapon": {1: number(_swap_flags)},
    "sysfs": {0: HEXED, 1: HEXED, 2: HEXED},
    "ustat": {0: number(device)},
    "modify_ldt": {0: SIGNED, 1: Form(_descriptor, written=True)},
    "set_tid_address": {0: HEXED},
    "getrandom": {0: Form(_random, written=True)},
    "sethostname": _NAME,
    "setdomainname": _NAME,
}

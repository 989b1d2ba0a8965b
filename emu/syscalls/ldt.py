"""modify_ldt: the local descriptor table of a process (arch/x86/kernel/ldt.c).

The entries are kept and can be read.  The engine has no table to load them from, so that a selector of one is #GP, as
one of an empty table is; the machine says so when a program makes a present entry.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.linux.argument import SIZE, Buffer, OneOf
from emu.linux.errors import LinuxError
from emu.linux.syscall import Returned, Syscall

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

_READ, _WRITE_OLD, _READ_DEFAULT, _WRITE = 0, 1, 2, 0x11
_ENTRIES, _ENTRY = 8192, 8
_DEFAULT_SIZE = 128
#: struct user_desc: the number of the entry, base, limit, and bits.
_USER_DESC = struct.Struct("<4I")
#: An entry that user_desc says is empty (LDT_empty): base, limit, bits without those that do not matter.
_EMPTY = (0, 0, 0x28)


def sys_modify_ldt(kernel: Kernel, task: Task, function: int, address: int, count: int) -> int:
    """modify_ldt(2): entries are kept and read; the engine cannot load a selector of one (#GP).

    As on Linux an error is an ``unsigned int``, which a 64-bit program does not take for one.
    """
    try:
        if function == _READ:
            return _read(task, address, count)
        if function == _READ_DEFAULT:
            return _read_zeros(task, address, min(count, _DEFAULT_SIZE))
        if function in (_WRITE_OLD, _WRITE):
            _write(kernel, task, address, count, old=function == _WRITE_OLD)
            return 0
        raise LinuxError(errno.ENOSYS)
    except LinuxError as error:
        return (1 << 32) - error.errno


def _read(task: Task, address: int, count: int) -> int:
    if not task.mm.ldt:
        return 0
    count = min(count, _ENTRIES * _ENTRY)
    task.mm.write(address, task.mm.ldt[:count].ljust(count, b"\0"))
    return count


def _read_zeros(task: Task, address: int, count: int) -> int:
    if count:
        task.mm.write(address, bytes(count))
    return count


def _write(kernel: Kernel, task: Task, address: int, count: int, *, old: bool) -> None:
    """write_ldt().  LinuxError(EINVAL, EFAULT, ENOMEM)."""
    if count != _USER_DESC.size:
        raise LinuxError(errno.EINVAL)
    number, base, limit, bits = _USER_DESC.unpack(task.mm.read(address, count))
    contents, not_present = bits >> 1 & 3, bits >> 5 & 1
    if number >= _ENTRIES or (contents == 3 and (old or not not_present)):
        raise LinuxError(errno.EINVAL)
    entry = bytes(_ENTRY)
    if not (old and not base and not limit) and (base, limit, bits & 0x7F) != _EMPTY:
        entry = _descriptor(base, limit, bits & ~0x40 if old else bits)
        if not not_present:
            kernel.log_once(
                "modify_ldt: an entry is kept, but its selector cannot be loaded: the engine has no LDT (#GP)"
            )
    mm = task.mm
    table = mm.ldt.ljust((number + 1) * _ENTRY, b"\0")
    mm.charge_more(len(table) - len(mm.ldt))
    mm.ldt = table[: number * _ENTRY] + entry + table[(number + 1) * _ENTRY :]


def _descriptor(base: int, limit: int, bits: int) -> bytes:
    """fill_ldt(): a segment descriptor (SDM vol. 3, 3.4.5), of data or code at DPL 3, accessed."""
    writable, contents, not_present = ~bits >> 3 & 1, bits >> 1 & 3, bits >> 5 & 1
    kind = 0x10 | contents << 2 | writable << 1 | 1
    low = limit & 0xFFFF | (base & 0xFFFF) << 16
    access = kind | 3 << 5 | (1 - not_present) << 7
    flags = limit >> 16 & 0xF | (bits >> 6 & 1) << 4 | (bits & 1) << 6 | (bits >> 4 & 1) << 7
    high = base >> 16 & 0xFF | access << 8 | flags << 16 | (base >> 24) << 24
    return struct.pack("<II", low, high)


_FUNCTION = OneOf("", read=_READ, write_old=_WRITE_OLD, read_default=_READ_DEFAULT, write=_WRITE)

TABLE = (Syscall(154, "modify_ldt", sys_modify_ldt, (_FUNCTION, Buffer(), SIZE), Returned("bytes, or an int")),)

"""bpf: there are no types of programs and maps, as in a Linux that has the call and nothing to use it for
(kernel/bpf/syscall.c).
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from emu.linux.argument import ADDRESS, UINT, OneOf
from emu.linux.capability import BPF, SYS_ADMIN
from emu.linux.errors import LinuxError
from emu.linux.layout import PATHNAME
from emu.linux.syscall import DESCRIPTOR, Syscall
from emu.syscalls.paths import resolve
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: sizeof(union bpf_attr).
_ATTRIBUTES = 168
_MOST_INSTRUCTIONS = 1_000_000
_COMMANDS = """
    MAP_CREATE MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM MAP_GET_NEXT_KEY PROG_LOAD OBJ_PIN OBJ_GET PROG_ATTACH
    PROG_DETACH PROG_TEST_RUN PROG_GET_NEXT_ID MAP_GET_NEXT_ID PROG_GET_FD_BY_ID MAP_GET_FD_BY_ID OBJ_GET_INFO_BY_FD
    PROG_QUERY RAW_TRACEPOINT_OPEN BTF_LOAD BTF_GET_FD_BY_ID TASK_FD_QUERY MAP_LOOKUP_AND_DELETE_ELEM MAP_FREEZE
    BTF_GET_NEXT_ID MAP_LOOKUP_BATCH MAP_LOOKUP_AND_DELETE_BATCH MAP_UPDATE_BATCH MAP_DELETE_BATCH LINK_CREATE
    LINK_UPDATE LINK_GET_FD_BY_ID LINK_GET_NEXT_ID ENABLE_STATS ITER_CREATE LINK_DETACH PROG_BIND_MAP TOKEN_CREATE
    PROG_STREAM_READ_BY_FD
"""
_NUMBERS = {name: number for number, name in enumerate(_COMMANDS.split())}


def _numbers(names: str) -> frozenset[int]:
    return frozenset(_NUMBERS[name] for name in names.split())


#: Only for the privileged, as kernel.unprivileged_bpf_disabled is 2.
_PRIVILEGED = _numbers(
    "PROG_LOAD PROG_GET_NEXT_ID MAP_GET_NEXT_ID PROG_GET_FD_BY_ID MAP_GET_FD_BY_ID PROG_QUERY BTF_LOAD "
    "BTF_GET_FD_BY_ID TASK_FD_QUERY BTF_GET_NEXT_ID LINK_GET_FD_BY_ID LINK_GET_NEXT_ID ENABLE_STATS"
)
#: Those that begin with a descriptor, and those that begin with a number of something that there is not.
_ON_DESCRIPTOR = _numbers(
    "MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM MAP_GET_NEXT_KEY MAP_LOOKUP_AND_DELETE_ELEM MAP_FREEZE "
    "PROG_TEST_RUN"
)
_BY_NUMBER = _numbers(
    "PROG_GET_NEXT_ID MAP_GET_NEXT_ID PROG_GET_FD_BY_ID MAP_GET_FD_BY_ID BTF_GET_FD_BY_ID BTF_GET_NEXT_ID "
    "LINK_GET_FD_BY_ID LINK_GET_NEXT_ID"
)


def sys_bpf(kernel: Kernel, task: Task, command: int, address: int, size: int) -> int:
    """bpf(2): there are no types of programs and maps (EINVAL)."""
    if size > PAGE_SIZE:
        raise LinuxError(errno.E2BIG)
    data = task.mm.read(address, size) if size else b""
    if any(data[_ATTRIBUTES:]):
        raise LinuxError(errno.E2BIG)
    first, second = struct.unpack("<II", data[:8].ljust(8, b"\0"))
    who = task.credentials
    if command in _PRIVILEGED and not (who.capable(BPF) or who.capable(SYS_ADMIN)):
        raise LinuxError(errno.EPERM)
    if command in _ON_DESCRIPTOR:
        task.files.get(first - (first >> 31 << 32))
    elif command in _BY_NUMBER:
        raise LinuxError(errno.ENOENT)
    elif command == _NUMBERS["OBJ_GET"]:
        resolve(kernel, task, PATHNAME.read(task.mm, first | second << 32))
        raise LinuxError(errno.EACCES)
    elif command == _NUMBERS["PROG_LOAD"] and not 0 < second <= _MOST_INSTRUCTIONS:
        raise LinuxError(errno.E2BIG)
    elif command in (_NUMBERS["PROG_LOAD"], _NUMBERS["MAP_CREATE"]):
        if command == _NUMBERS["PROG_LOAD"]:
            instructions, license_text = struct.unpack("<QQ", data[8:24].ljust(16, b"\0"))
            task.mm.read(instructions, second * 8)
            task.mm.read_cstring(license_text, PAGE_SIZE)
        kernel.log_once("bpf: there are no types of programs and maps: EINVAL")
    raise LinuxError(errno.EINVAL)


_COMMAND = OneOf("BPF_", **_NUMBERS)

TABLE = (Syscall(321, "bpf", sys_bpf, (_COMMAND, ADDRESS, UINT), DESCRIPTOR),)

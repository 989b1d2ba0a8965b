"""ptrace(2): memory and registers of the task that is traced (arch/x86/kernel/ptrace.c)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.kernel.ptrace import Tracee
from emu.kernel.user_regs import (
    FP_BYTES,
    NAMES,
    REGS_BYTES,
    XSTATE_BYTES,
    read_fp,
    read_regs,
    read_xstate,
    write_fp,
    write_regs,
    write_xstate,
)
from emu.linux.errors import LinuxError
from emu.mm.gup import read_remote, write_remote
from emu.syscalls.ptracerequest import WORD_BYTES, Request, caller_of

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task

#: struct user: its size, and where its debug registers are.
_USER_BYTES, _DEBUG_AT, _DEBUG_END = 928, 848, 912
#: The kinds of the notes in a core file.
_NT_PRSTATUS, _NT_PRFPREG, _NT_X86_XSTATE = 1, 2, 0x202


def peek(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_PEEKTEXT, PTRACE_PEEKDATA."""
    try:
        word = read_remote(tracee.task.mm, address, WORD_BYTES, force=True)
    except LinuxError:
        word = b""
    if len(word) < WORD_BYTES:
        raise LinuxError(errno.EIO)
    caller_of(kernel).mm.write(data, word)
    return 0


def poke(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_POKETEXT, PTRACE_POKEDATA."""
    try:
        done = write_remote(tracee.task.mm, address, data.to_bytes(WORD_BYTES, "little"), force=True)
    except LinuxError:
        done = 0
    if done < WORD_BYTES:
        raise LinuxError(errno.EIO)
    return 0


def peek_user(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_PEEKUSER: a word of struct user."""
    _check_user(address)
    value = 0
    if address < REGS_BYTES:
        value = read_regs(kernel, tracee.task)[address // WORD_BYTES]
    elif _DEBUG_AT <= address < _DEBUG_END:
        value = tracee.debug_registers[(address - _DEBUG_AT) // WORD_BYTES]
    caller_of(kernel).mm.write_u64(data, value)
    return 0


def poke_user(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_POKEUSER."""
    _check_user(address)
    if address < REGS_BYTES:
        values = read_regs(kernel, tracee.task)
        values[address // WORD_BYTES] = data
        write_regs(kernel, tracee.task, values)
    elif _DEBUG_AT <= address < _DEBUG_END:
        _set_debug_register(kernel, tracee, (address - _DEBUG_AT) // WORD_BYTES, data)
    else:
        raise LinuxError(errno.EIO)
    return 0


def _check_user(address: int) -> None:
    if address % WORD_BYTES or address >= _USER_BYTES:
        raise LinuxError(errno.EIO)


def _set_debug_register(kernel: Kernel, tracee: Tracee, number: int, value: int) -> None:
    try:
        tracee.debug_registers.set(number, value, tracee.task.mm.task_size)
    except LinuxError as error:
        if error.errno == errno.ENOSPC:
            kernel.log_once("ptrace: watchpoints for reading are not supported: ENOSPC")
        raise


def get_regs(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_GETREGS."""
    caller_of(kernel).mm.write(data, _regs(kernel, tracee.task))
    return 0


def set_regs(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_SETREGS."""
    _put_regs(kernel, tracee.task, caller_of(kernel).mm.read(data, REGS_BYTES))
    return 0


def get_fp_regs(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_GETFPREGS."""
    caller_of(kernel).mm.write(data, read_fp(kernel, tracee.task))
    return 0


def set_fp_regs(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_SETFPREGS."""
    write_fp(kernel, tracee.task, caller_of(kernel).mm.read(data, FP_BYTES))
    return 0


def _regs(kernel: Kernel, task: Task) -> bytes:
    return struct.pack(f"<{len(NAMES)}Q", *read_regs(kernel, task))


def _put_regs(kernel: Kernel, task: Task, data: bytes) -> None:
    """The first registers, as many as there are bytes."""
    whole = data + _regs(kernel, task)[len(data) :]
    write_regs(kernel, task, struct.unpack(f"<{len(NAMES)}Q", whole))


def _put_fp(kernel: Kernel, task: Task, data: bytes) -> None:
    write_fp(kernel, task, data + read_fp(kernel, task)[len(data) :])


#: By the type of the note in a core file: the size, and how to read and to write it.
_REGSETS: dict[int, tuple[int, Callable[[Kernel, Task], bytes], Callable[[Kernel, Task, bytes], None]]] = {
    _NT_PRSTATUS: (REGS_BYTES, _regs, _put_regs),
    _NT_PRFPREG: (FP_BYTES, read_fp, _put_fp),
    _NT_X86_XSTATE: (XSTATE_BYTES, read_xstate, write_xstate),
}


def register_set(kernel: Kernel, tracee: Tracee, request: int, address: int, data: int) -> int:
    """PTRACE_GETREGSET, PTRACE_SETREGSET: by an iovec, whose length becomes that of what was moved."""
    memory = caller_of(kernel).mm
    base, length = struct.unpack("<QQ", memory.read(data, 16))
    found = _REGSETS.get(address)
    if found is None or length % WORD_BYTES:
        raise LinuxError(errno.EINVAL)
    size, get, put = found
    length = min(length, size)
    if request == Request.GETREGSET:
        memory.write(base, get(kernel, tracee.task)[:length])
    else:
        put(kernel, tracee.task, memory.read(base, length))
    memory.write_u64(data + WORD_BYTES, length)
    return 0

"""ptrace(2) and what else of Linux's C library a tracer needs, by ctypes."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple


class Request(IntEnum):
    """PTRACE_* (include/uapi/linux/ptrace.h)."""

    PEEKTEXT, POKETEXT, CONT, GETREGS, SETREGS = 1, 4, 7, 12, 13
    SYSCALL, GETEVENTMSG, GETSIGINFO = 24, 0x4201, 0x4202
    SEIZE, LISTEN, GET_SYSCALL_INFO = 0x4206, 0x4208, 0x420E


class Options(IntFlag):
    """PTRACE_O_*."""

    TRACESYSGOOD, TRACEFORK, TRACEVFORK, TRACECLONE, TRACEEXEC = 1, 2, 4, 8, 16
    EXITKILL = 1 << 20


class Event(IntEnum):
    """PTRACE_EVENT_*."""

    FORK, VFORK, CLONE, EXEC = 1, 2, 3, 4
    STOP = 128


class Entered(NamedTuple):
    """A task stops at the beginning of a call."""

    rip: int
    rsp: int
    number: int
    registers: tuple[int, ...]


class Returned(NamedTuple):
    """A task stops at the end of a call."""

    rip: int
    result: int


class Registers(ctypes.Structure):
    """struct user_regs_struct."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
            "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
        )
    ]  # fmt: skip


_INFO = struct.Struct("<B3xIQQ")
_ENTRY, _EXIT = 1, 2
_INFO_BYTES = 88


class Ptrace:
    """The calls, each with OSError where Linux has an errno; ESRCH means that the task has been killed."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._ptrace = libc.ptrace
        self._ptrace.restype = ctypes.c_long
        self._ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._buffer = ctypes.create_string_buffer(128)

    def call(self, request: Request, pid: int, address: int = 0, data: int = 0) -> int:
        """ptrace(request, pid, address, data)."""
        ctypes.set_errno(0)
        result: int = self._ptrace(request, pid, address, data)
        if result == -1 and (code := ctypes.get_errno()):
            raise OSError(code, f"ptrace({request.name}): {os.strerror(code)}")
        return result

    def seize(self, pid: int, options: Options) -> None:
        """Become the tracer of a child."""
        self.call(Request.SEIZE, pid, 0, options)

    def event_message(self, pid: int) -> int:
        """The number that belongs to an event: that of the new task, or the former one."""
        number = ctypes.c_ulong()
        self.call(Request.GETEVENTMSG, pid, 0, ctypes.addressof(number))
        return number.value

    def siginfo(self, pid: int) -> bytes:
        """The siginfo_t of the signal that is about to be delivered."""
        self.call(Request.GETSIGINFO, pid, 0, ctypes.addressof(self._buffer))
        return self._buffer.raw

    def registers(self, pid: int) -> Registers:
        """All general registers."""
        found = Registers()
        self.call(Request.GETREGS, pid, 0, ctypes.addressof(found))
        return found

    def set_registers(self, pid: int, registers: Registers) -> None:
        """Give a task other registers."""
        self.call(Request.SETREGS, pid, 0, ctypes.addressof(registers))

    def syscall_stop(self, pid: int) -> Entered | Returned | None:
        """What a stop at a call is; None if it is none."""
        size = self.call(Request.GET_SYSCALL_INFO, pid, _INFO_BYTES, ctypes.addressof(self._buffer))
        raw = self._buffer.raw
        kind, _, rip, rsp = _INFO.unpack_from(raw)
        if kind == _ENTRY and size >= _INFO.size + 56:
            number, *registers = struct.unpack_from("<7Q", raw, _INFO.size)
            return Entered(rip, rsp, number & 0xFFFFFFFF, tuple(registers))
        if kind == _EXIT:
            return Returned(rip, struct.unpack_from("<q", raw, _INFO.size)[0])
        return None


def libc_call(name: str, *arguments: int | bytes | None) -> int:
    """A function of the C library that sets errno.  OSError if it fails."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.restype = ctypes.c_long
    result: int = function(*(ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments))
    if result == -1:
        code = ctypes.get_errno() or errno.EINVAL
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result

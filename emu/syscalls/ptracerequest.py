"""ptrace(2): its requests, and who makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.linux.words import Choice

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task


#: Sizes in bytes of a word, of siginfo_t, and of a mask of signals.
WORD_BYTES, SIGINFO_BYTES, SIGSET_BYTES = 8, 128, 8


class Request(Choice, prefix="PTRACE_"):
    """PTRACE_*."""

    TRACEME = 0
    PEEKTEXT = 1
    PEEKDATA = 2
    PEEKUSER = 3
    POKETEXT = 4
    POKEDATA = 5
    POKEUSER = 6
    CONT = 7
    KILL = 8
    SINGLESTEP = 9
    GETREGS = 12
    SETREGS = 13
    GETFPREGS = 14
    SETFPREGS = 15
    ATTACH = 16
    DETACH = 17
    OLDSETOPTIONS = 21
    SYSCALL = 24
    SYSEMU = 31
    SYSEMU_SINGLESTEP = 32
    SETOPTIONS = 0x4200
    GETEVENTMSG = 0x4201
    GETSIGINFO = 0x4202
    SETSIGINFO = 0x4203
    GETREGSET = 0x4204
    SETREGSET = 0x4205
    SEIZE = 0x4206
    INTERRUPT = 0x4207
    LISTEN = 0x4208
    PEEKSIGINFO = 0x4209
    GETSIGMASK = 0x420A
    SETSIGMASK = 0x420B
    SECCOMP_GET_FILTER = 0x420C
    SECCOMP_GET_METADATA = 0x420D
    GET_SYSCALL_INFO = 0x420E


def caller_of(kernel: Kernel) -> Task:
    """Who traces: the task whose system call it is."""
    assert kernel.current is not None
    return kernel.current

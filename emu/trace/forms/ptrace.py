"""ptrace(2), whose arguments depend on the request, as strace writes them."""

from __future__ import annotations

import struct

from emu.kernel.seccomp import AUDIT_ARCH_X86_64
from emu.linux.argument import Shown, View
from emu.linux.words import pointer
from emu.syscalls.types import signal_words
from emu.trace.forms.form import (
    ADDRESS,
    DECIMAL,
    SIGNED,
    Box,
    Form,
    Forms,
    flags,
    given,
    got,
    hexed,
    names_of,
    number,
    one_of,
)
from emu.trace.forms.processes import SIGINFO
from emu.trace.forms.ready import mask_at
from emu.trace.words import call_name, error_name

_TRACE_OPTIONS = {
    1: "PTRACE_O_TRACESYSGOOD", 2: "PTRACE_O_TRACEFORK", 4: "PTRACE_O_TRACEVFORK", 8: "PTRACE_O_TRACECLONE",
    0x10: "PTRACE_O_TRACEEXEC", 0x20: "PTRACE_O_TRACEVFORKDONE", 0x40: "PTRACE_O_TRACEEXIT",
    0x80: "PTRACE_O_TRACESECCOMP",
    0x100000: "PTRACE_O_EXITKILL", 0x200000: "PTRACE_O_SUSPEND_SECCOMP",
}  # fmt: skip
_OPTION_FORM = number(flags(_TRACE_OPTIONS, "PTRACE_O_"))
_RESUMES = frozenset({7, 9, 17, 24, 31, 32, 33})
_PEEKS, _POKES = frozenset({1, 2, 3}), frozenset({4, 5, 6})
#: PTRACE_GETREGS and its like, whose third argument is not looked at.
_REGISTERS = frozenset({12, 13, 14, 15})
_USER_REGISTERS = [
    "R15",
    "R14",
    "R13",
    "R12",
    "RBP",
    "RBX",
    "R11",
    "R10",
    "R9",
    "R8",
    "RAX",
    "RCX",
    "RDX",
    "RSI",
    "RDI",
    "ORIG_RAX",
    "RIP",
    "CS",
    "EFLAGS",
    "RSP",
    "SS",
]
_STOPS = names_of("PTRACE_SYSCALL_INFO_", "NONE ENTRY EXIT SECCOMP")
_filter_flags = flags({1: "SECCOMP_FILTER_FLAG_TSYNC", 2: "SECCOMP_FILTER_FLAG_LOG"}, "SECCOMP_FILTER_FLAG_")


def _user_place(value: int) -> str:
    """A place in struct user."""
    register, rest = divmod(value, 8)
    if register < len(_USER_REGISTERS):
        return f"8*{_USER_REGISTERS[register]}" + (f"+{rest}" if rest else "")
    return pointer(value)


_USER = number(_user_place)


def _arch(value: int) -> str:
    return "AUDIT_ARCH_X86_64" if value == AUDIT_ARCH_X86_64 else f"{value:#x} /* AUDIT_ARCH_??? */"


def ptrace(values: tuple[int, ...], view: View) -> Forms:
    """ptrace(2)."""
    request = values[0]
    if request in (0, 16, 8, 0x4207):  # TRACEME, ATTACH, KILL, INTERRUPT
        return {1: None if request == 0 else SIGNED, 2: None, 3: None}
    if request == 0x4208:  # LISTEN
        return {2: None, 3: None}
    if request in _RESUMES:
        return {2: ADDRESS, 3: number(lambda value: signal_words(value) if value else "0")}
    if request in _PEEKS:
        return {2: _USER if request == 3 else ADDRESS, 3: got(Box("Q", hexed))}
    if request in _POKES:
        return {2: _USER if request == 6 else ADDRESS, 3: ADDRESS}
    if request in _REGISTERS:
        return {2: None, 3: ADDRESS}
    if request in (0x4200, 0x4206):  # SETOPTIONS, SEIZE
        return {2: ADDRESS, 3: _OPTION_FORM}
    if request == 0x4201:  # GETEVENTMSG
        return {2: ADDRESS, 3: got(Box("Q"))}
    if request == 0x4202:  # GETSIGINFO
        return {2: ADDRESS, 3: got(SIGINFO)}
    if request == 0x4203:  # SETSIGINFO
        return {2: ADDRESS, 3: given(SIGINFO)}
    shapes = {0x420A: _signals, 0x420B: _signals, 0x420C: _filter, 0x420D: _metadata, 0x420E: _call_information}
    return shapes[request](values) if request in shapes else {2: ADDRESS, 3: ADDRESS}


def _signals(values: tuple[int, ...]) -> Forms:
    """PTRACE_GETSIGMASK and PTRACE_SETSIGMASK, whose third argument is a size."""
    written = values[0] == 0x420A

    def mask(at: int, call: Shown) -> str:
        if written and call.failed:
            return pointer(call.values[at])
        return mask_at(call.view, call.values[at], call.values[2])

    return {2: DECIMAL, 3: Form(mask, written=written)}


def _filter(values: tuple[int, ...]) -> Forms:
    """PTRACE_SECCOMP_GET_FILTER, whose third argument counts."""
    return {2: DECIMAL, 3: ADDRESS}


def _metadata(values: tuple[int, ...]) -> Forms:
    """PTRACE_SECCOMP_GET_METADATA: the number of a filter, and with success its flags."""

    def text(at: int, call: Shown) -> str:
        data = call.view.peek(call.values[at], 16) if call.values[at] and call.values[2] >= 8 else b""
        if len(data) < 8:
            return pointer(call.values[at])
        number_of = f"filter_off={int.from_bytes(data[:8], 'little')}"
        if call.failed or call.values[2] < 16 or len(data) < 16:
            return f"{{{number_of}}}"
        return f"{{{number_of}, flags={_filter_flags(int.from_bytes(data[8:], 'little'))}}}"

    return {2: DECIMAL, 3: Form(text, written=True)}


def _call_information(values: tuple[int, ...]) -> Forms:
    """PTRACE_GET_SYSCALL_INFO: where a tracee is, and its call or what that has returned."""

    def text(at: int, call: Shown) -> str:
        data = call.view.peek(call.values[at], 88) if call.values[at] and not call.failed else b""
        if len(data) < 88:
            return pointer(call.values[at])
        stop, arch, ip, sp = struct.unpack_from("<B3xIQQ", data)
        head = (
            f"op={one_of(_STOPS, 'PTRACE_SYSCALL_INFO_')(stop)}, arch={_arch(arch)}, "
            f"instruction_pointer={pointer(ip)}, stack_pointer={pointer(sp)}"
        )
        if stop in (1, 3):
            nr, *args = struct.unpack_from("<7Q", data, 24)
            shown = f"nr={call_name(nr)}, args=[{', '.join(map(hexed, args))}]"
            if stop == 3:
                shown += f", ret_data={int.from_bytes(data[80:84], 'little')}"
            return f"{{{head}, {'entry' if stop == 1 else 'seccomp'}={{{shown}}}}}"
        if stop == 2:
            returned, failed = struct.unpack_from("<qB", data, 24)
            shown = f"-{error_name(-returned)}" if failed else str(returned)
            return f"{{{head}, exit={{rval={shown}, is_error={failed}}}}}"
        return f"{{{head}}}"

    return {2: DECIMAL, 3: Form(text, written=True)}

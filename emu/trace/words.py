"""Numbers as strace writes them: flags, strings, sets of signals."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from enum import IntFlag

from emu.kernel.fork import CloneFlags
from emu.kernel.signal_state import SiCode, Sig, SigInfo, signal_name
from emu.linux.fileflags import AtFlags, OpenFlags
from emu.linux.mman import MapFlags, Prot

#: Characters of a string that is not a path.
STRING_LIMIT = 32

_ESCAPES = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_SA_FLAGS = {
    0x04000000: "SA_RESTORER",
    0x08000000: "SA_ONSTACK",
    0x10000000: "SA_RESTART",
    0x40000000: "SA_NODEFER",
    0x80000000: "SA_RESETHAND",
    0x4: "SA_SIGINFO",
    0x1: "SA_NOCLDSTOP",
    0x2: "SA_NOCLDWAIT",
}
_SI_CODES = {
    Sig.SEGV: ("", "SEGV_MAPERR", "SEGV_ACCERR"),
    Sig.BUS: ("", "BUS_ADRALN", "BUS_ADRERR"),
    Sig.FPE: ("", "FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF", "FPE_FLTUND", "FPE_FLTRES", "FPE_FLTINV"),
    Sig.ILL: ("", "ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP", "ILL_PRVOPC"),
    Sig.TRAP: ("", "TRAP_BRKPT", "TRAP_TRACE"),
    Sig.CHLD: ("", "CLD_EXITED", "CLD_KILLED", "CLD_DUMPED"),
}
_FILE_TYPES = {
    stat.S_IFREG: "S_IFREG",
    stat.S_IFDIR: "S_IFDIR",
    stat.S_IFLNK: "S_IFLNK",
    stat.S_IFCHR: "S_IFCHR",
    stat.S_IFBLK: "S_IFBLK",
    stat.S_IFIFO: "S_IFIFO",
    stat.S_IFSOCK: "S_IFSOCK",
}


def pointer(value: int) -> str:
    """An address."""
    return f"{value:#x}" if value else "NULL"


def hexadecimal(value: int) -> str:
    """A number of which only the bits matter."""
    return f"{value:#x}" if value else "0"


def octal(value: int) -> str:
    """Permission bits."""
    return f"{value:#03o}".replace("o", "") if value else "000"


def quote(data: bytes, limit: int | None = None, *, cut: bool = False) -> str:
    """A string in C's notation; ``cut`` (or more bytes than ``limit``) puts dots behind it."""
    if limit is not None and len(data) > limit:
        data, cut = data[:limit], True
    parts = []
    for at, byte in enumerate(data):
        if byte in _ESCAPES:
            parts.append(_ESCAPES[byte])
        elif 32 <= byte < 127:
            parts.append(chr(byte))
        else:  # as short as can be, unless a digit follows
            digit_follows = 48 <= data[at + 1] <= 57 if at + 1 < len(data) else False
            parts.append(f"\\{byte:03o}" if digit_follows else f"\\{byte:o}")
    return '"' + "".join(parts) + '"' + ("..." if cut else "")


def quote_list(strings: Iterable[bytes]) -> str:
    """argv."""
    return "[" + ", ".join(quote(s, STRING_LIMIT) for s in strings) + "]"


def number_of_vars(count: int) -> str:
    """The environment of execve."""
    return f"{count} var" if count == 1 else f"{count} vars"


def named_bits(value: int, names: Mapping[int, str], zero: str = "0") -> str:
    """Bits by their names, in the order of ``names``; what has none as a number."""
    parts = []
    for bit, name in names.items():
        if value & bit == bit:
            parts.append(name)
            value &= ~bit
    if value or not parts:
        parts.append(f"{value:#x}" if value else zero)
    return "|".join(parts)


def _bits_of(flags: type[IntFlag], prefix: str) -> dict[int, str]:
    """The single bits of an enum, lowest first."""
    return {int(f): f.name if f.name.startswith(prefix) else prefix + f.name for f in flags if f.name is not None}


_PROT = _bits_of(Prot, "PROT_")
_MAP = {bit: name for bit, name in _bits_of(MapFlags, "MAP_").items() if bit > MapFlags.TYPE}
_MAP_TYPE = {0: "MAP_FILE", 1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE"}
_OPEN = {
    int(OpenFlags.TMPFILE): "O_TMPFILE",
    int(OpenFlags.SYNC): "O_SYNC",
    **{bit: name for bit, name in _bits_of(OpenFlags, "O_").items() if bit > OpenFlags.ACCMODE},
}
_CLONE = {bit: name for bit, name in _bits_of(CloneFlags, "CLONE_").items() if bit > CloneFlags.SIGNAL}
_AT = {int(flag): f"AT_{flag.name}" for flag in AtFlags if flag <= AtFlags.EMPTY_PATH}


def prot(value: int) -> str:
    """PROT_*."""
    return named_bits(value, _PROT, "PROT_NONE")


def map_flags(value: int) -> str:
    """MAP_*."""
    kind = _MAP_TYPE.get(value & MapFlags.TYPE, f"{value & MapFlags.TYPE:#x}")
    rest = value & ~int(MapFlags.TYPE)
    return f"{kind}|{named_bits(rest, _MAP)}" if rest else kind


def open_flags(value: int) -> str:
    """O_* with an access mode."""
    mode = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")[value & 3]
    rest = value & ~3
    return f"{mode}|{named_bits(rest, _OPEN)}" if rest else mode


def descriptor_flags(value: int) -> str:
    """O_* of a call that makes descriptors of its own kind (pipe2, dup3)."""
    return named_bits(value, _OPEN)


def at_flags(value: int) -> str:
    """AT_*."""
    return named_bits(value, _AT)


def clone_flags(value: int) -> str:
    """CLONE_*, and the signal that the parent gets."""
    signo = value & CloneFlags.SIGNAL
    parts = [named_bits(value & ~int(CloneFlags.SIGNAL), _CLONE)] if value & ~int(CloneFlags.SIGNAL) else []
    return "|".join([*parts, signal(signo)] if signo or not parts else parts)


def signal(number: int) -> str:
    """A signal's name, or the number if there is no such signal."""
    if number == 32:
        return "SIGRTMIN"
    return signal_name(number) if 1 <= number <= 64 else str(number)


def sigset(mask: int) -> str:
    """A set of signals; the complement if that is shorter."""
    inverted = mask.bit_count() > 32
    members = ~mask if inverted else mask
    names = [signal(n).removeprefix("SIG") for n in range(1, 65) if members >> (n - 1) & 1]
    return ("~" if inverted else "") + f"[{' '.join(names)}]"


def sigaction(handler: int, flags: int, restorer: int, mask: int) -> str:
    """struct sigaction of the kernel."""
    name = {0: "SIG_DFL", 1: "SIG_IGN"}.get(handler, f"{handler:#x}")
    text = f"sa_handler={name}, sa_mask={sigset(mask)}, sa_flags={named_bits(flags, _SA_FLAGS)}"
    return "{" + text + (f", sa_restorer={restorer:#x}" if flags & 0x04000000 else "") + "}"


def signal_stack(address: int, flags: int, size: int) -> str:
    """stack_t of sigaltstack."""
    names = {1: "SS_ONSTACK", 2: "SS_DISABLE"}
    return f"{{ss_sp={pointer(address)}, ss_flags={named_bits(flags, names)}, ss_size={size}}}"


def si_code(info: SigInfo) -> str:
    """Why there is a signal."""
    names = _SI_CODES.get(Sig(info.signo), ()) if info.signo < 32 else ()
    if 0 < info.code < len(names):
        return names[info.code]
    return f"SI_{SiCode(info.code).name}" if info.code in SiCode._value2member_map_ else str(info.code)


def wait_status(status: int) -> str:
    """The status word of wait4."""
    if status & 0x7F == 0:
        return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}]"
    core = " && WCOREDUMP(s)" if status & 0x80 else ""
    return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal(status & 0x7F)}{core}}}]"


def file_mode(mode: int) -> str:
    """st_mode: the type of a file and its permissions."""
    return f"{_FILE_TYPES.get(stat.S_IFMT(mode), hexadecimal(stat.S_IFMT(mode)))}|{octal(mode & 0o7777)}"


def stat_fields(mode: int, size: int, device: int) -> str:
    """The most important fields of struct stat."""
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        major, minor = (device >> 8) & 0xFFF, (device & 0xFF) | (device >> 12) & 0xFFF00
        what = f"st_rdev=makedev({major:#x}, {minor:#x})"
    else:
        what = f"st_size={size}"
    return f"{{st_mode={file_mode(mode)}, {what}, ...}}"


def ioctl_request(request: int, names: Mapping[int, str]) -> str:
    """A request by its name, or taken apart as the _IOC macro made it."""
    if request in names:
        return names[request]
    direction = ("_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE")[request >> 30 & 3]
    parts = (request >> 8 & 0xFF, request & 0xFF, request >> 16 & 0x3FFF)
    return f"_IOC({direction}, {', '.join(map(hexadecimal, parts))})"

"""Types of arguments that depend on the kernel: signals, programs, processes, file modes.  The general ones are in
emu.linux.argument and emu.linux.layout.
"""

from __future__ import annotations

import errno
import stat
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from emu.kernel.exec import MAX_ARG_STRLEN, MAX_ARG_TOTAL
from emu.kernel.fork import CloneFlags
from emu.kernel.signal_state import SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, SaFlags, SigAction, signal_name
from emu.linux.argument import ADDRESS, S32, SIZE, U16, U32, U64, Argument, Bits, Scalar, Shown, Target, Unused, View
from emu.linux.caller import UserMemory
from emu.linux.errors import LinuxError
from emu.linux.layout import TEXT, Layout, Struct
from emu.linux.likeness import Likeness, Part
from emu.linux.words import named_bits, number_of_vars, octal, pointer
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.usage import Usage

_FILE_TYPES = {
    stat.S_IFREG: "S_IFREG",
    stat.S_IFDIR: "S_IFDIR",
    stat.S_IFLNK: "S_IFLNK",
    stat.S_IFCHR: "S_IFCHR",
    stat.S_IFBLK: "S_IFBLK",
    stat.S_IFIFO: "S_IFIFO",
    stat.S_IFSOCK: "S_IFSOCK",
}
_MODE_BITS = {stat.S_ISUID: "S_ISUID", stat.S_ISGID: "S_ISGID", stat.S_ISVTX: "S_ISVTX"}
#: In strace's order.
_SA_NAMES = {
    int(flag): f"SA_{flag.name}"
    for flag in (
        SaFlags.RESTORER, SaFlags.ONSTACK, SaFlags.RESTART, SaFlags.NODEFER, SaFlags.RESETHAND, SaFlags.SIGINFO,
        SaFlags.NOCLDSTOP, SaFlags.NOCLDWAIT,
    )
}  # fmt: skip
_SA_NAMES = {**dict([*_SA_NAMES.items()][:3]), 0x20000000: "SA_INTERRUPT", **_SA_NAMES}


def signal_words(number: int) -> str:
    """A signal's name, or the number if there is no such signal."""
    if number == 32:
        return "SIGRTMIN"
    return signal_name(number) if 1 <= number <= 64 else str(number)


#: Of this many signals on, those that are not in a set are listed.
_MOST_LISTED = 64 * 2 // 3


def sigset_words(mask: int) -> str:
    """A set of signals; its complement if that is shorter."""
    inverted = mask.bit_count() >= _MOST_LISTED
    members = ~mask if inverted else mask
    names = [signal_words(n).removeprefix("SIG") for n in range(1, 65) if members >> (n - 1) & 1]
    return ("~" if inverted else "") + f"[{' '.join(names)}]"


def wait_status_words(status: int) -> str:
    """The status word of wait4."""
    if status & 0x7F == 0:
        return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}]"
    if status == 0xFFFF:
        return "[{WIFCONTINUED(s)}]"
    if status & 0xFF == 0x7F:
        return f"[{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_words(status >> 8 & 0xFF)}}}]"
    core = " && WCOREDUMP(s)" if status & 0x80 else ""
    return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_words(status & 0x7F)}{core}}}]"


def file_mode_words(mode: int) -> str:
    """st_mode: the type of a file and its permissions."""
    kind = stat.S_IFMT(mode)
    if kind and kind not in _FILE_TYPES:
        return octal(mode)
    names = [_FILE_TYPES[kind]] if kind else []
    names += [name for bit, name in _MODE_BITS.items() if mode & bit]
    return "|".join([*names, octal(mode & 0o777)])


class _SigAction(Layout):
    """struct sigaction of the kernel, as handlers have it."""

    prints = True

    def __init__(self) -> None:
        super().__init__("sigaction", "4Q")

    def read(self, memory: UserMemory, address: int) -> SigAction:
        return SigAction(*super().read(memory, address))

    def words(self, values: tuple[Any, ...]) -> str:
        handler, flags, restorer, mask = values
        name = {0: "SIG_DFL", 1: "SIG_IGN", (1 << 64) - 1: "SIG_ERR"}.get(handler, f"{handler:#x}")
        text = f"sa_handler={name}, sa_mask={sigset_words(mask)}, sa_flags={named_bits(flags, _SA_NAMES)}"
        return "{" + text + (f", sa_restorer={restorer:#x}" if flags & SaFlags.RESTORER else "") + "}"

    def parts(self, values: tuple[Any, ...]) -> Iterable[Part]:
        handler, flags, _, mask = values
        yield Part("sa_handler", Likeness.EXACT if handler <= 1 else Likeness.PLACE, handler)
        yield Part("sa_flags", Likeness.EXACT, flags)
        yield Part("sa_mask", Likeness.EXACT, mask)


SIGNAL = Scalar("signal", S32, signal_words)
SIGSET = Scalar("sigset", U64, sigset_words, prints=True)
SIGACTION = _SigAction()
_STACK_FLAGS = Bits("SS_", ONSTACK=SS_ONSTACK, DISABLE=SS_DISABLE, AUTODISARM=SS_AUTODISARM)
SIGNAL_STACK = Struct(
    "stack_t",
    ss_sp=ADDRESS,
    ss_flags=_STACK_FLAGS,
    ss_size=SIZE,
)
#: st_mode (umode_t), of mknod.
FILE_MODE = Scalar("mode and type", U16, file_mode_words)


# The arguments of a new program


class _Strings(Target):
    """A NULL-terminated vector of strings; a NULL vector is empty, as Linux allows."""

    prints = True
    _most_peeked, _most_read = 4096, 32
    _most_shown = 32

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, memory: UserMemory, address: int) -> list[bytes]:
        """LinuxError(E2BIG) if one string or all together are too long."""
        strings: list[bytes] = []
        total = 0
        while address:
            memory.stop.check()
            for at in self._some(memory, address + 8 * len(strings)):
                if not at:
                    return strings
                try:
                    text = memory.read_cstring(at, MAX_ARG_STRLEN)
                except LinuxError as error:
                    raise LinuxError(errno.E2BIG if error.errno == errno.ENAMETOOLONG else error.errno) from None
                strings.append(text)
                total += len(text) + 9
                if total > MAX_ARG_TOTAL:
                    raise LinuxError(errno.E2BIG)
        return strings

    def _some(self, memory: UserMemory, address: int) -> tuple[int, ...]:
        """The words at an address, one at least and not many, which lie in one page if they are several."""
        number = max(min((PAGE_SIZE - address % PAGE_SIZE) >> 3, self._most_read), 1)
        found: tuple[int, ...] = struct.unpack(f"<{number}Q", memory.read(address, 8 * number))
        return found

    def peek(self, view: View, address: int) -> list[int]:
        """The addresses of the strings, as far as they can be read."""
        found: list[int] = []
        while len(found) < self._most_peeked:
            data = view.peek(address + ADDRESS.size * len(found), ADDRESS.size)
            word = ADDRESS.unpack(data)
            if len(data) < ADDRESS.size or not word:
                break
            found.append(word)
        return found

    def text_at(self, view: View, address: int) -> str | None:
        if len(view.peek(address, ADDRESS.size)) < ADDRESS.size:
            return None
        strings = self.peek(view, address)
        texts = [TEXT.text_at(view, at) or pointer(at) for at in strings[: self._most_shown]]
        return "[" + ", ".join(texts) + (", ...]" if len(strings) > self._most_shown else "]")

    def parts_at(self, view: View, address: int) -> Iterable[Part]:
        strings = [view.string(at, MAX_ARG_STRLEN) or b"" for at in self.peek(view, address)]
        return (Part(self.name, Likeness.EXACT, b"\0".join(strings)),)


class _Environment(_Strings):
    """As strace prints it: how many there are."""

    def text_at(self, view: View, address: int) -> str | None:
        if len(view.peek(address, ADDRESS.size)) < ADDRESS.size:
            return None
        return f"{address:#x} /* {number_of_vars(len(self.peek(view, address)))} */"


class _Clone(Argument):
    """The five arguments of clone: those that the flags select, by their names."""

    name = "CLONE_*"

    def text(self, at: int, call: Shown) -> str:
        flags, stack, parent_tid, child_tid, tls = call.values
        text = f"child_stack={pointer(stack)}, flags={clone_words(flags)}"
        if flags & (CloneFlags.PARENT_SETTID | CloneFlags.PIDFD):
            text += f", parent_tid={pointer(parent_tid)}"
        if flags & CloneFlags.SETTLS:
            text += f", tls={pointer(tls)}"
        if flags & (CloneFlags.CHILD_CLEARTID | CloneFlags.CHILD_SETTID):
            text += f", child_tidptr={pointer(child_tid)}"
        return text

    def given(self, at: int, call: Shown) -> Iterable[Part]:
        return (Part("flags", Likeness.EXACT, call.values[0]), Part("stack", Likeness.PLACE, call.values[1]))


#: The flags of clone that strace has names for; CLONE_DETACHED does nothing since Linux 2.6.
CLONE_NAMES = {bit: name for bit, name in CloneFlags.names().items() if 0xFF < bit < 1 << 32 and bit != 1 << 22}


def clone_words(value: int) -> str:
    """CLONE_*, and the signal that the parent gets."""
    signo, flags = value & CloneFlags.SIGNAL, value & ~int(CloneFlags.SIGNAL)
    parts = [named_bits(flags, CLONE_NAMES, prefix=CloneFlags.prefix)] if flags else []
    return "|".join([*parts, signal_words(signo)] if signo or not parts else parts)


ARGV, ENVP = _Strings("argv"), _Environment("envp")
CLONE = _Clone(), Unused("child_stack"), Unused("parent_tid"), Unused("child_tid"), Unused("tls")


# Usage of a process


class _Rusage(Layout):
    """struct rusage: user time at one nanosecond an instruction, that of the kernel's work, and some counters."""

    def __init__(self) -> None:
        super().__init__("rusage", "18q")

    def write(self, memory: UserMemory, address: int, value: Usage) -> None:
        user, system = (divmod(time // 1000, 1_000_000) for time in (value.instructions, value.system_ns))
        super().write(memory, address, (
            *user, *system, value.max_rss << 2, 0, 0, 0, value.min_flt, value.maj_flt, 0, 0, 0, 0, 0, 0,
            value.voluntary_switches, value.involuntary_switches,
        ))  # fmt: skip


RUSAGE = _Rusage()
WAIT_STATUS = Scalar("status", U32, wait_status_words, prints=True)

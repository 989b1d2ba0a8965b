"""Which system calls and signals --strace shows: ``open,close``, ``%file``, ``/^sched_``, ``!futex``, as -e trace= of
strace(1) has it, and ``INT,SIGCHLD`` as -e signal=.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from emu.kernel.signal_state import signal_name
from emu.linux.syscall_names import NAMES

if TYPE_CHECKING:
    from emu.linux.syscall import Syscall

#: Kinds of calls besides those that take a path (%file) or a descriptor (%desc), in strace's sense.
_KINDS = {
    "process": "fork vfork clone clone3 execve execveat exit exit_group wait4 waitid kill tkill tgkill rt_sigqueueinfo "
    "rt_tgsigqueueinfo pidfd_send_signal",
    "network": "socket connect accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown bind listen "
    "getsockname getpeername socketpair setsockopt getsockopt sendfile getpmsg putpmsg",
    "signal": "rt_sigaction rt_sigprocmask rt_sigreturn pause kill tkill tgkill rt_sigpending rt_sigtimedwait "
    "rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend sigaltstack signalfd signalfd4 pidfd_send_signal io_uring_enter",
    "ipc": "shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl",
    "memory": "mmap munmap mprotect pkey_mprotect mremap remap_file_pages brk madvise msync mincore "
    "mlock mlock2 munlock mlockall munlockall mbind set_mempolicy get_mempolicy set_mempolicy_home_node migrate_pages "
    "move_pages shmat shmdt map_shadow_stack mseal io_setup io_destroy io_uring_register",
    "clock": "time gettimeofday settimeofday adjtimex clock_adjtime clock_getres clock_gettime clock_settime",
    "creds": "getuid getgid geteuid getegid setuid setgid setreuid setregid getgroups setgroups setresuid getresuid "
    "setresgid getresgid setfsuid setfsgid capget capset prctl",
    "pure": "getpid getuid getgid geteuid getegid getppid getpgrp gettid",
    "stat": "stat",
    "lstat": "lstat",
    "fstat": "fstat newfstatat statx",
    "%stat": "stat lstat fstat newfstatat statx",
    "statfs": "statfs",
    "fstatfs": "fstatfs",
    "%statfs": "statfs fstatfs ustat",
}
#: Other names of kinds: as strace has them, and as older versions had.
_SAME = {"net": "network", "%lstat": "%stat", "%fstat": "%stat", "%fstatfs": "%statfs"}
_BY_ARGUMENT = {"file": ("path *",), "desc": ("fd", "dirfd", "pollfd", "int[2]")}
#: What else is of those, and what is not though it takes such an argument.
_MORE = {"file": "acct fsconfig getcwd uselib", "desc": "finit_module kexec_file_load"}
_LESS = {"file": "mq_open mq_unlink", "desc": ""}
KINDS = (*_BY_ARGUMENT, *_KINDS)
#: What a name may end with: which of a processor's modes has it.  All programs here have that of 64 bits.
_MODES = ("@64", "@32", "@x32")


class UnknownCall(ValueError):
    """A filter names a call that no x86-64 Linux has, nor a module of the machine; the message says which."""


class UnknownSignal(ValueError):
    """A filter names a signal that there is not; the message says which."""


class CallFilter:
    """The calls that are shown: those of a list, or (``!``) all but these.  One without a name always is."""

    def __init__(self, text: str, calls: Iterable[Syscall]) -> None:
        """``calls`` are those of the machine; :class:`UnknownCall`."""
        self._inverted = text.startswith("!")
        self._names: set[str] = set()
        known = {call.name: call for call in calls}
        numbers = {call.number: call.name for call in known.values()} | NAMES
        self._nameable = {*known, *NAMES.values()}
        for word in text.removeprefix("!").split(","):
            self._names |= _named(word, known, numbers)

    def shows(self, name: str) -> bool:
        """Whether a call of that name is shown."""
        return (name in self._names) is not self._inverted or name not in self._nameable


def _named(word: str, known: dict[str, Syscall], numbers: dict[int, str]) -> set[str]:
    """The calls that a word of the list means; where ``?`` stands before it, there may be none."""
    if word.startswith("?"):
        try:
            return _named(word[1:], known, numbers)
        except UnknownCall:
            return set()
    mode = next((mode for mode in _MODES if word.endswith(mode)), "@64")
    found = _meant(word.removesuffix(mode), known, numbers)
    return found if mode == "@64" else set()


def _meant(word: str, known: dict[str, Syscall], numbers: dict[int, str]) -> set[str]:
    """The calls of this name or number, of this kind, or whose names fit a regular expression."""
    names = {*known, *NAMES.values()}
    if word in ("none", "all"):
        return names if word == "all" else set()
    if word.startswith("%"):
        return _of_kind(word[1:], known)
    if word.startswith("/"):
        return _fitting(word[1:], names)
    if word in KINDS:  # as older versions of strace had it
        return _of_kind(word, known)
    if word.isdecimal() and int(word) in numbers:
        return {numbers[int(word)]}
    if word not in names:
        raise UnknownCall(
            f"there is no system call {word!r}, nor is it all, none, a number, /REGEX, or %KIND: {', '.join(KINDS)}"
        )
    return {word}


def _fitting(pattern: str, names: set[str]) -> set[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UnknownCall(f"/{pattern} is no regular expression: {error}") from None
    found = {name for name in names if expression.search(name)}
    if not found:
        raise UnknownCall(f"there is no system call that fits /{pattern}")
    return found


def _of_kind(kind: str, known: dict[str, Syscall]) -> set[str]:
    kind = _SAME.get(kind, kind)
    if kind in _BY_ARGUMENT:
        found = {name for name, call in known.items() if _has(call, _BY_ARGUMENT[kind])} | {*_MORE[kind].split()}
        return found - (set(_KINDS["network"].split()) - {"sendfile"}) - {*_LESS[kind].split()}
    if kind not in _KINDS:
        raise UnknownCall(f"there is no kind %{kind} of system calls; there are %{', %'.join(KINDS)}")
    return set(_KINDS[kind].split())


def _has(call: Syscall, wanted: tuple[str, ...]) -> bool:
    """Whether an argument of a call, or its result, is of one of these types."""
    return call.returns.name in wanted or any(each.name.startswith(wanted) for each in call.arguments)


_SIGNALS = {signal_name(number).removeprefix("SIG"): number for number in range(1, 65)}


class SignalFilter:
    """The signals that are shown: those of a list, by name or number, or (``!``) all but these."""

    def __init__(self, text: str) -> None:
        """:class:`UnknownSignal`."""
        self._inverted = text.startswith("!")
        self._numbers: set[int] = set()
        for word in text.removeprefix("!").split(","):
            self._numbers |= _signals(word)

    def shows(self, signo: int) -> bool:
        """Whether a signal is shown."""
        return (signo in self._numbers) is not self._inverted


def _signals(word: str) -> set[int]:
    if word in ("none", "all"):
        return set(range(1, 65)) if word == "all" else set()
    name = word.upper().removeprefix("SIG")
    number = int(word) if word.isdecimal() else _SIGNALS.get(name, 0)
    if not 1 <= number <= 64:
        raise UnknownSignal(f"there is no signal {word!r}, nor is it all or none")
    return {number}

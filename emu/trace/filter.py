"""Which system calls and signals --strace shows: ``open,close``, ``%file``, ``!futex``, as -e trace= of strace(1) has
it, and ``INT,SIGCHLD`` as -e signal=.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from emu.kernel.signal_state import signal_name
from emu.linux.syscall_names import NAMES

if TYPE_CHECKING:
    from emu.linux.syscall import Syscall

#: Kinds of calls besides those that take a path (%file) or a descriptor (%desc), in strace's sense.
_KINDS = {
    "process": "fork vfork clone clone3 execve execveat exit exit_group wait4 waitid kill tkill tgkill rt_sigqueueinfo "
    "rt_tgsigqueueinfo pidfd_send_signal unshare",
    "network": "socket connect accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown bind listen "
    "getsockname getpeername socketpair setsockopt getsockopt sendfile",
    "signal": "rt_sigaction rt_sigprocmask rt_sigreturn pause kill tkill tgkill rt_sigpending rt_sigtimedwait "
    "rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend sigaltstack signalfd signalfd4 pidfd_send_signal",
    "ipc": "shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl",
    "memory": "mmap munmap mprotect pkey_mprotect mremap remap_file_pages brk madvise process_madvise msync mincore "
    "mlock mlock2 munlock mlockall munlockall mbind set_mempolicy get_mempolicy set_mempolicy_home_node migrate_pages "
    "move_pages shmat shmdt map_shadow_stack mseal",
}
_BY_ARGUMENT = {"file": ("path *",), "desc": ("fd", "dirfd", "pollfd", "int[2]")}
KINDS = (*_BY_ARGUMENT, *_KINDS)


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
        self._nameable = {*known, *NAMES.values()}
        for word in text.removeprefix("!").split(","):
            self._names |= _named(word, known)

    def shows(self, name: str) -> bool:
        """Whether a call of that name is shown."""
        return (name in self._names) is not self._inverted or name not in self._nameable


def _named(word: str, known: dict[str, Syscall]) -> set[str]:
    """The calls that a word of the list means."""
    if word == "none":
        return set()
    if word == "all":
        return {*known, *NAMES.values()}
    if word.startswith("%"):
        return _of_kind(word[1:], known)
    if word in KINDS:  # as older versions of strace had it
        return _of_kind(word, known)
    if word not in known and word not in NAMES.values():
        raise UnknownCall(f"there is no system call {word!r}, nor is it all, none, or %KIND: {', '.join(KINDS)}")
    return {word}


def _of_kind(kind: str, known: dict[str, Syscall]) -> set[str]:
    if kind in _BY_ARGUMENT:
        found = {name for name, call in known.items() if _has(call, _BY_ARGUMENT[kind])}
        return found - (set(_KINDS["network"].split()) - {"sendfile"})
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

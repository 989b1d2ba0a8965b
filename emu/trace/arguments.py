"""The arguments of one system call as strace prints them: some when it begins, some only once it has returned."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.linux.syscall import IoctlWords, StructWords, s32, s64
from emu.trace import words
from emu.trace.peek import peek, peek_string, peek_u64

if TYPE_CHECKING:
    from emu.kernel.task import Task

_PATH_MAX = 4096
_MAX_SHOWN = 32

#: What a call's arguments are, where that can be said better than its table does; ``>`` marks what the call writes.
_KINDS = {
    "access": ("path", "access"),
    "arch_prctl": ("arch_code", "ptr"),
    "clock_getres": ("clock", "timespec>"),
    "clock_gettime": ("clock", "timespec>"),
    "clock_nanosleep": ("clock", "int", "timespec", "ptr"),
    "clone": ("clone",),
    "fallocate": ("fd", "fallocate_mode", "offset", "size"),
    "memfd_create": ("str", "memfd_flags"),
    "mknod": ("path", "file_mode", "hex"),
    "mknodat": ("dirfd", "path", "file_mode", "hex"),
    "msync": ("ptr", "size", "msync_flags"),
    "waitid": ("id_type", "pid", "ptr", "wait_options", "ptr"),
    "dup3": ("fd", "fd", "fdflags"),
    "execve": ("path", "argv", "envp"),
    "faccessat": ("dirfd", "path", "access"),
    "faccessat2": ("dirfd", "path", "access", "atflags"),
    "fchownat": ("dirfd", "path", "int", "int", "atflags"),
    "fstat": ("fd", "stat>"),
    "getcwd": ("string>", "size"),
    "getrandom": ("buf>", "size", "hex"),
    "ioctl": ("fd", "ioctl", "hex"),
    "linkat": ("dirfd", "path", "dirfd", "path", "atflags"),
    "lseek": ("fd", "offset", "whence"),
    "lstat": ("path", "stat>"),
    "madvise": ("ptr", "size", "advice"),
    "mremap": ("ptr", "size", "size", "mremap_flags", "ptr"),
    "nanosleep": ("timespec", "ptr"),
    "newfstatat": ("dirfd", "path", "stat>", "atflags"),
    "pipe": ("fds>",),
    "pipe2": ("fds>", "fdflags"),
    "pread64": ("fd", "buf>", "size", "offset"),
    "preadv": ("fd", "iov>", "size", "offset"),
    "pwritev": ("fd", "iov", "size", "offset"),
    "read": ("fd", "buf>", "size"),
    "readlink": ("path", "buf>", "size"),
    "readlinkat": ("dirfd", "path", "buf>", "size"),
    "readv": ("fd", "iov>", "size"),
    "rt_sigaction": ("signal", "sigaction", "sigaction>", "size"),
    "rt_sigprocmask": ("sig_how", "sigset", "sigset>", "size"),
    "rt_sigsuspend": ("sigset", "size"),
    "sigaltstack": ("stack", "stack>"),
    "stat": ("path", "stat>"),
    "unlinkat": ("dirfd", "path", "atflags"),
    "wait4": ("pid", "wait_status>", "wait_options", "ptr"),
    "writev": ("fd", "iov", "size"),
}
_IOCTLS = {0x5401: "TCGETS", 0x5402: "TCSETS", 0x5413: "TIOCGWINSZ", 0x541B: "FIONREAD", 0x5421: "FIONBIO"}
_NAMES = {
    "advice": {
        0: "MADV_NORMAL", 1: "MADV_RANDOM", 2: "MADV_SEQUENTIAL", 3: "MADV_WILLNEED", 4: "MADV_DONTNEED",
        8: "MADV_FREE", 9: "MADV_REMOVE", 10: "MADV_DONTFORK", 14: "MADV_HUGEPAGE", 15: "MADV_NOHUGEPAGE",
    },
    "arch_code": {0x1001: "ARCH_SET_GS", 0x1002: "ARCH_SET_FS", 0x1003: "ARCH_GET_FS", 0x1004: "ARCH_GET_GS"},
    "clock": {0: "CLOCK_REALTIME", 1: "CLOCK_MONOTONIC", 2: "CLOCK_PROCESS_CPUTIME_ID", 7: "CLOCK_BOOTTIME"},
    "fcntl": {
        0: "F_DUPFD", 1: "F_GETFD", 2: "F_SETFD", 3: "F_GETFL", 4: "F_SETFL", 5: "F_GETLK", 6: "F_SETLK",
        7: "F_SETLKW", 1030: "F_DUPFD_CLOEXEC", 1031: "F_SETPIPE_SZ", 1032: "F_GETPIPE_SZ",
    },
    "id_type": {0: "P_ALL", 1: "P_PID", 2: "P_PGID", 3: "P_PIDFD"},
    "sig_how": {0: "SIG_BLOCK", 1: "SIG_UNBLOCK", 2: "SIG_SETMASK"},
    "whence": {0: "SEEK_SET", 1: "SEEK_CUR", 2: "SEEK_END", 3: "SEEK_DATA", 4: "SEEK_HOLE"},
}  # fmt: skip
_BITS = {
    "fallocate_mode": ({1: "FALLOC_FL_KEEP_SIZE", 2: "FALLOC_FL_PUNCH_HOLE", 16: "FALLOC_FL_ZERO_RANGE"}, "0"),
    "memfd_flags": ({1: "MFD_CLOEXEC", 2: "MFD_ALLOW_SEALING", 4: "MFD_HUGETLB"}, "0"),
    "msync_flags": ({1: "MS_ASYNC", 2: "MS_INVALIDATE", 4: "MS_SYNC"}, "0"),
    "access": ({4: "R_OK", 2: "W_OK", 1: "X_OK"}, "F_OK"),
    "mremap_flags": ({1: "MREMAP_MAYMOVE", 2: "MREMAP_FIXED", 4: "MREMAP_DONTUNMAP"}, "0"),
    "wait_options": ({1: "WNOHANG", 2: "WSTOPPED", 4: "WEXITED", 8: "WCONTINUED", 0x1000000: "WNOWAIT"}, "0"),
}
_O_CREAT_OR_TMPFILE = 0o100 | 0o20000000
_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC, _F_GETPIPE_SZ = 0, 1, 2, 3, 4, 1030, 1032
_MREMAP_FIXED = 2


class CallArguments:
    """The arguments of one call of one task."""

    def __init__(self, task: Task, name: str, declared: tuple[str | StructWords, ...], values: tuple[int, ...]) -> None:
        self._task = task
        self._values = values
        #: The structures that arguments of kind ``struct`` point at, by position.
        self._structs = {at: kind for at, kind in enumerate(declared) if isinstance(kind, StructWords)}
        plain = tuple("struct" if isinstance(kind, StructWords) else kind for kind in declared)
        self._ioctl = _ioctl_words(task, values) if name == "ioctl" else None
        kinds = _KINDS.get(name, plain)
        if self._ioctl is not None and self._ioctl.argument is not None:
            self._structs[2] = self._ioctl.argument
            kinds = (*kinds[:2], "struct>" if self._ioctl.written else "struct")
        self._kinds = _without_unused(name, kinds, values)

    @property
    def count(self) -> int:
        """How many arguments are shown."""
        return len(self._kinds)

    @property
    def asks_for_flags(self) -> bool:
        """fcntl(F_GETFL): the result is flags of open."""
        return self._kinds == ("fd", "fcntl") and self._values[1] == _F_GETFL

    def before(self) -> list[str]:
        """The arguments up to the first that the call itself is going to write."""
        texts = []
        for at, kind in enumerate(self._kinds):
            if kind.endswith(">"):
                break
            texts.append(self._input(at, kind))
        return texts

    def after(self, done: int, result: int | None) -> list[str]:
        """The arguments from the ``done``-th on; ``result`` is None if the call did not return."""
        texts = []
        for at in range(done, len(self._kinds)):
            kind = self._kinds[at]
            if not kind.endswith(">"):
                texts.append(self._input(at, kind))
            elif kind == "iov>":
                texts.append(self._iovec(self._values[at], max(result or 0, 0)) or words.pointer(self._values[at]))
            elif result is None or result < 0:
                texts.append(words.pointer(self._values[at]))
            elif kind == "struct>":
                texts.append(self._struct(at))
            else:
                texts.append(self._output(kind, self._values[at], result))
        return texts

    # -- one argument ----------------------------------------------------------------------------------------------

    def _input(self, at: int, kind: str) -> str:
        value = self._values[at]
        if kind == "clone":
            return _clone(self._values)
        if kind == "struct":
            return self._struct(at)
        if kind == "ioctl" and self._ioctl is not None:
            return self._ioctl.name
        scalar = _scalar(kind, value)
        if scalar is not None:
            return scalar
        if kind == "buf":
            return self._buffer(value, self._values[at + 1])
        if kind == "fcntl_argument":
            return self._fcntl_argument(value)
        reader: Callable[[CallArguments, int], str | None] | None = _FROM_MEMORY.get(kind)
        if reader is None or not value:
            return words.pointer(value)
        return reader(self, value) or words.pointer(value)

    def _output(self, kind: str, value: int, result: int) -> str:
        if not value:
            return "NULL"
        if kind == "buf>":
            return self._buffer(value, result)
        return _FROM_MEMORY[kind.rstrip(">")](self, value) or words.pointer(value)

    def _struct(self, at: int) -> str:
        """What an argument of a call or an ioctl points at."""
        shape, address = self._structs[at], self._values[at]
        values = self._structure(address, shape.layout)
        if values is None:
            return words.pointer(address)
        fields = zip(shape.fields, values, strict=True)
        texts = [f"{name}={_scalar(kind, value) or words.hexadecimal(value)}" for (name, kind), value in fields]
        return "{" + ", ".join(texts) + "}"

    def _buffer(self, address: int, length: int) -> str:
        shown = peek(self._task.mm, address, min(length, _MAX_SHOWN))
        if not shown and length:
            return words.pointer(address)
        return words.quote(shown, cut=length > len(shown))

    def _path(self, address: int) -> str | None:
        text = peek_string(self._task.mm, address, _PATH_MAX)
        return None if text is None else words.quote(text)

    def _string(self, address: int) -> str | None:
        text = peek_string(self._task.mm, address, _PATH_MAX)
        return None if text is None else words.quote(text, words.STRING_LIMIT)

    def _argv(self, address: int) -> str | None:
        strings = self._pointers(address)
        texts = [self._string(s) or words.pointer(s) for s in strings[:_MAX_SHOWN]]
        return "[" + ", ".join(texts) + (", ...]" if len(strings) > _MAX_SHOWN else "]")

    def _envp(self, address: int) -> str | None:
        return f"{address:#x} /* {words.number_of_vars(len(self._pointers(address)))} */"

    def _pointers(self, address: int) -> list[int]:
        found: list[int] = []
        while len(found) < _PATH_MAX and (word := peek_u64(self._task.mm, address + 8 * len(found))):
            found.append(word)
        return found

    def _structure(self, address: int, layout: str) -> tuple[int, ...] | None:
        data = peek(self._task.mm, address, struct.calcsize(layout))
        return struct.unpack(layout, data) if len(data) == struct.calcsize(layout) else None

    def _fds(self, address: int) -> str | None:
        pair = self._structure(address, "<2i")
        return None if pair is None else f"[{pair[0]}, {pair[1]}]"

    def _sigset(self, address: int) -> str | None:
        mask = peek_u64(self._task.mm, address)
        return None if mask is None else words.sigset(mask)

    def _sigaction(self, address: int) -> str | None:
        action = self._structure(address, "<4Q")
        return None if action is None else words.sigaction(*action)

    def _stack(self, address: int) -> str | None:
        stack = self._structure(address, "<QiiQ")
        return None if stack is None else words.signal_stack(stack[0], stack[1], stack[3])

    def _timespec(self, address: int) -> str | None:
        time = self._structure(address, "<2q")
        return None if time is None else f"{{tv_sec={time[0]}, tv_nsec={time[1]}}}"

    def _wait_status(self, address: int) -> str | None:
        status = self._structure(address, "<I")
        return None if status is None else words.wait_status(*status)

    def _stat(self, address: int) -> str | None:
        fields = self._structure(address, "<24xI12xQQ")
        return None if fields is None else words.stat_fields(fields[0], fields[2], fields[1])

    def _iovec(self, address: int, filled: int | None = None) -> str | None:
        """``filled`` bytes of the buffers hold data; None: all."""
        texts = []
        count = self._values[2]
        for n in range(min(count, _MAX_SHOWN)):
            piece = self._structure(address + 16 * n, "<2Q")
            if piece is None:
                return None
            base, length = piece
            held = length if filled is None else min(length, filled)
            filled = None if filled is None else filled - held
            shown = words.pointer(base) if not base or (filled is not None and not held) else self._buffer(base, held)
            texts.append(f"{{iov_base={shown}, iov_len={length}}}")
        return "[" + ", ".join(texts) + (", ...]" if count > _MAX_SHOWN else "]")

    def _fcntl_argument(self, value: int) -> str:
        command = self._values[1]
        if command == _F_SETFD:
            return words.named_bits(value, {1: "FD_CLOEXEC"})
        if command in (_F_DUPFD, _F_DUPFD_CLOEXEC):
            return str(value)
        return words.open_flags(value) if command == _F_SETFL else words.hexadecimal(value)


def _ioctl_words(task: Task, values: tuple[int, ...]) -> IoctlWords | None:
    """What the file behind the descriptor says of the command."""
    fd = s32(values[0])
    return task.files.get_any(fd).ioctl_words(values[1] & 0xFFFFFFFF) if fd in iter(task.files) else None


def _scalar(kind: str, value: int) -> str | None:
    """A value that needs no memory to be understood; None for a kind that does."""
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain(value)
    if kind in _NAMES:
        names = _NAMES[kind]
        return names.get(value) or f"{value:#x} /* {names[min(names)].partition('_')[0]}_??? */"
    if kind in _BITS:
        return words.named_bits(value & 0xFFFFFFFF, *_BITS[kind])
    return None


def _clone(values: tuple[int, ...]) -> str:
    flags, stack, parent_tid, child_tid, tls = values
    text = f"child_stack={words.pointer(stack)}, flags={words.clone_flags(flags)}"
    if flags & 0x100000:
        text += f", parent_tid={words.pointer(parent_tid)}"
    if flags & 0x80000:
        text += f", tls={words.pointer(tls)}"
    if flags & 0x1200000:
        text += f", child_tidptr={words.pointer(child_tid)}"
    return text


def _without_unused(name: str, kinds: tuple[str, ...], values: tuple[int, ...]) -> tuple[str, ...]:
    """Leave out arguments that the call does not look at."""
    if name in ("open", "openat"):
        flags = values[kinds.index("oflags")]
        return kinds if flags & _O_CREAT_OR_TMPFILE else kinds[:-1]
    if name == "mremap":
        return kinds if values[3] & _MREMAP_FIXED else kinds[:4]
    if name in ("mknod", "mknodat") and values[kinds.index("file_mode")] & 0o060000 not in (0o020000, 0o060000):
        return kinds[:-1]
    if name == "fcntl":
        kinds = ("fd", "fcntl", "fcntl_argument")
        return kinds[:2] if values[1] in (_F_GETFD, _F_GETFL, _F_GETPIPE_SZ) else kinds
    return kinds


def _dirfd(value: int) -> str:
    return "AT_FDCWD" if s32(value) == -100 else str(s32(value))


_PLAIN: dict[str, Callable[[int], str]] = {
    "fd": lambda value: str(s32(value)),
    "dirfd": _dirfd,
    "int": lambda value: str(s32(value)),
    "uint": lambda value: str(value & 0xFFFFFFFF),
    "pid": lambda value: str(s32(value)),
    "hex": words.hexadecimal,
    "ptr": words.pointer,
    "size": str,
    "offset": lambda value: str(s64(value)),
    "oflags": words.open_flags,
    "fdflags": words.descriptor_flags,
    "atflags": words.at_flags,
    "file_mode": words.file_mode,
    "prot": words.prot,
    "mapflags": words.map_flags,
    "mode": words.octal,
    "signal": lambda value: words.signal(s32(value)),
    "ioctl": lambda value: words.ioctl_request(value & 0xFFFFFFFF, _IOCTLS),
}
_FROM_MEMORY: dict[str, Callable[[CallArguments, int], str | None]] = {
    "path": CallArguments._path,
    "str": CallArguments._string,
    "string": CallArguments._string,
    "argv": CallArguments._argv,
    "envp": CallArguments._envp,
    "fds": CallArguments._fds,
    "sigset": CallArguments._sigset,
    "sigaction": CallArguments._sigaction,
    "timespec": CallArguments._timespec,
    "wait_status": CallArguments._wait_status,
    "stack": CallArguments._stack,
    "stat": CallArguments._stat,
    "iov": CallArguments._iovec,
}

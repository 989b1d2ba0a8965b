"""The cache of object code: files of native code that are kept from one run to the next.

Whoever can write such a file runs code as the user who loads it.  So a file is read only through a directory that
belongs to this user, that nobody else can write, read or search (mode 0700), and that is no symbolic link: it is opened
first, what was opened is looked at, and every file is reached from there, so that nobody can put another one in its
place in between.  A file itself is opened without following a link or waiting for a FIFO, and has to be a regular one
of this user's.

This is what keeps strangers out.  The digest at the beginning of a file is not: who can write a file here can compute a
digest too, and could read the key of a MAC, which would have to lie where this user can read it.  It tells damage: a
file that was cut off, or that a disk has changed, or that stands under the name of another.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import stat
from types import TracebackType
from typing import NamedTuple

#: A file that is longer was not written by us: the largest has 100 KB.
MAX_BYTES = 16 << 20
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class CacheUnusable(Exception):
    """Nothing can be kept in the directory, or what is there cannot be trusted; the message says why."""


def cache_directory() -> pathlib.Path | None:
    """``$UNIMMU_CACHE_DIR``, or ``unimmu`` below ``$XDG_CACHE_HOME`` or ``~/.cache``; None for a user without a home.

    Never one below the current directory, but for a relative ``$UNIMMU_CACHE_DIR``, which somebody has asked for.
    """
    chosen = os.environ.get("UNIMMU_CACHE_DIR")
    if chosen:
        return pathlib.Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # others are to be ignored (XDG Base Directory Specification)
        return pathlib.Path(base) / "unimmu"
    home = os.environ.get("HOME") or os.path.expanduser(f"~{_user_name()}")
    return pathlib.Path(home) / ".cache" / "unimmu" if os.path.isabs(home) else None


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


class Image(NamedTuple):
    """The native code of a module, which runs at any address, and the offsets of its entry points by name."""

    offsets: dict[str, int]
    code: bytes

    def pack(self, name: str) -> bytes:
        """As it stands in the file ``name``: a digest of the rest, a line of JSON, and the code."""
        import json  # as hashlib: most runs find the code without opening its file (mmu.remembered)

        rest = json.dumps({"name": name, "offsets": self.offsets}).encode() + b"\n" + self.code
        return _digest(rest) + b"\n" + rest

    @classmethod
    def unpack(cls, name: str, data: bytes) -> Image | None:
        """What :meth:`pack` made; None for anything else."""
        import json

        digest, _, rest = data.partition(b"\n")
        if digest != _digest(rest):
            return None
        line, _, code = rest.partition(b"\n")
        try:
            index = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(index, dict) or index.get("name") != name:
            return None
        offsets = index.get("offsets")
        if not isinstance(offsets, dict) or not all(type(at) is int and 0 <= at < len(code) for at in offsets.values()):
            return None
        return cls(offsets, code)


def _digest(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(data).hexdigest().encode()


class CodeCache:
    """The directory, opened and looked at.  It is made where there is none.  :class:`CacheUnusable`."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        try:
            make_directory(path)
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise CacheUnusable(_why_not(path, error)) from None
        try:
            self._check()
        except BaseException:
            os.close(self._fd)
            raise

    def _check(self) -> None:
        found = os.fstat(self._fd)
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid != os.geteuid():
            raise CacheUnusable(f"{self.path} belongs to another user ({found.st_uid})")
        if mode & _OTHERS_WRITE == 0 and mode & _OTHERS and not os.environ.get("UNIMMU_CACHE_DIR"):
            os.fchmod(self._fd, mode & ~_OTHERS)  # an earlier unimmu made its own directory like that
        elif mode & _OTHERS:
            raise CacheUnusable(f"{self.path} is open to other users (mode {mode:04o}, and should be 0700)")

    def __enter__(self) -> CodeCache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._fd)

    def read(self, name: str) -> Image | None:
        """The image of that name; None where there is none, or where it is damaged or nobody's that we trust."""
        data = self.read_bytes(name)
        return None if data is None else Image.unpack(name, data)

    def read_bytes(self, name: str) -> bytes | None:
        """What is in the file of that name; None where there is none, or nobody's that we trust."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError:
            return None
        try:
            found = os.fstat(fd)
            ours = found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE
            if not (ours and stat.S_ISREG(found.st_mode) and found.st_size <= MAX_BYTES):
                return None
            data = b""
            while len(data) < found.st_size and (more := os.read(fd, found.st_size - len(data))):
                data += more
            return data
        except OSError:
            return None
        finally:
            os.close(fd)

    def write(self, name: str, data: bytes) -> None:
        """Put the data there under that name, whatever has it now, all at once.  OSError if that cannot be."""
        scratch = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(scratch, flags, 0o600, dir_fd=self._fd)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            finally:
                os.close(fd)
            self._rename(scratch, name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(scratch, dir_fd=self._fd)
            raise

    def _rename(self, scratch: str, name: str) -> None:
        try:
            os.replace(scratch, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except IsADirectoryError:
            import shutil

            shutil.rmtree(name, ignore_errors=True, dir_fd=self._fd)
            os.replace(scratch, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)


def make_directory(path: pathlib.Path) -> None:
    """Make a directory, and those above it that are not there, each for this user alone.  OSError."""
    if not os.path.lexists(path):
        if path != path.parent:
            make_directory(path.parent)
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            os.mkdir(path, 0o700)


def _why_not(path: pathlib.Path, error: OSError | ValueError) -> str:
    if os.path.islink(path):
        return f"{path} is a symbolic link"
    if isinstance(error, OSError) and error.errno == errno.ENOTDIR and os.path.lexists(path):
        return f"{path} is not a directory"
    return f"{path} cannot be used ({getattr(error, 'strerror', None) or error})"

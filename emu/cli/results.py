"""Files that a command writes when its work is done: opened before it begins, so that a wrong name costs no work."""

from __future__ import annotations

import os
import pathlib
import stat
from collections.abc import Mapping
from types import TracebackType

from emu.cli.arguments import OutputError, UsageError

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY


class ResultFiles:
    """The files of a command, by the options that name them.

    A file keeps what it has until something is written to it.  One that was not there before, and gets nothing because
    the work failed, is removed again.
    """

    def __init__(self, given: Mapping[str, pathlib.Path | None], read: Mapping[str, str] | None = None) -> None:
        """Open the files: ``given`` has the path for each option, None where it is not given.  ``read`` are the files
        that the command reads, with a word for each.

        :class:`UsageError` for one that cannot be written, that another option names too, or that is in ``read``.
        """
        self._files: dict[str, _ResultFile] = {}
        try:
            for option, path in given.items():
                if path is not None:
                    self._open(option, path, read or {})
        except BaseException:
            self.close()
            raise

    def _open(self, option: str, path: pathlib.Path, read: Mapping[str, str]) -> None:
        file = self._files[option] = _ResultFile(f"{option} {path}", path)
        if file.keeps_nothing:
            return
        for name, what in read.items():
            if os.path.exists(name) and file.is_the_same(os.stat(name)):
                raise UsageError(f"{file.name}: that is {what}, which would be lost")
        for other, earlier in self._files.items():
            if other != option and file.is_the_same(earlier.status):
                raise UsageError(f"{file.name}: {earlier.name} writes to the same file")

    def __enter__(self) -> ResultFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """No more is to come."""
        for file in self._files.values():
            file.close()

    def write(self, option: str, data: str | bytes) -> None:
        """Write to the file of an option; the first time, what it had before goes.  :class:`OutputError`."""
        self._files[option].write(data.encode("utf-8") if isinstance(data, str) else data)


class _ResultFile:
    """One of them."""

    def __init__(self, name: str, path: pathlib.Path) -> None:
        self.name = name
        self._path = path
        self._is_new = not os.path.lexists(path)
        self._begun = False
        try:
            self._fd = os.open(path, _FLAGS, 0o666)
        except (OSError, ValueError) as error:
            self._fd = -1
            raise UsageError(f"{name}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
        self.status = os.fstat(self._fd)

    @property
    def keeps_nothing(self) -> bool:
        """Whether it is a device, such as /dev/null or a terminal."""
        return stat.S_ISCHR(self.status.st_mode)

    def is_the_same(self, other: os.stat_result) -> bool:
        """Whether both are one file."""
        return os.path.samestat(self.status, other)

    def write(self, data: bytes) -> None:
        """Write all of it."""
        try:
            if not self._begun and stat.S_ISREG(self.status.st_mode):
                os.ftruncate(self._fd, 0)
            self._begun = True
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except BrokenPipeError:
            raise OutputError(f"{self.name}: nobody reads it; it is not complete") from None
        except OSError as error:
            raise OutputError(f"{self.name}: {error.strerror}; the file is not complete") from None

    def close(self) -> None:
        """No more is to come."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        if self._is_new and not self._begun and stat.S_ISREG(self.status.st_mode):
            try:
                if self.is_the_same(os.lstat(self._path)):
                    os.unlink(self._path)
            except OSError:
                pass  # somebody else has moved it

"""Errors of the guest, as an errno.

A :class:`LinuxError` flows to the guest as ``-errno``; it never means that the emulator is at fault.
A fault of the emulator itself is an ordinary exception.
"""

from __future__ import annotations

import errno as _errno
import os
from collections.abc import Callable, Generator
from typing import Any


class LinuxError(Exception):
    """A system call fails with this errno (``LinuxError(errno.EINVAL)``)."""

    def __init__(self, errno: int, detail: str = "") -> None:
        super().__init__(errno, detail)
        self.errno = errno
        self.detail = detail

    def __str__(self) -> str:
        name = _errno.errorcode.get(self.errno, str(self.errno))
        return f"{name}: {self.detail}" if self.detail else name

    @property
    def words(self) -> str:
        """What is wrong, for people who know no errnos: the detail, else what perror(3) says."""
        return self.detail or os.strerror(self.errno)


class NoPage(LinuxError):
    """There is no page: ENOMEM.  Room may be made, in the machine or in the control group that has none, and then the
    call starts again: it has changed nothing that it could not do twice.
    """

    def __init__(self, detail: str = "") -> None:
        super().__init__(_errno.ENOMEM, detail)


class NoIntr(LinuxError):
    """The run is to end: if it goes on one day, the system call starts again, and the guest notices nothing
    (ERESTARTNOINTR).
    """

    def __init__(self) -> None:
        super().__init__(_errno.EINTR)


class Interrupted(LinuxError):
    """A signal arrived while a system call slept: EINTR, or the call is started again (SA_RESTART).

    ``goes_on``, which a call sets that keeps what is left of its time, makes the rest of the call (its restart_block).
    """

    def __init__(self) -> None:
        super().__init__(_errno.EINTR)
        self.goes_on: Callable[[], Generator[Any, None, int]] | None = None

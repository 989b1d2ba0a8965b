# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest programs: small static x86-64 Linux programs, prebuilt in bin/, their sources in src/.

>>> import guests
>>> guests.path("hello").name
'hello'
"""

from pathlib import Path

_BIN = Path(__file__).resolve().parent / "bin"

NAMES: tuple[str, ...] = tuple(sorted(file.name for file in _BIN.glob("*") if not file.suffix))
"""The prebuilt programs; guests.build.GUESTS is the table with all of them."""


class GuestNotFound(FileNotFoundError):
    """There is no prebuilt guest program of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no prebuilt guest program {name!r}; there are: {', '.join(NAMES) or 'none'}")


def path(name: str) -> Path:
    """The file of a prebuilt guest program; GuestNotFound, which says which ones there are, if there is none.

    >>> path("hello").read_bytes()[:4]
    b'\\x7fELF'
    """
    if name not in NAMES:
        raise GuestNotFound(name)
    return _BIN / name

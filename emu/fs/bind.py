"""Bind: a directory of the host at a place in the machine."""

from __future__ import annotations

from typing import NamedTuple


class Bind(NamedTuple):
    """A directory of the host, and where guests see it; ``writable``: they may change it, on the host.

    >>> Bind("/usr/share", "/mnt").guest
    '/mnt'
    """

    host: str
    guest: str
    writable: bool = False

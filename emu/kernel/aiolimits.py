"""How much asynchronous I/O there may be on the machine (/proc/sys/fs/aio-nr, aio-max-nr)."""

from __future__ import annotations


class AioLimits:
    """Requests for which contexts have been made, and the most of them."""

    def __init__(self) -> None:
        self.used = 0
        self.most = 65536

"""The kernel's log, as syslog(2) reads it (kernel/printk/printk.c)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from emu.linux.wait import WaitQueue

#: The size of the buffer in bytes (CONFIG_LOG_BUF_SHIFT=17), and the most lines that are kept.
LOG_BYTES, _MOST_LINES = 1 << 17, 2048
WARNING, ERROR, INFO, EMERGENCY = 4, 3, 6, 0


class KernelLog:
    """The lines that the kernel has written."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._lines: deque[bytes] = deque(maxlen=_MOST_LINES)
        #: How many lines there have been, how many SYSLOG_ACTION_READ has given, and up to which the log was cleared.
        self._written = self._read = self._cleared = 0
        #: Where readers wait for a line.
        self.readers = WaitQueue()

    def write(self, level: int, text: str) -> None:
        """Add lines (printk)."""
        seconds, rest = divmod(self._now_ns() // 1000, 1_000_000)
        for line in text.splitlines():
            self._lines.append(f"<{level}>[{seconds:>5}.{rest:06}] {line}\n".encode("utf-8", "surrogateescape"))
            self._written += 1
        self.readers.wake_all()

    def _since(self, number: int) -> list[bytes]:
        first = self._written - len(self._lines)
        return list(self._lines)[max(number - first, 0) :]

    def unread(self) -> int:
        """Bytes that SYSLOG_ACTION_READ would give."""
        return sum(map(len, self._since(self._read)))

    def take(self, count: int) -> bytes:
        """The next whole lines, at most so many bytes (SYSLOG_ACTION_READ)."""
        data = b""
        for line in self._since(self._read):
            if len(data) + len(line) > count:
                break
            data += line
            self._read += 1
        self._read = max(self._read, self._written - len(self._lines))
        return data

    def last(self, count: int) -> bytes:
        """The last whole lines since the log was cleared, at most so many bytes (SYSLOG_ACTION_READ_ALL)."""
        found: list[bytes] = []
        for line in reversed(self._since(self._cleared)):
            count -= len(line)
            if count < 0:
                break
            found.append(line)
        return b"".join(reversed(found))

    def clear(self) -> None:
        """Nothing up to now is shown any more by :meth:`last`."""
        self._cleared = self._written

"""The order of the entries of a directory, which each file system has as it likes: Linux is made to give ours."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable

#: struct linux_dirent64 up to the name: inode, offset of the next, length, type.
_HEAD = struct.Struct("<QqHB")


def names_in(data: bytes) -> list[bytes]:
    """The names in what getdents64 has given."""
    found = []
    while len(data) >= _HEAD.size:
        length = _HEAD.unpack_from(data)[2]
        if length <= _HEAD.size:
            break
        found.append(data[_HEAD.size : length].split(b"\0", 1)[0])
        data = data[length:]
    return found


class Listing:
    """A directory that is being read from its beginning."""

    def __init__(self, path: str) -> None:
        """OSError if it cannot be read."""
        #: What has not been given, with inode number and type, by name.
        self._left: dict[bytes, tuple[int, int]] = {}
        for name in (".", "..", *os.listdir(path)):
            how = os.stat(f"{path}/{name}", follow_symlinks=name in (".", ".."))
            self._left[os.fsencode(name)] = (how.st_ino, stat.S_IFMT(how.st_mode) >> 12)
        self._given = 0

    def take(self, wanted: bytes | None, room: int) -> bytes:
        """The next entries: those that the machine gave in a call (each with a NUL behind it; None: the machine had
        made no such call, b"": it was at the end), and at its end the others, by name.
        """
        names: Iterable[bytes] = wanted.split(b"\0") if wanted else sorted(self._left)
        parts, used = [], 0
        for name in names:
            if name not in self._left:
                continue
            length = _HEAD.size + len(name) + 1 + 7 & ~7
            if used + length > room:
                break
            ino, kind = self._left.pop(name)
            self._given += 1
            parts.append((_HEAD.pack(ino, self._given, length, kind) + name).ljust(length, b"\0"))
            used += length
        return b"".join(parts)

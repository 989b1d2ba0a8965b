"""The order of the entries of a directory, which each file system has as it likes: Linux is made to give ours."""

from __future__ import annotations

import os
import stat
import struct
from typing import NamedTuple

#: struct linux_dirent64 up to the name: inode, offset of the next, length, type.
_HEAD = struct.Struct("<QqHB")


class Entry(NamedTuple):
    """A name in a directory, with the number and the kind of its inode."""

    name: bytes
    ino: int
    kind: int


def entries_in(data: bytes) -> list[Entry]:
    """What getdents64 has given."""
    found = []
    while len(data) >= _HEAD.size:
        ino, _, length, kind = _HEAD.unpack_from(data)
        if length <= _HEAD.size:
            break
        found.append(Entry(data[_HEAD.size : length].split(b"\0", 1)[0], ino, kind))
        data = data[length:]
    return found


class Listing:
    """A directory of Linux that is being read from its beginning."""

    def __init__(self, path: str) -> None:
        """OSError if it cannot be read."""
        #: What has not been given.
        self._left: dict[bytes, Entry] = {}
        for name in (".", "..", *os.listdir(path)):
            how = os.stat(f"{path}/{name}", follow_symlinks=name in (".", ".."))
            entry = Entry(os.fsencode(name), how.st_ino, stat.S_IFMT(how.st_mode) >> 12)
            self._left[entry.name] = entry
        self._given = 0

    def take(self, wanted: bytes | None, room: int) -> bytes:
        """The next entries: those that the machine gave in a call (None: it had made no such call; b"": it was at the
        end), with the machine's inode numbers, by which programs sort; and at its end the others, by name.
        """
        ours = entries_in(wanted or b"") or sorted(self._left.values())
        parts, used = [], 0
        for name, ino, _ in ours:
            if name not in self._left:
                continue
            length = _HEAD.size + len(name) + 1 + 7 & ~7
            if used + length > room:
                break
            self._given += 1
            kind = self._left.pop(name).kind
            parts.append((_HEAD.pack(ino, self._given, length, kind) + name).ljust(length, b"\0"))
            used += length
        return b"".join(parts)

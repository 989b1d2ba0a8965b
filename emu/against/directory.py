"""The order of the entries of a directory, which each file system has as it likes."""

from __future__ import annotations

import struct

#: struct linux_dirent64 up to the name: inode, offset of the next, length, type.
_HEAD = struct.Struct("<QqHB")


def names_in(data: bytes) -> list[bytes]:
    """The names in what getdents64 has given."""
    return [name for name, _ in _entries(data)]


def in_order(data: bytes, wanted: bytes | None) -> bytes:
    """The same entries in the order of ``wanted`` (names with a NUL behind each) as far as they are there, the others
    by name.  The offsets stay where they are, since the last is where the next call goes on.
    """
    entries = _entries(data)
    place = {name: at for at, name in enumerate((wanted or b"").split(b"\0"))}
    sort = sorted(entries, key=lambda entry: (place.get(entry[0], len(place)), entry[0]))
    offsets = [_HEAD.unpack_from(entry)[1] for _, entry in entries]
    found = []
    for (_, entry), offset in zip(sort, offsets, strict=True):
        ino, _, length, kind = _HEAD.unpack_from(entry)
        found.append(_HEAD.pack(ino, offset, length, kind) + entry[_HEAD.size :])
    return b"".join(found)


def _entries(data: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    while len(data) >= _HEAD.size:
        length = _HEAD.unpack_from(data)[2]
        if length <= _HEAD.size:
            break
        found.append((data[_HEAD.size : length].split(b"\0", 1)[0], data[:length]))
        data = data[length:]
    return found

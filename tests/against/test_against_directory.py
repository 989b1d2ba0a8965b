"""A directory in the machine's order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emu.against.directory import Listing, names_in
from emu.fs.file import DirectoryEntry
from emu.syscalls.directories import pack_dirent


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("c", "a.long.name", "b"):
        (tmp_path / name).touch()
    (tmp_path / "d").mkdir()
    return tmp_path


def test_the_names_in_a_buffer() -> None:
    data = b"".join(pack_dirent(DirectoryEntry(name, 7, 0o100000), n) for n, name in enumerate(("c", "a.long.name")))
    assert names_in(data) == [b"c", b"a.long.name"]
    assert names_in(b"") == []


def test_in_the_order_of_the_machine(directory: Path) -> None:
    listing = Listing(str(directory))
    first = listing.take(b".\0..\0a.long.name\0not.here\0b\0", 32768)
    assert names_in(first) == [b".", b"..", b"a.long.name", b"b"]
    assert names_in(listing.take(b"d\0", 32768)) == [b"d"]
    assert names_in(listing.take(b"", 32768)) == [b"c"], "what the machine has not given comes at its end"
    assert listing.take(b"", 32768) == b""


def test_entries_are_those_of_the_files(directory: Path) -> None:
    data = Listing(str(directory)).take(b"d\0", 100)
    status = os.stat(directory / "d")
    assert data == pack_dirent(DirectoryEntry("d", status.st_ino, 0o040000), 1)


def test_no_more_than_there_is_room_for(directory: Path) -> None:
    listing = Listing(str(directory))
    assert names_in(listing.take(None, 60)) == [b".", b".."]
    assert names_in(listing.take(None, 32768)) == [b"a.long.name", b"b", b"c", b"d"]

"""A directory in the machine's order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emu.against.directory import Entry, Listing, entries_in
from emu.fs.file import DirectoryEntry
from emu.syscalls.directories import pack_dirent


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("c", "a.long.name", "b"):
        (tmp_path / name).touch()
    (tmp_path / "d").mkdir()
    return tmp_path


def given(*names: str) -> bytes:
    return b"".join(pack_dirent(DirectoryEntry(name, 70 + n, 0o100000), n) for n, name in enumerate(names))


def names(data: bytes) -> list[bytes]:
    return [entry.name for entry in entries_in(data)]


def test_the_entries_in_a_buffer() -> None:
    assert entries_in(given("c", "a.long.name")) == [Entry(b"c", 70, 8), Entry(b"a.long.name", 71, 8)]
    assert entries_in(b"") == []


def test_in_the_order_of_the_machine(directory: Path) -> None:
    listing = Listing(str(directory))
    first = listing.take(given(".", "..", "a.long.name", "not.here", "b"), 32768)
    assert names(first) == [b".", b"..", b"a.long.name", b"b"]
    assert entries_in(listing.take(given("d"), 32768)) == [Entry(b"d", 70, 4)]
    assert names(listing.take(b"", 32768)) == [b"c"], "what the machine has not given comes at its end"
    assert listing.take(b"", 32768) == b""


def test_without_the_machine_by_name(directory: Path) -> None:
    inode = os.stat(directory / "a.long.name").st_ino
    listing = Listing(str(directory))
    assert names(listing.take(None, 60)) == [b".", b".."], "no more than there is room for"
    assert entries_in(listing.take(None, 32768))[0] == Entry(b"a.long.name", inode, 8)

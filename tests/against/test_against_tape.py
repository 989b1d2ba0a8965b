"""What the machine gives of its own accord, and Linux then too."""

from __future__ import annotations

import struct

from emu.against.record import Flow, Kind, Record
from emu.against.tape import ATTRIBUTES, RANDOM, Given, Tape, given_by, same_attributes


def record(flow: Flow = Flow.NONE, given: tuple[tuple[str, object], ...] = ()) -> Record:
    return Record(Kind.CALL, "read", "", 1, flow=flow, given=given)


def test_what_is_given() -> None:
    assert given_by(318, (0x1000, 16, 0), 16, record()) == Given(RANDOM, 0x1000, 16)
    assert given_by(318, (0x1000, 16, 0), -14, record()) is None
    assert given_by(0, (3, 0x1000, 9), 9, record(Flow.RANDOM)) == Given(RANDOM, 0x1000, 9)
    assert given_by(0, (3, 0x1000, 9), 9, record()) is None
    assert given_by(228, (1, 0x1000), 0, record()) == Given(("clock", 1), 0x1000, 16)


def test_attributes_belong_to_a_file() -> None:
    one, other = (given_by(4, (1, 0x1000), 0, record(given=(("path", path),))) for path in (b"/a", b"/b"))
    assert one is not None and other is not None
    assert (one.key[0], one.address, one.length) == (ATTRIBUTES, 0x1000, 144)
    assert one.key != other.key


def test_a_tape_gives_each_task_its_own_in_order() -> None:
    tape = Tape()
    tape.keep((), RANDOM, b"one")
    tape.keep((), RANDOM, b"two")
    tape.keep((0,), RANDOM, b"three")
    assert [tape.next((), RANDOM), tape.next((0,), RANDOM), tape.next((), RANDOM)] == [b"one", b"three", b"two"]
    assert tape.next((), RANDOM) is None and tape.next((5,), RANDOM) is None


STARTED_NS = 1000 * 1_000_000_000


def stat(*, dev: int, ino: int, nlink: int, mode: int, size: int, seconds: int) -> bytes:
    times = (seconds, 7) * 3
    return struct.pack("<QQQIIIIQqqqqqqqqq24x", dev, ino, nlink, mode, 0, 0, 0, 0, size, 4096, 8, *times)


def test_only_accidents_of_a_file_are_changed() -> None:
    theirs = stat(dev=1, ino=2, nlink=3, mode=0o100644, size=4, seconds=1010)
    ours = stat(dev=5, ino=6, nlink=7, mode=0o100600, size=8, seconds=1003)
    wanted = stat(dev=5, ino=6, nlink=3, mode=0o100644, size=4, seconds=1003)
    assert same_attributes(theirs, ours, STARTED_NS) == wanted
    assert same_attributes(theirs, b"", STARTED_NS) == theirs


def test_of_a_directory_also_what_it_takes() -> None:
    theirs = stat(dev=1, ino=2, nlink=1, mode=0o40755, size=40, seconds=5)
    ours = stat(dev=5, ino=6, nlink=7, mode=0o40700, size=4096, seconds=1003)
    wanted = stat(dev=5, ino=6, nlink=7, mode=0o40755, size=4096, seconds=5)
    assert same_attributes(theirs, ours, STARTED_NS) == wanted


def test_of_statx() -> None:
    def statx(number: int) -> bytes:
        return b"".join(struct.pack("<I", number + at if at != 7 else 0o100600) for at in range(64))

    found = same_attributes(statx(1), statx(1000), 1 << 100)
    changed = [at for at in range(64) if found[4 * at : 4 * at + 4] != statx(1)[4 * at : 4 * at + 4]]
    assert changed == [8, 9, 34, 35], "stx_ino, stx_dev_major, stx_dev_minor"

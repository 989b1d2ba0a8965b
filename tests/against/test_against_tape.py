"""What the machine gives of its own accord, and Linux then too."""

from __future__ import annotations

import struct

from emu.against.record import Flow, Kind, Record
from emu.against.tape import FILE_TIMES, RANDOM, Given, Tape, given_by, times_of_run


def record(flow: Flow = Flow.NONE, given: tuple[tuple[str, object], ...] = ()) -> Record:
    return Record(Kind.CALL, "read", "", 1, flow=flow, given=given)


def test_what_is_given() -> None:
    assert given_by(318, (0x1000, 16, 0), 16, record()) == Given(RANDOM, 0x1000, 16)
    assert given_by(318, (0x1000, 16, 0), -14, record()) is None
    assert given_by(0, (3, 0x1000, 9), 9, record(Flow.RANDOM)) == Given(RANDOM, 0x1000, 9)
    assert given_by(0, (3, 0x1000, 9), 9, record()) is None
    assert given_by(228, (1, 0x1000), 0, record()) == Given(("clock", 1), 0x1000, 16)


def test_times_of_a_file_belong_to_the_file() -> None:
    one, other = (given_by(4, (1, 0x1000), 0, record(given=(("path", path),))) for path in (b"/a", b"/b"))
    assert one is not None and other is not None
    assert (one.key[0], one.address, one.length) == (FILE_TIMES, 0x1000 + 72, 48)
    assert one.key != other.key


def test_a_tape_gives_each_task_its_own_in_order() -> None:
    tape = Tape()
    tape.keep((), RANDOM, b"one")
    tape.keep((), RANDOM, b"two")
    tape.keep((0,), RANDOM, b"three")
    assert [tape.next((), RANDOM), tape.next((0,), RANDOM), tape.next((), RANDOM)] == [b"one", b"three", b"two"]
    assert tape.next((), RANDOM) is None and tape.next((5,), RANDOM) is None


def test_only_times_of_the_run_are_changed() -> None:
    def times(*seconds: int) -> bytes:
        return b"".join(struct.pack("<qq", second, 7) for second in seconds)

    start = 1000 * 1_000_000_000
    assert times_of_run(times(5, 1010, 1010), times(6, 1003, 900), start) == times(5, 1003, 1010)
    assert times_of_run(times(5), b"", start) == times(5)

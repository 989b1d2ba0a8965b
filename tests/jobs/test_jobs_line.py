"""The line discipline, without a machine: what is shown, what readers get, and which signals are sent.  The guest
pty_lines.c holds it against Linux.
"""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, cast

import pytest

from emu.tty.line import MAX_INPUT, LineDiscipline
from emu.tty.pty import MasterFile, Pty
from emu.tty.termios import INITIAL, Cc, Iflag, Lflag, Oflag

if TYPE_CHECKING:
    from emu.tty.tty import Jobs


class Screen:
    """A line discipline and what it has shown and sent."""

    def __init__(self) -> None:
        self.shown = bytearray()
        self.signals: list[int] = []
        self.flushed = 0
        self.room = 100_000
        self.line = LineDiscipline(self._show, self.signals.append, self._flush, lambda stopped: None)

    def _show(self, data: bytes) -> int:
        shown = data[: self.room]
        self.shown += shown
        return len(shown)

    def _flush(self) -> None:
        self.flushed += 1

    def type(self, keys: bytes) -> tuple[bytes, list[bytes]]:
        """What is shown for these keys, and the lines that can be read then."""
        self.shown.clear()
        self.line.receive(keys)
        lines = []
        while self.line.readable():
            lines.append(self.line.read(MAX_INPUT))
        return bytes(self.shown), lines


@pytest.mark.parametrize(
    ("keys", "shown", "lines"),
    [
        (b"hello\r", b"hello\r\n", [b"hello\n"]),
        (b"ab\x7fc\n", b"ab\b \bc\r\n", [b"ac\n"]),
        (b"one two\x17\n", b"one two\b \b\b \b\b \b\r\n", [b"one \n"]),
        (b"a\tb\x7f\x7fc\n", b"a\tb\b \b\b\b\b\b\b\b\bc\r\n", [b"ac\n"]),
        (b"kill\x15me\n", b"kill" + b"\b \b" * 4 + b"me\r\n", [b"me\n"]),
        (b"\x16\x03\n", b"^\b^C\r\n", [b"\x03\n"]),
        (b"part\x04", b"part", [b"part"]),
        (b"\x04", b"", [b""]),
        (b"a\nb\nc", b"a\r\nb\r\nc", [b"a\n", b"b\n"]),
    ],
)
def test_lines_are_edited_and_shown(keys: bytes, shown: bytes, lines: list[bytes]) -> None:
    assert Screen().type(keys) == (shown, lines)


def test_keys_send_signals_and_discard_what_was_typed() -> None:
    screen = Screen()
    assert screen.type(b"gone\x03\x1c\x1ax\n") == (b"^Zx\r\n", [b"x\n"])
    assert screen.signals == [2, 3, 20] and screen.flushed == 3


def test_a_line_has_room_for_4095_bytes() -> None:
    screen = Screen()
    screen.line.set_modes(INITIAL._replace(lflag=INITIAL.lflag & ~Lflag.ECHO))
    assert screen.type(b"x" * 5000 + b"\n") == (b"", [b"x" * (MAX_INPUT - 1) + b"\n"])


def test_without_lines_every_byte_can_be_read() -> None:
    screen = Screen()
    screen.line.set_modes(INITIAL._replace(lflag=0, iflag=0))
    assert screen.type(b"\x03\x04\r\n\x7f") == (b"", [b"\x03\x04\r\n\x7f"])
    screen.line.receive(b"abc")
    assert screen.line.readable(3) and not screen.line.readable(4)


def test_input_becomes_a_line_when_lines_are_wanted_again() -> None:
    screen = Screen()
    screen.line.set_modes(INITIAL._replace(lflag=0))
    screen.line.receive(b"raw")
    screen.line.set_modes(INITIAL)
    assert screen.line.read(100) == b"raw" and not screen.line.readable()


def test_output_stops_and_goes_on() -> None:
    screen = Screen()
    assert screen.type(b"\x13abc") == (b"", []) and screen.line.stopped
    assert screen.type(b"\x11") == (b"abc", []) and not screen.line.stopped


def test_output_processing_knows_the_column() -> None:
    output = Screen().line.output
    assert output.process(b"ab\n\tc", INITIAL) == b"ab\r\n\tc" and output.column == 9
    spaces = INITIAL._replace(oflag=int(Oflag.OPOST | Oflag.XTABS))
    assert output.process(b"\t", spaces) == b" " * 7


def test_a_key_that_is_switched_off_is_none() -> None:
    screen = Screen()
    cc = bytearray(INITIAL.cc)
    cc[Cc.INTR] = 0
    screen.line.set_modes(INITIAL._replace(cc=bytes(cc), iflag=int(Iflag.ICRNL)))
    assert screen.type(b"\0\n") == (b"^@\r\n", [b"\0\n"]) and not screen.signals


def test_echo_waits_for_room_and_takes_none_without_end() -> None:
    screen = Screen()
    screen.room = 0
    assert screen.type(b"ab") == (b"", [])
    screen.room = 1
    screen.line.show_echo()
    assert screen.shown == b"a"
    screen.room = 0
    for _ in range(10):
        screen.type(b"x" * 1000)
    screen.room = 100_000
    screen.line.show_echo()
    assert len(screen.shown) == 4096


def test_what_is_charged_pays_for_terminals_full_of_empty_lines() -> None:
    terminals: list[Pty] = []
    for many in (1, 5):  # the first makes what is made once
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(many):
            pty = Pty(cast("Jobs", None), number, lambda pty: None)
            pty.slaves = 1
            while pty.type(b"\n" * MAX_INPUT):
                pass
            terminals.append(pty)
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert taken < many * MasterFile.struct_size
    assert all(pty.line.read(5) == b"\n" for pty in terminals for _ in range(MAX_INPUT // 2))

"""Output processing: OPOST and the flags beside it, and the column that they depend on (drivers/tty/n_tty.c)."""

from __future__ import annotations

from emu.tty.termios import Iflag, Oflag, Termios

_TAB_STOP = 8
_USUAL = int(Oflag.OPOST | Oflag.ONLCR)


def is_control(byte: int) -> bool:
    """iscntrl() of the kernel's ctype table."""
    return byte < 0x20 or byte == 0x7F


def is_alnum(byte: int) -> bool:
    """isalnum() of the kernel's ctype table, which is Latin-1."""
    if byte < 0x80:
        return bytes((byte,)).isalnum()
    return byte >= 0xC0 and byte not in (0xD7, 0xF7)


def is_continuation(byte: int, modes: Termios) -> bool:
    """Whether a byte goes on with a character of UTF-8."""
    return modes.has(Iflag.IUTF8) and byte & 0xC0 == 0x80


class OutputProcessor:
    """Knows the column in which the next character will stand."""

    def __init__(self) -> None:
        self.column = 0
        #: The column where the line that is being typed began.
        self.canon_column = 0

    def process(self, data: bytes, modes: Termios) -> bytes:
        """What is sent for the bytes that a process writes."""
        if not modes.has(Oflag.OPOST):
            return data
        if modes.oflag != _USUAL:
            return b"".join([self.character(byte, modes) for byte in data])
        lines, newline, rest = data.rpartition(b"\n")
        if newline:
            self.canon_column = self.column = 0
        for byte in rest:
            self.character(byte, modes)
        return lines.replace(b"\n", b"\r\n") + (b"\r\n" if newline else b"") + rest

    def character(self, byte: int, modes: Termios) -> bytes:
        """What is sent for one character (do_output_char)."""
        if byte == 0x0A:
            return self._newline(modes)
        if byte == 0x0D:
            return self._carriage_return(modes)
        if byte == 0x09:
            spaces = _TAB_STOP - self.column % _TAB_STOP
            self.column += spaces
            return b" " * spaces if modes.oflag & Oflag.XTABS == Oflag.XTABS else b"\t"
        if byte == 0x08:
            self.column = max(0, self.column - 1)
        elif not is_control(byte):
            if modes.has(Oflag.OLCUC):
                byte = bytes((byte,)).upper()[0]
            if not is_continuation(byte, modes):
                self.column += 1
        return bytes((byte,))

    def _newline(self, modes: Termios) -> bytes:
        if modes.has(Oflag.ONLRET):
            self.column = 0
        if modes.has(Oflag.ONLCR):
            self.canon_column = self.column = 0
            return b"\r\n"
        self.canon_column = self.column
        return b"\n"

    def _carriage_return(self, modes: Termios) -> bytes:
        if modes.has(Oflag.ONOCR) and self.column == 0:
            return b""
        if modes.has(Oflag.OCRNL):
            if modes.has(Oflag.ONLRET):
                self.canon_column = self.column = 0
            return b"\n"
        self.canon_column = self.column = 0
        return b"\r"

    def erase_tab(self, columns: int, after_tab: bool) -> bytes:
        """Go back over a tab in front of which there are so many columns, since the line's start or a tab."""
        if not after_tab:
            columns += self.canon_column
        back = _TAB_STOP - columns % _TAB_STOP
        self.column = max(0, self.column - back)
        return b"\b" * back

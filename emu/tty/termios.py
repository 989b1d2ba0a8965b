"""The modes of a terminal (include/uapi/asm-generic/termbits.h)."""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple


class Iflag(IntFlag):
    """c_iflag: what becomes of input."""

    IGNBRK = 0o1
    BRKINT = 0o2
    IGNPAR = 0o4
    PARMRK = 0o10
    INPCK = 0o20
    ISTRIP = 0o40
    INLCR = 0o100
    IGNCR = 0o200
    ICRNL = 0o400
    IUCLC = 0o1000
    IXON = 0o2000
    IXANY = 0o4000
    IXOFF = 0o10000
    IMAXBEL = 0o20000
    IUTF8 = 0o40000


class Oflag(IntFlag):
    """c_oflag: what becomes of output."""

    OPOST = 0o1
    OLCUC = 0o2
    ONLCR = 0o4
    OCRNL = 0o10
    ONOCR = 0o20
    ONLRET = 0o40
    #: Both bits of TABDLY: tabs become spaces.
    XTABS = 0o14000


class Lflag(IntFlag):
    """c_lflag: lines, echo and signals."""

    ISIG = 0o1
    ICANON = 0o2
    ECHO = 0o10
    ECHOE = 0o20
    ECHOK = 0o40
    ECHONL = 0o100
    NOFLSH = 0o200
    TOSTOP = 0o400
    ECHOCTL = 0o1000
    ECHOPRT = 0o2000
    ECHOKE = 0o4000
    FLUSHO = 0o10000
    PENDIN = 0o40000
    IEXTEN = 0o100000
    EXTPROC = 0o200000


class Cc(IntEnum):
    """Places in c_cc."""

    INTR, QUIT, ERASE, KILL, EOF, TIME, MIN, SWTC, START, STOP, SUSP, EOL, REPRINT, DISCARD, WERASE, LNEXT, EOL2 = (
        range(17)
    )


#: A character that no key is.
DISABLED = 0
_NCCS = 19
_TERMIOS, _TERMIOS2 = struct.Struct("=4IB19s"), struct.Struct("=4IB19sII")
TERMIOS_SIZE, TERMIOS2_SIZE = _TERMIOS.size, _TERMIOS2.size
_B38400, _CS8, _CREAD = 0o17, 0o60, 0o200
#: The speeds of the numbers in c_cflag that are not written in c_ispeed and c_ospeed.
_BAUD = (0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400)
_BAUD_EXTENDED = (0, 57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000)
_CBAUD, _CBAUDEX, _BOTHER = 0o10017, 0o10000, 0o10000
_INIT_CC = b"\x03\x1c\x7f\x15\x04\x00\x01\x00\x11\x13\x1a\x00\x12\x0f\x17\x16\x00".ljust(_NCCS, b"\0")


class Termios(NamedTuple):
    """struct ktermios."""

    iflag: int
    oflag: int
    cflag: int
    lflag: int
    line: int
    cc: bytes
    ispeed: int = 38400
    ospeed: int = 38400

    def pack(self, size: int) -> bytes:
        """struct termios, or struct termios2, by its size."""
        if size == TERMIOS_SIZE:
            return _TERMIOS.pack(*self[:6])
        return _TERMIOS2.pack(*self)

    @staticmethod
    def unpack(data: bytes) -> Termios:
        """The modes of a struct termios or termios2."""
        if len(data) == TERMIOS2_SIZE:
            modes = Termios(*_TERMIOS2.unpack(data))
            if modes.cflag & _CBAUD == _BOTHER:
                return modes
        else:
            modes = Termios(*_TERMIOS.unpack(data))
        speed = _speed_of(modes.cflag)
        return modes._replace(ispeed=speed, ospeed=speed)

    def has(self, flag: Iflag | Lflag | Oflag) -> bool:
        """Whether a flag is set."""
        word = self.iflag if isinstance(flag, Iflag) else self.lflag if isinstance(flag, Lflag) else self.oflag
        return bool(word & flag)


def _speed_of(cflag: int) -> int:
    number = cflag & _CBAUD
    if number & _CBAUDEX:
        number &= ~_CBAUDEX
        return _BAUD_EXTENDED[number] if number < len(_BAUD_EXTENDED) else 0
    return _BAUD[number]


#: What a pseudo-terminal begins with (tty_std_termios, pty_unix98_init).
INITIAL = Termios(
    int(Iflag.ICRNL | Iflag.IXON),
    int(Oflag.OPOST | Oflag.ONLCR),
    _B38400 | _CS8 | _CREAD,
    int(
        Lflag.ISIG | Lflag.ICANON | Lflag.ECHO | Lflag.ECHOE | Lflag.ECHOK | Lflag.ECHOCTL | Lflag.ECHOKE | Lflag.IEXTEN
    ),
    0,
    _INIT_CC,
)

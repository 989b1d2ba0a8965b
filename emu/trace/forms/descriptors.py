"""fcntl and ioctl, whose arguments depend on the command, as strace writes them."""

from __future__ import annotations

from typing import Any

from emu.linux.argument import U32, Shown, View
from emu.syscalls.types import signal_words
from emu.trace.forms import requests
from emu.trace.forms.form import (
    INT,
    SIGNED,
    UINT,
    Box,
    Form,
    Forms,
    Record,
    bits_of,
    changed,
    flags,
    given,
    got,
    hexed,
    names_of,
    number,
    one_of,
)

_LOCKS, _WHENCE = names_of("F_", "RDLCK WRLCK UNLCK"), names_of("SEEK_", "SET CUR END DATA HOLE")
_lock, _whence = one_of(_LOCKS, "F_"), one_of(_WHENCE, "SEEK_")
_SET_LOCK = Record("hh4xqq", ("l_type", _lock), ("l_whence", _whence), ("l_start", str), ("l_len", str))
_GOT_LOCK = Record(
    "hh4xqqi4x", ("l_type", _lock), ("l_whence", _whence), ("l_start", str), ("l_len", str), ("l_pid", str)
)
SEALS = bits_of("F_SEAL_", "SEAL SHRINK GROW WRITE FUTURE_WRITE EXEC")
_OWNERS = names_of("F_OWNER_", "TID PID PGRP")
_OWNER = Record("ii", ("type", one_of(_OWNERS, "F_OWNER_")), ("pid", str))
_NOTIFY = {
    1: "DN_ACCESS",
    2: "DN_MODIFY",
    4: "DN_CREATE",
    8: "DN_DELETE",
    0x10: "DN_RENAME",
    0x20: "DN_ATTRIB",
    0x80000000: "DN_MULTISHOT",
}
_LEASE = number(_lock)
_HINTS = names_of("RWH_WRITE_LIFE_", "NOT_SET NONE SHORT MEDIUM LONG EXTREME")
_HINT = Box("Q", one_of(_HINTS, "RWH_WRITE_LIFE_"))
#: The third argument by the command; those that are not here are as the row has them.
_OF_FCNTL: dict[int, Form] = {
    1031: SIGNED,
    5: Form(got(_GOT_LOCK).text, written=True), 36: Form(got(_GOT_LOCK).text, written=True), 6: given(_SET_LOCK),
    7: given(_SET_LOCK), 37: given(_SET_LOCK), 38: given(_SET_LOCK), 8: SIGNED, 10: number(signal_words),
    15: given(_OWNER), 16: got(_OWNER), 1024: _LEASE, 1026: number(flags(_NOTIFY, "DN_")),
    1033: number(flags(SEALS, "F_SEAL_")),
    1035: got(_HINT), 1036: given(_HINT), 1037: got(_HINT), 1038: given(_HINT),
}  # fmt: skip


def fcntl(values: tuple[int, ...], view: View) -> Forms:
    """fcntl(2)."""
    command = U32(values[1])
    return {2: _OF_FCNTL[command]} if command in _OF_FCNTL else {}


def fcntl_result(found: int, call: Shown) -> str | None:
    """What commands return that are not just numbers."""
    command = U32(call.values[1])
    if command == 1:
        return f"{found:#x} (flags {flags({1: 'FD_CLOEXEC'}, 'FD_')(found)})" if found else "0"
    if command == 1034:
        return f"{found:#x} (seals {flags(SEALS, 'F_SEAL_')(found)})" if found else "0"
    return None


# -- ioctl ---------------------------------------------------------------------------------------------------------

_INPUT = bits_of("", "IGNBRK BRKINT IGNPAR PARMRK INPCK ISTRIP INLCR IGNCR ICRNL IUCLC IXON IXANY IXOFF IMAXBEL IUTF8")
_WINDOW = Record("4H", ("ws_row", str), ("ws_col", str), ("ws_xpixel", str), ("ws_ypixel", str))
_LOCAL = {
    0x1: "ISIG", 0x2: "ICANON", 0x8: "ECHO", 0x10: "ECHOE", 0x20: "ECHOK", 0x40: "ECHONL", 0x80: "NOFLSH",
    0x8000: "IEXTEN", 0x4: "XCASE", 0x200: "ECHOCTL", 0x400: "ECHOPRT", 0x800: "ECHOKE", 0x1000: "FLUSHO",
    0x4000: "PENDIN", 0x100: "TOSTOP", 0x10000: "EXTPROC",
}  # fmt: skip
_SPEEDS = names_of("B", "0 50 75 110 134 150 200 300 600 1200 1800 2400 4800 9600 19200 38400")
_CONTROL = {0x40: "CSTOPB", 0x80: "CREAD", 0x100: "PARENB", 0x200: "PARODD", 0x400: "HUPCL", 0x800: "CLOCAL"}
_OUTPUT = bits_of("", "OPOST OLCUC ONLCR OCRNL ONOCR ONLRET OFILL OFDEL")
_ECHO, _ICANON = 0x8, 0x2


class _Termios(Record):
    """struct termios, in the short form: what strace shows without -v."""

    def __init__(self) -> None:
        super().__init__("4I")

    def words(self, values: tuple[Any, ...]) -> str:
        kinds = values
        names = ("c_iflag", "c_oflag", "c_cflag", "c_lflag")
        tables = (_INPUT, _OUTPUT, _CONTROL, _LOCAL)
        texts = []
        for name, table, value in zip(names, tables, kinds, strict=True):
            if name == "c_cflag":
                speed, size = _SPEEDS.get(value & 0x100F, hexed(value & 0x100F)), f"CS{5 + (value >> 4 & 3)}"
                rest = value & ~0x103F
                text = "|".join([speed, size, *([flags(table, "")(rest)] if rest else [])])
            elif name == "c_oflag":
                rest, delays = value & 0xFF, ["NL0", "CR0", "TAB0", "BS0", "VT0", "FF0"]
                if value & 0x1800 == 0x1800:
                    delays[2] = "TAB3"
                text = "|".join([*delays, *([flags(table, "")(rest)] if rest else [])])
            else:
                text = flags(table, "")(value)
            texts.append(f"{name}={text}")
        return "{" + ", ".join(texts) + ", ...}"


_TERMIOS = _Termios()
_GETS = got(_TERMIOS)
_PID = Box("i")
_CLONE_RANGE = Record("qQQQ", ("src_fd", str), ("src_offset", str), ("src_length", str), ("dest_offset", str))
_NONE: tuple[int, ...] = (
    0x5451, 0x5450, 0x5422, 0x540C, 0x540D, 0x5437,
)  # fmt: skip
_OF_IOCTL: dict[int, Form] = {
    0x541B: got(INT), 0x5411: got(INT), 0x5421: given(INT), 0x5452: given(INT), 0x5401: _GETS, 0x5402: given(_TERMIOS),
    0x5403: given(_TERMIOS), 0x5404: given(_TERMIOS), 0x5413: got(_WINDOW), 0x5414: given(_WINDOW), 0x540F: got(_PID),
    0x5410: given(_PID), 0x5429: got(_PID), 0x80045430: got(UINT), 0x40045431: given(INT),
    0x8905: got(INT), 0x5420: given(INT),
    0x8901: given(INT), 0x8903: got(INT), 0x2: got(INT), 0x80086601: Form(changed(Box("I", hexed)).text, written=True),
    0x40049409: SIGNED, 0x4020940D: given(_CLONE_RANGE),
}  # fmt: skip


_FLUSHES = number(one_of(names_of("TC", "IFLUSH OFLUSH IOFLUSH"), "TC"))
_FLOWS = number(one_of(names_of("TC", "OOFF OON IOFF ION"), "TC"))
_OF_IOCTL |= {0x540B: _FLUSHES, 0x540A: _FLOWS}


def ioctl(values: tuple[int, ...], view: View) -> Forms:
    """ioctl(2); requests that are not here are as the file declares them."""
    request = U32(values[1])
    if request in _NONE:
        return {2: None}
    if request in requests.REQUESTS:
        return {2: requests.REQUESTS[request]}
    return {2: _OF_IOCTL[request]} if request in _OF_IOCTL else {}


def ioctl_before(at: int, call: Shown) -> str:
    """What a request reads, before the kernel changes it; empty where it does not."""
    form = requests.BEFORE.get(U32(call.values[1]))
    return form.text(at, call) if form else ""


ioctl_result = requests.result
BEFORE: dict[str, Forms] = {"ioctl": {2: Form(ioctl_before)}}

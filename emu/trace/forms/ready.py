"""Which descriptors are ready and sets of signals, as strace writes them."""

from __future__ import annotations

import struct
from typing import Any

from emu.linux.argument import S32, Shown, View
from emu.linux.words import pointer
from emu.syscalls.types import sigset_words
from emu.trace.forms.form import (
    MOST_SHOWN,
    Form,
    Forms,
    Record,
    array,
    flags,
    given,
    pointed,
)
from emu.trace.forms.times import TIMESPEC, TIMEVAL

_POLL = {
    0x1: "POLLIN", 0x2: "POLLPRI", 0x4: "POLLOUT", 0x8: "POLLERR", 0x10: "POLLHUP", 0x20: "POLLNVAL",
    0x40: "POLLRDNORM",
    0x80: "POLLRDBAND", 0x100: "POLLWRNORM", 0x200: "POLLWRBAND", 0x400: "POLLMSG", 0x1000: "POLLREMOVE",
    0x2000: "POLLRDHUP", 0x8000: "POLL_BUSY_LOOP",
}  # fmt: skip
_EVENTS = flags(_POLL, "POLL")
_POLLFD = struct.Struct("<iHH")


class _Wanted(Record):
    """A pollfd as it is given; of a negative descriptor nothing is wanted."""

    def words(self, values: tuple[Any, ...]) -> str:
        fd, events, _ = values
        return f"{{fd={fd}}}" if fd < 0 else f"{{fd={fd}, events={_EVENTS(events)}}}"


_WANTED = _Wanted("iHH")


def _ready(view: View, address: int, count: int) -> str:
    """Those of an array of pollfd of which there is something to tell."""
    data = view.peek(address, _POLLFD.size * min(count, 1024))
    found = [each for each in _POLLFD.iter_unpack(data[: len(data) // 8 * 8]) if each[2]]
    texts = [f"{{fd={fd}, revents={_EVENTS(told)}}}" for fd, _, told in found]
    return f"[{', '.join(texts[:MOST_SHOWN])}{', ...' if len(texts) > MOST_SHOWN else ''}]"


def polled(number_ready: int, call: Shown) -> str:
    """The result of poll and ppoll."""
    if not number_ready:
        return "0 (Timeout)"
    text = _ready(call.view, call.values[0], call.values[1])
    left = pointed(TIMESPEC, call.view, call.values[2]) if len(call.values) > 3 and call.values[2] else ""
    return f"{number_ready} ({text}{', left ' + left if left else ''})"


_MOST_DESCRIPTORS = 1 << 20


def _set_at(view: View, address: int, count: int) -> str | None:
    """The descriptors of an fd_set."""
    size = (max(0, min(count, 1024)) + 63) // 64 * 8
    data = view.peek(address, size)
    if len(data) < size:
        return None
    bits = int.from_bytes(data, "little") & ((1 << max(0, min(count, 1024))) - 1)
    return "[" + " ".join(str(fd) for fd in range(min(count, 1024)) if bits >> fd & 1) + "]"


def _fd_set(at: int, call: Shown) -> str:
    address, count = call.values[at], S32(call.values[0])
    text = _set_at(call.view, address, count) if address and 0 < count <= _MOST_DESCRIPTORS else None
    return text or pointer(address)


def selected(number_ready: int, call: Shown) -> str:
    """The result of select and pselect6."""
    if not number_ready:
        return "0 (Timeout)"
    count, timeout = S32(call.values[0]), TIMESPEC if len(call.values) == 6 else TIMEVAL
    texts = []
    for at, name in enumerate(("in", "out", "except"), 1):
        text = _set_at(call.view, call.values[at], count) if call.values[at] else None
        if text is not None and text != "[]":
            texts.append(f"{name} {text}")
    if call.values[4]:
        texts.append(f"left {pointed(timeout, call.view, call.values[4])}")
    return f"{number_ready} ({', '.join(texts)})"


def mask_and_size(at: int, call: Shown) -> str:
    """The mask of pselect6, and its size."""
    data = call.view.peek(call.values[at], 16) if call.values[at] else b""
    if len(data) < 16:
        return pointer(call.values[at])
    mask, size = struct.unpack("<QQ", data)
    return f"{{sigmask={mask_at(call.view, mask, size)}, sigsetsize={size}}}"


def mask_at(view: View, address: int, size: int = 8) -> str:
    """A set of signals."""
    data = view.peek(address, 8) if address and size == 8 else b""
    return sigset_words(int.from_bytes(data, "little")) if len(data) == 8 else pointer(address)


def mask(size_at: int) -> Form:
    """A set of signals, whose size is another argument."""
    return Form(lambda at, call: mask_at(call.view, call.values[at], call.values[size_at]))


def _after(form: Form) -> Form:
    """What strace looks at when the call has returned, and then only if it has not failed."""
    return Form(lambda at, call: pointer(call.values[at]) if call.failed else form.text(at, call), written=True)


def _pending(at: int, call: Shown) -> str:
    """The set that rt_sigpending writes, of which it writes as much as the caller has room for."""
    size = call.values[1]
    data = call.view.peek(call.values[at], size) if call.values[at] and 0 < size <= 8 and not call.failed else b""
    return sigset_words(int.from_bytes(data, "little")) if data and len(data) == size else pointer(call.values[at])


FORMS: dict[str, Forms] = {
    "poll": {0: array(_WANTED, lambda call: call.values[1])},
    "ppoll": {0: array(_WANTED, lambda call: call.values[1]), 2: given(TIMESPEC), 3: mask(4)},
    "select": {1: Form(_fd_set), 2: Form(_fd_set), 3: Form(_fd_set), 4: given(TIMEVAL)},
    "pselect6": {
        1: Form(_fd_set), 2: Form(_fd_set), 3: Form(_fd_set), 4: given(TIMESPEC), 5: Form(mask_and_size),
    },
    "epoll_pwait": {4: _after(mask(5))},
    "io_uring_enter": {4: mask(5)},
    "rt_sigpending": {0: Form(_pending, written=True)},
    "rt_sigsuspend": {0: mask(1)},
    "epoll_pwait2": {3: _after(given(TIMESPEC)), 4: _after(mask(5))},
    "signalfd": {1: mask(2)},
    "signalfd4": {1: mask(2)},
}  # fmt: skip

"""Times, limits and usage, as strace writes them."""

from __future__ import annotations

import errno
import time
from typing import Any

from emu.linux.argument import S32, U32, Shown
from emu.linux.words import pointer
from emu.trace.forms.form import (
    Form,
    Forms,
    Record,
    Words,
    flags,
    given,
    got,
    listed,
    names_of,
    number,
    one_of,
    pointed,
)

_INFINITE = (1 << 64) - 1
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_RESOURCES = names_of(
    "RLIMIT_", "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME"
)
RESOURCE = number(one_of(_RESOURCES, "RLIMIT_"))
CLOCKS = names_of(
    "CLOCK_", "REALTIME MONOTONIC PROCESS_CPUTIME_ID THREAD_CPUTIME_ID MONOTONIC_RAW REALTIME_COARSE MONOTONIC_COARSE "
    "BOOTTIME REALTIME_ALARM BOOTTIME_ALARM SGI_CYCLE TAI",
)  # fmt: skip


def moment(fraction: str) -> Record:
    """Seconds and a fraction, which strace takes to be unsigned."""
    return Record("qQ", ("tv_sec", str), (fraction, str))


TIMESPEC, TIMEVAL = moment("tv_nsec"), moment("tv_usec")


def limit(value: int) -> str:
    """A limit; large ones in KiB."""
    if value == _INFINITE:
        return "RLIM64_INFINITY"
    return f"{value // 1024}*1024" if value > 1024 and value % 1024 == 0 else str(value)


RLIMIT = Record("QQ", ("rlim_cur", limit), ("rlim_max", limit))


class _Usage(Record):
    """struct rusage."""

    def __init__(self) -> None:
        super().__init__("qQqQ112x")

    def words(self, values: tuple[Any, ...]) -> str:
        user, system = TIMEVAL.words(values[:2]), TIMEVAL.words(values[2:])
        return f"{{ru_utime={user}, ru_stime={system}, ...}}"


RUSAGE = _Usage()
_WHO = {0: "RUSAGE_SELF", -1: "RUSAGE_CHILDREN", -2: "RUSAGE_BOTH", 1: "RUSAGE_THREAD"}


def date(seconds: int, fraction: str = "") -> str:
    """What strace adds to a time since 1970, by UTC."""
    if not seconds and not fraction:
        return ""
    try:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError):
        return ""
    return f" /* {text}{fraction}+0000 */"


def _dated(record: Record, digits: int) -> Words:
    def words(values: Any) -> str:
        seconds, fraction = values
        if digits == 9 and fraction in (_UTIME_NOW, _UTIME_OMIT):
            return "UTIME_NOW" if fraction == _UTIME_NOW else "UTIME_OMIT"
        part = f".{fraction:0{digits}}" if 0 < fraction < 10**digits else ""
        return record.words(values) + (date(seconds, part) if fraction < 10**digits else "")

    return words


class _Dated(Record):
    """A time since 1970 that is set."""

    def __init__(self, record: Record, digits: int) -> None:
        super().__init__("qQ")
        self._text = _dated(record, digits)

    def words(self, values: tuple[Any, ...]) -> str:
        return self._text(values)


def _two_times(record: Record) -> Form:
    return Form(lambda at, call: listed(record, call.view, call.values[at], 2))


_UTIMBUF = Record(
    "qq", ("actime", lambda at: f"{at}{date(at)}"), ("modtime", lambda at: f"{at}{date(at)}")
)  # fmt: skip
_TMS = Record("4q", ("tms_utime", str), ("tms_stime", str), ("tms_cutime", str), ("tms_cstime", str))
_MODES = {
    0xA001: "ADJ_OFFSET_SS_READ", 0x8001: "ADJ_OFFSET_SINGLESHOT", 1: "ADJ_OFFSET", 2: "ADJ_FREQUENCY",
    4: "ADJ_MAXERROR",
    8: "ADJ_ESTERROR", 0x10: "ADJ_STATUS", 0x20: "ADJ_TIMECONST", 0x80: "ADJ_TAI", 0x100: "ADJ_SETOFFSET",
    0x1000: "ADJ_MICRO", 0x2000: "ADJ_NANO", 0x4000: "ADJ_TICK",
}  # fmt: skip
_STATUS = {
    1 << at: f"STA_{name}"
    for at, name in enumerate(
        [
            "PLL",
            "PPSFREQ",
            "PPSTIME",
            "FLL",
            "INS",
            "DEL",
            "UNSYNC",
            "FREQHOLD",
            "PPSSIGNAL",
            "PPSJITTER",
            "PPSWANDER",
            "PPSERROR",
            "CLOCKERR",
            "NANO",
            "MODE",
            "CLK",
        ]
    )
}


class _Timex(Record):
    """struct timex."""

    _names = ["offset", "freq", "maxerror", "esterror"]
    _more = ["tick", "ppsfreq", "jitter", "shift", "stabil", "jitcnt", "calcnt", "errcnt", "stbcnt", "tai"]

    def __init__(self) -> None:
        super().__init__("I4x4qi4x3qqQ3qi4x5qi44x")

    def words(self, values: tuple[Any, ...]) -> str:
        modes, status = values[0], values[5]
        texts = [f"modes={flags(_MODES, 'ADJ_')(modes)}"]
        texts += [f"{name}={value}" for name, value in zip(self._names, values[1:5], strict=True)]
        texts.append(f"status={flags(_STATUS, 'STA_')(status)}")
        texts += [
            f"{name}={value}" for name, value in zip(("constant", "precision", "tolerance"), values[6:9], strict=True)
        ]
        texts.append(f"time={TIMEVAL.words(values[9:11])}")
        texts += [f"{name}={value}" for name, value in zip(self._more, values[11:], strict=True)]
        return "{" + ", ".join(texts) + "}"


_TIMEX = _Timex()
_CLOCK_STATES = names_of("TIME_", "OK INS DEL OOP WAIT ERROR")
_SLEEP = number(lambda value: flags({1: "TIMER_ABSTIME"}, "TIMER_")(U32(value)))


_CLOCK_REMAINS = 3
_TIMEZONE = Record("ii", ("tz_minuteswest", str), ("tz_dsttime", str))
_TIMERFD = number(
    flags({1: "TFD_TIMER_ABSTIME", 2: "TFD_TIMER_CANCEL_ON_SET", 0x80000: "TFD_CLOEXEC", 0x800: "TFD_NONBLOCK"}, "TFD_")
)


def _remaining(at: int, call: Shown) -> str:
    """Written only where a signal has ended the sleep."""
    interrupted = call.result == -errno.EINTR and not (at == _CLOCK_REMAINS and call.values[1] & 1)
    return pointed(TIMESPEC, call.view, call.values[at]) if interrupted else pointer(call.values[at])


FORMS: dict[str, Forms] = {
    "getrlimit": {0: RESOURCE, 1: got(RLIMIT)},
    "setrlimit": {0: RESOURCE, 1: given(RLIMIT)},
    "prlimit64": {1: RESOURCE, 2: given(RLIMIT), 3: got(RLIMIT)},
    "getrusage": {0: number(lambda who: _WHO.get(S32(who)) or one_of({}, "RUSAGE_")(who)), 1: got(RUSAGE)},
    "times": {0: got(_TMS)},
    "utime": {1: given(_UTIMBUF)},
    "utimes": {1: _two_times(_Dated(TIMEVAL, 6))},
    "futimesat": {2: _two_times(_Dated(TIMEVAL, 6))},
    "utimensat": {2: _two_times(_Dated(TIMESPEC, 9))},
    "adjtimex": {0: got(_TIMEX)},
    "clock_adjtime": {1: got(_TIMEX)},
    "clock_settime": {1: given(TIMESPEC)},
    "settimeofday": {0: given(TIMEVAL), 1: given(_TIMEZONE)},
    "gettimeofday": {1: got(_TIMEZONE)},
    "timerfd_create": {1: _TIMERFD},
    "timerfd_settime": {1: _TIMERFD},
    "nanosleep": {0: given(TIMESPEC), 1: Form(_remaining, written=True)},
    "clock_nanosleep": {1: _SLEEP, 2: given(TIMESPEC), 3: Form(_remaining, written=True)},
    "semtimedop": {3: given(TIMESPEC)},
    "mq_timedsend": {4: given(TIMESPEC)},
}


def clock_state(result: int, call: Shown) -> str:
    """What adjtimex returns."""
    return f"{result} ({_CLOCK_STATES[result]})" if result in _CLOCK_STATES else str(result)

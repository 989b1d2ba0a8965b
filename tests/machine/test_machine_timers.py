"""Interval timers, POSIX timers, timerfd, signalfd and queued signals: the same script, the same results as on a Linux
host.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import guests
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host, skip_before

SCRIPTS = {
    "timerfd": """
        syscall 283 99 0; syscall 283 2 0; syscall 283 1 1; syscall 283 8 0; syscall 283 9 0; syscall 283 7 0x80000
        t = syscall 283 1 0x800; @r = bytes 64; @b = bytes 8; read t b 8; read t b 7; write t b 8; pread t b 8 0
        lseek t 1 0; @n = words 0 0 0 1000000; syscall 286 t 0 n r; load r+8; load r+24; syscall 286 t 0 n 16
        syscall 286 t 0 16 0; syscall 286 t 4 n 0; syscall 286 99 0 n 0; syscall 286 0 0 n 0
        @x = words 0 1000000000 0 1; syscall 286 t 0 x 0; @x = words 0 0 -1 1; syscall 286 t 0 x 0
        @x = words -1 0 0 1; syscall 286 t 0 x 0; syscall 287 t 16; syscall 287 99 r; syscall 287 0 r
        @n = words 5 0 100 0; syscall 286 t 0 n 0; syscall 287 t r; load r; load r+8; load r+16; @n = words 0 0 0 0
        syscall 286 t 0 n r; load r; load r+16; syscall 287 t r; load r; load r+16; load r+24; read t b 8
        s = syscall 283 1 0; @n = words 5 0 0 1000000; syscall 286 s 0 n 0; read s b 8; load b; syscall 287 s r
        load r; load r+16; @n = words 0 0 0 1; syscall 286 s 1 n 0; read s b 8; load b; syscall 287 s r; load r+16
        load r+24""",
    "a timerfd in an epoll set": """
        t = syscall 283 0 0x800; p = syscall 291 0; @v = words 0x700000001 0; syscall 233 p 1 t v; @r = bytes 64
        @b = bytes 8; syscall 232 p r 4 0; @n = words 0 0 0 20000000; syscall 286 t 0 n 0; syscall 232 p r 4 0
        syscall 232 p r 4 -1; load r; load r+4; syscall 232 p r 4 0; read t b 8; load b; syscall 232 p r 4 0
        @z = words 0x100000003 0; syscall 7 z 1 0; syscall 286 t 0 n 0; syscall 7 z 1 -1; load z
        field "/proc/self/fdinfo/3" "ticks"; @n = words 0 0 0 0; syscall 286 t 0 n 0; syscall 7 z 1 10
        field "/proc/self/fdinfo/3" "ticks"; field "/proc/self/fdinfo/3" "clockid" """,
    "setitimer": """
        @r = bytes 64; syscall 36 3 r; syscall 36 -1 r; syscall 36 0 16; syscall 36 0 r; load r; load r+8; load r+16
        load r+24; syscall 38 3 NULL NULL; syscall 38 0 16 NULL; @n = words 0 0 0 1000000; syscall 38 0 n NULL
        @n = words 0 0 -1 0; syscall 38 0 n NULL; @n = words 0 -1 0 0; syscall 38 0 n NULL; @n = words 7 5 100 0
        syscall 38 0 n r; load r; load r+16; syscall 36 0 r; load r; load r+8; load r+16; syscall 37 50
        syscall 36 0 r; load r; load r+16; syscall 37 0; syscall 37 0; syscall 38 1 n r; syscall 38 2 n r
        syscall 36 1 r; load r; load r+8; syscall 38 1 NULL r; syscall 36 1 r; load r; load r+16; @n = words 7 5 0 0
        syscall 38 0 n NULL; syscall 36 0 r; load r; load r+8; syscall 38 1 n NULL; syscall 36 1 r; load r; load r+8
        syscall 38 0 n 16; syscall 37 -1; syscall 37 0; @fork c; syscall 36 2 r; load r+16; end; wait c""",
    "a timer's signal ends a process": """
        @n = words 0 0 0 1000; @fork c; @syscall 38 0 n NULL; @pause; end; wait c; @fork c; @syscall 38 1 n NULL
        @repeat 100000000; @say 1; @end; end; wait c; @fork c; @syscall 38 2 n NULL; @repeat 100000000; @say 1; @end
        end; wait c; @fork c; @syscall 37 1; @pause; end; wait c""",
    "timer_create and its relatives": """
        @i = bytes 8; @r = bytes 64; syscall 222 99 NULL i; syscall 222 4 NULL i; syscall 222 5 NULL i
        syscall 222 6 NULL i; syscall 222 10 NULL i; syscall 222 0 NULL 16; syscall 222 0 16 i; syscall 222 0 NULL i
        load i; @e = words 7 0x00000000000a 0 0 0 0 0 0; syscall 222 1 e i; load i
        @e = words 7 0x000000000000 0 0 0 0 0 0; syscall 222 1 e i; @e = words 7 0x000000000041 0 0 0 0 0 0
        syscall 222 1 e i; @e = words 7 0x000100000000 0 0 0 0 0 0; syscall 222 1 e i; load i
        @e = words 7 0x00030000000a 0 0 0 0 0 0; syscall 222 1 e i; @e = words 7 0x00040000000a 0 0 0 0 0 0
        syscall 222 1 e i; @e = words 7 0x00040000000a 1 0 0 0 0 0; syscall 222 1 e i; @p = getpid
        @e = words 7 0x00040000000a p 0 0 0 0 0; syscall 222 1 e i; load i; @e = words 7 0x00020000000a 0 0 0 0 0 0
        syscall 222 2 e i; load i; syscall 222 3 e i; syscall 222 7 e i; syscall 222 11 e i; syscall 224 99 r
        syscall 224 1 r; load r; load r+16; load r+24; syscall 224 1 16; syscall 223 99 0 r 0; syscall 223 1 0 NULL 0
        syscall 223 1 0 16 0; @n = words 0 1000000000 0 0; syscall 223 1 0 n 0; @n = words 5 6 100 0
        syscall 223 1 0 n r; load r; load r+16; syscall 224 1 r; load r; load r+8; load r+16; syscall 225 1
        syscall 225 99; @n = words 5 6 0 0; syscall 223 1 0 n r; load r; load r+16; syscall 224 1 r; load r; load r+16
        syscall 226 1; syscall 226 1; syscall 225 1; @n = words 5 6 100 0; syscall 223 3 0 n r; syscall 224 3 r
        load r; load r+16; @fork c; syscall 224 3 r; syscall 222 0 NULL i; load i; end; wait c; syscall 222 0 NULL i
        load i""",
    "what a timer's signal says": """
        @m = words 0x2200; syscall 14 0 m NULL 8; @i = bytes 8; @e = words 0x123456789 0x0000000a 0 0 0 0 0 0
        syscall 222 1 e i; @n = words 0 0 0 1; syscall 223 0 0 n NULL; @s = bytes 128; syscall 128 m s NULL 8; load s
        load s+8; load s+16; load s+24; load s+32; syscall 223 0 1 n NULL; @r = bytes 64; syscall 224 0 r; load r+16
        load r+24; syscall 128 m s NULL 8; load s+16; syscall 223 0 0 n NULL; @t = words 0 10000000
        @syscall 35 t NULL; syscall 226 0; @t = words 0 1000; syscall 128 m s t 8; syscall 222 1 NULL i
        @n = words 0 0 0 1; @m = words 0x2000; syscall 223 1 0 n NULL; syscall 128 m s NULL 8; load s; load s+8
        load s+16; load s+24; @e = words 9 0x0001000a 0 0 0 0 0 0; @e = words 9 0x10000000a 0 0 0 0 0 0
        syscall 222 1 e i; load i; syscall 223 2 0 n NULL; @t = words 0 1000000; @syscall 35 t NULL; syscall 224 2 r
        load r+16; load r+24""",
    "signalfd": """
        @m = words 0x200; syscall 289 -1 m 8 1; syscall 289 -1 m 7 0; syscall 289 -1 16 8 0; syscall 289 99 m 8 0
        syscall 289 0 m 8 0; s = syscall 289 -1 m 8 0x800; syscall 289 s m 8 0; @p = getpid; syscall 14 0 m NULL 8
        @r = bytes 256; read s r 128; read s r 127; write s r 128; kill p SIGUSR1; read s r 127
        @z = words 0x100000003; syscall 7 z 1 0; load z; read s r 256; load r; load r+16; load r+24; load r+32
        @u = load r+12; read s r 128; kill p SIGUSR1; kill p SIGUSR1; read s r 256; @o = words 0x300000200
        syscall 14 2 o NULL 8; syscall 289 s o 8 0; field "/proc/self/fdinfo/3" "sigmask"
        @q = words 0x63 0x00000000ffffffff 0x100000002 0x123456789abc 0 0 0 0 0 0 0 0 0 0 0 0; syscall 129 p 34 q
        syscall 129 p 33 q; kill p SIGUSR1; read s r 128; load r; read s r 256; load r; load r+8; load r+16; load r+24
        load r+32; load r+40; load r+48; load r+56; load r+128; load r+136; e = syscall 291 0
        @v = words 0x700000001 0; syscall 233 e 1 s v; @y = bytes 64; syscall 232 e y 4 0; kill p SIGUSR1
        syscall 232 e y 4 0; load y; read s r 128; syscall 232 e y 4 0; @n = words 0 1000000; @fork c
        @syscall 35 n NULL; @kill p SIGUSR1; end; @w = words 0x100000003; syscall 7 w 1 -1; load w; read s r 128
        wait c; fcntl s 4 0; @fork c; @syscall 35 n NULL; @kill p 34; end; read s r 128; load r; wait c
        kill p SIGUSR1; read s 16 128; fcntl s 4 0x800; read s r 128""",
    "rt_sigqueueinfo": """
        @k = getpid; @b = words 0x300000200; syscall 14 2 b NULL 8
        @q = words 0x63 0xffffffff 0x700000005 0x123 0 0 0 0 0 0 0 0 0 0 0 0; syscall 129 k 10 16; syscall 129 k 65 q
        syscall 129 k -1 q; syscall 129 k 0 q; syscall 129 99999999 10 q; syscall 129 0 10 q; syscall 129 -1 10 q
        @x = words 0x63 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0; syscall 129 k 0 x; @fork c; @pause; end; syscall 129 c 10 x
        @x = words 0x63 0xfffffffa 0 0 0 0 0 0 0 0 0 0 0 0 0 0; syscall 129 c 10 x; syscall 129 c 9 q; wait c
        syscall 297 k k 10 q; syscall 297 k 0 10 q; syscall 297 0 k 10 q; syscall 297 k 99999999 10 q
        syscall 297 1 k 10 q; syscall 297 k k 65 q; syscall 297 k k 10 16; syscall 297 k k 0 q; @s = bytes 128
        @t = words 0 0; syscall 128 b s t 8; load s; load s+8; load s+16; load s+24; syscall 129 k 34 q
        syscall 297 k k 33 q; syscall 129 k 34 q; syscall 128 b s t 8; syscall 128 b s t 8; load s; load s+16
        load s+24; syscall 128 b s t 8; syscall 128 b s t 8""",
    "clocks": """
        @t = bytes 16; syscall 228 10 t; syscall 228 12 t; syscall 228 -6 t; syscall 228 -2 t; syscall 228 -3 t
        syscall 228 -1 t; syscall 228 -5 t; syscall 230 3 0 t NULL; syscall 230 99 0 t NULL; @n = words 0 1000
        syscall 230 1 0 n NULL; syscall 230 4 0 n NULL; syscall 230 5 0 n NULL; syscall 230 11 0 n NULL
        syscall 230 7 0 n NULL; @z = words 0 1000000000; syscall 230 1 0 z NULL; syscall 35 z NULL
        syscall 230 0 1 n NULL; syscall 229 4 t; syscall 229 -6 t; syscall 229 77 t""",
    "times": """
        syscall 100 16; @r = bytes 32; @syscall 100 r; load r+8; load r+24; @syscall 100 NULL""",
}  # fmt: skip
#: The version of Linux from which on a script's answers hold, where it is a recent one.
SINCE = {"timer_create and its relatives": (6, 13), "what a timer's signal says": (6, 13)}


@needs_host
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_results_on_the_host(machine: MakeMachine, name: str, tmp_path: Path) -> None:
    skip_before(SINCE.get(name, (5, 11)))
    assert machine().outcome("calls", SCRIPTS[name]) == native(guests.path("calls"), [SCRIPTS[name]])


EXPECTED = """ITIMER_REAL: 5 signals
ITIMER_VIRTUAL: 3 signals
ITIMER_PROF: 3 signals
timer_create: si_code -2, value 77
a timer of CPU time: si_code -2, value 78
to one thread: ok
overruns: ok
ignored, then not: signals come
a handler interrupts a read of a timerfd: EINTR
with SA_RESTART: 8
a handler interrupts epoll_wait: EINTR
with SA_RESTART: EINTR
epoll_pwait: EINTR, handlers 1
epoll_wait of a process that is stopped and continued: EINTR
read of a timerfd of such a process: 8
after execve: real 1, POSIX 0
"""


@needs_host
def test_what_timers_do_on_the_host() -> None:
    skip_before((6, 13))
    assert native(guests.path("timers")) == (EXPECTED, "", 0, "")


@pytest.mark.parametrize("options", [{}, {"cpus": 2, "turn": 700}, {"cpus": 4}])
def test_what_timers_do(machine: MakeMachine, options: dict[str, object]) -> None:
    assert machine(**options).outcome("timers") == (EXPECTED, "", 0, "")


def test_as_many_signals_are_queued_as_the_limit_allows(machine: MakeMachine) -> None:
    """RLIMIT_SIGPENDING counts what the user has queued in the whole machine, and timers besides."""
    script = """
        @k = getpid; @l = words 3 3; @setrlimit 11 l; @b = words 0x300000200; @syscall 14 2 b NULL 8
        @q = words 0 0xffffffff 0x700000005 0x123 0 0 0 0 0 0 0 0 0 0 0 0; repeat 4; syscall 129 k 34 q; end
        syscall 129 k 10 q; @i = bytes 8; syscall 222 1 NULL i; @s = bytes 128; @t = words 0 0; syscall 128 b s t 8
        syscall 128 b s t 8; syscall 222 1 NULL i; syscall 128 b s t 8; syscall 222 1 NULL i; syscall 222 1 NULL i
        syscall 222 1 NULL i; syscall 226 1; syscall 222 1 NULL i"""
    results = [line.removeprefix("syscall = ") for line in machine().calls(script)]
    assert results == ["0", "0", "0", "EAGAIN", "0", "EAGAIN", "10", "34", "0", "34", "0", "EAGAIN", "EAGAIN", "0", "0"]

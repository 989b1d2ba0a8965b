"""Running a program on Linux, in namespaces of its own, observed.

Three processes besides this one: a first child leaves the host's pid namespace and maps the users; its child is the
first process of the new one, and the tracer; and its child becomes the program.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

from emu.against.isolation import (
    NotIsolated,
    Start,
    become_program,
    build_tree,
    die_with_parent,
    enter_namespaces,
    leave_host,
    map_users,
    settle,
)
from emu.against.native import Native
from emu.against.record import Run
from emu.against.tape import Tape
from emu.linux.syscall import Syscall

#: How long the tracer may take to tell what it has seen, beyond the program's own time.
_GRACE_S = 30
#: How often it is seen that a Ctrl-C came, where it came just before the wait.
_LOOK_S = 0.5
_PIECE = 1 << 16


class NotRunnable(Exception):
    """The program does not start on this host, or may not be traced; the message says why."""


def run_natively(
    start: Start, calls: Mapping[int, Syscall], tape: Tape, started_ns: int, stdin: bytes, limit_s: float
) -> Run:  # fmt: skip
    """Run the program to its end, or for ``limit_s`` seconds.  :class:`NotRunnable`."""
    pipes = [os.pipe() for _ in range(4)]  # stdin, stdout, stderr, what was seen
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _in_child(lambda: _leave(start, Native(calls, tape, started_ns), pipes, limit_s), pipes[3][1])
    os.close(pipes[0][0])
    for _, end in pipes[1:]:
        os.close(end)
    try:
        stdout, stderr, seen = _exchange(pipes[0][1], stdin, [end for end, _ in pipes[1:]], limit_s + _GRACE_S)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # with it all that is in the namespace
        os.waitpid(child, 0)
    if not seen:
        raise NotRunnable("the tracer has ended without a word")
    found = pickle.loads(seen)  # our own child's
    if isinstance(found, str):
        raise NotRunnable(found)
    run: Run = found
    run.stdout, run.stderr = stdout, stderr
    return run


def _exchange(feed: int, stdin: bytes, ends: list[int], limit_s: float) -> list[bytes]:
    """Write ``stdin`` to one pipe and read others, until all of them end."""
    found = {end: bytearray() for end in ends}
    poll, until, left = select.poll(), time.monotonic() + limit_s, memoryview(stdin)
    os.set_blocking(feed, False)
    for end in ends:
        poll.register(end, select.POLLIN)
    if left:
        poll.register(feed, select.POLLOUT)
    else:
        os.close(feed)
    reading = set(ends)
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        while ends[-1] in reading and (rest := until - time.monotonic()) > 0:
            for end, _ in poll.poll(1000 * min(rest, _LOOK_S)):
                if end != feed:
                    data = os.read(end, _PIECE)
                    found[end] += data
                    if not data:
                        poll.unregister(end)
                        reading.discard(end)
                    continue
                try:
                    left = left[os.write(feed, left[:_PIECE]) :]
                except BrokenPipeError:
                    left = left[:0]
                if not left:
                    poll.unregister(feed)
                    os.close(feed)
    finally:
        signal.signal(signal.SIGPIPE, before)
        for end in ends:
            os.close(end)
        if left:
            os.close(feed)
    return [bytes(found[end]) for end in ends]


def _in_child(work: object, seen: int) -> NoReturn:
    """Do something in a child, and end it; what fails is told through the pipe ``seen``."""
    status = 0
    try:
        assert callable(work)
        work()
    except (NotIsolated, NotRunnable) as error:
        _tell(seen, str(error))
    except BaseException:
        _tell(seen, f"the tracer has failed:\n{traceback.format_exc()}")
        status = 70
    finally:
        os._exit(status)


def _tell(seen: int, what: object) -> None:
    with os.fdopen(seen, "wb", closefd=False) as file:
        pickle.dump(what, file)


def _leave(start: Start, native: Native, pipes: list[tuple[int, int]], limit_s: float) -> None:
    """The first child."""
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    os.close(pipes[0][1])
    for end, _ in pipes[1:]:
        os.close(end)
    leave_host()
    wants, asks = os.pipe()
    waits, says = os.pipe()
    tracer = os.fork()
    if tracer == 0:
        _in_child(lambda: _trace(start, native, pipes, limit_s, asks, waits), pipes[3][1])
    os.close(asks)
    for end in (pipes[0][0], pipes[1][1], pipes[2][1]):
        os.close(end)
    if os.read(wants, 1):
        map_users(tracer)
        os.write(says, b"!")
    os.close(pipes[3][1])
    os.waitpid(tracer, 0)


def _trace(start: Start, native: Native, pipes: list[tuple[int, int]], limit_s: float, asks: int, waits: int) -> None:
    """The first process of the pid namespace."""
    die_with_parent()
    build_tree(start)
    if enter_namespaces():
        os.write(asks, b"!")
        os.read(waits, 1)
        die_with_parent()  # entering a user namespace has ended that
    settle(start)
    streams = [pipes[0][0], pipes[1][1], pipes[2][1]]
    told, tells = os.pipe()
    go, ready = os.pipe()
    program = os.fork()
    if program == 0:
        _become(start, streams, go, tells)
    for end in (*streams, tells, go):
        os.close(end)
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        native.trace(program, ready)
    except PermissionError as error:
        raise NotRunnable(f"no program may be traced here: {error.strerror}") from None
    except _OutOfTime:
        native.observer.run.cut = f"stopped after {limit_s:g} seconds"
    signal.setitimer(signal.ITIMER_REAL, 0)
    failed = os.read(told, 4096).decode()
    if failed:
        raise NotRunnable(failed)
    _tell(pipes[3][1], native.observer.run)


class _OutOfTime(Exception):
    """The program takes too long."""


def _out_of_time(_number: int, _frame: object) -> None:
    raise _OutOfTime


def _become(start: Start, streams: list[int], go: int, tells: int) -> NoReturn:
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the directory's own is closed
                os.set_inheritable(int(name), int(name) <= 2)
        os.read(go, 1)
        become_program(start)
    except OSError as error:
        os.write(tells, f"{start.program}: {error.strerror}".encode())
    finally:
        os._exit(127)

"""What is shown of a run: the options that --strace has of strace(1), and --stats of perf-stat(1).

Some letters are both tools' (-e, -o, -r): they mean what was asked for, --strace or --stats.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from emu.cli.arguments import Parser, UsageError, names_of_calls, output_name

if TYPE_CHECKING:
    from emu.linux.syscall import Syscall
    from emu.trace.strace import Options

#: What stands before the = of -e.
_CALLS, _SIGNALS = ("trace", "t"), ("signal", "signals", "s")
_STRACE_ONLY = {
    "summary_only": "-c", "summary": "-C", "latency": "-w", "stamps": "-t", "durations": "-T", "follow": "-f",
}  # fmt: skip
#: What several runs would write over.
_ONE_RUN = {"strace": "--strace", "json": "--json", "trace": "--trace", "record": "--record"}
MOST_RUNS = 1000
#: Events that perf counts together, as all are here.
_GROUP = re.compile(r"\{([^{}]*)\}(?=,|$)")


def add_arguments(parser: Parser, group: argparse._ArgumentGroup) -> None:
    """The options of ``unimmu run`` for --strace and --stats."""
    add = group.add_argument
    add(
        "--strace", nargs="?", const="all", type=names_of_calls, metavar="CALLS",
        help="print system calls and signals, in strace's format, on stderr; of the calls, only CALLS, as strace -e: "
        "open,close or %%file or !futex or none (docs/strace.md)",
    )  # fmt: skip
    add("--stats", action="store_true", help="print counts of instructions, faults, walks and tables on stderr")
    add(
        "-e", dest="expressions", action="append", default=[], metavar="EXPR",
        help="with --strace: trace=CALLS or signal=SIGNALS; with --stats: EVENT,..., by perf's names, in a table as "
        "perf stat's (repeatable)",
    )  # fmt: skip
    add(
        "-o", dest="output", type=output_name, metavar="FILE",
        help="write what --strace prints to FILE; without --strace, what --stats prints",
    )  # fmt: skip
    add("-A", "--append", action="store_true", help="with -o: write behind what FILE has")
    parser.add_number(
        group, "-r", "--repeat", metavar="N",
        help="with --strace, without a number: show the time since the line before; -r N with --stats: run N times, "
        "with the seeds from --seed on, and show means and how they spread",
    )  # fmt: skip
    add(
        "-x", dest="separator", metavar="SEP",
        help=r"with --stats: print CSV as perf stat -x, with SEP between columns (\t is a tab)",
    )  # fmt: skip
    add("-c", dest="summary_only", action="store_true", help="with --strace: print only a table of calls, at the end")
    add("-C", dest="summary", action="store_true", help="with --strace: print lines and that table")
    add("-w", dest="latency", action="store_true", help="in that table: the time from begin to end, not of the work")
    add(
        "-t", dest="stamps", action="count", default=0,
        help="with --strace: show the time of day of the machine; -tt: to the microsecond; -ttt: in seconds since 1970",
    )  # fmt: skip
    add("-T", dest="durations", action="store_true", help="with --strace: show how long each call took, in guest time")
    add("-f", dest="follow", action="store_true", help="with --strace: show child processes too, which it always does")


class Watched(NamedTuple):
    """What the options come to."""

    #: Lists of calls and of signals for --strace; ``calls`` is empty without it.
    calls: str = ""
    signals: str = "all"
    #: Whether a line has the time since the one before it.
    relative: bool = False
    #: Names of events for --stats.
    events: tuple[str, ...] = ()
    runs: int = 1

    @property
    def strace(self) -> bool:
        """Whether system calls are shown."""
        return bool(self.calls)


def watched(arguments: argparse.Namespace) -> Watched:
    """:class:`UsageError` for an option without what it belongs to."""
    calls, signals, events = arguments.strace or "", "all", []
    for text in arguments.expressions:
        word, equals, value = text.partition("=")
        if equals and word not in (*_CALLS, *_SIGNALS):
            raise UsageError(f"-e {text}: it is trace=CALLS or signal=SIGNALS for --strace, or EVENT,... for --stats")
        if equals or (arguments.strace and not arguments.stats):
            if not arguments.strace:
                raise UsageError(f"-e {text} needs --strace, which it is about")
            if word in _SIGNALS and equals:
                signals = value
            else:
                calls = value if equals else text
            if not (value if equals else text):
                raise UsageError(f"-e {text}: names are missing behind it (all and none are some)")
        elif arguments.stats:
            events += _GROUP.sub(r"\1", text).split(",")
        else:
            raise UsageError(f"-e {text} needs --strace, or --stats for events")
    relative, runs = _repeated(arguments)
    _check(arguments, relative, runs)
    return Watched(calls, signals, relative, tuple(events), runs)


def _repeated(arguments: argparse.Namespace) -> tuple[bool, int]:
    """What -r asks for: the time between lines, and how many runs."""
    relative, runs = False, 1
    for number in arguments.repeat:
        if number is None:
            relative = True
        elif 1 <= number <= MOST_RUNS:
            runs = number
        else:
            raise UsageError(f"-r {number}: from 1 to {MOST_RUNS} runs are possible")
    return relative, runs


def _check(arguments: argparse.Namespace, relative: bool, runs: int) -> None:
    if not arguments.strace:
        for name, option in _STRACE_ONLY.items():
            if getattr(arguments, name):
                raise UsageError(f"{option} needs --strace, whose output it is about")
        if relative:
            raise UsageError("-r needs --strace, for the time between lines; or a number and --stats, for several runs")
        if arguments.output and not arguments.stats:
            raise UsageError("-o needs --strace or --stats, whose output it puts into a file")
    if arguments.append and not arguments.output:
        raise UsageError("-A needs -o, whose file it is about")
    if arguments.latency and not (arguments.summary or arguments.summary_only):
        raise UsageError("-w needs -c or -C, whose table it is about")
    if not arguments.stats:
        if arguments.separator is not None:
            raise UsageError("-x needs --stats, whose output it is about")
        if arguments.repeat and runs > 1:
            raise UsageError("-r N needs --stats, which shows the means")
    if arguments.separator == "":
        raise UsageError("-x: expected what is to stand between columns, such as -x,")
    for name, option in _ONE_RUN.items():
        if runs > 1 and getattr(arguments, name):
            raise UsageError(f"{option} and -r {runs} exclude each other: it is about one run")


def strace_options(
    arguments: argparse.Namespace, asked: Watched, calls: Callable[[], list[Syscall]]
) -> Options:  # fmt: skip
    """How --strace is to print; ``calls()`` are the machine's.  :class:`UsageError` for names that there are not."""
    from emu.trace.filter import CallFilter, SignalFilter, UnknownCall, UnknownSignal
    from emu.trace.leader import Pids, Stamp
    from emu.trace.strace import Options, everything
    from emu.trace.summary import Summary

    option = f"--strace={asked.calls}" if asked.calls == arguments.strace else f"-e trace={asked.calls}"
    try:
        shows = everything if asked.calls == "all" else CallFilter(asked.calls, calls()).shows
        signals = everything if asked.signals == "all" else SignalFilter(asked.signals).shows
    except UnknownCall as error:
        raise UsageError(f"{option}: {error}") from None
    except UnknownSignal as error:
        raise UsageError(f"-e signal={asked.signals}: {error}") from None
    return Options(
        shows, signals,
        pids=Pids.ALWAYS if arguments.output else Pids.WHILE_SEVERAL,
        stamp=Stamp(min(arguments.stamps, 3)),
        relative=asked.relative,
        durations=arguments.durations,
        prints=not arguments.summary_only,
        summary=Summary(latency=arguments.latency) if arguments.summary or arguments.summary_only else None,
    )  # fmt: skip

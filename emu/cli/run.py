"""``unimmu run``: a machine, a program in it, and what came of it."""

from __future__ import annotations

import argparse
import contextlib
import gc
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.cli.arguments import (
    Parser,
    UsageError,
    add_machine_options,
    add_program_options,
    check_tlb_options,
    output_name,
    program_help,
)
from emu.cli.lean import import_engine
from emu.cli.messages import complain, complain_lines
from mmu.once import Once

if TYPE_CHECKING:
    from emu.cli.running.ending import Ending
    from emu.cli.running.live import KeptOutput, LiveView
    from emu.cli.running.outputs import Outputs
    from emu.cli.running.perfstat import Tally
    from emu.cli.running.watched import Watched
    from emu.cli.streams import Stopper
    from emu.kernel.task import Task
    from emu.machine import Machine

AUDIT_FAILED = 70  # EX_SOFTWARE of sysexits.h
OUTPUT_FAILED = 74  # EX_IOERR

_STATUS_HELP = """

exit status:
  that of PROG; 128+N if signal N ended it; 126 if PROG cannot be run, 127 if there is none;
  2: a mistake on the command line; 70: --audit or --check-tlb found something;
  74: a file could not be written; 124: --timeout; 125: every process waits for ever; 130: Ctrl-C"""

_EXAMPLES = """\
examples:
  unimmu run --strace mshare_donor                       the worked example of the file interface
  unimmu run --stats --audit region_stress 8 10          what 9 processes and their region cost
  unimmu run --mount msharefs:/sys/fs/mshare:abi=y2,level=pte owner_death file
                                                         an earlier interface, another unit
  unimmu run --cpus 2 --tlb zen4 --check-tlb --mount msharefs:/sys/fs/mshare:tlb=local stale_reader
                                                         a shootdown that is missing, found
  unimmu run --root / /usr/bin/python3 -c 'print(1)'     a program of this system
  unimmu run --trace t.jsonl cow && unimmu trace view --kind fault,flush t.jsonl
  unimmu run --record a.parquet gups 4M 100000 && unimmu tlb sim a.parquet --tlb skylake-sp,zen4
"""


def _program_help() -> str:
    return program_help() + _STATUS_HELP


def add_arguments(parser: Parser) -> None:
    """The command line of ``unimmu run``."""
    parser.description = "Run an x86-64 Linux program; every address it uses goes through real-format page tables."
    parser.add_program(_program_help)
    parser.epilog = _EXAMPLES
    add_machine_options(parser)
    add_program_options(parser)
    seen = parser.add_argument_group("what is shown and recorded")
    add = seen.add_argument
    from emu.cli.running.accesses import add_arguments as add_record
    from emu.cli.running.recording import add_arguments as add_selection
    from emu.cli.running.recording import add_region
    from emu.cli.running.watched import add_arguments as add_watched

    add_watched(parser, seen)
    add(
        "--trace", type=output_name, metavar="FILE",
        help="record every event; the name says in which format: .parquet, .jsonl, ... (docs/tracing.md); "
        "`unimmu trace view FILE` prints them",
    )  # fmt: skip
    add(
        "--trace-format", metavar="NAME", help="the format of --trace, whatever the file's name ends with",
    )  # fmt: skip
    add(
        "--live", action="store_true",
        help="show processes, faults, walks and tables while it runs, as top does; what it writes to the terminal "
        "comes in the end (the last 32 to 64 MiB), and it gets no keys",
    )  # fmt: skip
    add("--json", type=output_name, metavar="FILE", help="write the figures of --stats to FILE as JSON")
    add_record(add)
    add_region(add)
    add_selection(add)
    add(
        "--trace-accesses", action="store_true",
        help="with --tlb and --trace: record each access too, and the TLB level that had it (many lines)",
    )  # fmt: skip
    add(
        "--against-host", nargs="?", const="first", choices=("first", "all"), metavar="all",
        help="run the program on this Linux too, in namespaces of its own, and report the first call that differs "
        "(all: each that does); the exit status is 1 if one does (--json: the report; docs/against-host.md)",
    )  # fmt: skip
    add(
        "--audit",
        action="store_true",
        help="recount all page tables and frames at the end; if anything is wrong, the exit status is 70",
    )
    add(
        "--check-tlb", action="store_true",
        help="with --tlb: compare each TLB hit with the page tables; if one is stale, the exit status is 70",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run the program; the exit status is its own, or one of those that ``--help`` lists."""
    from emu.cli.running.watched import watched

    if arguments.program is None:
        raise UsageError("a program is needed (`unimmu run --help` says more)")
    _check_tlb_options(arguments)
    asked = watched(arguments)
    if arguments.against_host is not None:
        gc.enable()
        from emu.cli.running.against import run_against

        return run_against(arguments)
    tally = None
    if asked.events or asked.runs > 1 or arguments.separator is not None:
        from emu.cli.running.perfstat import Tally

        tally = Tally(" ".join([arguments.program, *arguments.arguments]), asked.runs)
    for _ in range(asked.runs):
        status, whole = _run_once(arguments, asked, tally)
        if not whole:
            break
        arguments.seed += 1
    return status


def _run_once(arguments: argparse.Namespace, asked: Watched, tally: Tally | None) -> tuple[int, bool]:
    """The exit status of a run, and whether another one may follow it."""
    with _without_collections():
        import_engine()
        from emu.cli.running.ending import TIMED_OUT
        from emu.cli.running.launch import build_machine, start_program
        from emu.cli.running.outputs import Outputs, Unread, check_that_they_differ
        from emu.cli.streams import Stopper
        from emu.machine import LaunchError

        check_that_they_differ(arguments)
        stopper = Stopper(arguments.timeout)
        kept = _kept_output(arguments)
        machine = build_machine(
            arguments, stopper, log=lambda message: (kept.complain if kept else complain)(f"unimmu: {message}"),
            streams=None if kept is None else kept.streams(stopper),
        )  # fmt: skip
        try:
            first, path = start_program(machine, arguments)
        except LaunchError as error:
            complain(f"unimmu run: {error}")
            return error.status, False
        if arguments.live and kept is None:
            complain("unimmu: --live: standard error is no terminal, so there is no view")
    try:
        with Outputs(machine, first, path, arguments, stopper, asked, tally is not None) as outputs:
            view = contextlib.nullcontext() if kept is None else _live_view(machine, arguments, kept)
            with view as live:
                ending, wall_s = _run_to_the_end(machine, first, stopper, outputs, live)
            status = _report(machine, arguments, ending, wall_s, outputs, tally)
    except Unread as why:
        complain(f"unimmu: stopped by --timeout: {why}")
        return TIMED_OUT, False
    if outputs.unread:
        return ending.status if stopper.cause else TIMED_OUT, False
    return OUTPUT_FAILED if outputs.failed else status, stopper.cause is None and not outputs.failed


def _check_tlb_options(arguments: argparse.Namespace) -> None:
    from emu.cli.running.accesses import check as check_record

    check_record(arguments)
    modelled = check_tlb_options(arguments)
    if arguments.check_tlb and not modelled:
        raise UsageError("--check-tlb needs --tlb PRESET or --tlb-from-cpuid: it looks at each hit in a modelled TLB")
    if arguments.region_cold and not modelled:
        raise UsageError("--region-cold needs --tlb PRESET or --tlb-from-cpuid: it empties modelled TLBs")
    if "access" in (arguments.trace_kinds or ()):
        if not modelled:
            raise UsageError(
                "--trace-kinds access needs --tlb or --tlb-from-cpuid: it records lookups in a modelled TLB"
            )
        arguments.trace_accesses = True
    if arguments.trace_accesses and not modelled:
        raise UsageError("--trace-accesses needs --tlb or --tlb-from-cpuid: it records lookups in a modelled TLB")
    from emu.cli.running.recording import check as check_selection

    check_selection(arguments)
    if arguments.trace_accesses and not arguments.trace:
        raise UsageError("--trace-accesses needs --trace FILE: it adds to what that records")


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Do not look for garbage: there is none while modules are imported and a machine is built, and looking costs.
    Nor is what the process has then looked through later.
    """
    gc.disable()
    try:
        yield
    finally:
        _freeze()
        gc.enable()


@Once
def _freeze() -> None:
    """Once: another run in the same process would keep the garbage of this one."""
    gc.freeze()


def _kept_output(arguments: argparse.Namespace) -> KeptOutput | None:
    """With ``--live``, where the guest's output is until the view is closed."""
    if not arguments.live:
        return None
    if arguments.strace and not arguments.output:
        raise UsageError("--live has the screen: --strace needs -o FILE")
    from emu.cli.progress import on_terminal

    if not on_terminal():
        return None
    from emu.cli.running.live import KeptOutput

    return KeptOutput()


def _live_view(machine: Machine, arguments: argparse.Namespace, kept: KeptOutput) -> LiveView:
    from emu.cli.running.live import LiveView

    return LiveView(machine, " ".join([arguments.program, *arguments.arguments]), kept)


def _run_to_the_end(
    machine: Machine, first: Task, stopper: Stopper, outputs: Outputs, live: LiveView | None
) -> tuple[Ending, float]:
    """Run to the end; returns how the run ended, and how many seconds it took."""
    from emu.cli.running.ending import ending_of

    def interrupted() -> bool:
        return stopper.cause is not None

    def interrupted_or_shown() -> bool:
        assert live is not None
        live.look()
        return stopper.cause is not None

    started = time.perf_counter()
    stopper.on_stop = machine.stop
    with stopper, keyboard_of(machine, stopper):
        try:
            reason = machine.run(interrupted=interrupted if live is None else interrupted_or_shown)
        finally:
            machine.kernel.ttys.restore()
            outputs.finish()
    return ending_of(machine, first, reason, stopper, outputs.deaths), time.perf_counter() - started


def keyboard_of(machine: Machine, stopper: Stopper) -> contextlib.AbstractContextManager[object]:
    """Gives the guest the keys of its terminal that make signals, if it has one."""
    for tty in machine.kernel.ttys.of_host.values():
        from emu.cli.running.keyboard import Keyboard

        return Keyboard(machine, tty, stopper)
    return contextlib.nullcontext()


def _report(
    machine: Machine, arguments: argparse.Namespace, ending: Ending, wall_s: float, outputs: Outputs,
    tally: Tally | None,
) -> int:  # fmt: skip
    """Print what there is to say after a run; returns the exit status."""
    for line in (*ending.lines, *outputs.remarks()):
        complain(f"unimmu: {line}", outputs.listens)
    findings = machine.audit() if arguments.audit else None
    stale = machine.stale_translations() if arguments.check_tlb else None
    status = AUDIT_FAILED if findings or stale else ending.status
    if arguments.stats or outputs.json is not None:
        from emu.cli.running.report import figures, stats_text, to_json

        run = figures(machine, status, ending.reason, wall_s, findings, stale, outputs.counts)
        if arguments.stats and tally is None:
            text = stats_text(run, " ".join([arguments.program, *arguments.arguments]))
            if arguments.strace:  # -o is the file of its lines
                complain_lines(text, outputs.listens)
            else:
                outputs.say(text)
        if outputs.json is not None:
            outputs.json.write(to_json(run))
    if tally is not None and outputs.events is not None:
        tally.add(outputs.events.counts())
        if tally.complete:
            _say_counts(arguments, outputs, tally)
    for what, found, nothing in (
        ("audit", findings, "every table and every frame is accounted for"),
        ("check-tlb", stale, "every TLB hit was what the page tables say"),
    ):
        if found is not None:
            for finding in found:
                complain(f"unimmu: {what}: {finding}", outputs.listens)
            complain(f"unimmu: {what}: {_number_of(found) if found else nothing}", outputs.listens)
    return status


def _say_counts(arguments: argparse.Namespace, outputs: Outputs, tally: Tally) -> None:
    separator = "\t" if arguments.separator == r"\t" else arguments.separator  # as perf reads it
    text = tally.table() if separator is None else tally.csv(separator)
    if arguments.strace:
        complain_lines(text, outputs.listens)
    else:
        outputs.say(text)


def _number_of(findings: list[str]) -> str:
    return "1 finding" if len(findings) == 1 else f"{len(findings)} findings"

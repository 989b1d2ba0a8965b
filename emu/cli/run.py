"""``unimmu run``: a machine, a program in it, and what came of it."""

from __future__ import annotations

import argparse
import contextlib
import gc
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from emu.cli.arguments import (
    MAX_ID,
    Parser,
    UsageError,
    names_of_calls,
    number_from,
    output_name,
    parse_size,
    positive_seconds,
    turn_lengths,
    whole_number,
)
from emu.cli.lean import import_engine
from emu.cli.messages import complain, complain_lines

if TYPE_CHECKING:
    from emu.cli.ending import Ending
    from emu.cli.outputs import Outputs
    from emu.cli.streams import Stopper
    from emu.kernel.task import Task
    from emu.machine import Machine

AUDIT_FAILED = 70  # EX_SOFTWARE of sysexits.h
OUTPUT_FAILED = 74  # EX_IOERR

_PROGRAM_HELP = """\
program:
  PROG                    an x86-64 Linux ELF file: static, or with its interpreter given by --file;
                          with --root, a program in DIR, by its name there or found in PATH;
                          or one that comes with unimmu:
{guests}
  ARGS                    its arguments, whatever they look like

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
"""


def _program_help() -> str:
    import textwrap

    import guests

    indent = " " * 26
    names = textwrap.fill(", ".join(guests.NAMES), 100, initial_indent=indent, subsequent_indent=indent)
    return _PROGRAM_HELP.format(guests=names)


def add_arguments(parser: Parser) -> None:
    """The command line of ``unimmu run``."""
    parser.description = "Run an x86-64 Linux program; every address it uses goes through real-format page tables."
    parser.add_program(_program_help)
    parser.epilog = _EXAMPLES
    machine = parser.add_argument_group("the machine")
    add = machine.add_argument
    add("--cpus", type=number_from(1), default=1, metavar="N", help="vCPUs, which take turns (default: 1)")
    add(
        "--slice", type=turn_lengths, metavar="N[-M]",
        help="nanoseconds in a vCPU's turn (default: 20000; with one vCPU, a task's time slice of 1000000); N-M: each "
        "turn of its own length from N to M, by the seed",
    )  # fmt: skip
    add(
        "--mem", type=parse_size, metavar="SIZE",
        help="physical memory: 512M, 1G, ... (default: 256M); the host gives at most that and 352M, besides what every "
        "run takes",
    )  # fmt: skip
    add(
        "--tlb", default="off", metavar="PRESET|off",
        help="model the TLBs of a processor, access by access (`unimmu presets` lists them; slower; default: off)",
    )  # fmt: skip
    add(
        "--tlb-from-cpuid", metavar="FILE",
        help="model the TLBs that a CPUID dump describes (InstLatx64 or `cpuid -r`), or this host's: host",
    )  # fmt: skip
    add("--hugepages", type=number_from(0), default=0, metavar="N", help="set N pages of 2 MiB aside for MAP_HUGETLB")
    add(
        "--swap", type=parse_size, default=0, metavar="SIZE",
        help="swap pages to a device of this size where memory is short (the host gives that much besides)",
    )  # fmt: skip
    add("--la57", action="store_true", help="page tables of 5 levels (CR4.LA57): user addresses of 56 bits on request")
    add(
        "--mount", action="append", default=[], metavar="TYPE:PATH[:OPTS]",
        help="mount a file system, e.g. msharefs:/sys/fs/mshare:level=pud (repeatable)",
    )  # fmt: skip
    add(
        "--module", action="append", default=[], metavar="NAME",
        help="load an installed kernel module of another distribution (repeatable; unimmu's own are always there)",
    )  # fmt: skip
    add(
        "--root", metavar="DIR",
        help="show this directory as /; what is changed in it stays in the machine, and no file of the host changes",
    )  # fmt: skip
    add(
        "--bind", action="append", default=[], metavar="HOST:GUEST[:rw]",
        help="show a directory of the host at GUEST; with :rw guests change the files of the host (repeatable)",
    )  # fmt: skip
    add(
        "--clock", choices=("virtual", "real"), default="virtual",
        help="what time is to the guest: a nanosecond an instruction and what the kernel's work costs, and no waiting "
        "(docs/time.md), or the host's clock, with which no two runs are the same (default: virtual)",
    )  # fmt: skip
    add("--hostname", default="unimmu", metavar="NAME", help="the machine's name (default: unimmu)")
    add(
        "--no-aslr", dest="aslr", action="store_false",
        help="put every program at the same addresses, as under setarch -R (default: random ones, by the seed)",
    )  # fmt: skip
    add(
        "--engine-fast", choices=("on", "off"),
        help="off: a hook counts the instructions of each block, in place of the code that the engine generates, and "
        "the kernel resolves every page fault; slower, and the same in every count (default: $UNIMMU_ENGINE_FAST, or "
        "on; --stats says what was done)",
    )  # fmt: skip
    add("--seed", type=whole_number, default=0, metavar="N", help="the seed of everything that is random (default: 0)")
    program = parser.add_argument_group("the program")
    add = program.add_argument
    add(
        "--env", action="append", default=[], metavar="K[=V]",
        help="set a variable of its environment, which otherwise has PATH=/bin only (with --root PATH and HOME, and "
        "TERM on a terminal); K alone takes its value from here",
    )  # fmt: skip
    add("--uid", type=number_from(0, MAX_ID), metavar="N", help="run as this user (default: 0, who may do everything)")
    add(
        "--gid", type=number_from(0, MAX_ID), metavar="N",
        help="run as this group (default: the user's in the machine's /etc/passwd, else the number of the user)",
    )  # fmt: skip
    add(
        "--cwd", metavar="PATH",
        help="its working directory (default: with --root, the one here, if it is in DIR; else /)",
    )  # fmt: skip
    add(
        "--file", action="append", default=[], metavar="HOST[:GUEST]",
        help="copy a file into the machine, as an executable, to GUEST or to /bin/NAME (repeatable)",
    )  # fmt: skip
    add("--timeout", type=positive_seconds, metavar="S", help="stop after this many seconds, with exit status 124")
    seen = parser.add_argument_group("what is shown and recorded")
    add = seen.add_argument
    add(
        "--strace", nargs="?", const="all", type=names_of_calls, metavar="CALLS",
        help="print system calls and signals, in strace's format, on stderr; of the calls, only CALLS, as strace -e: "
        "open,close or %%file or !futex or none (docs/tracing.md)",
    )  # fmt: skip
    add("-o", dest="strace_file", type=output_name, metavar="FILE", help="write what --strace prints to FILE")
    add(
        "--trace", type=output_name, metavar="FILE",
        help="record every event as a line of JSON; `unimmu trace view FILE` prints them",
    )  # fmt: skip
    add("--stats", action="store_true", help="print counts of instructions, faults, walks and tables on stderr")
    add("--json", type=output_name, metavar="FILE", help="write the same figures to FILE as JSON")
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
    if arguments.program is None:
        raise UsageError("a program is needed (`unimmu run --help` says more)")
    _check_tlb_options(arguments)
    if arguments.strace_file and not arguments.strace:
        raise UsageError("-o needs --strace, whose output it puts into a file")
    if arguments.against_host is not None:
        gc.enable()
        from emu.cli.against import run_against

        return run_against(arguments)
    with _without_collections():
        import_engine()
        from emu.cli.ending import TIMED_OUT
        from emu.cli.launch import build_machine, start_program
        from emu.cli.outputs import Outputs, Unread, check_that_they_differ
        from emu.cli.streams import Stopper
        from emu.machine import LaunchError

        check_that_they_differ(arguments)
        stopper = Stopper(arguments.timeout)
        machine = build_machine(arguments, stopper, log=lambda message: complain(f"unimmu: {message}"))
        try:
            first, path = start_program(machine, arguments)
        except LaunchError as error:
            complain(f"unimmu run: {error}")
            return error.status
    try:
        with Outputs(machine, first, path, arguments, stopper) as outputs:
            ending, wall_s = _run_to_the_end(machine, first, stopper, outputs)
            status = _report(machine, arguments, ending, wall_s, outputs)
    except Unread as why:
        complain(f"unimmu: stopped by --timeout: {why}")
        return TIMED_OUT
    if outputs.unread:
        return ending.status if stopper.cause else TIMED_OUT
    return OUTPUT_FAILED if outputs.failed else status


def _check_tlb_options(arguments: argparse.Namespace) -> None:
    modelled = arguments.tlb != "off" or arguments.tlb_from_cpuid is not None
    if arguments.tlb != "off" and arguments.tlb_from_cpuid is not None:
        raise UsageError("--tlb and --tlb-from-cpuid exclude each other: both say what TLB there is")
    if arguments.check_tlb and not modelled:
        raise UsageError("--check-tlb needs --tlb PRESET or --tlb-from-cpuid: it looks at each hit in a modelled TLB")
    if arguments.trace_accesses and not modelled:
        raise UsageError("--trace-accesses needs --tlb or --tlb-from-cpuid: it records lookups in a modelled TLB")
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
        if not gc.get_freeze_count():  # once: another run in the same process would keep the garbage of this one
            gc.freeze()
        gc.enable()


def _run_to_the_end(machine: Machine, first: Task, stopper: Stopper, outputs: Outputs) -> tuple[Ending, float]:
    """Run to the end; returns how the run ended, and how many seconds it took."""
    from emu.cli.ending import ending_of

    started = time.perf_counter()
    stopper.on_stop = machine.stop
    with stopper, _keyboard(machine, stopper):
        try:
            reason = machine.run(interrupted=lambda: stopper.cause is not None)
        finally:
            machine.kernel.ttys.restore()
            outputs.finish()
    return ending_of(machine, first, reason, stopper, outputs.deaths), time.perf_counter() - started


def _keyboard(machine: Machine, stopper: Stopper) -> contextlib.AbstractContextManager[object]:
    """Gives the guest the keys of its terminal that make signals, if it has one."""
    for tty in machine.kernel.ttys.of_host.values():
        from emu.cli.keyboard import Keyboard

        return Keyboard(machine, tty, stopper)
    return contextlib.nullcontext()


def _report(
    machine: Machine, arguments: argparse.Namespace, ending: Ending, wall_s: float, outputs: Outputs
) -> int:  # fmt: skip
    """Print what there is to say after a run; returns the exit status."""
    for line in ending.lines:
        complain(f"unimmu: {line}", outputs.listens)
    findings = machine.audit() if arguments.audit else None
    stale = machine.stale_translations() if arguments.check_tlb else None
    status = AUDIT_FAILED if findings or stale else ending.status
    if arguments.stats or outputs.json is not None:
        from emu.cli.report import figures, stats_text, to_json

        run = figures(machine, status, ending.reason, wall_s, findings, stale)
        if arguments.stats:
            text = stats_text(run, " ".join([arguments.program, *arguments.arguments]))
            complain_lines(text, outputs.listens)
        if outputs.json is not None:
            outputs.json.write(to_json(run))
    for what, found, nothing in (
        ("audit", findings, "every table and every frame is accounted for"),
        ("check-tlb", stale, "every TLB hit was what the page tables say"),
    ):
        if found is not None:
            for finding in found:
                complain(f"unimmu: {what}: {finding}", outputs.listens)
            complain(f"unimmu: {what}: {_number_of(found) if found else nothing}", outputs.listens)
    return status


def _number_of(findings: list[str]) -> str:
    return "1 finding" if len(findings) == 1 else f"{len(findings)} findings"

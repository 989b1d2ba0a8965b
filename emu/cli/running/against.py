"""``unimmu run --against-host``: the program in the machine and on Linux itself, held against each other."""

from __future__ import annotations

import argparse
import io
import os
import stat
import sys
import time
from typing import TYPE_CHECKING, BinaryIO

from emu.against.compare import compare
from emu.against.guest import Guest
from emu.against.isolation import Entry, NotIsolated, Start, may_isolate
from emu.against.launch import NotRunnable, run_natively
from emu.against.report import Symbols, json_of, text_of
from emu.cli.arguments import UsageError
from emu.cli.messages import complain
from emu.cli.running.ending import Deaths, ending_of
from emu.cli.running.launch import build_machine, parse_bind, start_program
from emu.cli.running.outputs import OutputFile
from emu.cli.streams import Stopper
from emu.kernel.sched import StopReason
from emu.machine import LaunchError
from emu.syscalls import all_tables
from emu.trace.fanout import Fanout
from emu.trace.peek import peek

if TYPE_CHECKING:
    from emu.against.record import Run
    from emu.kernel.task import Task
    from emu.machine import Machine

#: Exit statuses.
SAME, DIFFERS, NOT_COMPARED, TIMED_OUT = 0, 1, 2, 124
#: A program on Linux gets so many seconds, unless --timeout says otherwise.
_LIMIT_S = 60.0
_OTHERS = ("strace", "trace", "stats", "audit", "check_tlb", "trace_accesses", "live", "region")
#: Where the machine has file systems of its own.
_MOUNTS = frozenset({"/dev", "/proc", "/sys", "/tmp"})


class _Tee:
    """Keeps what it hands on."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.kept = bytearray()

    def __call__(self, data: bytes) -> None:
        self.kept += data
        self._stream.write(data)
        self._stream.flush()


def run_against(arguments: argparse.Namespace) -> int:
    """Run the program twice; the exit status says whether there was a difference."""
    _check(arguments)
    stdin = b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read()
    stopper = Stopper(arguments.timeout)
    arguments.aslr = False  # nor are addresses random on Linux: names of temporary files are made of them
    stdout, stderr = _Tee(sys.stdout.buffer), _Tee(sys.stderr.buffer)
    json = OutputFile(arguments.json, "--json", stopper) if arguments.json else None
    machine = build_machine(
        arguments, stopper, lambda message: complain(f"unimmu: {message}"), (io.BytesIO(stdin), stdout, stderr)
    )  # fmt: skip
    try:
        may_isolate()
    except NotIsolated as error:
        complain(f"unimmu run: --against-host cannot run a program on this host: {error}")
        return NOT_COMPARED
    started_ns = time.time_ns()
    machine.kernel.clock.realtime_offset = started_ns
    try:
        first, path = start_program(machine, arguments)
    except LaunchError as error:
        complain(f"unimmu run: {error}")
        return error.status
    start = _start_of(machine, first, path, arguments)
    observed = _run_in_machine(machine, first, path, stopper, started_ns)
    ours = observed.observer.run
    ours.stdout, ours.stderr = bytes(stdout.kept), bytes(stderr.kept)
    calls = {call.number: call for table in all_tables() for call in table}
    try:
        theirs = run_natively(start, calls, observed.tape, started_ns, stdin, arguments.timeout or _LIMIT_S)
    except NotRunnable as error:
        complain(f"unimmu run: --against-host: on Linux: {error}")
        return NOT_COMPARED
    return _report(arguments, ours, theirs, json)


def _check(arguments: argparse.Namespace) -> None:
    for name in _OTHERS:
        if getattr(arguments, name):
            raise UsageError(f"--{name.replace('_', '-')} and --against-host exclude each other: run once for each")
    if any(parse_bind(text).writable for text in arguments.bind):
        raise UsageError("--against-host does not take --bind HOST:GUEST:rw: the program would change the host, twice")
    if arguments.uid and os.geteuid() != 0:
        raise UsageError(f"--against-host with --uid {arguments.uid} needs root: there is one user in the namespace")


def _run_in_machine(machine: Machine, first: Task, path: str, stopper: Stopper, started_ns: int) -> Guest:
    guest, deaths = Guest(machine.kernel, first, started_ns), Deaths()
    machine.kernel.tracer = Fanout([deaths, guest])
    machine.kernel.tracer.exec(first, path, first.argv)
    stopper.on_stop = machine.stop
    with stopper:
        reason = machine.run(until=lambda: stopper.cause is not None)
    if stopper.cause is not None or reason is StopReason.IDLE:
        ending = ending_of(machine, first, reason, stopper, deaths)
        guest.observer.run.cut = "; ".join(ending.lines)
    return guest


def _start_of(machine: Machine, first: Task, path: str, arguments: argparse.Namespace) -> Start:
    """How the program starts in the machine, which is how it is to start on Linux."""
    mm = first.mm
    environment = peek(mm, mm.env_start, mm.env_end - mm.env_start).split(b"\0")[:-1]
    variables = dict(text.split(b"=", 1) for text in environment)
    who = first.credentials
    start = Start(
        path,
        first.argv,
        variables,
        arguments.cwd or "/",
        who.uid,
        who.gid,
        machine.kernel.namespaces.initial.uts.hostname,
        arguments.cpus,
    )
    if arguments.root is not None:
        from emu.fs.dentry import d_path

        start.root, start.cwd = arguments.root, d_path(first.fs.cwd, first.fs.root)
    else:
        start.entries = list(_entries(machine, "/"))
    start.binds = [parse_bind(text)[:2] for text in arguments.bind]
    return start


def _entries(machine: Machine, path: str) -> list[Entry]:
    """What the machine's own tree has before the program runs."""
    found = []
    directory = machine.kernel.vfs.walker(None).resolve(path).inode
    for entry in sorted(directory.iterate()):
        name = f"{path.rstrip('/')}/{entry.name}"
        if name in _MOUNTS or entry.name in (".", ".."):
            continue
        inode = directory.lookup(entry.name)
        kept = Entry(name, inode.mode, mtime_ns=inode.mtime)
        if stat.S_ISREG(inode.mode):
            kept.data = machine.kernel.vfs.read_file(name)
        elif stat.S_ISLNK(inode.mode):
            kept.data = os.fsencode(str(inode.get_link(None)))
        found.append(kept)
        if stat.S_ISDIR(inode.mode):
            found += _entries(machine, name)
    return found


def _report(arguments: argparse.Namespace, ours: Run, theirs: Run, json: OutputFile | None) -> int:
    found = compare(ours, theirs, every=arguments.against_host == "all")
    symbols = Symbols(arguments.root or "/")
    for line in text_of(found, symbols):
        complain(f"unimmu: {line}")
    status = DIFFERS if found.differences else TIMED_OUT if ours.cut and theirs.cut else SAME
    if json is not None:
        command = [arguments.program, *arguments.arguments]
        json.write(json_of(found, symbols, command=command, exit_status=status))
        json.close()
    return status

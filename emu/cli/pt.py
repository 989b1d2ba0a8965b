"""``unimmu pt``: the page tables of a run at one moment: ranges, trees, pictures, who shares what, walks in words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from emu.cli.arguments import (
    Parser,
    UsageError,
    add_machine_options,
    add_program_options,
    check_tlb_options,
    number_from,
    output_path,
    physical_address,
    program_help,
)
from emu.cli.messages import complain
from emu.cli.moment import Moment, Watch, moment
from emu.cli.results import ResultFiles
from mmu.registers import Access

if TYPE_CHECKING:
    from emu.cli.streams import Stopper
    from emu.trace.pt.sharing import Sharing
    from emu.trace.pt.tables import PageTablesSnapshot, Space
    from emu.trace.pt.walk import WalkStory
    from mmu import PhysicalMemory

NOT_REACHED = 1
#: What the PTE tables of 2 TiB are.
_MOST_VISITS = 1 << 20
_DEFAULT = Moment("exit")
_ACCESSES = {"r": Access.READ, "w": Access.WRITE, "x": Access.FETCH}

_PROGRAM = """

or, in place of PROG:
  SNAPSHOT                a file that `unimmu pt --save` has written: nothing is run
  DUMP                    the memory of a machine, of QEMU's dump-guest-memory: nothing is run

The program's output goes to standard error; standard output has the tables.

exit status:
  0; 1 if the moment of --at did not come; 126 if PROG cannot be run, 127 if there is none;
  2: a mistake on the command line; 74: a file could not be written; 124: --timeout; 130: Ctrl-C"""

_EXAMPLES = """\
examples:
  unimmu pt hello                                        its tables just before it ends
  unimmu pt --tree sharers mshare 3 6291456              three processes that share tables, and wait
  unimmu pt --html tables.html sharers mshare 8 8388608  the same as a page with a picture
  unimmu pt --walk 100:0x401000:x hello                  one walk step by step, in words
  unimmu pt --at syscall:write --save tables.json hello && unimmu pt --walk 100:0:w tables.json
  unimmu pt --cr3 0x1a2b000 --walk 0x1a2b000:0xffffffff81000000:x vm.elf
  unimmu pt --root / --at 2000000 python3 -c 'print(1)'  after so many instructions
"""


class Place(NamedTuple):
    """What --walk is to translate: an address of a process, or below the top table that CR3 holds."""

    pid: int
    vaddr: int
    access: Access
    cr3: int | None = None


def place(text: str) -> Place:
    """``PID:VADDR`` or ``0xCR3:VADDR``, perhaps with ``:r``, ``:w`` or ``:x``; argparse reports anything else."""
    pid, _, rest = text.partition(":")
    vaddr, colon, access = rest.partition(":")
    try:
        top = physical_address(pid) if pid[:2].lower() == "0x" else None
        number = int(pid) if top is None else 0
        found = Place(number, int(vaddr, 0), _ACCESSES[access] if colon else Access.READ, top)
    except (ValueError, KeyError):
        found = Place(-1, 0, Access.READ)
    if found.pid < 0 or not 0 <= found.vaddr < 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not PID:ADDRESS, perhaps with :r, :w or :x (100:0x401000:x)")
    return found


def add_arguments(parser: Parser) -> None:
    """The command line of ``unimmu pt``."""
    parser.description = "Show the page tables of every process of a run, as they are at one moment."
    parser.add_program(lambda: program_help() + _PROGRAM)
    parser.usage = "%(prog)s [options] PROG|SNAPSHOT|DUMP [ARGS ...]"
    parser.epilog = _EXAMPLES
    parser.set_defaults(check_tlb=False)
    shown = parser.add_argument_group("what is shown")
    add = shown.add_argument
    add(
        "--at", type=moment, metavar="MOMENT",
        help="when: exit, the program is about to end, or every process waits (the default); end, nothing runs any "
        "more; N, so many instructions have run; syscall:NAME[:N], before the first (or the N-th) such system call",
    )  # fmt: skip
    add(
        "--pid", type=number_from(1), action="append", default=[], metavar="N",
        help="only this process; a picture has all its tables, and the others together (repeatable)",
    )  # fmt: skip
    add(
        "--cr3", type=physical_address, action="append", default=[], metavar="ADDRESS",
        help="only the tables below this top table; of a dump, any that is in it (repeatable)",
    )  # fmt: skip
    add("--tree", action="store_true", help="the tables as a tree, in place of ranges")
    add("--holes", action="store_true", help="with ranges: the addresses too for which there is no entry")
    add(
        "--walk", type=place, action="append", default=[], metavar="PID:VADDR[:r|w|x]",
        help="one walk of that process, or of 0xCR3, step by step, in place of ranges: a read, a write, or an "
        "instruction fetch (repeatable)",
    )  # fmt: skip
    add("--dot", action="store_true", help="the tables as a graph for Graphviz (dot -Tsvg), and nothing else")
    add(
        "--html", type=output_path, metavar="FILE",
        help="write a page with everything: the picture, ranges, who shares what, and the walks",
    )  # fmt: skip
    add("--svg", type=output_path, metavar="FILE", help="write the picture of the tables; with --walk, of the walk")
    add("--save", type=output_path, metavar="FILE", help="write the tables as JSON, for later (docs/page-tables.md)")
    add_machine_options(parser)
    add_program_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Take the tables from a run or a file, and show them."""
    if arguments.program is None:
        raise UsageError("a program is needed, or a file of --save (`unimmu pt --help` says more)")
    check_tlb_options(arguments)
    _check(arguments)
    given = {f"--{name}": getattr(arguments, name) for name in ("html", "svg", "save")}
    with ResultFiles(given, {arguments.program: "the file that is read"}) as files:
        if _is_snapshot(arguments.program):
            snapshot = _loaded(arguments)
            return _show(arguments, snapshot, [_walk(snapshot, each, None) for each in arguments.walk], files)
        return _run_program(arguments, files)


def _check(arguments: argparse.Namespace) -> None:
    """What can be known to be wrong before a long run."""
    chosen = [f"--{name}" for name in ("tree", "walk", "dot") if getattr(arguments, name)]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} exclude each other: each says what standard output has")
    if arguments.svg and len(arguments.walk) > 1:
        raise UsageError("--svg has room for one walk, and --walk is given more than once; --html takes all")


# -- a file ------------------------------------------------------------------------------------------------------------


def _is_snapshot(name: str) -> bool:
    """Whether it is a file of --save or a dump: no program begins so."""
    from emu.trace.pt.opened import holds_tables

    try:
        return holds_tables(name)
    except (OSError, ValueError):
        return False


def _loaded(arguments: argparse.Namespace) -> PageTablesSnapshot:
    from emu.trace.pt.file import BadSnapshot, check_levels
    from emu.trace.pt.opened import open_tables

    name: str = arguments.program
    if arguments.arguments or arguments.at is not None:
        what = "--at" if arguments.at is not None else f"the argument {arguments.arguments[0]!r}"
        raise UsageError(f"{name}: it is a file of tables, and nothing is run: {what} has no use")
    try:
        snapshot = open_tables(name, [*arguments.cr3, *(each.cr3 for each in arguments.walk if each.cr3 is not None)])
        check_levels(snapshot.spaces, snapshot.tables, snapshot.levels)
        return snapshot
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
    except BadSnapshot as error:
        raise UsageError(f"{name}: {error}") from None


# -- a run -------------------------------------------------------------------------------------------------------------


def _run_program(arguments: argparse.Namespace, files: ResultFiles) -> int:
    from emu.cli.run import keyboard_of
    from emu.cli.running.launch import build_machine, start_program
    from emu.cli.streams import Stopper, host_stream
    from emu.machine import LaunchError
    from emu.trace.pt.tables import take_tables

    stopper = Stopper(arguments.timeout)
    streams = (
        host_stream(sys.stdin, "standard input", stopper),
        host_stream(sys.stderr, "standard error", stopper),
        host_stream(sys.stderr, "standard error", stopper),
    )
    machine = build_machine(arguments, stopper, log=lambda line: complain(f"unimmu: {line}"), streams=streams)
    try:
        first, _ = start_program(machine, arguments)
    except LaunchError as error:
        complain(f"unimmu pt: {error}")
        return error.status
    taken: list[tuple[PageTablesSnapshot, list[WalkStory]]] = []
    command = (arguments.program, *arguments.arguments)

    def look(when: str) -> None:
        snapshot = take_tables(machine, when, command)
        taken.append((snapshot, [_walk(snapshot, each, machine.ram) for each in arguments.walk]))

    watch = Watch(machine, first, arguments.at or _DEFAULT, look)
    stopper.on_stop = machine.stop
    with stopper, keyboard_of(machine, stopper):
        try:
            reason = watch.run(stopper)
        finally:
            machine.kernel.ttys.restore()
    if not taken:
        return _not_reached(stopper, reason.value, machine.kernel.cpu.clock)
    return _show(arguments, *taken[0], files)


def _not_reached(stopper: Stopper, reason: str, instructions: int) -> int:
    from emu.cli.running.ending import CAUSE_STATUS, STOPPED

    if stopper.cause is not None:
        complain(f"unimmu pt: {STOPPED[stopper.cause]} before the moment of --at came")
        return CAUSE_STATUS[stopper.cause]
    complain(f"unimmu pt: the moment of --at did not come: after {instructions:,} instructions {reason}")
    return NOT_REACHED


def _walk(snapshot: PageTablesSnapshot, to: Place, memory: PhysicalMemory | None) -> WalkStory:
    from emu.trace.pt.walk import walk

    space = _space(snapshot, to.pid, "--walk") if to.cr3 is None else _space_below(snapshot, to.cr3, "--walk")
    return walk(snapshot, space, to.vaddr, to.access, memory)


def _space(snapshot: PageTablesSnapshot, pid: int, option: str) -> Space:
    from emu.trace.pt.sharing import spelled

    space = snapshot.space_of(pid)
    if space is None:
        pids = sorted(pid for each in snapshot.spaces for pid in each.pids)
        there = f"there are {spelled(pids)}" if pids else "there is none"
        if snapshot.is_dump:
            there = "a dump names none; --cr3 says whose tables"
        raise UsageError(f"{option} {pid}: there is no such process at that moment ({there})")
    return space


def _space_below(snapshot: PageTablesSnapshot, cr3: int, option: str) -> Space:
    for space in snapshot.spaces:
        if space.pgd == cr3:
            return space
    there = ", ".join(f"{space.pgd:#x} of {space.title}" for space in snapshot.spaces) or "none"
    raise UsageError(f"{option} {cr3:#x}: no address space has its top table there ({there})")


# -- showing -----------------------------------------------------------------------------------------------------------


def _show(
    arguments: argparse.Namespace, snapshot: PageTablesSnapshot, walks: Sequence[WalkStory], files: ResultFiles
) -> int:
    """Write the files, print the text."""
    from emu.trace.pt.sharing import find_sharing

    chosen = [_space(snapshot, pid, "--pid") for pid in arguments.pid]
    chosen += [_space_below(snapshot, cr3, "--cr3") for cr3 in arguments.cr3]
    chosen = list(dict.fromkeys(chosen)) or list(snapshot.spaces)
    sharing = find_sharing(snapshot)
    if not (walks or arguments.dot or arguments.tree) or arguments.html is not None:
        _check_ranges(snapshot, sharing, snapshot.spaces if arguments.html is not None else chosen)
    is_chosen = bool(arguments.pid or arguments.cr3)
    drawn = [number for number, space in enumerate(snapshot.spaces) if space in chosen] if is_chosen else []
    for option, text in _texts(arguments, snapshot, sharing, walks, drawn):
        files.write(option, text)
    for line in _lines(arguments, snapshot, sharing, chosen, walks, drawn):
        print(line)
    return 0


def _check_ranges(snapshot: PageTablesSnapshot, sharing: Sharing, spaces: Sequence[Space]) -> None:
    """:class:`UsageError` for tables whose ranges nobody could wait for: few, of which each is reached from many
    entries."""
    for space, times in zip(snapshot.spaces, sharing.apart, strict=True):
        if space in spaces and times > _MOST_VISITS:
            told = f"its tables are reached {times:,} times, more than {_MOST_VISITS:,}; --tree shows each once"
            raise UsageError(f"{space.title}: {told}")


def _texts(
    arguments: argparse.Namespace, snapshot: PageTablesSnapshot, sharing: Sharing, walks: Sequence[WalkStory],
    drawn: Sequence[int],
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """Each option that names a file, and what goes into it."""
    if arguments.save is not None:
        from emu.trace.pt.file import to_json

        yield "--save", to_json(snapshot)
    if arguments.svg is not None:
        from emu.trace.pt.picture import draw_tables
        from emu.trace.pt.walkpicture import draw_walk

        yield "--svg", draw_walk(walks[0]) if walks else draw_tables(snapshot, sharing, drawn)
    if arguments.html is not None:
        from emu.trace.pt.page import tables_page

        yield "--html", tables_page(snapshot, sharing, walks, drawn)


def _lines(
    arguments: argparse.Namespace, snapshot: PageTablesSnapshot, sharing: Sharing, chosen: list[Space],
    walks: Sequence[WalkStory], drawn: Sequence[int],
) -> Iterator[str]:  # fmt: skip
    """Standard output."""
    from emu.trace.pt.text import bytes_text, ranges_text, sharing_text, title_of, tree_text

    if arguments.dot:
        from emu.trace.pt.dot import dot_text

        yield from dot_text(snapshot, sharing, drawn)
        return
    if walks:
        for story in walks:
            yield from story.lines()
        return
    yield title_of(snapshot)
    if not snapshot.spaces:
        yield "no process is there, and no region"
        return
    if arguments.tree:
        yield from tree_text(snapshot, sharing, chosen)
    else:
        yield from ranges_text(snapshot, sharing, chosen, holes=arguments.holes)
    yield from sharing_text(snapshot, sharing)
    yield from bytes_text(snapshot, sharing)

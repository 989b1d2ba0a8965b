"""The options of ``unimmu run`` that choose which events --trace records."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from emu.cli.arguments import UsageError, number_from

if TYPE_CHECKING:
    from emu.kernel.task import Task
    from emu.machine import Machine
    from emu.trace.formats.registry import Format
    from emu.trace.region import WatchedRegion
    from emu.trace.selection import Selection

_OPTIONS = {
    "trace_kinds": "--trace-kinds", "trace_pid": "--trace-pid", "trace_range": "--trace-range",
    "trace_levels": "--trace-levels", "trace_sample": "--trace-sample", "trace_from": "--trace-from",
    "trace_to": "--trace-to", "trace_paused": "--trace-paused",
}  # fmt: skip
_TOP = 1 << 64


def add_arguments(add: Callable[..., Any]) -> None:
    """The options."""
    add(
        "--trace-kinds", type=_names, action="extend", metavar="K,...",
        help="with --trace: record only events of these kinds: walk, fault, link, syscall_enter, ... (docs/tracing.md)",
    )  # fmt: skip
    add(
        "--trace-pid", type=_numbers, action="extend", metavar="N,...",
        help="with --trace: record only events of these processes or threads; the first process is 100",
    )  # fmt: skip
    add(
        "--trace-range", type=_range, metavar="A-B",
        help="with --trace: of events that concern an address, record only those from A up to and without B",
    )  # fmt: skip
    add(
        "--trace-levels", type=_levels, metavar="L,...",
        help="with --trace: of walks and faults, record only those that end at these levels (1: a PTE)",
    )  # fmt: skip
    add(
        "--trace-from", type=number_from(0), metavar="N",
        help="with --trace: record only events when all processes have run N instructions, and later",
    )  # fmt: skip
    add(
        "--trace-to", type=number_from(1), metavar="N",
        help="with --trace: record only events before all processes have run N instructions",
    )  # fmt: skip
    add(
        "--trace-paused", action="store_true", default=None,
        help="with --trace: record nothing before the guest writes 1 to /sys/kernel/tracing/tracing_on",
    )  # fmt: skip
    add(
        "--trace-sample", type=number_from(1), metavar="N",
        help="with --trace: of the MMU's events that are left, record one in N, by chance (--seed)",
    )  # fmt: skip


def add_region(add: Callable[..., Any]) -> None:
    """The option for the region of interest."""
    add(
        "--region", metavar="WHAT",
        help="record and count only within a region of interest: FUNCTION or FILE:FUNCTION (from its entry to its "
        "return), FROM..TO (counts of instructions), or marker (what the program marks, docs/tracing.md)",
    )  # fmt: skip
    add(
        "--region-cold", action="store_true",
        help="with --region and --tlb: empty the modelled TLBs each time that the region is entered",
    )  # fmt: skip


def region(machine: Machine, arguments: argparse.Namespace, first: Task, program: str) -> WatchedRegion | None:
    """The region that --region asks for; ``program`` is the path of what ``first`` is about to run."""
    if arguments.region is None:
        return None
    from emu.trace.region import CountedRegion, MarkedRegion, NoRegion, RegionAsked

    kernel = machine.kernel
    if arguments.region_cold:
        kernel.region.on_enter = kernel.cpu.mmu.empty_models
    try:
        asked = RegionAsked.parse(arguments.region)
        if asked.clocks is not None:
            return CountedRegion(kernel, asked)
        if asked.marks:
            _give_marks(machine)
            return MarkedRegion(kernel, asked)
        if asked.file == arguments.program:  # whatever it is called in the machine
            asked = asked._replace(file="")
        from emu.fs.dentry import d_path
        from emu.trace.functions import FunctionRegion  # with what it needs to read ELF files

        return FunctionRegion(kernel, asked, program, d_path(first.fs.cwd))
    except NoRegion as error:
        raise UsageError(f"--region {error}") from None


def _give_marks(machine: Machine) -> None:
    """Put the program with which a shell marks where it is found."""
    import guests
    from emu.machine import LaunchError

    try:
        machine.install(guests.path("unimmu-mark"))
    except LaunchError as error:
        raise UsageError(f"--region marker: {error}") from None


def check(arguments: argparse.Namespace) -> None:
    """:class:`UsageError` if something is chosen and nothing recorded."""
    if arguments.region is not None and not (arguments.trace or arguments.stats or arguments.json):
        raise UsageError("--region needs --trace FILE, --stats or --json FILE: it says when these record and count")
    if arguments.region_cold and arguments.region is None:
        raise UsageError("--region-cold needs --region, at whose entrance the TLBs are emptied")
    for name, option in _OPTIONS.items():
        if getattr(arguments, name) is not None and not arguments.trace:
            raise UsageError(f"{option} needs --trace FILE: it chooses what that records")
    if arguments.trace_format and not arguments.trace:
        raise UsageError("--trace-format needs --trace FILE, whose format it is")


class Recording(NamedTuple):
    """What --trace and its options ask for."""

    format: Format
    selection: Selection


def recording(machine: Machine, arguments: argparse.Namespace) -> Recording:
    """What the options ask for.  :class:`UsageError` if a machine has no such events, or there is no such format, or it
    needs a library that is not installed.
    """
    from emu.linux.event_kind import EventError
    from emu.trace.formats.registry import UnknownFormat, format_of
    from emu.trace.schema import Schema

    selection, schema = _selection_of(arguments), Schema(machine.kernel.event_kinds)
    try:
        for kind in sorted(selection.kinds or ()):
            _ = schema[kind]
    except EventError as error:
        raise UsageError(f"--trace-kinds: {error}") from None
    try:
        form = format_of(arguments.trace, arguments.trace_format)
        form.sink(lambda piece: None)
    except UnknownFormat as error:
        raise UsageError(f"--trace: {error}") from None
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--trace {arguments.trace}: {form.name} needs {error.name}: pip install 'unimmu[trace]'"
        ) from None
    if form.of_accesses and not arguments.trace_accesses:
        raise UsageError(f"--trace: {form.name} has nothing but accesses: give --tlb PRESET --trace-accesses too")
    if arguments.trace_paused:
        machine.kernel.region.switch(False)
    return Recording(form, selection)


def _selection_of(arguments: argparse.Namespace) -> Selection:
    from emu.trace.selection import Selection

    kinds, accesses = arguments.trace_kinds, {"access"} if arguments.trace_accesses else set()
    return Selection(
        None if kinds is None else frozenset({*kinds, *accesses}),
        frozenset(arguments.trace_pid or ()),
        arguments.trace_range,
        frozenset(arguments.trace_levels or ()),
        _clocks(arguments),
        arguments.trace_sample or 1,
        arguments.seed,
    )


def _clocks(arguments: argparse.Namespace) -> range | None:
    if arguments.trace_from is None and arguments.trace_to is None:
        return None
    clocks = range(arguments.trace_from or 0, _TOP - 1 if arguments.trace_to is None else arguments.trace_to)
    if not clocks:
        raise UsageError(f"--trace-to {clocks.stop}: it must be above --trace-from {clocks.start}")
    return clocks


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if not names:
        raise argparse.ArgumentTypeError("expected names of kinds of events")
    return names


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in _names(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a process number") from None


def _levels(text: str) -> list[int]:
    levels = _numbers(text)
    if not all(1 <= level <= 5 for level in levels):
        raise argparse.ArgumentTypeError(f"{text!r}: levels are 1 to 5")
    return levels


def _range(text: str) -> range:
    first, dash, end = text.partition("-")
    try:
        addresses = range(int(first, 0), int(end, 0))
    except ValueError:
        addresses = range(0)
    if not dash or not addresses or not 0 <= addresses.start < addresses.stop <= _TOP:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of addresses, as 0x7f0000000000-0x7fffffffffff is")
    return addresses

"""``unimmu trace``: what was recorded with ``unimmu run --trace``."""

from __future__ import annotations

import argparse
from importlib import import_module

from emu.cli.arguments import Parser, UsageError

#: name -> what it is for; the module of that name in emu.cli.tracing has ``add_arguments(parser)`` and
#: ``run(arguments) -> int``.
_COMMANDS = {
    "stat": "count the events: walks, faults, TLB misses; by process, function, region",
    "top": "the functions and pages with most walks",
    "view": "print the events as text, a walk with its entries in words",
    "convert": "write a trace in another format",
    "report": "write a page with pictures of the whole trace",
    "diff": "where two traces part",
}


def add_arguments(parser: Parser) -> None:
    """The command line of ``unimmu trace``."""
    parser.description = "Look at a trace that `unimmu run --trace FILE` recorded."
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="action")
    for name, help in _COMMANDS.items():
        import_module(f"emu.cli.tracing.{name}").add_arguments(commands.add_parser(name, help=help))


def run(arguments: argparse.Namespace) -> int:
    """Do what the command says."""
    if arguments.action is None:
        raise UsageError(f"a command is needed: {', '.join(_COMMANDS)} (`unimmu trace --help` says more)")
    return int(import_module(f"emu.cli.tracing.{arguments.action}").run(arguments))

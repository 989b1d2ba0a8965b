"""``unimmu trace``: what was recorded with ``unimmu run --trace``."""

from __future__ import annotations

import argparse

from emu.cli.arguments import Parser
from emu.cli.subcommands import Subcommands

_COMMANDS = Subcommands(
    "trace",
    "emu.cli.tracing",
    {
        "stat": "count the events: walks, faults, TLB misses; by process, function, region",
        "top": "the functions and pages with most walks",
        "view": "print the events as text, a walk with its entries in words",
        "convert": "write a trace in another format",
        "report": "write a page with pictures of the whole trace",
        "diff": "where two traces part",
    },
)


def add_arguments(parser: Parser) -> None:
    """The command line of ``unimmu trace``."""
    parser.description = "Look at a trace that `unimmu run --trace FILE` recorded."
    _COMMANDS.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do what the command says."""
    return _COMMANDS.run(arguments)

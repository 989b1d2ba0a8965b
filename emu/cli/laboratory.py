"""``unimmu tlb``: the laboratory for TLBs."""

from __future__ import annotations

import argparse
from importlib import import_module

from emu.cli.arguments import Parser, UsageError

#: name -> what it is for; the module of that name in emu.cli.lab has ``add_arguments(parser)`` and
#: ``run(arguments) -> int``.
_COMMANDS = {
    "sim": "replay a recorded stream through any TLB models in one pass, and show what each counts",
    "analyze": "what a recorded stream tells: reuse distances, why TLBs miss, what large pages would save",
    "sweep": "run many points, geometries by programs by page sizes, on one host or many",
}


def add_arguments(parser: Parser) -> None:
    """The command line of ``unimmu tlb``."""
    parser.description = "Study TLBs: on streams of accesses that were recorded, and over many runs."
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="action")
    for name, help in _COMMANDS.items():
        import_module(f"emu.cli.lab.{name}").add_arguments(commands.add_parser(name, help=help))


def run(arguments: argparse.Namespace) -> int:
    """Do what the command says."""
    if arguments.action is None:
        raise UsageError(f"a command is needed: {', '.join(_COMMANDS)} (`unimmu tlb --help` says more)")
    return int(import_module(f"emu.cli.lab.{arguments.action}").run(arguments))

"""``unimmu tlb``: the laboratory for TLBs."""

from __future__ import annotations

import argparse

from emu.cli.arguments import Parser
from emu.cli.subcommands import Subcommands

_COMMANDS = Subcommands(
    "tlb",
    "emu.cli.lab",
    {
        "sim": "replay a recorded stream through any TLB models in one pass, and show what each counts",
        "analyze": "what a recorded stream tells: reuse distances, why TLBs miss, what large pages would save",
        "sweep": "run many points, geometries by programs by page sizes, on one host or many",
    },
)


def add_arguments(parser: Parser) -> None:
    """The command line of ``unimmu tlb``."""
    parser.description = "Study TLBs: on streams of accesses that were recorded, and over many runs."
    _COMMANDS.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do what the command says."""
    return _COMMANDS.run(arguments)

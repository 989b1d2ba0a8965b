"""A command of ``unimmu`` that has commands of its own, each a module that is imported when it is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module

from emu.cli.arguments import Parser, UsageError


class Subcommands:
    """The commands of ``unimmu NAME``: what each is for, by name.

    The module of that name in ``package`` has ``add_arguments(parser)`` and ``run(arguments) -> int``.
    """

    def __init__(self, name: str, package: str, commands: Mapping[str, str]) -> None:
        self._name, self._package, self._commands = name, package, commands

    def add_arguments(self, parser: Parser) -> None:
        """Their command lines."""
        added = parser.add_subparsers(title="commands", metavar="COMMAND", dest="action")
        for name, help in self._commands.items():
            import_module(f"{self._package}.{name}").add_arguments(added.add_parser(name, help=help))

    def run(self, arguments: argparse.Namespace) -> int:
        """Do what the command says."""
        if arguments.action is None:
            names = ", ".join(self._commands)
            raise UsageError(f"a command is needed: {names} (`unimmu {self._name} --help` says more)")
        return int(import_module(f"{self._package}.{arguments.action}").run(arguments))

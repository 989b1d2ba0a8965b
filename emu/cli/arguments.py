"""The parser of command lines, which complains in one line, and what several commands take: kinds of values, and the
options that describe a machine and a program in it.
"""

from __future__ import annotations

import argparse
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

_SIZE = re.compile(r"(\d+)([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = ("", "K", "M", "G", "T")
#: What argparse says of ``--option=value`` where there is no value.
_VALUE_GIVEN = re.compile(r"(\S+): ignored explicit argument (.*)")
#: The largest number of a user or a group: -1 means none (linux/uidgid.h).
MAX_ID = (1 << 32) - 2
_PROGRAM_HELP = """\
program:
  PROG                    an x86-64 Linux ELF file: static, or with its interpreter given by --file;
                          with --root, a program in DIR, by its name there or found in PATH;
                          or one that comes with unimmu:
{guests}
  ARGS                    its arguments, whatever they look like"""


class UsageError(Exception):
    """The user asked for something that is not possible; the message says in one line what it is."""


class OutputError(Exception):
    """A file could not be written whole; the message says in one line which, and why."""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wider than argparse's own, and the same on every terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=100)

    def _format_action(self, action: argparse.Action) -> str:
        """Subcommands stand below the title as they are, without a line for the choice between them."""
        if isinstance(action, argparse._SubParsersAction):
            return "".join(map(super()._format_action, action._get_subactions()))
        return super()._format_action(action)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """A value that may be left out goes behind ``=``, since the next word is the program's name."""
        if action.option_strings and action.nargs == "?" and not isinstance(action.default, list):
            return f"{', '.join(action.option_strings)}[={action.metavar}]"
        return super()._format_action_invocation(action)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises :class:`UsageError` instead of printing its usage and exiting."""

    def __init__(self, prog: str, description: str | None = None, epilog: str | None = None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=_HelpFormatter,
        )
        self._program: Callable[[], str] | None = None
        self._with_number: set[str] = set()

    def add_program(self, help: Callable[[], str]) -> None:
        """Take a program and its arguments at the end, as ``arguments.program`` (None: none given) and ``.arguments``.

        Nothing after the program is parsed; argparse's own REMAINDER would swallow a ``--`` there.  ``help()`` gives
        the text that ``--help`` has above the options.
        """
        self._program = help
        self.usage = "%(prog)s [options] PROG [ARGS ...]"

    def add_number(self, group: argparse._ArgumentGroup, *names: str, metavar: str, help: str) -> None:
        """An option whose value, a whole number, may be left out, though the next word may be one: what follows and is
        none is the program.  It gives a list with None where there was no number.
        """
        group.add_argument(
            *names, action="append", nargs="?", type=whole_number, default=[], metavar=metavar, help=help
        )
        self._with_number.update(names)

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse a command line without the command's name."""
        if self._program is None:
            return self.parse_args(argv)
        options, at = self._options(argv)
        arguments = self.parse_args(options)
        arguments.program = argv[at] if at < len(argv) else None
        arguments.arguments = list(argv[at + 1 :])
        return arguments

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """The value of ``--option=--`` is ``--``; argparse itself makes an empty list of it."""
        if action.option_strings and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)

    def _options(self, argv: Sequence[str]) -> tuple[list[str], int]:
        """The words before the program, and where that is."""
        options: list[str] = []
        at = 0
        while at < len(argv):
            word = argv[at]
            if word == "--":
                return options, at + 1
            if not word.startswith("-") or word == "-":
                break
            follows = list(argv[at + 1 : at + 2]) if self._takes_next(word) else []
            if self._ends_in(word, self._with_number) and at + 1 < len(argv) and argv[at + 1].isdecimal():
                follows, word = [], f"{word}{'=' if word.startswith('--') else ''}{argv[at + 1]}"
                at += 1
            options += [word, *(each for each in follows if each != "--")]
            at += 1 + len(follows)
        return options, at

    def _takes_next(self, word: str) -> bool:
        """Whether the word behind an option is its value."""
        valued = {s for action in self._actions if action.nargs not in (0, "?") for s in action.option_strings}
        return self._ends_in(word, valued)

    def _ends_in(self, word: str, options: set[str]) -> bool:
        """Whether a word is one of these options, or letters of which the last one is (-fe)."""
        if word in options:
            return True
        flags = {s for action in self._actions if action.nargs == 0 for s in action.option_strings}
        letters = [f"-{letter}" for letter in word[1:]]
        return len(letters) > 1 and letters[-1] in options and all(letter in flags for letter in letters[:-1])

    def format_help(self) -> str:
        text = super().format_help()
        if self._program is None:
            return text
        head, separator, options = text.partition("\noptions:\n")
        return f"{head}\n{self._program()}\n{separator}{options}"

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        given = _VALUE_GIVEN.fullmatch(message)
        if given is not None:
            message = f"{given[1]} takes no value, and {given[2]} was given"
        elif not message.startswith("unrecognized arguments"):
            raise UsageError(message)
        raise UsageError(f"{message} (`{self.prog} --help` lists the options)")


def parse_size(text: str) -> int:
    """``4096``, ``512M``, ``1G``, ``2TiB`` in bytes; argparse reports anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size (examples: 4096, 512M, 1G)")
    return int(match[1]) << 10 * _UNITS.index(match[2].upper())


def format_size(size: int) -> str:
    """A size as :func:`parse_size` takes it, in the largest unit that leaves a whole number."""
    unit = 0
    while size and size % 1024 == 0 and unit < len(_UNITS) - 1:
        size >>= 10
        unit += 1
    return f"{size}{_UNITS[unit]}"


def number_from(least: int, most: int | None = None) -> Callable[[str], int]:
    """Reads whole numbers from ``least`` on, at most ``most``; argparse reports anything else."""
    possible = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {possible}")
        return number

    return read


def physical_address(text: str) -> int:
    """Reads the physical address of a table, without what else CR3 has in its low bits and its bit 63."""
    try:
        address = int(text, 0)
    except ValueError:
        address = -1
    if not 0 <= address < 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no physical address (0x1a2b000)")
    return address & 0x000F_FFFF_FFFF_F000


def nested_size(text: str) -> str:
    """Reads the size of the second dimension's pages; "" if none is given."""
    if text not in ("", "4K", "2M", "1G"):
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from '4K', '2M', '1G')")
    return text


def turn_lengths(text: str) -> int | tuple[int, int]:
    """The length of turns in ns, or the least and the most; argparse reports anything else."""
    numbers = [int(word) for word in text.split("-") if word.isascii() and word.isdigit()]
    if len(numbers) != text.count("-") + 1 or len(numbers) > 2 or not 1 <= numbers[0] <= numbers[-1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1, nor a range such as 100-5000")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def whole_number(text: str) -> int:
    """A whole number; argparse reports anything else."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def names_of_calls(text: str) -> str:
    """A list of system calls, which only the machine knows; argparse reports an empty one."""
    if not text:
        raise argparse.ArgumentTypeError("expected names of system calls, such as open,close (all without =)")
    return text


def output_name(text: str) -> str:
    """The name of a file to write.  argparse reports "-": other output would stand in the middle of it."""
    if text == "-":
        raise argparse.ArgumentTypeError("standard output has other text on it: give a file, or /dev/fd/N")
    return text


def output_path(text: str) -> pathlib.Path:
    """:func:`output_name`, as a path."""
    return pathlib.Path(output_name(text))


def positive_seconds(text: str) -> float:
    """A positive number of seconds; argparse reports anything else."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return seconds


# -- a machine, and a program in it ------------------------------------------------------------------------------------


def program_help() -> str:
    """What ``--help`` says of PROG and ARGS."""
    import textwrap  # for --help alone

    import guests

    names = textwrap.fill(", ".join(guests.NAMES), 100, initial_indent=" " * 26, subsequent_indent=" " * 26)
    return _PROGRAM_HELP.format(guests=names)


def add_machine_options(parser: Parser) -> None:
    """The group "the machine"."""
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
        "--tlb", default="off", metavar="PRESET|FILE.toml|off",
        help="model the TLBs of a processor, access by access (`unimmu presets` lists them, and `unimmu presets --show "
        "NAME` writes a file to change; slower; default: off)",
    )  # fmt: skip
    add(
        "--tlb-set", action="append", default=[], metavar="ARRAY.FIELD=VALUE,...",
        help="that TLB, with something else in it: l2.ways=8,l2.policy=fifo (docs/mmu.md; repeatable)",
    )  # fmt: skip
    add(
        "--tlb-latency",
        action="store_true",
        help="count what translations cost, in cycles, with the latencies of that preset or file (docs/mmu.md)",
    )
    add(
        "--nested", nargs="?", const="", type=nested_size, metavar="SIZE",
        help="walk in two dimensions, as in a virtual machine: through EPT with pages of 4K, 2M or 1G, or as the file "
        "says, or else of 4K (docs/mmu.md)",
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


def add_program_options(parser: Parser) -> None:
    """The group "the program"."""
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


def check_tlb_options(arguments: argparse.Namespace) -> bool:
    """Whether a TLB is modelled.  :class:`UsageError` where two options say which."""
    if arguments.tlb != "off" and arguments.tlb_from_cpuid is not None:
        raise UsageError("--tlb and --tlb-from-cpuid exclude each other: both say what TLB there is")
    modelled = arguments.tlb != "off" or arguments.tlb_from_cpuid is not None
    if arguments.tlb_set and not modelled:
        raise UsageError("--tlb-set changes a TLB, and none is modelled: add --tlb PRESET")
    if arguments.nested is not None and not modelled:
        raise UsageError("--nested is of a modelled TLB, and none is modelled: add --tlb PRESET")
    if arguments.tlb_latency and not modelled:
        raise UsageError("--tlb-latency counts what a modelled TLB costs, and none is modelled: add --tlb PRESET")
    if arguments.tlb_latency and arguments.tlb_from_cpuid is not None:
        raise UsageError("--tlb-latency: CPUID says no latencies; --tlb FILE.toml takes a file that does (docs/mmu.md)")
    return modelled

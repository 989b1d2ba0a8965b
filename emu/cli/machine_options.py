"""The options that describe a machine and a program in it, which several commands take."""

from __future__ import annotations

import argparse

from emu.cli.arguments import (
    MAX_ID,
    Parser,
    UsageError,
    number_from,
    parse_size,
    positive_seconds,
    turn_lengths,
    whole_number,
)

_PROGRAM_HELP = """\
program:
  PROG                    an x86-64 Linux ELF file: static, or with its interpreter given by --file;
                          with --root, a program in DIR, by its name there or found in PATH;
                          or one that comes with unimmu:
{guests}
  ARGS                    its arguments, whatever they look like"""


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
    return arguments.tlb != "off" or arguments.tlb_from_cpuid is not None

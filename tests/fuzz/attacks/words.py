"""Command lines of any words: every option of every command, with values that fit and others."""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shutil
from pathlib import Path

import guests
from emu.cli.arguments import Parser
from emu.cli.main import COMMANDS
from msharefs.abi import Generations
from tests.fuzz.attack import Attack, Mended
from tests.fuzz.numbers import edge, small
from tests.fuzz.room import HOST_MIB, Ran, Room

_EXAMPLE = Path(__file__).resolve().parents[2] / "trace" / "example.jsonl"
#: None of them may lead out of the directory; outputs may go there.
_NAMES = ("out", "out", "other", "precious", "directory", "directory/out", "link", "dangling", "./hello", "trace",
          "dump", "/dev/null", "/dev/full", "/proc/nonexistent/x", "", ".", "-", "no/where", "fifo", "/dev/fd/1",
          "/dev/fd/99", "na\nme", "\x1b[2J", "é", "\udcff", "x" * 300)  # fmt: skip
_PROGRAMS = ("hello", "hello", "cow", "mshare_donor", "procinfo", "./hello", "./precious", "./script", "spin", "calls",
             "sga", "nothing", "directory", "trace", "")  # fmt: skip
_TEXTS = (
    "1", "2", "64", "1M", "2M", "4M", "8M", "64M", "64M", "1G", "512G", "1.5G", "4K", "host", "off", "textbook", "zen4",
    "skylake-sp", "zen4:x", "pmd", "pte", "pud", "walk,fault", "100", "0.5", "1e-9", "nan", "inf", "K=V", "=", "PATH",
    "hello:/bin/x", "hello:/proc/x", "hello:x", "msharefs", "ptshare", "x", "--", "-", "-1", "\0", "{}", "%s",
    "%(prog)s", "١", "0x10", "1_0", " 1 ", "+1",
)  # fmt: skip
_OPTIONS = ("level=pte", "level=pud", "level=x", "owner=die", "quirk=none", "tlb=local", "size=1M", "strict-prot", "",
            "gup=resolve", "nr_inodes=0", "mode=0", *(f"abi={name}" for name in Generations()))  # fmt: skip
_TYPES = ("msharefs", "tmpfs", "proc", "sysfs", "debugfs", "devtmpfs", "hugetlbfs", "ext4", "")
_PATHS = ("/sys/fs/mshare", "/mnt", "/", "/tmp", "/proc/1", "/dev/null/x", "x", "", "/mnt/" + "y" * 300)
#: A guest that does not end is stopped by --timeout; what takes longer, by Ctrl-C.
_TIMEOUT, _INTERRUPT_S = "0.5", 4.0
#: Of the largest machine that anything asks for here and really uses.
_MEMORY_MIB = 1024


def options_of(command: str) -> list[argparse.Action]:
    """As its parser declares them."""
    module = importlib.import_module(COMMANDS[command][0])
    parser = Parser(f"unimmu {command}")
    module.add_arguments(parser)
    actions = list(parser._actions)
    for action in list(actions):
        if isinstance(action, argparse._SubParsersAction):
            actions += [inner for one in action.choices.values() for inner in one._actions]
    return [action for action in actions if action.option_strings]


#: How often each command is tried; `unimmu pt` has exit statuses of its own.
_WEIGHTS = {"demo": 2, "run": 14, "presets": 3, "trace": 3, "bench": 0.3}


class Words(Attack):
    """The command itself."""

    name = "words"
    target = "the command line"
    means = "every option of every command, with values that fit and others, any output files and programs"
    cases = 120
    memory_mib = _MEMORY_MIB + HOST_MIB
    mended = (
        Mended("`--mem=--` and the like ended in a traceback", "tests/cli/test_cli_bad_input.py::test_usage"),
        Mended("a CPUID dump that has no end was read for ever", "tests/cli/test_cli_bad_input.py::test_usage"),
    )

    def prepare(self, room: Room) -> None:
        self._options = {command: options_of(command) for command in COMMANDS}

    def run(self, chance: random.Random, room: Room) -> str:
        self._furnish(room)
        words = self._line(chance)
        before = set(os.listdir(room.work))
        ran = room.unimmu(*words, memory_mib=_MEMORY_MIB, interrupt_s=_INTERRUPT_S)
        self._judge(ran, room, before)
        return {0: "ended", 2: "refused", 126: "refused", 127: "refused", 124: "stopped", 130: "interrupted"}.get(
            ran.status, "other"
        )

    def _furnish(self, room: Room) -> None:
        room.file("precious", b"precious")
        room.file("trace", _EXAMPLE.read_bytes())
        room.file("dump", b"CPUID 00000002: 76036301-00F0B5FF-00000000-00C30000 [SL 00]\n")
        room.file("script", b"#!/bin/hello\n", 0o755)
        shutil.copy(guests.path("hello"), room.work / "hello")
        (room.work / "directory").mkdir()
        (room.work / "link").symlink_to("precious")
        (room.work / "dangling").symlink_to("target")
        os.mkfifo(room.work / "fifo")

    def _line(self, chance: random.Random) -> list[str]:
        kind = chance.random()
        if kind < 0.04:
            return [self._value(chance) for _ in range(chance.randrange(4))]
        command = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        words = [command, "--bogus"] if command == "bench" else [command]  # it starts processes, and takes minutes
        if command == "trace" and chance.random() < 0.9:
            words.append(chance.choice(("view", "view", "convert")))
        if command == "run" and chance.random() < 0.97:
            words += ["--timeout", _TIMEOUT]
        if command == "demo" and chance.random() < 0.9:
            words += ["--size", chance.choice(("1M", "4K", "2M")), "--processes", chance.choice("1238")]
        for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 5, 9))):
            words += self._option(chance, chance.choice(self._options[command]))
        if "--postgres" in words:  # it takes minutes
            words.append("--quick")
        if command in ("presets", "trace") and chance.random() < 0.9:
            words.append(chance.choice(("trace", "zen4", "textbook", *_NAMES)))
        elif command == "run" and chance.random() < 0.95:
            words += [chance.choice(_PROGRAMS), *(self._value(chance) for _ in range(chance.randrange(3)))]
        if chance.random() < 0.05:
            words.insert(chance.randrange(len(words)), self._value(chance))
        return words

    def _option(self, chance: random.Random, action: argparse.Action) -> list[str]:
        option = chance.choice(action.option_strings)
        if action.nargs == 0 and chance.random() < 0.95:
            return [option]
        value = self._value(chance)
        if option == "--mount" and chance.random() < 0.9:
            parts = [chance.choice(_TYPES), chance.choice(_PATHS), chance.choice(_OPTIONS)]
            value = ":".join(parts[: chance.choice((1, 2, 3, 3, 3))])
        elif option in ("--json", "--trace", "-o", "--output", "--cpuid", "--tlb-from-cpuid") and chance.random() < 0.9:
            value = chance.choice(_NAMES)
        if option == "--trace" and chance.random() < 0.8:
            return [option, value, "--trace-format", "jsonl"]
        return [f"{option}={value}"] if chance.random() < 0.2 else [option, value]

    def _value(self, chance: random.Random) -> str:
        return chance.choice(
            (chance.choice(_TEXTS), chance.choice(_TEXTS), chance.choice(_NAMES), str(edge(chance)), str(small(chance)))
        )

    def _judge(self, ran: Ran, room: Room, before: set[str]) -> None:
        ours = ran.err.startswith("unimmu") or ran.words[:1] != ("run",)  # guests have their own usage
        if ran.status == 2 and ours and (ran.out or ran.err.count("\n") != 1):
            ran.wrong("a refusal is one line")
        said = " ".join(ran.words)
        made = set(os.listdir(room.work)) - before - {"unimmu-demo.svg", "unimmu-postgres.svg", "target"}
        if not all(name in said for name in made):
            ran.wrong(f"makes {made}, which nobody asked for")
        named = any(name in said for name in ("precious", "link"))
        if not named and (room.work / "precious").read_bytes() != b"precious":
            ran.wrong("changes a file that is not named")

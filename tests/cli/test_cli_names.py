"""Names that a terminal or a locale cannot show, and whose fault it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import guests
from tests.cli.conftest import Unimmu, environment

#: No UTF-8, then what a terminal would obey, then letters that few locales have.
NAME = b"\xff\xfe a\nb\x1b[2J " + "žluťoučký \u202e".encode()
LOCALES = {
    "C": {"LC_ALL": "C"},
    "POSIX": {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "UTF-8": {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"},
}


#: Commands one after the other, each in a process of its own, which has nothing more to import: what it is started with
#: is the directory for what they say, and their words, each as its own arguments, with NEXT before each command.
_RUNS = """
import importlib, os, sys
from emu.cli import entry, lean
lean.import_basics()
lean.import_engine()
from emu.cli import main
MODULES = {"run": "emu.cli.running.ending emu.cli.running.launch msharefs.module", "trace": "emu.cli.tracing.view"}
directory, *words = sys.argv[1:]
commands = []
for word in words:
    if word == "NEXT":
        commands.append([])
    else:
        commands[-1].append(word)
for name in {command[0] for command in commands}:
    importlib.import_module(main.COMMANDS[name][0])
    for module in MODULES.get(name, "").split():
        importlib.import_module(module)
for number, command in enumerate(commands):
    child = os.fork()
    if not child:
        for stream in (1, 2):
            os.dup2(os.open(f"{directory}/{number}.{stream}", os.O_WRONLY | os.O_CREAT), stream)
        sys.argv = ["unimmu", *command]
        entry.main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def run(directory: Path, locale: str, *commands: Sequence[str | bytes]) -> list[subprocess.CompletedProcess[bytes]]:
    """What came of these commands in a locale."""
    inherited = {name: value for name, value in environment().items() if not name.startswith(("LC_", "LANG"))}
    given = {**inherited, **LOCALES[locale]}
    words = [word for command in commands for word in ("NEXT", *command)]
    with tempfile.TemporaryDirectory() as said:
        ran = subprocess.run(
            [sys.executable, "-c", _RUNS, said, *words], env=given, cwd=directory, capture_output=True, check=True
        )
        assert ran.stderr == b""
        return [
            subprocess.CompletedProcess(
                command, int(status), *(Path(said, f"{number}.{stream}").read_bytes() for stream in (1, 2))
            )
            for number, (command, status) in enumerate(zip(commands, ran.stdout.split(), strict=True))
        ]


@pytest.mark.parametrize("locale", LOCALES)
def test_any_name_in_any_locale(tmp_path: Path, locale: str) -> None:
    """The program, its argument, every file that is written, and the trace that is read again; and our own texts."""
    name, program = NAME, os.fsencode(tmp_path) + b"/" + NAME
    shutil.copy(guests.path("calls"), os.fsdecode(program))
    os.chmod(program, 0o755)
    files = [option + name for option in (b"json", b"trace", b"strace")]
    options = (
        "--stats", "--json", files[0], "--trace", files[1], "--trace-format", "jsonl", "--strace", "-o", files[2],
    )  # fmt: skip
    ran, viewed, _, *others = run(
        tmp_path, locale,
        ("run", *options, program, b"say 1; " + name),
        ("trace", "view", files[1]),
        ("trace", "convert", files[1], "t.perf.txt"),
        ("run", b"no" + name),
        ("trace", "view", b"no" + name),
        ("run", "--json", b"no/" + name, "hello"),
        ("presets",),
        ("presets", "--json"),
        ("run", "--help"),
    )  # fmt: skip
    assert b"Traceback" not in ran.stderr, ran.stderr
    assert ran.stdout.startswith(b"say = 1\n")
    assert {os.fsencode(path.name) for path in tmp_path.iterdir()} == {name, *files, b"t.perf.txt"}
    assert (viewed.returncode, viewed.stderr) == (0, b"")
    assert b"exec" in viewed.stdout and b"\x1b" not in viewed.stdout
    assert b"exec" in (tmp_path / "t.perf.txt").read_bytes() and b"\x1b" not in (tmp_path / "t.perf.txt").read_bytes()
    for refused in others[:3]:
        assert refused.returncode in (2, 127)
        assert refused.stderr.startswith(b"unimmu ")
        assert refused.stderr.count(b"\n") == 1, refused.stderr
        assert b"\x1b" not in refused.stderr
    for text in others[3:]:
        assert (text.returncode, text.stderr) == (0, b"") and text.stdout


def test_the_name_of_a_stream(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(NAME + b".lackey")).write_text(" L 1000,8\n")
    commands = ("tlb", "sim", "--tlb", "textbook"), ("tlb", "analyze", "--reuse")
    for ran in run(tmp_path, "UTF-8", *((*words, NAME + b".lackey") for words in commands)):
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert rb"b\x1b[2J" in ran.stdout and b"\x1b" not in ran.stdout


GEOMETRY = r"""["{name}"]
title = "t\u001b[2J"
structure_source = "s\u001b[2J"
cautions = ["c\u001b[2J"]
structure_caches = {{ PDE = 4 }}
[["{name}".arrays]]
name = "{array}"
level = 1
kinds = ["load", "store", "fetch"]
page_sizes = ["4K", "2M", "1G"]
sets = 1
ways = 4
source = "a\u001b[2J"
["{name}".latency]
stlb_hit = 9
load = 40
source = "l\u001b[2J"
walk_caches = [{{ name = "{cache}", sets = 1, ways = 1, cycles = 4 }}]
"""


def test_what_a_geometry_says(tmp_path: Path) -> None:
    """Names that cannot be printed are refused, and what is for people is escaped."""
    good, bad = {"name": "toy", "array": "L1", "cache": "L1D"}, r"L\u001b[2J"
    for what in ("", *good):
        (tmp_path / f"{what}.toml").write_text(GEOMETRY.format(**{**good, what: bad}))
    ran, *refusals = run(tmp_path, "UTF-8", *(("presets", f"{what}.toml") for what in ("", *good)))
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert all(rb"%c\x1b[2J" % letter in ran.stdout for letter in b"tscla") and b"\x1b" not in ran.stdout
    for ran in refusals:
        assert (ran.returncode, ran.stdout, ran.stderr.count(b"\n")) == (2, b"", 1)
        assert b"printed" in ran.stderr and b"\x1b" not in ran.stderr


def test_the_argument_arrives_as_it_was(tmp_path: Path) -> None:
    (ran,) = run(tmp_path, "latin-1", ("run", "--strace", "hello", b"\xe9\xc3\xa9"))
    assert rb'["hello", "\351\303\251"]' in ran.stderr or rb'"\351\303\251"' in ran.stderr


# ---- what another distribution's module does


MODULE = """
def init(kernel):
    kernel.exit_hooks.append(ended)

def ended(task):
    {what}
"""


def ran_with_module(directory: Path, what: str) -> subprocess.CompletedProcess[str]:
    """A kernel module of another distribution, installed below ``directory``, whose hook fails when a process ends."""
    (directory / "stranger_module.py").write_text(MODULE.format(what=what))
    info = directory / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[unimmu.modules]\nstranger = stranger_module:init\n")
    program = (
        "import sys, emu.machine, stranger_module; "
        "emu.machine.find_modules = lambda: {'stranger': stranger_module.init}; "
        "from emu.cli.main import main; sys.exit(main(['run', 'hello']))"
    )
    given = environment()
    given["PYTHONPATH"] += os.pathsep + str(directory)
    return subprocess.run([sys.executable, "-c", program], env=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("what", ["task.no_such_thing", "sorted(5)", "raise OSError(28, 'No space left on device')"])
def test_what_an_outside_module_did_is_not_ours(tmp_path: Path, what: str) -> None:
    """Its name stands there, and nobody is asked to report a bug in unimmu."""
    ran = ran_with_module(tmp_path, what)
    assert ran.returncode == 70
    assert ran.stderr.startswith("Traceback ")
    assert ran.stderr.splitlines()[-1] == (
        f"unimmu run: this happened in stranger_module ({tmp_path / 'stranger_module.py'}:6), "
        "which is not part of unimmu; the lines above are for its author"
    )
    assert "report" not in ran.stderr


def test_what_an_outside_module_needs(tmp_path: Path) -> None:
    ran = ran_with_module(tmp_path, "import no_such_package")
    assert ran.returncode == 70
    assert ran.stderr == (
        "unimmu run: the Python package no_such_package is needed by stranger_module "
        f"({tmp_path / 'stranger_module.py'}:6), but is not installed\n"
    )


def test_a_process_chooses_its_name(unimmu: Unimmu, tmp_path: Path) -> None:
    """It stands in the last line, where a signal has ended it."""
    program = tmp_path / "a\x1b[2J\nb"
    shutil.copy(guests.path("calls"), os.fsdecode(program))
    ran = unimmu("run", program, "kill 100 9")
    assert ran.err.count("\n") == 1
    assert "\x1b" not in ran.err
    assert r"(a\x1b[2J\nb) was killed by SIGKILL" in ran.err

"""``unimmu run``: options, exit statuses and messages."""

from __future__ import annotations

import re
import shlex
import sys
from argparse import Namespace
from pathlib import Path

import pytest

import guests
from emu.cli.main import main
from emu.kernel.modules import ModuleError
from emu.linux.syscall_names import NAMES
from emu.machine import Machine
from mmu.objectcode import CompileError
from mmu.unicorn_abi import UnicornMismatch
from tests.cli.conftest import Unimmu

NR_MARK = 1_000_000  # a system call that no kernel has


def test_a_program_runs(unimmu: Unimmu) -> None:
    assert unimmu("run", guests.path("hello")) == (0, "hello, world\n", "")


def test_a_program_that_comes_with_unimmu_needs_no_path(
    unimmu: Unimmu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert unimmu("run", "hello") == (0, "hello, world\n", "")


def test_page_tables_of_5_levels(unimmu: Unimmu) -> None:
    script = "p = mmap 0x10000000000000 4K RW PRIVATE -1 0; store p 5; load p"
    assert unimmu("run", "--la57", "calls", script) == (0, "p = 0x10000000000000\nstore = 0\nload = 5\n", "")
    assert unimmu("run", "calls", script)[1].startswith("p = 0x7f")


def test_a_file_of_that_name_comes_first(unimmu: Unimmu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hello").write_text("no program")
    Path("hello").chmod(0o755)
    ran = unimmu("run", "hello")
    assert (ran.status, ran.out) == (126, "")
    assert ran.err.startswith("unimmu run: hello: neither an ELF file nor a script that begins with #!; if it holds ")


def test_what_file_copies_is_a_program_by_its_name_in_the_machine(
    unimmu: Unimmu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path("out/mine").write_bytes(guests.path("calls").read_bytes())
    name = '@t = bytes 16; @syscall 89 "/proc/self/exe" t 16; text t'
    for words in (
        ("out/mine", "mine"),
        ("out/mine", "/bin/mine"),
        ("out/mine:/opt/m", "/opt/m"),
        ("out/mine", "hello"),
    ):
        ran = unimmu("run", "--file", *words, name)
        path = {"mine": "/bin/mine", "hello": "/bin/hello"}.get(words[1], words[1])
        assert ran == (0, "hello, world\n" if path == "/bin/hello" else f"text = {path}\n", "")
    for name, why in (
        ("other", "no such file, and no program of that name comes with unimmu (`unimmu run --help` lists them)"),
        ("/bin/other", "no such file on this host"),
    ):
        ran = unimmu("run", "--file", "out/mine", name)
        said = f"unimmu run: {name}: {why}; --file has put /bin/mine into the machine\n"
        assert ran == (127, "", said)


def test_a_program_of_this_system_is_suggested(unimmu: Unimmu) -> None:
    ran = unimmu("run", "ls")
    assert ran.status == 127 and ran.err.endswith("; `unimmu run --root / ls` runs this system's\n")


@pytest.mark.parametrize(
    ("ours", "program", "theirs"),
    [
        ([], "calls", ["--stats"]),
        (["--stats"], "calls", ["--audit", "-o", "x"]),
        ([], "calls", ["--", "--json"]),
        (["--"], "calls", ["--", "-h"]),
        (["--seed", "1", "--"], "calls", ["-1"]),
        (["--seed=1", "-o", "calls", "--strace"], "calls", ["--help"]),
        ([], "calls", []),
    ],
)
def test_what_follows_the_program_belongs_to_it(
    ours: list[str], program: str, theirs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[str]]] = []

    def run(arguments: Namespace) -> int:
        seen.append((arguments.program, arguments.arguments))
        return 0

    monkeypatch.setattr("emu.cli.run.run", run)
    assert main(["run", *ours, program, *theirs]) == 0
    assert seen == [(program, theirs)]


def test_the_arguments_arrive(unimmu: Unimmu) -> None:
    ran = unimmu("run", "hello_libc" if "hello_libc" in guests.NAMES else "hello_musl", "--stats", "--", "")
    assert ran.out.splitlines()[1] == "argc 4"
    assert ran.err == ""


def test_the_environment(unimmu: Unimmu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREETING", "from the host")
    monkeypatch.setenv("SECRET", "x")
    assert "GREETING (unset)" in unimmu("run", "hello_musl").out
    assert "GREETING moin" in unimmu("run", "--env", "GREETING=moin", "hello_musl").out
    assert "GREETING from the host" in unimmu("run", "--env", "GREETING", "hello_musl").out
    assert "[/* 1 var */]" in unimmu("run", "--strace", "hello").err
    assert "[/* 2 vars */]" in unimmu("run", "--strace", "--env", "A=", "hello").err


def test_a_second_program_by_file(unimmu: Unimmu) -> None:
    consumer = guests.path("mshare_consumer")
    ran = unimmu("run", "--file", f"{consumer}:/opt/consumer", "--audit", "mshare_donor", "/opt/consumer")
    assert ran.status == 0
    assert 'consumer: the first unit says "Some random shared text"' in ran.out
    assert unimmu("run", "--file", consumer, "mshare_donor", "/bin/mshare_consumer").out == ran.out
    assert unimmu("run", "mshare_donor", "/bin/mshare_consumer").status == 1


def test_mount_chooses_the_level(unimmu: Unimmu) -> None:
    assert "1073741824" in unimmu("run", "--strace", "mshare_donor").err
    ran = unimmu("run", "--strace", "--mount", "msharefs:/sys/fs/mshare:level=pud", "mshare_donor")
    assert (ran.status, "549755813888" in ran.err) == (0, True)
    script = 'open "/mnt/a/x" 0102 0600; rename "/mnt/a/x" "/mnt/b/x"'
    ran = unimmu("run", "--mount", "tmpfs:/mnt/a", "--mount", "tmpfs:/mnt/b", "calls", script)
    assert ran.out == "open = 3\nrename = EXDEV\n"


def test_the_seed_decides_all_that_is_random(unimmu: Unimmu) -> None:
    def random(*options: object) -> str:
        return unimmu("run", *options, "--strace", "calls", "@b = bytes 8; syscall 318 b 8 0").err

    assert random() == random("--seed", "0") == random() != random("--seed", "1")


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ("exit 7", 7, ""),
        ("kill 100 SIGTERM", 143, "SIGTERM, sent by itself"),
        ("fork c; kill 100 SIGKILL; end; pause", 137, "SIGKILL, sent by process 101"),
        ("on SIGSEGV 0; text 16", 139, "SIGSEGV: reading 0x10, where nothing is mapped (the instruction at 0x40...)"),
        (
            "on SIGSEGV 0; p = mmap 0x10000 4K PROT_READ PRIVATE -1 0; touch p 1",
            139,
            "SIGSEGV: writing to 0x10000, which it has no right to (the instruction at 0x40...)",
        ),
        (
            'on SIGBUS 0; f = open "/tmp/f" 0102 0600; p = mmap 0x10000 4K PROT_READ MAP_SHARED f 0; scan p 1',
            135,
            "SIGBUS: reading 0x10000, beyond the end of the file that is mapped there (the instruction at 0x40...)",
        ),
    ],
)
def test_the_exit_status_is_the_programs(unimmu: Unimmu, script: str, status: int, said: str) -> None:
    ran = unimmu("run", "calls", script)
    assert ran.status == status
    expected = f"unimmu: 100 (calls) was killed by {said}\n" if said else ""
    assert re.sub(r"0x40\w+", "0x40...", ran.err) == expected


def test_a_child_that_is_killed_is_its_parents_business(unimmu: Unimmu) -> None:
    ran = unimmu("run", "calls", "on SIGSEGV 0; fork c; text 0; end; wait c")
    assert (ran.status, ran.err) == (0, "")
    assert "wait = killed SIGSEGV" in ran.out


def test_all_wait_for_ever(unimmu: Unimmu) -> None:
    ran = unimmu("run", "calls", "fork c; pause; end; wait c")
    assert ran.status == 125
    assert ran.err.splitlines() == [
        "unimmu: 100 (calls) waits in wait4",
        "unimmu: 101 (calls) waits in pause",
        "unimmu: every process waits, and nothing is left that could wake one",
    ]


def test_of_many_that_wait_for_ever_eight_are_named(unimmu: Unimmu) -> None:
    ran = unimmu("run", "calls", "repeat 9; fork c; pause; end; end; pause")
    assert ran.status == 125
    assert ran.err.splitlines()[7:] == [
        "unimmu: 107 (calls) waits in pause",
        "unimmu: and 2 more",
        "unimmu: every process waits, and nothing is left that could wake one",
    ]


def test_the_time_limit(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--timeout", "0.2", "--audit", "spin")
    assert ran.status == 124
    first, second = ran.err.splitlines()
    assert re.fullmatch(r"unimmu: stopped by --timeout: 100 \(spin\) runs at 0x40\w+", first)
    assert second == "unimmu: audit: every table and every frame is accounted for"
    assert unimmu("run", "--timeout", "20", "hello").status == 0


def test_a_system_call_that_is_not_there_is_said_once(unimmu: Unimmu) -> None:
    ran = unimmu("run", "calls", f"repeat 3; syscall {NR_MARK}; end; syscall 134; syscall 172 3")
    assert ran.err.splitlines() == [
        f"unimmu: system call {NR_MARK} is not implemented: ENOSYS",
        "unimmu: system call 134 (uselib) is not there, as in Linux 6.18: ENOSYS",
        "unimmu: system call 172 (iopl) is not there, as in a Linux without CONFIG_X86_IOPL_IOPERM: ENOSYS",
    ]


@pytest.mark.parametrize("number", sorted(NAMES))
def test_every_system_call_that_is_not_there_is_named(unimmu: Unimmu, number: int) -> None:
    ran = unimmu("run", "calls", f"syscall {number}; syscall {number}")
    assert ran.out == "syscall = ENOSYS\n" * 2
    (line,) = ran.err.splitlines()
    assert line.startswith(f"unimmu: system call {number} ({NAMES[number]}) is ") and line.endswith(": ENOSYS")


def test_swap(unimmu: Unimmu) -> None:
    script = "@p = mmap 2T 12M RW PRIVATE|MAP_FIXED -1 0; @touch p 12M; @store p 5; load p+6M; load p"
    more = "; @q = mmap 3T 6M RW PRIVATE|MAP_FIXED -1 0; @touch q 6M"
    right = "unimmu: audit: every table and every frame is accounted for\n"
    ran = unimmu("run", "--audit", "--mem", "8M", "--swap", "16M", "calls", script)
    assert ran == (0, "load = 1\nload = 5\n", right)
    status, _, error = unimmu("run", "--mem", "8M", "--swap", "4M", "calls", script.replace("12M", "11M") + more)
    assert status == 137 and error.startswith("unimmu: out of memory: killed process 100 (calls)")


@pytest.mark.parametrize("size", ["4K", "5000", "2T"])
def test_sizes_of_swap_that_cannot_be(unimmu: Unimmu, size: str) -> None:
    status, _, error = unimmu("run", "--swap", size, "hello")
    assert status == 2 and error.startswith("unimmu run: --swap: a device for swap has from 8192 to ")


def test_what_waits_where_the_leader_has_ended(unimmu: Unimmu) -> None:
    ran = unimmu("run", "calls", "@thread t; @pause; end; @syscall 60 0")
    assert ran.status == 125 and ran.err.splitlines()[0] == "unimmu: 100 (calls) waits in pause"


def test_the_signal_of_a_thread(unimmu: Unimmu) -> None:
    ran = unimmu("run", "calls", "@x = bytes 8; @on SIGSEGV 0; @thread t; @store 16 0; end; @await x 1")
    (line,) = ran.err.splitlines()
    assert ran.status == 139
    assert line.startswith("unimmu: 100 (calls) was killed by SIGSEGV: writing to 0x10, where nothing is mapped")


def test_strace_to_a_file(unimmu: Unimmu, tmp_path: Path) -> None:
    ran = unimmu("run", "--strace", "-o", tmp_path / "log", "hello")
    assert ran == (0, "hello, world\n", "")
    assert (tmp_path / "log").read_text().splitlines()[-1] == "100   +++ exited with 0 +++"


def test_strace_of_some_calls(unimmu: Unimmu, tmp_path: Path) -> None:
    end = "+++ exited with 0 +++\n"
    ran = unimmu("run", "--strace=write", "hello")
    assert ran == (0, "hello, world\n", 'write(1, "hello, world\\n", 13)          = 13\n' + end)
    assert unimmu("run", "--strace=!%process,write", "hello").err == end
    assert unimmu("run", "--strace=%sharing", "hello").status == 2
    assert unimmu("run", "--strace=none", "-o", tmp_path / "log", "hello").err == ""
    assert (tmp_path / "log").read_text() == "100   " + end
    every = unimmu("run", "--strace", "hello").err
    assert every == unimmu("run", "--strace=all", "hello").err and every.count("\n") == 4


def test_stats(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--stats", "mshare_donor", "")
    lines = {line.split("#")[0].strip() for line in ran.err.splitlines()}
    assert " Statistics for 'mshare_donor ':" in ran.err.splitlines()
    for name in ("instructions", "fills", "page walks", "walk loads", "page faults", "flushes", "CR3 loads"):
        assert [line for line in lines if re.fullmatch(rf"[\d,]+  {name}", line)], name
    assert re.search(r"^ 100 +1 +1 .* mshare_donor $|^ 100 +1 .*/bin/mshare_donor", ran.err, re.MULTILINE)
    assert re.search(r"^ +pmd  2,097,152 .*  shareme \(ended\)$", ran.err, re.MULTILINE)


def test_audit(unimmu: Unimmu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert unimmu("run", "--audit", "hello") == (
        0, "hello, world\n", "unimmu: audit: every table and every frame is accounted for\n",
    )  # fmt: skip
    monkeypatch.setattr(Machine, "audit", lambda machine: ["frame 5 is lost", "frame 6 is lost"])
    ran = unimmu("run", "--audit", "hello")
    assert ran.status == 70
    assert ran.err == "unimmu: audit: frame 5 is lost\nunimmu: audit: frame 6 is lost\nunimmu: audit: 2 findings\n"
    assert unimmu("run", "hello").status == 0


def test_the_examples_in_the_help_run(unimmu: Unimmu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = unimmu("run", "--help").out.partition("\nexamples:\n")[2]
    lines = [line.strip() for line in examples.splitlines() if line.startswith("  unimmu ")]
    assert len(lines) == 7
    for line in lines:
        for command in re.split(r" && |\s{3,}", line):
            if command.startswith("unimmu "):
                ran = unimmu(*shlex.split(command)[1:])
                assert ran.status == (70 if "--check-tlb" in command else 0), command
                assert "WRONG" not in ran.out and (ran.out or "trace" in command or "record" in command)


def test_version_and_help(unimmu: Unimmu) -> None:
    assert re.fullmatch(r"unimmu (\d+\.\d+\.\d+|unknown)\n", unimmu("--version").out)
    ran = unimmu("--help")
    assert ran.status == 0
    for name in ("run", "demo", "bench", "trace"):
        assert re.search(rf"^  {name} ", ran.out, re.MULTILINE)
    ran = unimmu("run", "--help")
    assert (ran.status, ran.err) == (0, "")
    assert "fork_shared" in ran.out
    assert "view" in unimmu("trace", "--help").out
    assert max(map(len, ran.out.splitlines())) <= 100


def test_our_own_mistakes_come_with_a_traceback(unimmu: Unimmu, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(machine: Machine) -> list[str]:
        raise AssertionError("the books are on fire")

    monkeypatch.setattr(Machine, "audit", broken)
    ran = unimmu("run", "--audit", "hello")
    assert ran.status == 70
    assert "Traceback" in ran.err and "AssertionError: the books are on fire" in ran.err
    assert re.match(r"unimmu run: this is a bug in unimmu .*; please report it", ran.err.splitlines()[-1])


def test_what_is_not_installed_is_named(unimmu: Unimmu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "emu.cli.running.launch", None)
    assert "Traceback" in unimmu("run", "hello").err  # a part of our own is missing
    monkeypatch.delitem(sys.modules, "emu.cli.running.launch")

    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'unicorn'", name="unicorn")

    monkeypatch.setattr("emu.cli.run.run", missing)
    ran = unimmu("run", "hello")
    assert (ran.status, ran.err) == (70, "unimmu run: the Python package unicorn is needed, but is not installed\n")


@pytest.mark.parametrize("kind", [CompileError, ModuleError, UnicornMismatch])
def test_what_speaks_for_itself_needs_no_traceback(
    unimmu: Unimmu, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise kind("this and that is wrong")

    monkeypatch.setattr("emu.cli.run.run", broken)
    assert unimmu("run", "hello") == (70, "", "unimmu run: this and that is wrong\n")


def test_huge_pages(unimmu: Unimmu) -> None:
    script = "p = mmap 4G 2M RW PRIVATE|MAP_HUGETLB|MAP_FIXED -1 0; store p 5; load p"
    assert unimmu("run", "--hugepages", 1, "calls", script) == (0, "p = 0x100000000\nstore = 0\nload = 5\n", "")
    assert unimmu("run", "calls", script)[1].startswith("p = ENOMEM\n")
    assert unimmu("run", "--hugepages", "1000000", "hello") == (
        2, "", "unimmu run: --hugepages: 268435456 bytes of memory have room for 127 huge pages, not 1000000\n",
    )  # fmt: skip
    assert unimmu("run", "--hugepages", "-1", "hello")[0] == 2


def test_modules_of_others(unimmu: Unimmu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noter-1.dist-info").mkdir()
    (tmp_path / "noter-1.dist-info" / "entry_points.txt").write_text("[unimmu.modules]\nnoter = noter_module:init\n")
    (tmp_path / "noter_module.py").write_text(
        "def init(kernel):\n    kernel.vfs.procfs.create_file('noted', lambda: b'noted\\n')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    script = 'f = open "/proc/noted" 0'
    assert unimmu("run", "calls", script).out == "f = ENOENT\n"
    assert unimmu("run", "--module", "noter", "calls", script).out == "f = 3\n"
    del sys.modules["noter_module"]
    ran = unimmu("run", "--module", "notre", "hello")
    assert (ran.status, ran.out) == (2, "")
    assert re.fullmatch(
        r"unimmu run: --module: no kernel module 'notre' is installed; there are: .*\bnoter\b.*\n", ran.err
    )

"""--strace: the lines, and that looking changes nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import guests
from emu.kernel.signal_state import SiCode, SigInfo
from emu.linux import words
from emu.linux.errors import LinuxError
from emu.linux.fileflags import OpenFlags
from emu.linux.ioctl_names import request_name
from emu.linux.mman import MapFlags, Prot
from emu.mm.mmap import do_mmap
from emu.syscalls.types import signal_words, sigset_words, wait_status_words
from emu.trace.filter import KINDS, CallFilter, SignalFilter, UnknownCall, UnknownSignal
from emu.trace.leader import Pids
from emu.trace.peek import peek, peek_string
from emu.trace.strace import Options, Strace
from emu.trace.summary import Summary
from emu.trace.words import si_code
from emu.tty import requests
from tests.booted import Booted

HERE = Path(__file__).parent

FORK_SHARED = """\
execve("/bin/fork_shared", ["fork_shared"], [/* 0 vars */]) = 0
mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0) = 0x7ffff7ff6000
strace: Process 101 attached
fork()                                  = 101
[pid   100] wait4(101,  <unfinished ...>
[pid   101] exit_group(0)               = ?
[pid   101] +++ exited with 0 +++
<... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 101
--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=101, si_uid=0, si_status=0, si_utime=0, si_stime=0} ---
write(1, "42\\n", 3)                     = 3
exit_group(0)                           = ?
+++ exited with 0 +++
"""


def traced(
    machine: Booted, name: str, *arguments: object, shown: str = "all", pids: Pids = Pids.WHILE_SEVERAL
) -> list[str]:
    """The lines of a guest, of the calls that are ``shown``; argv[0] is its bare name."""
    lines: list[str] = []
    path = machine.install(guests.path(name))
    shows = CallFilter(shown, machine.kernel.entry.calls()).shows
    machine.kernel.tracer = Strace(machine.kernel, lines.append, Options(shows, pids=pids))
    machine.spawn(path, [str(argument) for argument in arguments], in_guest=True)
    machine.run(timeout_s=60)
    assert machine.audit() == []
    return [line.replace(f'["{path}"', f'["{name}"') for line in lines]


def calls(script: str, **options: Any) -> list[str]:
    """The lines of a script of the guest ``calls``, without its start, its end and what it prints."""
    lines = [line.removeprefix("[pid   100] ") for line in traced(Booted(**options), "calls", script)]
    boring = r'write\(1, "\w+ = |rt_sigaction|sigaltstack|execve\("/bin/calls"|exit_group\(0\)|\+\+\+ exited with 0'
    lines = [re.sub(r"\) += ", ") = ", line) for line in lines]
    return [line for line in lines if not re.match(boring, line)]


def test_fork_shared() -> None:
    assert "".join(line + "\n" for line in traced(Booted(), "fork_shared")) == FORK_SHARED


def cases() -> list[tuple[str, str]]:
    lines = [line for line in (HERE / "strace_calls.txt").read_text().splitlines() if line and line[0] != "#"]
    return [(script, line.strip()) for script, line in zip(lines[::2], lines[1::2], strict=True)]


@pytest.mark.parametrize(("script", "line"), cases())
def test_calls(script: str, line: str) -> None:
    assert any(each.startswith(line) for each in calls(script)), calls(script)


def test_strings_are_cut_and_paths_are_not() -> None:
    path = "/" + "p" * 200
    assert calls(f'open "{path}" 0')[0].startswith(f'open("{path}", O_RDONLY) =')
    assert calls('write 2 "0123456789012345678901234567890123456789" 40')[0] == (
        'write(2, "01234567890123456789012345678901"..., 40) = 40'
    )


def test_a_call_that_sleeps_is_resumed() -> None:
    script = '@b = bytes 16; @pipe2 b 0; fork c; write 4 "from the child" 14; end; read 3 b 16'
    lines = traced(Booted(), "calls", script)
    start = lines.index("[pid   100] read(3,  <unfinished ...>")
    end = next(at for at, line in enumerate(lines) if '<... read resumed>"from the child", 16)' in line)
    assert '[pid   101] write(4, "from the child", 14) = 14' in lines[start:end]


def test_a_process_that_is_killed_in_a_call() -> None:
    lines = traced(Booted(), "calls", "fork c; kill 100 SIGTERM; end; pause", pids=Pids.ALWAYS)
    at = lines.index("100   pause( <unfinished ...>")
    assert [line for line in lines[at:] if line.startswith("100 ")][1:] == [
        "100   <... pause resumed>)              = ? ERESTARTNOHAND (To be restarted if no handler)",
        "100   --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=101, si_uid=0} ---",
        "100   +++ killed by SIGTERM +++",
    ]
    machine = Booted()
    lines = []
    machine.kernel.tracer = Strace(machine.kernel, lines.append)
    machine.spawn(guests.path("calls"), ["pause"])
    machine.run()
    machine.kill_all()
    assert lines[-2:] == [
        "pause()                                 = ?",
        "+++ killed by SIGKILL +++",
    ]


def test_faults_and_their_signals() -> None:
    text = "\n".join(traced(Booted(), "faults"))
    assert re.search(r"--- SIGSEGV \{si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL\} ---", text)
    assert re.search(r"--- SIGSEGV \{si_signo=SIGSEGV, si_code=SEGV_ACCERR, si_addr=0x7\w+\} ---", text)
    assert re.search(r"--- SIGBUS \{si_signo=SIGBUS, si_code=BUS_ADRERR, si_addr=0x7\w+\} ---", text)
    assert re.search(r"--- SIGFPE \{si_signo=SIGFPE, si_code=FPE_INTDIV, si_addr=0x40\w+\} ---", text)
    assert re.search(r"--- SIGSEGV \{si_signo=SIGSEGV, si_code=SI_KERNEL, si_addr=NULL\} ---", text)
    assert "+++ killed by SIGSEGV +++" in text


def test_stopped_and_continued() -> None:
    """A child stops, goes on and ends; its parent hears of each whenever it does not block SIGCHLD.  The lines are
    those of strace.
    """
    hears = "@syscall 14 1 m 0 8; @syscall 14 0 m 0 8"
    lines = calls(
        "@m = words 0x10000; @syscall 14 0 m 0 8; @s = bytes 8; fork c; @pause; end; "
        f"@kill c 19; @wait4 c s 2 0; {hears}; @wait4 c s 3 0; @kill c 18; @wait4 c s 8 0; {hears}; "
        f"@kill c 15; @wait4 c s 0 0; {hears}"
    )
    sent = "si_code=SI_USER, si_pid=100, si_uid=0} ---"
    child = "si_pid=101, si_uid=0, si_status={}, si_utime=0, si_stime=0}} ---"
    assert [line for line in lines if "---" in line] == [
        f"[pid   101] --- SIGSTOP {{si_signo=SIGSTOP, {sent}",
        "[pid   101] --- stopped by SIGSTOP ---",
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_STOPPED, " + child.format("SIGSTOP"),
        f"[pid   101] --- SIGCONT {{si_signo=SIGCONT, {sent}",
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_CONTINUED, " + child.format("SIGCONT"),
        f"[pid   101] --- SIGTERM {{si_signo=SIGTERM, {sent}",
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_KILLED, " + child.format("SIGTERM"),
    ]
    assert any(re.fullmatch(r"wait4\(101, 0x\w+, WNOHANG\|WSTOPPED, NULL\) = 0", line) for line in lines)
    at = lines.index("[pid   101] --- stopped by SIGSTOP ---")
    assert "kill(101, SIGCONT <unfinished ...>" in lines[at:] and "<... kill resumed>) = 0" in lines[at:]


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (0x5410, "TIOCSPGRP"), (0x540F, "TIOCGPGRP"), (0x5403, "TCSETSW"), (0x802C542A, "TCGETS2"),
        (0x5451, "FIOCLEX"), (0x8913, "SIOCGIFFLAGS"), (0xB702, "NS_GET_PARENT"), (0xC0606610, "PAGEMAP_SCAN"),
        (0x7801, "_IOC(_IOC_NONE, 0x78, 0x1, 0)"),
    ],
)  # fmt: skip
def test_requests_of_ioctl_have_names(request_: int, name: str) -> None:
    (line,) = [line for line in calls(f"@ioctl 2 {request_:#x} 0") if line.startswith("ioctl")]
    assert re.match(rf"ioctl\(2, {re.escape(name)}[,)]", line)


def test_the_names_of_requests_are_those_that_files_know() -> None:
    for name, number in vars(requests).items():
        if name.startswith(("TC", "TIOC", "FIO")) and isinstance(number, int) and number > 0x5400:
            assert request_name(number) == name


def test_exec_and_its_arguments() -> None:
    arguments = r'\["exec_self", "second", "", "two words", "100", "\d+"\]'
    line = rf'execve\("/proc/self/exe", {arguments}, 0x\w+ /\* 2 vars \*/\) = 0'
    assert any(re.fullmatch(line, each) for each in traced(Booted(), "exec_self"))


@pytest.mark.parametrize("name", ["fork_shared", "cow", "mshare_donor", "pipes", "procinfo", "hello_musl"])
def test_looking_changes_nothing(name: str) -> None:
    """Counts and page tables of a run that is traced are those of one that is not."""

    def figures(watch: Callable[[Booted], None]) -> tuple[Any, ...]:
        machine = Booted()
        watch(machine)
        machine.spawn(guests.path(name))
        machine.run(timeout_s=60)
        return machine.kernel.cpu.mmu.counters, machine.processes(), machine.stdout, machine.kernel.frames.used

    def straced(machine: Booted) -> None:
        machine.kernel.tracer = Strace(machine.kernel, lambda line: None)

    assert figures(straced) == figures(lambda machine: None)


def test_peek_sees_what_the_process_would_see_and_touches_nothing() -> None:
    machine = Booted()
    task = machine.spawn(guests.path("spin"))
    machine.run(timeout_s=0.05)
    mm = task.mm
    anonymous = do_mmap(mm, 0, 4 * 4096, Prot.READ | Prot.WRITE, MapFlags.PRIVATE | MapFlags.ANONYMOUS)
    before = (dict(mm.tables.tables), mm.rss_anon, mm.rss_cache)
    assert peek(mm, anonymous + 10, 5000) == bytes(5000)
    assert peek(mm, anonymous + 4 * 4096 - 3, 10) in (bytes(3), bytes(10))
    text = next(vma for vma in mm.vmas if vma.file is not None)
    image = guests.path("spin").read_bytes()
    assert peek(mm, text.start, 4) == image[text.pgoff << 12 :][:4]
    assert peek(mm, 16, 8) == b"" == peek(mm, 1 << 63, 8)
    assert peek_string(mm, 16, 100) is None
    assert (dict(mm.tables.tables), mm.rss_anon, mm.rss_cache) == before
    mm.write(anonymous + 4090, b"across a page\0")
    assert peek(mm, anonymous + 4090, 13) == b"across a page"
    assert peek_string(mm, anonymous + 4090, 4096) == b"across a page"
    assert peek_string(mm, anonymous + 4090, 6) == b"across"
    with pytest.raises(LinuxError):
        mm.read(16, 8)


@pytest.mark.parametrize(
    ("data", "limit", "text"),
    [
        (b"plain", None, '"plain"'),
        (b'a"b\\c\n\t\r\v\f', None, r'"a\"b\\c\n\t\r\v\f"'),
        (b"\0\x001\x7f\xff", None, r'"\0\0001\177\377"'),
        (b"x" * 33, 32, '"' + "x" * 32 + '"...'),
        (b"x" * 32, 32, '"' + "x" * 32 + '"'),
    ],
)
def test_quote(data: bytes, limit: int | None, text: str) -> None:
    assert words.quote(data, limit) == text


def test_words() -> None:
    assert words.named_bits(0, {1: "A"}) == "0"
    assert words.named_bits(0x13, {1: "A", 2: "B"}) == "A|B|0x10"
    assert words.octal(0) == "000" and words.octal(0o644) == "0644" and words.octal(0o7) == "007"
    assert sigset_words(1 << 31 | 1 << 32) == "[RTMIN RT_1]"
    assert sigset_words(~(1 << 8) & (1 << 64) - 1) == "~[KILL]"
    assert signal_words(99) == "99"
    assert wait_status_words(0x8B) == "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}]"
    assert si_code(SigInfo(14, SiCode.KERNEL)) == "SI_KERNEL"
    assert si_code(SigInfo(14, 77)) == "0x4d" == si_code(SigInfo(17, 77)) and si_code(SigInfo(40, -5)) == "SI_SIGIO"
    codes = {code: si_code(SigInfo(17, code)) for code in (1, 4, 5, 6)}
    assert codes == {1: "CLD_EXITED", 4: "CLD_TRAPPED", 5: "CLD_STOPPED", 6: "CLD_CONTINUED"}
    assert (si_code(SigInfo(11, 4)), si_code(SigInfo(5, 4))) == ("SEGV_PKUERR", "TRAP_HWBKPT")
    assert OpenFlags.words(0o4010000) == "O_RDONLY|O_SYNC"


# -- the same programs under the real one -------------------------------------------------------------------------


def host_strace(name: str, *arguments: str, calls: str = "all") -> list[str]:
    if shutil.which("strace") is None:
        pytest.skip("there is no strace on this host")
    ran = subprocess.run(
        ["strace", "-e", f"trace={calls}", "-o", "/dev/stderr", str(guests.path(name)), *arguments],
        capture_output=True, text=True, env={}, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if "+++ exited with" not in ran.stderr:
        pytest.skip(f"strace cannot trace here: {ran.stderr.strip()}")
    return ran.stderr.splitlines()


def masked(lines: list[str]) -> list[str]:
    """Without what differs from run to run: addresses, and numbers of processes."""
    lines = [line.removeprefix("[pid   100] ") for line in lines if "execve(" not in line]
    lines = [re.sub(r"0x[0-9a-f]{5,}", "ADDRESS", line) for line in lines]
    lines = [re.sub(r"^((?:set_tid_address|getpid|gettid)\(.*= )\d+", r"\1PID", line) for line in lines]
    return [re.sub(r" +", " ", line) for line in lines]


SCRIPT = r"""
@b = bytes 64; @t = bytes 256; @x = bytes 16
@open "/tmp" 0
@open "/nope/nope" O_RDWR|O_CREAT 0640
@open 16 1
@open "/tmp" 0x410000
@open "/dev/null" 04010001
@pipe2 b 0x80000
@write 4 "eins\nzwei\0" 10
@write 7 16 5
@write 4 "" 0
@write 4 "0123456789012345678901234567890123456789" 40
@read 3 t 64
@read 77 16 9
@read 3 16 0
@lseek 3 0 0
@syscall 72 3 1 0
@syscall 72 3 3 0
@syscall 72 3 4 0x800
@syscall 72 3 2 1
@syscall 72 3 0 20
@syscall 72 3 1030 20
@p = mmap 0 8K RW PRIVATE -1 0
@mprotect p 4K PROT_READ
@mprotect p 4K 0
@munmap p 8K
@munmap 1 2
@mmap 0 4K 1 0 99 0
@mmap 0 4K 1 MAP_SHARED 99 0x3000
@mmap 0 4K RWX 0x4022 -1 0
@mmap 0x10000 4K RWX 0x100032 -1 0
@mremap 0 1 2 1 5
@mremap 4096 1 2 3 4096
@madvise 0 0 4
@madvise 0 0 8
@msync 4096 0 4
@syscall 14 0 0 t 8
@m = words 0x10204
@syscall 14 2 m t 8
@syscall 14 99 m t 8
@m2 = words 0xffffffffffffffff
@syscall 14 2 m2 0 8
@syscall 14 1 m2 t 8
@syscall 95 077
@syscall 21 "/" 4
@syscall 21 "/nope" 0
@syscall 21 "/" 7
@syscall 20 2 t 1
@syscall 20 2 16 1
@syscall 19 3 t 1
@syscall 263 0xffffffffffffff9c "/nope" 0x200
@syscall 262 0xffffffffffffff9c "/dev/null" t 0x100
@syscall 5 99 t
@syscall 257 0xffffffffffffff9c "/dev/null" 0x80000
@syscall 257 3 "no-such-name" 2
@syscall 292 1 9 0x80000
@dup2 1 9
@ioctl 1 0x5413 16
@ioctl 99 CREATE_MAPPING 0
@ioctl 99 0x80047801 0
@ioctl 99 0x7801 0
@ioctl 99 0xc0047801 0
@kill 999999999 SIGKILL
@kill 999999999 0
@rename "/nope" "/nopo"
@mkdir "/nope/d" 0755
@rmdir "/nope/d"
@symlink "a" "/nope/d"
@syscall 89 "/nope" t 9
@syscall 88 "a" "/nope/d"
@syscall 86 "/nope" "/nope/d"
@syscall 265 0xffffffffffffff9c "/nope" 5 "/nope" 0x400
@syscall 35 x 0
@syscall 228 99 t
@syscall 229 1 t
@syscall 230 1 0 x 0
@syscall 158 0x1003 16
@syscall 158 77 16
@syscall 1000001 1 2 3 4 5 6
@execve "/nope" x x
@a = words b 0
@execve "/nope" a 0
@syscall 319 "a name that is longer than thirty-two letters" 77
@truncate "/nope" 5
@ftruncate 99 5
@fallocate 99 1 2 3
@syscall 61 77 0 0 0
@syscall 61 -1 t 1 0
@wait4 -1 0 3 0
@syscall 247 0 5 0 4 0
@syscall 13 10 0 t 8
@syscall 13 99 0 t 8
@syscall 131 0 t
@syscall 24
@syscall 102
@syscall 109 0 0
@syscall 90 "/nope" 0644
@syscall 92 "/nope" 1 2
@syscall 260 0xffffffffffffff9c "/nope" 1 2 0x1000
@syscall 268 0xffffffffffffff9c "/nope" 0644
@syscall 133 "/nope/x" 010644 0
@syscall 258 7 "/nope/x" 0755
@syscall 259 7 "/nope/x" 010644 0
@syscall 161 "/nope"
@syscall 40 1 99 0 5
@syscall 17 99 t 5 7
@syscall 18 99 t 5 7
@syscall 7 0 0 0
@syscall 273 0 24
@close 99
"""


@pytest.mark.parametrize("guest", [("hello",), ("hello_musl",), ("calls", SCRIPT)])
def test_the_lines_are_those_of_strace(guest: tuple[str, ...]) -> None:
    theirs = masked(host_strace(*guest))
    ours = masked(traced(Booted(), *guest))
    assert ours == theirs


@pytest.mark.parametrize(
    "shown",
    [
        *(f"%{kind}" for kind in KINDS), "!%desc", "read,write,kill", "none", "!none", "/^w", "!/e", "?nosuch,write",
        "1,3", "write@64", "%net,/mm?ap$",
    ],
)  # fmt: skip
def test_the_calls_that_are_shown_are_those_that_strace_shows(shown: str) -> None:
    theirs = masked(host_strace("calls", SCRIPT, calls=shown))
    assert masked(traced(Booted(), "calls", SCRIPT, shown=shown)) == theirs


def test_of_calls_that_are_not_shown_nothing_is_left() -> None:
    lines = traced(Booted(), "fork_shared", shown="write,fork")
    assert lines == [
        "strace: Process 101 attached",
        "fork()                                  = 101",
        "[pid   101] +++ exited with 0 +++",
        FORK_SHARED.splitlines()[8],
        'write(1, "42\\n", 3)                     = 3',
        "+++ exited with 0 +++",
    ]
    assert traced(Booted(), "fork_shared", shown="execve")[0] == FORK_SHARED.splitlines()[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("openn", "there is no system call 'openn', nor is it all, none, a number, /REGEX, or %KIND: file, "),
        ("/(", "/( is no regular expression: "),
        ("/^zz", "there is no system call that fits /^zz"),
        ("open,", "there is no system call ''"),
        ("!open,!close", "there is no system call '!close'"),
        (
            "%files",
            "there is no kind %files of system calls; there are %file, %desc, %process, %network, %signal, %ipc",
        ),
    ],
)
def test_a_filter_of_unknown_calls(text: str, says: str) -> None:
    with pytest.raises(UnknownCall) as raised:
        CallFilter(text, Booted().kernel.entry.calls())
    assert str(raised.value).startswith(says)


def test_a_filter_of_calls_that_only_linux_has_or_a_module() -> None:
    calls_ = Booted().kernel.entry.calls()
    assert CallFilter("landlock_create_ruleset", calls_).shows("landlock_create_ruleset")
    assert CallFilter("none", calls_).shows("syscall_0xf4241") and not CallFilter("syslog", calls_).shows("read")


def test_the_table_is_that_of_strace() -> None:
    """Calls, errors and columns; the times are the machine's."""
    host_strace("hello")
    ran = subprocess.run(
        ["strace", "-c", "-o", "/dev/stderr", str(guests.path("calls")), SCRIPT],
        capture_output=True, text=True, env={}, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    machine, summary = Booted(), Summary()
    path = machine.install(guests.path("calls"))
    machine.kernel.tracer = Strace(machine.kernel, lambda line: None, Options(prints=False, summary=summary))
    machine.spawn(path, [SCRIPT], in_guest=True)
    machine.run(timeout_s=60)
    theirs, ours = ran.stderr.splitlines(), summary.lines()
    assert ours[:2] == theirs[:2] and ours[-2] == theirs[-2]

    def counted(lines: list[str]) -> dict[str, str]:
        return {line[51:]: line[31:50] for line in lines if not line.startswith(("-", "%"))}

    assert counted(ours) == counted(theirs)


@pytest.mark.parametrize("shown", ["none", "all", "CHLD", "SIGUSR1,sigchld", "!SIGCHLD", "17", "!10,17"])
def test_the_signals_that_are_shown_are_those_that_strace_shows(shown: str) -> None:
    host_strace("hello")
    script = "fork c; end; @wait4 c 0 0 0; @kill 0 0; @syscall 39; @kill 999999999 17"
    ran = subprocess.run(
        [
            *("strace", "-f", "-e", "trace=none", "-e", f"signal={shown}", "-o", "/dev/stderr"),
            *(str(guests.path("calls")), script),
        ],
        capture_output=True, text=True, env={}, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    machine, lines = Booted(), list[str]()
    path = machine.install(guests.path("calls"))
    options = Options(lambda name: False, SignalFilter(shown).shows)
    machine.kernel.tracer = Strace(machine.kernel, lines.append, options)
    machine.spawn(path, [script], in_guest=True)
    machine.run(timeout_s=60)
    assert sum("--- SIG" in line for line in lines) == ran.stderr.count("--- SIG")


@pytest.mark.parametrize("text", ["", "FOO", "0", "65", "INT,", "SIGINT,SIGFOO"])
def test_a_filter_of_unknown_signals(text: str) -> None:
    with pytest.raises(UnknownSignal, match="there is no signal"):
        SignalFilter(text)


def test_an_ignored_signal_is_told_when_the_call_that_sent_it_returns() -> None:
    lines = calls("@kill 100 23; @syscall 39")
    at = lines.index("kill(100, SIGURG) = 0")
    assert lines[at + 1 : at + 3] == [
        "--- SIGURG {si_signo=SIGURG, si_code=SI_USER, si_pid=100, si_uid=0} ---",
        "getpid() = 100",
    ]


def test_an_ignored_signal_interrupts_nothing() -> None:
    lines = traced(Booted(), "calls", "fork c; end; @t = words 1 0; @syscall 35 t 0", pids=Pids.ALWAYS)
    at = next(n for n, line in enumerate(lines) if line.startswith("100   --- SIGCHLD {"))
    assert lines[at + 1].startswith("100   <... nanosleep resumed>NULL)      = 0")


def test_one_process_after_several_has_no_prefix_again() -> None:
    lines = traced(Booted(), "calls", "fork c; end; @wait4 c 0 0 0; @syscall 39; fork d; end; @wait4 d 0 0 0")
    assert [line for line in lines if "attached" in line] == [f"strace: Process {pid} attached" for pid in (101, 102)]
    assert any(line.startswith("getpid()") for line in lines)
    assert lines[-1] == "+++ exited with 0 +++"


def test_the_times_of_a_child_are_told() -> None:
    """As its parent's handler has them too: in hundredths of a second."""
    once = "@p = mmap 0 40M RW PRIVATE -1 0; @touch p 40M; @munmap p 40M; "
    lines = traced(Booted(), "calls", f"fork c; {once * 4}end; @wait4 c 0 0 0")
    (line,) = [line for line in lines if "SIGCHLD {" in line]
    assert re.search(r"si_utime=0, si_stime=\d+ /\* 0\.\d\d s \*/} ---$", line), line

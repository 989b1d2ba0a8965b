"""``unimmu run --against-host``: programs on this Linux too."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import emu.cli.running.against
import emu.syscalls
import guests
from emu.against.isolation import NotIsolated, Start, may_isolate
from emu.against.launch import NotRunnable, run_natively
from emu.against.tape import Tape
from emu.cli.running.launch import build_machine
from emu.linux import syscall_names
from emu.linux.errors import LinuxError
from emu.linux.likeness import Likeness
from emu.linux.syscall import Syscall
from emu.machine import Machine
from emu.syscalls import all_tables
from tests.cli.conftest import ROOT, Unimmu

GETPPID, GETUID, STAT = 110, 102, 4


@pytest.fixture(scope="module", autouse=True)
def _allowed() -> None:
    """Skip where the host lets nobody trace in namespaces of his own."""
    try:
        may_isolate()
    except NotIsolated as error:
        pytest.skip(f"no namespaces: {error}")
    start = Start("/bin/hello", [b"hello"], {}, entries=[])
    try:
        run_natively(start, {}, Tape(), 0, b"", 10)
    except NotRunnable as error:
        if "traced" in str(error):
            pytest.skip(str(error))


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[..., Any]], None]:
    """Have the machine answer a call with another handler."""

    def with_handler(number: int, handler: Callable[..., Any]) -> None:
        def built(*arguments: Any, **more: Any) -> Machine:
            machine = build_machine(*arguments, **more)
            row = machine.kernel.entry.lookup(number)
            assert row is not None
            machine.kernel.entry.register(row._replace(handler=handler), replace=True)
            return machine

        monkeypatch.setattr(emu.cli.running.against, "build_machine", built)

    return with_handler


def differences(unimmu: Unimmu, tmp_path: Path, *words: str, status: int = 1) -> list[dict[str, Any]]:
    report = tmp_path / "report.json"
    ran = unimmu("run", "--against-host=all", "--json", report, *words)
    assert ran.status == status, ran.err
    found: list[dict[str, Any]] = json.loads(report.read_text())["differences"]
    return found


def test_no_difference(unimmu: Unimmu) -> None:
    status, out, err = unimmu(
        "run", "--against-host", "calls", 'fd = open "/tmp/a" O_RDWR|O_CREAT 0600; write fd "xyz" 3'
    )
    assert (status, out) == (0, "fd = 3\nwrite = 3\n")
    assert err.endswith(": no difference\n")


SCRIPTS = {
    "processes": "fork child; syscall 110; end; wait child; fork other; syscall 39; end; wait other; syscall 39",
    "memory": "@p = mmap 0 8K RW PRIVATE|ANONYMOUS -1 0; store p 7; load p; unmapped = syscall 11 p 4K; load p",
    "files": 'mkdir "/d" 0755; fd = open "/d/f" O_RDWR|O_CREAT 0644; rename "/d/f" "/d/g"; open "/d/f" 0',
    "faults": "on 11 0; load 16",
    "threads": "thread t; syscall 186; syscall 39; end; join t; syscall 186",
    "signals": "on SIGUSR1 1; kill 100 SIGUSR1; fork c; pause; end; kill c SIGTERM; wait c",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_scripts(unimmu: Unimmu, script: str) -> None:
    status, _, err = unimmu("run", "--against-host", "calls", script)
    assert (status, err.rpartition(": ")[2]) == (0, "no difference\n"), err


@pytest.mark.parametrize("name", ["fork_shared", "hello", "cow"])
def test_guests(unimmu: Unimmu, name: str) -> None:
    status, _, err = unimmu("run", "--against-host", name)
    assert status == 0, err


def test_a_wrong_result_is_found(unimmu: Unimmu, tmp_path: Path, wrong: Any) -> None:
    wrong(GETPPID, lambda kernel, task: 77)
    script = "syscall 39; syscall 110; syscall 102"
    first, *more = differences(unimmu, tmp_path, "calls", script)
    assert (first["kind"], first["machine"]["text"], first["linux"]["text"]) == (
        "result", "getppid() = 77", "getppid() = 1",
    )  # fmt: skip
    assert first["before"][-2:] != []
    assert "stdout" in [difference["kind"] for difference in more]


def test_a_wrong_errno_is_found(unimmu: Unimmu, tmp_path: Path, wrong: Any) -> None:
    def refuse(kernel: object, task: object, address: int) -> int:
        raise LinuxError(errno.EACCES)

    wrong(STAT, refuse)
    first, *_ = differences(unimmu, tmp_path, "calls", '@b = bytes 200; syscall 4 "/none" b')
    assert (first["kind"], first["machine"]["errno"], first["linux"]["errno"]) == ("errno", errno.EACCES, errno.ENOENT)


def test_wrong_memory_is_found(unimmu: Unimmu, tmp_path: Path, wrong: Any) -> None:
    from emu.syscalls.attributes import sys_stat

    wrong(STAT, lambda kernel, task, address: sys_stat(kernel, task, address)._replace(uid=5))
    first, *_ = differences(unimmu, tmp_path, "calls", '@b = bytes 200; syscall 4 "/etc/passwd" b', status=1)
    assert first["kind"] == "memory"
    assert "st_uid: 5 in the machine, 0 on Linux" in first["what"]


#: A pair of sockets; a msghdr with one buffer of 8 bytes, an address and room for control messages, and two messages.
_SOCKETS = """
    @s = bytes 8; @syscall 53 1 2 0 s; @b = bytes 64; @v = words b 8; @c = words 20 0x100000001 0; @a = words 1 0 0 0
    @n = words a 32 v 1 c 24 0; @length = words 16; @one = words 1
    @o = words 0 0 v 1 c 20 0; @syscall 46 3 o 0; @write 3 "abc" 3"""
#: A call, and where the machine then writes something else: an argument, and offsets of pointers.
_MESSAGES = [
    ("recvmsg", "@syscall 47 4 n 0", (1, 16, 0, 0)),
    ("recvmsg", "@syscall 47 4 n 0", (1, 32, 8)),
    ("recvfrom", "@syscall 45 4 b 8 0 a length", (1, 2)),
    ("getsockname", "@syscall 51 3 a length", (1, 0)),
    ("getsockopt", "@syscall 55 3 1 3 one length", (3, 0)),
    ("socketpair", "@syscall 53 1 2 0 s", (3, 4)),
    ("process_vm_readv", "@me = getpid; @syscall 310 me v 1 v 1 0", (1, 0, 7)),
    ("msgrcv", "@k = syscall 68 0 0600; @syscall 69 k one 0 0; @syscall 70 k one 0 0 0", (1, 0)),
]


def _spoilt(row: Syscall, where: tuple[int, ...]) -> Callable[..., Any]:
    """A handler that writes one byte otherwise."""

    def spoil(task: Any, arguments: tuple[int, ...]) -> None:
        argument, *pointers, last = where
        address = arguments[argument]
        for offset in pointers:
            address = int.from_bytes(task.mm.read(address + offset, 8), "little")
        task.mm.write(address + last, bytes([task.mm.read(address + last, 1)[0] ^ 4]))

    def waits(task: Any, arguments: tuple[int, ...], result: Any) -> Generator[Any, None, int]:
        done: int = yield from result
        spoil(task, arguments)
        return done

    def handler(kernel: Any, task: Any, *arguments: int) -> Any:
        result = row.handler(kernel, task, *arguments)
        if isinstance(result, Generator):
            return waits(task, arguments, result)
        spoil(task, arguments)
        return result

    return handler


@pytest.mark.parametrize(("name", "script", "where"), _MESSAGES)
def test_what_is_behind_pointers_is_compared(
    unimmu: Unimmu, tmp_path: Path, wrong: Any, name: str, script: str, where: tuple[int, ...]
) -> None:
    script = f"{_SOCKETS}\n{script}"
    status, _, err = unimmu("run", "--against-host", "calls", script)
    assert status == 0, err
    row = next(call for table in all_tables() for call in table if call.name == name)
    wrong(row.number, _spoilt(row, where))
    first, *_ = differences(unimmu, tmp_path, "calls", script)
    assert (first["kind"], first["machine"]["text"].partition("(")[0]) == ("memory", name)


def test_a_difference_in_a_child_is_found(unimmu: Unimmu, tmp_path: Path, wrong: Any) -> None:
    wrong(GETUID, lambda kernel, task: 9)
    script = "fork one; syscall 39; end; wait one; fork two; syscall 102; end; wait two"
    first, *_ = differences(unimmu, tmp_path, "calls", script)
    assert (first["ancestry"], first["machine"]["name"]) == ([1], "getuid")


@pytest.fixture
def no_bpf(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Machines without bpf(2), which have it nowadays."""
    monkeypatch.delitem(emu.syscalls.NUMBERS, "bpf")
    emu.syscalls.late_tables.cache_clear()
    yield
    emu.syscalls.late_tables.cache_clear()


@pytest.mark.usefixtures("no_bpf")
def test_a_call_that_is_not_there_is_found(unimmu: Unimmu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(syscall_names.NAMES, 321, "bpf")
    first, *_ = differences(unimmu, tmp_path, "calls", "syscall 321 99 0 0")  # bpf: EINVAL or EPERM
    assert (first["machine"]["name"], first["machine"]["errno"]) == ("bpf", errno.ENOSYS)


def test_nothing_of_the_host_is_changed(unimmu: Unimmu, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "bin").mkdir()
    shutil.copy(guests.path("calls"), tmp_path / "bin/calls")
    script = 'unlink "/kept"; fd = open "/new" O_RDWR|O_CREAT 0644; write fd "abc" 3; mkdir "/bin/d" 0755'
    status, out, err = unimmu("run", "--root", tmp_path, "--against-host", "calls", script)
    assert (status, out) == (0, "unlink = 0\nfd = 3\nwrite = 3\nmkdir = 0\n"), err
    assert (tmp_path / "kept").read_text() == "kept"
    assert sorted(os.listdir(tmp_path)) == ["bin", "kept"]
    assert os.listdir(tmp_path / "bin") == ["calls"]


def test_random_bytes_are_the_same(unimmu: Unimmu) -> None:
    script = "@b = bytes 8; syscall 318 b 8 0; load b"
    assert unimmu("run", "--against-host", "calls", script).status == 0


def test_a_program_that_hangs_is_killed(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--timeout", "0.5", "--against-host", "spin")
    assert ran.status in (1, 124), ran.err
    assert "stopped" in ran.err or "no difference" in ran.err


@pytest.mark.parametrize("option", ["--strace", "--audit", "--stats"])
def test_options_that_exclude_it(unimmu: Unimmu, option: str) -> None:
    ran = unimmu("run", option, "--against-host", "hello")
    assert ran.status == 2
    assert ran.err == f"unimmu run: {option} and --against-host exclude each other: run once for each\n"


def test_a_directory_that_could_be_changed(unimmu: Unimmu, tmp_path: Path) -> None:
    ran = unimmu("run", "--bind", f"{tmp_path}:/mnt:rw", "--against-host", "hello")
    assert (ran.status, "would change the host" in ran.err) == (2, True)


def test_a_host_without_namespaces(unimmu: Unimmu, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NotIsolated("namespaces of its own (user, mount, pid): Operation not permitted")

    monkeypatch.setattr(emu.cli.running.against, "may_isolate", refuse)
    ran = unimmu("run", "--against-host", "hello")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "unimmu run: --against-host cannot run a program on this host: "
        "namespaces of its own (user, mount, pid): Operation not permitted\n"
    )


def test_a_program_that_is_not_there(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--against-host", "/proc/none")
    assert (ran.status, ran.err) == (127, "unimmu run: /proc/none: no such file on this host\n")


def test_the_page_lists_every_likeness() -> None:
    page = (ROOT / "docs" / "against-host.md").read_text()
    for likeness in Likeness:
        assert f"| {likeness.name} | {likeness.value} |" in page

"""The kernel personality against a Linux host: the same binary, the same output, exit status and signal."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

import guests
from guests import build
from tests.booted import MakeMachine, native
from tests.machine.native_host import needs_host

needs_gcc = pytest.mark.skipif(build.compiler() is None, reason="there is no gcc to build guest programs with")

COMMANDS = (
    "cow", "exec_self", "faults", "faults regs", "fork_shared", "hello", "hello_pie", "hello_musl",
    "hello_musl one two", "hello_musl_pie", "pipes", "procinfo", "timeslice", "spin 1000", "spin 3000000",
    "touch_pages 1M", "touch_pages 5000", "touch_pages 1P", "touch_pages 0", "getpid_loop 500", "getpid_loop 0",
    "gups 1M 2000", "gups 4M 500 thp", "gups 4M 500 4k", "gups 8", "gups 3M",
    "costs calls 9", "costs io 9", "costs signals 9", "costs pipes 9", "costs threads 9", "costs forks 3 1",
    "costs programs 3", "costs nothing 1",
    "faults kill nothing_of_that_name", "sharers plain 3 256K wrong",
)  # fmt: skip
FAULTS = (
    "read_unmapped", "write_unmapped", "jump_unmapped", "read_after_munmap", "read_null", "write_null_field",
    "read_none", "write_readonly", "write_after_mprotect", "write_text", "exec_data", "read_across", "write_across",
    "read_kernel_half", "read_noncanonical", "write_noncanonical", "jump_noncanonical", "read_past_file",
    "write_past_file", "divide_by_zero", "divide_overflow", "illegal", "breakpoint", "privileged",
)  # fmt: skip


@needs_host
@pytest.mark.parametrize("command", [*COMMANDS, *(f"faults kill {name}" for name in FAULTS)])
def test_a_guest_does_what_it_does_on_the_host(machine: MakeMachine, command: str) -> None:
    name, *arguments = command.split()
    assert machine().outcome(name, *arguments) == native(guests.path(name), arguments)


def test_the_list_of_faults_is_complete(machine: MakeMachine) -> None:
    assert tuple(machine().outcome("faults", "list").stdout.split()) == FAULTS


def test_memory_shared_over_fork(machine: MakeMachine) -> None:
    assert machine().outcome("fork_shared") == ("42\n", "", 0, "")


# What the machine answers otherwise than the host on purpose does not belong here: addresses, pids, times.
SCRIPTS = {
    "reading and writing through a private and a shared mapping": """
        fd = open "/tmp/UNIQUE" O_RDWR|O_CREAT|O_EXCL 0600; unlink "/tmp/UNIQUE"
        ftruncate fd 8K; pwrite fd "abcdefghijklmnop" 16 0
        @s = mmap 0 8K RW MAP_SHARED fd 0; @p = mmap 0 8K RW MAP_PRIVATE fd 0
        text s; text p; store p 0x58585858; text p; text s; store s 0x59595959; text p; text s
        ftruncate fd 4K; load s+4K; load p+4K; load p; ftruncate fd 8K; load s+4K
        ftruncate fd 0; load s; store s 1; munmap s 8K; load s""",
    "mmap refuses": """
        mmap 0 0 RW PRIVATE -1 0; mmap 0 4K RW PRIVATE|MAP_SHARED_VALIDATE -1 0; mmap 0 4K RW 0x20 -1 0
        mmap 1 4K RW PRIVATE|MAP_FIXED -1 0; mmap 0 4K RW PRIVATE -1 1; mmap 0 128T RW PRIVATE|MAP_NORESERVE -1 0
        mmap 0 4K RW MAP_SHARED 99 0; mmap 0x7ffffffff000 4K RW PRIVATE|MAP_FIXED -1 0; munmap 1 4K; munmap 4K 0
        mmap 0 4K RW 4 -1 0; d = open "/tmp" O_RDONLY; mmap 0 4K PROT_READ MAP_SHARED d 0
        n = open "/dev/null" O_RDONLY; mmap 0 4K RW MAP_SHARED n 0""",
    "fixed mappings": """
        @p = mmap 0 16K RW PRIVATE -1 0; store p+4K 1
        mmap p+4K 4K RW PRIVATE|MAP_FIXED_NOREPLACE -1 0; @mmap p+4K 4K RW PRIVATE|MAP_FIXED -1 0; load p+4K
        munmap p+8K 4K; load p+8K; load p+12K; @mmap p+8K 4K PROT_READ PRIVATE|MAP_FIXED_NOREPLACE -1 0
        load p+8K; store p+8K 1; munmap p 16K; munmap p 16K; load p""",
    "mprotect": """
        @p = mmap 0 16K RW PRIVATE -1 0; store p 7; store p+8K 9
        mprotect p 4K PROT_READ; store p 1; load p; mprotect p 4K RW; store p 1; load p
        mprotect p 16K PROT_NONE; load p; store p 1; mprotect p 16K RWX; store p 0xc3; jump p
        mprotect p 4K PROT_READ|PROT_EXEC; store p 0; jump p; mprotect p+1 4K RW; mprotect p 0 RW
        munmap p+4K 4K; mprotect p 16K PROT_READ; load p+8K; store p 1; store p+8K 1; mprotect p 4K 0x10000""",
    "exec-only and write-only": """
        @p = mmap 0 4K PROT_WRITE PRIVATE -1 0; store p 0xc3; load p; jump p; mprotect p 4K PROT_EXEC; jump p""",
    "access across the end of a mapping": """
        @p = mmap 0 16K RW PRIVATE -1 0; munmap p+8K 4K; store p+8K-8 1; load p+8K-1; store p+8K-4 -1; load p+8K-8
        load p+12K-4; load p+12K""",
    "mremap": """
        @p = mmap 0 8K RW PRIVATE -1 0; store p 5; store p+4K 6
        @q = mremap p 8K 64K 1; load q; load q+4K; load q+60K; mremap q 64K 0 1; mremap q+1 4K 4K 0
        @s = mremap q 64K 4K 0; load q; load q+4K; mremap q+4K 4K 8K 0""",
    "brk": """
        @a = brk 0; @b = brk a+64K; say b-a; store a 1; load a; store b-8 2; @c = brk 4K; say c-b; load b-8
        @c = brk a; say c-a; load a; @d = brk a+64K; load a""",
    "madvise and mincore": """
        @p = mmap 0 16K RW PRIVATE -1 0; store p 1; store p+4K 2; @v = bytes 8
        mincore p 16K v; load v; madvise p 4K 4; load p; load p+4K; madvise p 4K 99; madvise p+1 4K 4
        mincore p+1 4K v; mincore p 1G v; madvise 64K 4K 4""",
    "fork copies private memory and shares the rest": """
        @p = mmap 0 8K RW PRIVATE -1 0; @s = mmap 0 8K RW ANON -1 0; store p 1; store s 1
        @fork c; load p; load s; store p 2; store s 2; load p; end; wait c; load p; load s
        @fork c; exit 7; end; wait c""",
    "how children end": """
        @fork c; exit 300; end; wait c; @fork c; @on 11 0; @store 0 1; end; wait c
        @fork c; @pause; end; kill c 9; wait c; wait c; wait 1; wait4 -1 NULL 1; @p = getpid; kill p 99; kill 99999999 0
        @on SIGUSR1 1; @fork c; @p = getpid; kill p SIGUSR1; @on SIGUSR1 0; @kill p SIGUSR1; end; wait c""",
    "a signal handler that is nowhere": """
        @fork c; @on SIGUSR1 0x1234; @p = getpid; @kill p SIGUSR1; end; wait c
        @fork c; @on SIGSEGV 0x1234; @store 0 1; end; wait c
        @fork c; @on SIGSEGV 1; @store 0 1; end; wait c
        @r = words 0x100000 0x800000; @setrlimit 3 r
        @fork c; @on SIGSEGV 0; @on SIGBUS 0; @recurse; end; wait c; recurse; recurse""",
    "system calls with bad addresses": """
        open 16 O_RDONLY; open "" O_RDONLY; open "/no/such/file" O_RDONLY; open "/tmp" O_RDWR
        @n = open "/dev/zero" O_RDWR; read n 16 8; read n -8 8; write 1 16 8; read 99 "12345678" 8
        pipe2 16 0; wait4 -1 16 0; @fork c; exit 3; end; wait4 c 16 0; wait4 c 0 0
        @p = mmap 0 8K RW PRIVATE -1 0; @munmap p+4K 4K; read n p 8K; read n p+4K 1; read n p+4090 100""",
    "execve that cannot be": """
        @a = words "x" 0; execve "/no/such/file" a NULL; execve "/" a NULL; execve 16 a NULL
        execve "/no/such/x" 16 NULL
        f = open "/tmp/UNIQUE" O_RDWR|O_CREAT 0700; write f "\\x7fELF and no more" 16; close f
        execve "/tmp/UNIQUE" a NULL; truncate "/tmp/UNIQUE" 0; execve "/tmp/UNIQUE" a NULL
        f = open "/tmp/UNIQUE" O_RDWR 0; write f "#!\\n" 3; close f; execve "/tmp/UNIQUE" a NULL
        f = open "/tmp/UNIQUE" O_RDWR 0; write f "#!/no/such/interpreter\\n" 23; close f
        execve "/tmp/UNIQUE" a NULL; unlink "/tmp/UNIQUE"; say 1""",
    "fork while shared memory is mapped, then truncated": """
        @m = memfd_create "m" 0; @ftruncate m 8K; @p = mmap 0 8K RW MAP_SHARED m 0; @q = mmap 0 8K RW MAP_PRIVATE m 0
        @store p+4K 1; @store q 2; @fork c; load p+4K; load q; store q 3; store p 4; ftruncate m 4K; load q; end; wait c
        load p; load q; load p+4K; load q+4K; ftruncate m 8K; load p+4K; load q+4K""",
    "a stack that grows by MAP_GROWSDOWN": """
        @p = mmap 0x10000000000 4K RW PRIVATE|MAP_FIXED|MAP_GROWSDOWN -1 0; store p 1; store p-8 2; store p-64K 3
        load p-8; load p-128K
        mmap p 4K RW ANON|MAP_GROWSDOWN -1 0""",
    "populating": """
        @v = bytes 8; @p = mmap 0 16K RW PRIVATE|MAP_POPULATE -1 0; mincore p 16K v; load v
        @q = mmap 0 8K PROT_NONE PRIVATE|MAP_POPULATE -1 0
        mincore q 8K v; load v; @m = memfd_create "m" 0; @ftruncate m 4K
        @r = mmap 0 8K RW MAP_SHARED|MAP_POPULATE m 0; load r; load r+4K""",
    "msync, madvise and mlock of what is not there": """
        @p = mmap 0 16K RW PRIVATE -1 0; @munmap p+4K 4K; msync p 4K 4; msync p 16K 4; msync p 4K 5; msync p 4K 8
        msync p+1 4K 4
        madvise p 16K 4; madvise p 4K 8; @s = mmap 0 4K RW ANON -1 0; madvise s 4K 8; store s 5; madvise s 4K 4
        load s""",
    "rights of files that are mapped": """
        @f = open "/tmp/UNIQUE" O_RDWR|O_CREAT|O_EXCL 0600; @write f "abcdefgh" 8; @r = open "/tmp/UNIQUE" O_RDONLY
        @w = open "/tmp/UNIQUE" O_WRONLY
        mmap 0 4K RW MAP_SHARED r 0; mmap 0 4K PROT_READ MAP_SHARED w 0; @p = mmap 0 4K RW MAP_PRIVATE r 0
        store p 1; load p
        @q = mmap 0 4K PROT_READ MAP_SHARED r 0; mprotect q 4K RW; load q
        mmap 0 4K RW MAP_SHARED_VALIDATE|0x80000 f 0; unlink "/tmp/UNIQUE"
        mmap 0 4K PROT_READ MAP_PRIVATE|MAP_HUGETLB r 0; close f; close r; close w; load q
        @pth = open "/tmp" O_PATH; mmap 0 4K 1 MAP_PRIVATE pth 0""",
    "becoming another user": """
        setuid -1; setuid 1000; syscall 102; syscall 107; setuid 0; setuid 1000; setuid 1001; syscall 106 1001
        open "/tmp" O_RDONLY""",
    "unknown system calls": "syscall 1000; syscall 5000 1 2 3; syscall -1",
    "a pipe between parent and child": """
        @f = bytes 16; pipe2 f 0; @w = say 4; @fork c; @close 3; @write 4 "hello" 6; @exit 0; end; close 4
        @b = bytes 16; read 3 b 16; text b; read 3 b 16; wait c; write 3 b 1; close 3; close 3""",
}


@needs_host
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_results_on_the_host(machine: MakeMachine, name: str, tmp_path: Path) -> None:
    script = SCRIPTS[name].replace("UNIQUE", f"unimmu-{tmp_path.parent.name}-{tmp_path.name}"[-60:])
    here, there = machine().outcome("calls", script), native(guests.path("calls"), [script])
    assert without_pids(here.stdout) == without_pids(there.stdout)
    assert here[1:] == there[1:]


def without_pids(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("wait4 = ") or "E" in line]


# -- programs that are built here ----------------------------------------------------------------------------------


def test_the_prebuilt_guests_are_of_these_sources() -> None:
    recorded = build.recorded()
    assert recorded.keys() == {guest.name for guest in build.GUESTS if guest.prebuilt} == set(guests.NAMES)
    for name, built in recorded.items():
        assert built.source_sha256 == build.source_sha256(build.find(name)), f"{name}: the source has changed"
        assert built.sha256 == hashlib.sha256(guests.path(name).read_bytes()).hexdigest(), f"{name}: another file"


def test_the_manual_lists_every_guest() -> None:
    listed = (guests.path("hello").parents[1] / "README.md").read_text("utf-8")
    assert [guest.name for guest in build.GUESTS if f"`{guest.name}" not in listed] == []


REBUILT = {"hello": "", "hello_pie": "", "cow": "", "faults": "regs", "exec_self": "", "pipes": "", "mshare_donor": ""}


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest programs built anew."""
    directory = tmp_path_factory.mktemp("guests")
    build.build(directory, names=REBUILT)
    return directory


@needs_gcc
@pytest.mark.parametrize("name", REBUILT)
def test_a_rebuilt_guest_does_what_the_prebuilt_one_does(machine: MakeMachine, rebuilt: Path, name: str) -> None:
    arguments = REBUILT[name].split()
    assert machine().outcome(rebuilt / name, *arguments) == machine().outcome(name, *arguments)


@needs_host
@needs_gcc
@pytest.mark.parametrize("kind", ["static", "static-pie"])
def test_static_glibc(machine: MakeMachine, tmp_path: Path, kind: str) -> None:
    program = tmp_path / "hello_glibc"
    source = build.HERE / "src" / build.find("hello_glibc").source
    flags = ["-O2", f"-{kind}", *(["-fpie"] if kind == "static-pie" else ["-no-pie"])]
    done = subprocess.run(["gcc", *flags, str(source), "-o", str(program)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the host cannot link a {kind} glibc program: {done.stderr.splitlines()[-1]}")
    assert machine().outcome(program, "one", "two") == native(program, ["one", "two"])

"""Whatever is wrong with a command line or a program is one clear line, and never a traceback."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import guests
from emu.linux.event_kind import printable
from tests.cli.conftest import Unimmu

E_CLASS, E_DATA, E_TYPE, E_MACHINE, E_PHOFF, E_PHENTSIZE, E_PHNUM = 4, 5, 16, 18, 32, 54, 56
FIRST_PHDR = 64
P_OFFSET, P_VADDR, P_FILESZ = 8, 16, 32
#: Where the fields begin, but for e_ident: struct Elf64_Ehdr, struct Elf64_Phdr.
ELF_HEADER = (16, 18, 20, 24, 32, 40, 48, 52, 54, 56, 58, 60, 62)
PROGRAM_HEADER = (0, 4, 8, 16, 24, 32, 40, 48)


def u16(value: int) -> bytes:
    return struct.pack("<H", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


@pytest.mark.parametrize(
    ("changes", "length", "says"),
    [
        (
            {},
            0,
            "neither an ELF file nor a script that begins with #!; if it holds shell commands, `unimmu run --",
        ),
        ({0: b"#include <stdio.h>"}, None, "neither an ELF file nor a script that begins with #!"),
        ({E_CLASS: b"\1"}, None, "a 32-bit ELF file; only 64-bit x86-64 programs can run"),
        ({E_MACHINE: u16(183)}, None, "an ELF file for another machine (EM_AARCH64); only x86-64 programs can run"),
        ({E_MACHINE: u16(0x9999)}, None, "an ELF file for another machine"),
        ({E_DATA: b"\2"}, None, "a big-endian ELF file"),
        ({E_TYPE: u16(1)}, None, "an ELF file that is not a program (ET_REL)"),
        ({}, 40, "truncated ELF header"),
        ({}, 100, "truncated: the program headers lie beyond the end of the file"),
        ({}, 5000, "truncated: a segment lies beyond the end of the file"),
        ({E_PHOFF: u64(1 << 63)}, None, "truncated: the program headers lie beyond the end of the file"),
        ({E_PHNUM: u16(0)}, None, "an ELF file without usable program headers"),
        ({E_PHENTSIZE: u16(1)}, None, "an ELF file without usable program headers"),
        ({FIRST_PHDR + P_VADDR: u64(1 << 62)}, None, "a damaged ELF file"),
        ({FIRST_PHDR + P_OFFSET: u64(1 << 62)}, None, ""),
        ({0: b"#!/bin/sh\n"}, None, "there is no /bin/sh in the machine"),
    ],
)
def test_a_program_that_is_none(
    unimmu: Unimmu, hello_with: Callable[..., Path], changes: dict[int, bytes], length: int | None, says: str
) -> None:
    program = hello_with(changes, length)
    ran = unimmu("run", program)
    assert ran.status == (127 if "/bin/sh" in says else 126)
    assert ran.out == ""
    assert ran.err.startswith(f"unimmu run: {program}: ") and says in ran.err
    assert ran.err.count("\n") == 1


def test_no_header_makes_a_traceback(unimmu: Unimmu, hello_with: Callable[..., Path]) -> None:
    """The lowest and the highest 16 bits of each field of the headers set to all ones, one at a time."""
    fields = [0, 2, *ELF_HEADER, *(FIRST_PHDR + 56 * number + at for number in (0, 1) for at in PROGRAM_HEADER)]
    ends = [*fields[1:], FIRST_PHDR + 56 * 2]
    for offset in sorted({*fields, *(end - 2 for end in ends)}):
        ran = unimmu("run", "--timeout", "5", hello_with({offset: b"\xff\xff"}))
        assert "Traceback" not in ran.err, offset
        assert ran.err.count("\n") <= 1
        assert ran.status in (0, 2, 126, 127, 139), offset


def test_a_dynamic_program_without_its_interpreter(unimmu: Unimmu, tmp_path: Path) -> None:
    image = bytearray(guests.path("hello").read_bytes())
    phnum = image[E_PHNUM]
    for header in range(FIRST_PHDR, FIRST_PHDR + 56 * phnum, 56):
        if image[header] == 1:
            continue
        name = len(image)
        image += b"/lib64/ld-linux-x86-64.so.2\0"
        struct.pack_into("<IIQQQQQQ", image, header, 3, 4, name, 0, 0, len(image) - name, len(image) - name, 1)
        break
    else:
        pytest.skip("hello has no program header to spare")
    program = tmp_path / "dynamic"
    program.write_bytes(image)
    program.chmod(0o755)
    ran = unimmu("run", program)
    assert ran.status == 127
    assert "its interpreter /lib64/ld-linux-x86-64.so.2 is missing" in ran.err and "--file" in ran.err
    assert ran.err.count("\n") == 1


def test_things_that_are_no_program(unimmu: Unimmu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dir").mkdir()
    os.mkfifo("fifo")
    Path("plain").write_bytes(guests.path("hello").read_bytes())
    Path("plain").chmod(0o644)
    Path("huge").touch(0o755)
    os.truncate("huge", 1 << 40)
    assert unimmu("run", "") == (127, "", "unimmu run: '': no such file: the name of the program is empty\n")
    for name, status, says in [
        ("missing", 127, "no such file, and no program of that name comes with unimmu (`unimmu run --help` lists "),
        ("./missing", 127, "no such file"),
        ("missing/hello", 127, "no such file"),
        ("plain/hello", 126, "Not a directory"),
        ("dir", 126, "is a directory"),
        ("/", 126, "is a directory"),
        ("fifo", 126, "is not a regular file"),
        ("/dev/zero", 126, "is not a regular file"),
        ("plain", 126, "is not executable (chmod +x makes it so)"),
        ("huge", 2, "does not fit into the machine's memory of 256M (see --mem)"),
        ("a\0b", 126, "null byte"),
        ("x" * 5000, 126, "File name too long"),
    ]:
        ran = unimmu("run", name)
        assert (ran.status, ran.out) == (status, ""), name
        assert ran.err.startswith(f"unimmu run: {printable(name)}: ") and says in ran.err, name
        assert ran.err.count("\n") == 1, name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_program_that_may_not_be_read(unimmu: Unimmu, hello_with: Callable[..., Path]) -> None:
    program = hello_with()
    program.chmod(0o111)
    assert unimmu("run", program) == (126, "", f"unimmu run: {program}: Permission denied\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "a program is needed"),
        ("--stats", "a program is needed"),
        ("--", "a program is needed"),
        ("--bogus hello", "unrecognized arguments: --bogus (`unimmu run --help` lists the options)"),
        ("--audit=1 hello", "--audit takes no value, and '1' was given (`unimmu run --help` lists the options)"),
        ("--cpus 65 hello", "--cpus: a machine has from 1 to 64 vCPUs, not 65"),
        ("--uid 4294967295 hello", "--uid: '4294967295' is not a whole number from 0 to 4294967294"),
        ("--uid -1 hello", "--uid: '-1' is not a whole number from 0 to 4294967294"),
        ("--gid 99999999999 hello", "--gid: '99999999999' is not a whole number from 0 to 4294967294"),
        (f"--hostname {'h' * 65} hello", "--hostname: a host name has at most 64 bytes, not 65"),
        (f"--hostname {'ä' * 33} hello", "--hostname: a host name has at most 64 bytes, not 66"),
        (f"--against-host --hostname {'h' * 65} hello", "--hostname: a host name has at most 64 bytes, not 65"),
        ("--cwd= hello", "--cwd '': expected a path in the machine"),
        ("--cwd /nonexist hello", "--cwd /nonexist: cannot be entered in the machine: No such file or directory"),
        ("--cwd /bin/x --file /etc/passwd:/bin/x hello", "--cwd /bin/x: cannot be entered in the machine: Not a dir"),
        ("--root= hello", "--root: an empty name: No such file or directory"),
        ("--root /nosuch hello", "--root: /nosuch: No such file or directory"),
        ("--bind /nosuch:/mnt hello", "--bind: /nosuch: No such file or directory"),
        ("--bind /etc/passwd:/p hello", "--bind: /etc/passwd: only a directory can be bound; --file /etc/passwd:/p "),
        ("--bind /etc:/ hello", "--bind: /etc: cannot be bound to /, which is the root: --root DIR says what is there"),
        ("--bind /etc:/mnt/..:rw hello", "--bind: /etc: cannot be bound to /mnt/.., which is the root"),
        ("--bind /etc:/dev/null hello", "--bind: /etc: cannot be bound to /dev/null in the machine: Not a directory"),
        ("--mount tmpfs:/ hello", "--mount: cannot mount tmpfs on /, which is the root"),
        (
            "--swap 5000 hello",
            "--swap: a device for swap has from 8192 to 1099511627776 bytes, a multiple of 4096, not",
        ),
        ("--hugepages 9999 hello", "--hugepages: 268435456 bytes of memory have room for 127 huge pages, not 9999"),
        ("--stat hello", "unrecognized arguments: --stat"),
        ("--vcpus 2 hello", "unrecognized arguments: --vcpus"),
        ("--mem", "--mem: expected one argument"),
        ("--mem lots hello", "--mem: 'lots' is not a size (examples: 4096, 512M, 1G)"),
        ("--mem=-- hello", "--mem: '--' is not a size (examples: 4096, 512M, 1G)"),
        ("--hugepages=-- hello", "--hugepages: '--' is not a whole number of at least 0"),
        ("--mount=-- hello", "--mount --: expected TYPE:/PATH[:OPTIONS]"),
        ("--mem 1.5G hello", "--mem: '1.5G' is not a size"),
        ("--mem 2T hello", "--mem 2T: from 1M to 512G are possible"),
        ("--mem 0 hello", "--mem 0: from 1M to 512G are possible"),
        ("--mem 4K hello", "--mem 4K: from 1M to 512G are possible"),
        ("--mem 1048577 hello", "--mem 1048577: it must be a multiple of 4096"),
        ("--tlb zen9 hello", "--tlb: no TLB preset 'zen9'; there are textbook, none, skylake-sp:cpuid, "),
        ("--tlb zen4:x hello", "--tlb: zen4 has no variant 'x'; there are zen4"),
        ("--tlb", "--tlb: expected one argument"),
        ("--tlb zen4 --tlb-from-cpuid host hello", "--tlb and --tlb-from-cpuid exclude each other"),
        ("--tlb-from-cpuid /proc/none/x hello", "--tlb-from-cpuid /proc/none/x: No such file or directory"),
        ("--tlb-from-cpuid / hello", "--tlb-from-cpuid /: Is a directory"),
        ("--tlb-from-cpuid /etc/passwd hello", "--tlb-from-cpuid /etc/passwd: this is not a CPUID dump"),
        ("--tlb-from-cpuid /dev/zero hello", "--tlb-from-cpuid /dev/zero: this is longer than any CPUID dump"),
        ("--check-tlb hello", "--check-tlb needs --tlb PRESET or --tlb-from-cpuid"),
        ("--check-tlb --tlb off hello", "--check-tlb needs --tlb PRESET or --tlb-from-cpuid"),
        ("--trace-accesses --trace t hello", "--trace-accesses needs --tlb or --tlb-from-cpuid"),
        ("--trace-accesses --tlb zen4 hello", "--trace-accesses needs --trace FILE"),
        ("--trace t hello", "--trace: t: its name does not end as a trace's does (.parquet, .jsonl, .ndjson, .csv, "),
        ("--trace t.txt hello", "--trace: t.txt: its name does not end as a trace's does"),
        ("--trace t --trace-format perfume hello", "--trace: there is no trace format 'perfume'; the formats are par"),
        ("--trace-format csv hello", "--trace-format needs --trace FILE, whose format it is"),
        ("--trace t.lackey hello", "--trace: lackey has nothing but accesses: give --tlb PRESET --trace-accesses too"),
        ("--mount hello hello", "--mount hello: expected TYPE:/PATH[:OPTIONS]"),
        ("--mount msharefs:x hello", "--mount msharefs:x: expected TYPE:/PATH[:OPTIONS]"),
        (
            "--mount ext4:/x hello",
            "--mount: there is no file system 'ext4' (there are: cgroup2, debugfs, devpts, devtmpfs, hugetlbfs, "
            "mqueue, msharefs, proc, ramfs, sysfs, tmpfs)",
        ),
        (
            "--mount msharefs:/x:level=p4d hello",
            "--mount: cannot mount msharefs on /x with options 'level=p4d': level=p4d: the levels are pte, pmd, pud",
        ),
        ("--mount msharefs:/x:size=1 hello", "unknown parameter 'size'"),
        ("--mount tmpfs:/dev/null/x hello", "cannot make the mount point /dev/null/x"),
        ("--env =x hello", "--env =x: expected K=V or K"),
        ("--env UNIMMU_NOT_SET hello", "--env UNIMMU_NOT_SET: it has no value here"),
        ("--file /proc/none hello", "--file /proc/none: no such file"),
        ("--file / hello", "--file /: is a directory"),
        ("--file /etc/passwd:relative hello", "--file /etc/passwd:relative: expected HOST[:/GUEST/PATH]"),
        ("--file /etc/passwd:/proc/x hello", "--file /etc/passwd: cannot become /proc/x in the machine: No such "),
        ("--json - hello", "--json: standard output has other text on it: give a file, or /dev/fd/N"),
        ("--trace - hello", "--trace: standard output has other text on it"),
        ("--strace -o - hello", "-o: standard output has other text on it"),
        ("--timeout soon hello", "--timeout: 'soon' is not a positive number of seconds"),
        ("--timeout -1 hello", "--timeout: '-1' is not a positive number of seconds"),
        ("--timeout nan hello", "--timeout: 'nan' is not a positive number of seconds"),
        ("--seed x hello", "--seed: 'x' is not a whole number"),
        ("-o log hello", "-o needs --strace or --stats, whose output it puts into a file"),
        ("-c hello", "-c needs --strace, whose output it is about"),
        ("--stats -T hello", "-T needs --strace, whose output it is about"),
        ("--strace -w hello", "-w needs -c or -C, whose table it is about"),
        ("-e write hello", "-e write needs --strace, or --stats for events"),
        ("--stats -e trace=write hello", "-e trace=write needs --strace, which it is about"),
        ("--strace -e trace= hello", "-e trace=: names are missing behind it (all and none are some)"),
        ("--strace -e read=3 hello", "-e read=3: it is trace=CALLS or signal=SIGNALS for --strace, or EVENT,... for"),
        (
            "--strace -e trace=openn hello",
            "-e trace=openn: there is no system call 'openn', nor is it all, none, a number, ",
        ),
        ("--strace -e openn hello", "-e trace=openn: there is no system call 'openn'"),
        ("--strace -e signal=FOO hello", "-e signal=FOO: there is no signal 'FOO', nor is it all or none"),
        ("--strace -e signal=65 hello", "-e signal=65: there is no signal '65'"),
        ("--stats -e walks hello", "-e walks: there is no event 'walks' (perhaps mmu:walks); there are task-"),
        ("--stats -e page_faults hello", "no event 'page_faults' (perhaps mmu:page_faults or page-faults or "),
        ("--stats -e faults,nothing hello", "-e faults,nothing: there is no event 'nothing'; there are task-"),
        ("--stats -e syscalls:sys_enter_openn hello", "-e syscalls:sys_enter_openn: there is no system call 'openn'"),
        (
            "--stats -e dtlb-load-misses hello",
            "-e dtlb-load-misses: dTLB-load-misses is counted in a modelled TLB: give --tlb PRESET",
        ),
        ("-r 3 hello", "-r N needs --stats, which shows the means"),
        ("-r hello", "-r needs --strace, for the time between lines; or a number and --stats, for several runs"),
        ("--stats -r 0 hello", "-r 0: from 1 to 1000 runs are possible"),
        ("--stats --strace -r 2 hello", "--strace and -r 2 exclude each other: it is about one run"),
        ("--stats -r 2 --json x hello", "--json and -r 2 exclude each other: it is about one run"),
        ("--stats --append hello", "-A needs -o, whose file it is about"),
        ("--stats -e {cs,faults hello", "there is no event '{cs'"),
        ("-x, hello", "-x needs --stats, whose output it is about"),
        ("--strace= hello", "--strace: expected names of system calls, such as open,close (all without =)"),
        (
            "--strace=openn hello",
            "--strace=openn: there is no system call 'openn', nor is it all, none, a number, /REGEX, or %KIND: ",
        ),
        ("--strace=%fil hello", "--strace=%fil: there is no kind %fil of system calls; there are %file, %desc, "),
        ("--against-host --strace=open hello", "--strace and --against-host exclude each other"),
        ("--trace /proc/none/x.csv hello", "--trace /proc/none/x.csv: cannot be written: No such file or directory"),
        ("--json /proc/none/x hello", "--json /proc/none/x: cannot be written: No such file or directory"),
        ("--json / hello", "--json /: cannot be written: Is a directory"),
        ("--strace -o /proc/none/x hello", "-o /proc/none/x: cannot be written: No such file or directory"),
    ],
)
def test_usage(unimmu: Unimmu, words: str, says: str) -> None:
    ran = unimmu("run", *words.split())
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("unimmu run: ") and says in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "unimmu: a command is needed: demo, run, pt, presets, tlb, trace, bench"),
        ("fly", "unimmu: there is no command 'fly'; the commands are demo, run, pt, presets, tlb, trace, bench"),
        ("--fly", "unimmu: unrecognized arguments: --fly"),
        ("trace", "unimmu trace: a command is needed: stat, top, view, convert, report, diff"),
        ("trace sat x", "unimmu trace: COMMAND: invalid choice: 'sat'"),
        ("trace view", "unimmu trace: the following arguments are required: FILE"),
        ("demo --processes x", "unimmu demo: --processes: 'x' is not a whole number"),
        ("demo --sga --json -", "unimmu demo: --json: standard output has other text on it"),
        ("bench --json -", "unimmu bench: --json: standard output has other text on it"),
    ],
)
def test_usage_of_the_rest(unimmu: Unimmu, words: str, says: str) -> None:
    ran = unimmu(*words.split())
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(says)
    assert ran.err.count("\n") == 1


def test_the_output_is_not_touched_if_the_program_cannot_start(unimmu: Unimmu, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text("precious")
    assert unimmu("run", "--trace", trace, "./nothing").status == 127
    assert trace.read_text() == "precious"


@pytest.mark.parametrize("padding", [400 << 10, 1000 << 10, 2 << 20])
def test_a_memory_that_is_too_small_for_the_program(unimmu: Unimmu, tmp_path: Path, padding: int) -> None:
    program = tmp_path / "big"
    program.write_bytes(guests.path("hello").read_bytes() + bytes(padding))
    program.chmod(0o755)
    ran = unimmu("run", "--mem", "1M", program)
    if padding == 400 << 10:
        assert ran == (0, "hello, world\n", "")
    else:
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert ran.err.startswith(f"unimmu run: {program}: does not fit into the machine's memory")


def test_a_memory_that_runs_out(unimmu: Unimmu) -> None:
    script = "p = mmap 0 4M RW ANON|MAP_NORESERVE -1 0; touch p 4M"
    ran = unimmu("run", "--mem", "2M", "--audit", "calls", script)
    assert ran.status == 137
    first, second, third = ran.err.splitlines()
    assert first.startswith("unimmu: out of memory: killed process 100 (calls)")
    assert second == "unimmu: 100 (calls) was killed by SIGKILL"
    assert third == "unimmu: audit: every table and every frame is accounted for"
    assert unimmu("run", "--mem", "8M", "calls", script).status == 0

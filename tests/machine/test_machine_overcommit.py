"""What memory is promised: overcommit modes, Committed_AS, and what /proc says of limits and flags."""

from __future__ import annotations

import re

import pytest

from emu.kernel.sched import StopReason
from tests.booted import GIB, UNIT, Booted, MakeMachine

MODE = '@o = open "/proc/sys/vm/overcommit_memory" O_RDWR'
AS = 'field "/proc/meminfo" "Committed_AS"'


def values(booted: Booted, script: str) -> list[str]:
    return [line.split(" = ", 1)[1] for line in booted.calls(script)]


def test_the_modes(machine: MakeMachine) -> None:
    big, small = "mmap 0 1G RW PRIVATE -1 0", "mmap 0 1G RW PRIVATE|MAP_NORESERVE -1 0"
    script = f"""
        {MODE}; {big}; @p = {small}; say p/0; write o "1" 1; @p = {big}; write o "2" 1; {small}; {big}
        @q = mmap 0 4M RW PRIVATE -1 0; say 1; write o "3" 1; write o "x" 1; write o "0" 1; {big}"""
    assert values(machine(), script.replace("say p/0; ", "")) == [
        "ENOMEM", "1", "1", "ENOMEM", "ENOMEM", "1", "EINVAL", "EINVAL", "1", "ENOMEM",
    ]  # fmt: skip


def test_the_limit_of_mode_2(machine: MakeMachine) -> None:
    limit = 'field "/proc/meminfo" "CommitLimit"'
    assert values(
        machine(),
        f"""
        {limit}; @r = open "/proc/sys/vm/overcommit_ratio" O_RDWR; write r "25" 2; {limit}
        @k = open "/proc/sys/vm/overcommit_kbytes" O_RDWR; write k "12288" 5; {limit}; {MODE}; write o "2" 1
        mmap 0 16M RW PRIVATE -1 0; @p = mmap 0 16M PROT_READ PRIVATE -1 0; mprotect p 16M RW; mprotect p 4M RW
        @s = mmap 0 4M RW ANON -1 0; mmap 0 4M RW ANON -1 0; munmap s 4M; @s = mmap 0 4M RW ANON -1 0; store s 1
        mremap p 4M 8M 1; write r "50" 2; {limit}""",
    ) == [
        "32768", "2", "16384", "5", "12288", "1", "ENOMEM", "ENOMEM", "0", "ENOMEM", "0", "0", "ENOMEM", "2", "32768",
    ]  # fmt: skip


def test_a_fork_that_cannot_be_promised(machine: MakeMachine) -> None:
    assert values(machine(), f'@p = mmap 0 20M RW PRIVATE -1 0; {MODE}; write o "2" 1; syscall 57') == ["1", "ENOMEM"]


def test_what_counts(machine: MakeMachine) -> None:
    """Counted: private writable memory, and shared memory as soon as it is mapped; not read-only memory, nor
    MAP_NORESERVE.
    """
    before, *after = (
        int(value, 0)
        for value in values(
            machine(),
            f"""
            {AS}; @p = mmap 0 1M RW PRIVATE -1 0; {AS}; @r = mmap 0 1M PROT_READ PRIVATE -1 0; {AS}
            @n = mmap 0 1M RW PRIVATE|MAP_NORESERVE -1 0; {AS}; @s = mmap 0 1M RW ANON -1 0; {AS}; @munmap p 512K; {AS}
            @fork c; @pause; end; @q = mremap p+512K 512K 2M 1; @kill c 9; @wait c; {AS}
            @munmap q 2M; @munmap s 1M; {AS}
            @mprotect r 1M RW; {AS}; @mprotect r 1M PROT_READ; {AS}; @mprotect r 1M RW; @store r 1
            @mprotect r 1M PROT_READ; {AS}; @munmap r 1M; {AS}""",
        )
    )
    assert [kb - before for kb in after] == [1024, 1024, 1024, 2048, 1536, 3072, 0, 1024, 0, 1024, 0]


@pytest.mark.parametrize("level", UNIT)
def test_objects_of_a_region(machine: MakeMachine, level: str) -> None:
    """mshare-observed.md, section 3: +1048576 kB for 1 GiB, back on UNMAP; nothing for NORESERVE, nor for a window."""
    booted = machine(2 * GIB, level=level)
    size, kb = ("1G", 1 << 20) if level != "pte" else ("2M", 2048)
    before, *after = (
        int(value, 0)
        for value in values(
            booted,
            f"""
            @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd {booted.unit}; {AS}
            @create fd 0 {size} RW OBJECT; {AS}; @w = mmap 0 {booted.unit} RW MAP_SHARED fd 0; {AS}; @unmap fd 0 {size}
            {AS}; @create fd 0 {size} RW OBJECT|MAP_NORESERVE; {AS}; @store w 1; {AS}; @unmap fd 0 {size}; {AS}""",
        )
    )
    assert [at - before for at in after] == [kb, kb, 0, 0, 4, 0]


def test_more_than_memory_for_a_region(machine: MakeMachine) -> None:
    assert values(
        machine(level="pud"),
        f"""
        @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd 512G; {MODE}; create fd 0 512G RW OBJECT
        create fd 0 512G RW OBJECT|MAP_NORESERVE; write o "1" 1; create fd 0 512G RW OBJECT; write o "2" 1
        create fd 0 512G RW OBJECT; create fd 0 512G RW OBJECT|MAP_NORESERVE; @l = words 1G -1; setrlimit 9 l
        write o "1" 1; create fd 0 2G RW OBJECT; @l = words -1 -1; setrlimit 9 l; @l = words 1M -1; setrlimit 2 l
        create fd 0 2G RW OBJECT; @unmap fd 0 512G; setuid 1000; create fd 0 16M RW OBJECT|MAP_LOCKED
        create fd 0 1M RW OBJECT|MAP_LOCKED; field "/proc/self/status" "VmLck\"""",
    ) == ["ENOMEM", "0", "1", "0", "1", "ENOMEM", "ENOMEM", "0", "1", "ENOMEM", "0", "0", "0", "0", "EAGAIN", "0", "0"]


def test_flags_and_limits_in_proc(machine: MakeMachine) -> None:
    booted = machine()
    booted.guest(
        "calls",
        """
        @a = say 0x10000000000; @mmap a 4K RW PRIVATE|MAP_FIXED -1 0; @mmap a+8K 4K RW ANON|MAP_FIXED -1 0
        @m = open "/tmp/x" O_RDONLY|O_CREAT 0600; @mmap a+16K 4K PROT_READ MAP_SHARED|MAP_FIXED m 0
        @mmap a+24K 4K RWX PRIVATE|MAP_FIXED|MAP_NORESERVE -1 0; @mlock2 a+24K 4K 1; @madvise a 4K 16; @madvise a 4K 10
        @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd 1G
        @mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; @mseal a+8K 4K 0; @l = words 1M 2M; @setrlimit 8 l; @pause""",
    )
    assert booted.run(timeout_s=30) == StopReason.IDLE
    (task,) = booted.tasks

    def text(name: str) -> str:
        return booted.kernel.vfs.read_file(f"/proc/{task.pid}/{name}").decode()

    flags = dict(re.findall(r"^([0-9a-f]+)-.*?^VmFlags: ([^\n]*) $", text("smaps"), re.M | re.S))
    assert {address: words for address, words in flags.items() if int(address, 16) >> 40 in (1, 2)} == {
        "10000000000": "rd wr mr mw me dc ac dd",
        "10000002000": "rd wr sh mr mw me ms sl",
        "10000004000": "rd mr me ms",
        "10000006000": "rd wr ex mr mw me lo lf nr",
        "20000000000": "rd wr sh mr mw me ms de ??",
    }
    assert re.search(
        r"^Max locked memory         1048576              2097152              bytes     $", text("limits"), re.M
    )
    assert re.search(
        r"^Max file size             unlimited            unlimited            bytes     $", text("limits"), re.M
    )
    size, resident, shared, _, _, data, _ = map(int, text("statm").split())
    assert size == task.mm.total_bytes >> 12 > GIB >> 12
    assert 0 < shared <= resident < 100 and 0 < data < 100


def test_the_number_of_processes_of_a_user(machine: MakeMachine) -> None:
    """RLIMIT_NPROC counts the user's processes, and holds for everybody but root."""
    script = "@l = words 2 2; setrlimit 6 l; @fork c; @fork d; say 1; end; @wait d; end; @wait c; setuid 1000"
    script += "; @fork c; say 2; syscall 57; end; wait c; say 3"
    assert values(machine(), script) == ["0", "1", "0", "2", "EAGAIN", "0", "3"]

"""What /proc says about windows: spec/mshare-observed.md, sections 4, 6 and 9."""

from __future__ import annotations

import re
import struct

import pytest

from emu.kernel.sched import StopReason
from emu.linux.errors import LinuxError
from tests.booted import UNIT, Booted, MakeMachine

WINDOW = 1 << 41
SCRIPT = """
@fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd SIZE; @create fd 0 16K RW OBJECT
@create fd 32K 8K PROT_READ OBJECT
@w = mmap 2T SIZE RW MAP_SHARED|MAP_FIXED fd 0;@touch w 12K; @load w+32K; @fork c; @load w; @pause; end; @pause
"""


def text(booted: Booted, name: str) -> str:
    return booted.kernel.vfs.read_file(f"/proc/{name}").decode()


@pytest.fixture
def asleep(machine: MakeMachine, level: str) -> Booted:
    booted = machine(level=level)
    booted.guest("calls", SCRIPT.replace("SIZE", str(booted.unit)))
    assert booted.run() == StopReason.IDLE
    return booted


@pytest.mark.parametrize("level", UNIT)
def test_maps_and_smaps(asleep: Booted) -> None:
    end = WINDOW + asleep.unit
    for task in asleep.tasks:
        (line,) = [line for line in text(asleep, f"{task.pid}/maps").splitlines() if "mshare" in line]
        assert re.fullmatch(rf"{WINDOW:x}-{end:x} rw-s 00000000 00:[0-9a-f]{{2}} \d+ +/sys/fs/mshare/a", line)
        smaps = text(asleep, f"{task.pid}/smaps")
        window = smaps[smaps.index(line) :]
        figures = dict(re.findall(r"^(\w+): +(\d+) kB$", window, re.M)[:5])
        assert figures["Size"] == str(asleep.unit >> 10)
        assert figures["Rss"] == figures["Pss"] == "16"  # the pages that are present through the shared tables
        assert re.search(r"^VmFlags: rd wr sh mr mw me ms de \?\? $", window, re.M)


@pytest.mark.parametrize("level", UNIT)
def test_status_counts_the_window_and_none_of_its_pages(asleep: Booted) -> None:
    parent, child = (
        dict(re.findall(r"^(\w+):\s+(\d+) kB$", text(asleep, f"{t.pid}/status"), re.M)) for t in asleep.tasks
    )
    for status in (parent, child):
        others = sum(vma.length for vma in asleep.tasks[0].mm.vmas if vma.start != WINDOW) >> 10
        assert int(status["VmSize"]) == (asleep.unit >> 10) + others
        assert int(status["VmRSS"]) < 200
    assert parent["VmPTE"] == child["VmPTE"]


@pytest.mark.parametrize("level", UNIT)
def test_pagemap_shows_the_shared_frames(asleep: Booted) -> None:
    words = []
    for task in asleep.tasks:
        file = asleep.kernel.vfs.open(f"/proc/{task.pid}/pagemap")
        words.append(struct.unpack("<10Q", file.pread(80, WINDOW // 4096 * 8)))
        file.put()
    assert words[0] == words[1]
    assert [word >> 63 for word in words[0]] == [1, 1, 1, 0, 0, 0, 0, 0, 1, 0]
    assert [word >> 61 & 1 for word in words[0]] == [1, 1, 1, 0, 0, 0, 0, 0, 1, 0]  # of a file, or shared
    frames = [word & (1 << 55) - 1 for word in words[0] if word]
    assert len(set(frames)) == 4


def test_the_name_after_unlink(machine: MakeMachine) -> None:
    lines = machine().calls("""
        @fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 1G
        @w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0
        @unlink "/sys/fs/mshare/a"; @f = open "/proc/self/maps" O_RDONLY; @b = bytes 4000; @read f b 4000; text b""")
    (line,) = [line for line in lines if "mshare" in line]
    assert line.endswith(" /sys/fs/mshare/a (deleted)")


@pytest.mark.parametrize("level", ["pmd"])
def test_mounts_and_umount(asleep: Booted) -> None:
    assert "msharefs /sys/fs/mshare msharefs rw,relatime,level=pmd 0 0\n" in asleep.kernel.vfs.mounts()
    assert "nodev\tmsharefs\n" in text(asleep, "filesystems")
    with pytest.raises(LinuxError, match="EBUSY"):
        asleep.kernel.vfs.umount("/sys/fs/mshare")


def test_files_are_gone_after_umount(machine: MakeMachine) -> None:
    booted = machine()
    lines = booted.calls("""
        @fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 1G; @create fd 0 16K RW OBJECT
        @w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; @store w 1
        umount2 "/sys/fs/mshare" 0; close fd; umount2 "/sys/fs/mshare" 0; munmap w 1G; umount2 "/sys/fs/mshare" 0
        open "/sys/fs/mshare/a" O_RDWR; mount "msharefs" "/sys/fs/mshare" "msharefs" 0 "size=1G"
        mount "msharefs" "/sys/fs/mshare" "msharefs" 0 "level=pgd"
        mount "msharefs" "/sys/fs/mshare" "msharefs" 0 "level=pte"
        open "/sys/fs/mshare/a" O_RDWR; fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; ftruncate fd 2M""")
    assert lines == [
        "umount2 = EBUSY", "close = 0", "umount2 = EBUSY", "munmap = 0", "umount2 = 0",
        "open = ENOENT", "mount = EINVAL", "mount = EINVAL", "mount = 0", "open = ENOENT", "fd = 3", "ftruncate = 0",
    ]  # fmt: skip


def test_a_detached_mount_lives_while_it_is_used(machine: MakeMachine) -> None:
    booted = machine()
    lines = booted.calls("""
        @fd = open "/sys/fs/mshare/a" O_RDWR|O_CREAT 0600; @ftruncate fd 1G; @create fd 0 16K RW OBJECT
        @w = mmap 2T 1G RW MAP_SHARED|MAP_FIXED fd 0; store w 1; close fd; umount2 "/sys/fs/mshare" 2; load w
        store w+4K 2
        @fork c; load w+4K; end; wait c; mount "msharefs" "/sys/fs/mshare" "msharefs" 0 0; munmap w 1G""")
    assert lines == [
        "store = 0", "close = 0", "umount2 = 0", "load = 1", "store = 0", "load = 2", "wait = 0", "mount = 0",
        "munmap = 0",
    ]  # fmt: skip


def test_two_instances_are_apart(machine: MakeMachine) -> None:
    assert machine().calls("""
        mkdir "/m" 0755; mount "msharefs" "/m" "msharefs" 0 "level=pud"; @fd = open "/m/a" O_RDWR|O_CREAT 0600
        ftruncate fd 1G; ftruncate fd 512G
        open "/sys/fs/mshare/a" O_RDWR; close fd; umount2 "/m" 0""") == [
        "mkdir = 0", "mount = 0", "ftruncate = EINVAL", "ftruncate = 0", "open = ENOENT", "close = 0", "umount2 = 0",
    ]  # fmt: skip

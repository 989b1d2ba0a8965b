"""What one process may ask for is bounded: host memory, and the time that one system call takes."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from emu.fs.vfs import MAX_FULL_PIPES
from emu.kernel.errors import LinuxError
from emu.mm.mmap import do_mmap
from emu.mm.vma import MapFlags, Prot
from mmu.memory import PAGE_SIZE
from tests.booted import Booted

HUGE = 64 << 40


def test_pipes_beyond_the_soft_limit_have_one_page(machine: Callable[..., Booted]) -> None:
    vfs = machine().kernel.vfs
    vfs.max_files = 4 * MAX_FULL_PIPES
    ends = [vfs.pipe() for _ in range(MAX_FULL_PIPES + 1)]
    capacities = [reader.inode.pipe.capacity for reader, _ in ends if reader.inode.pipe is not None]
    assert capacities == [65536] * MAX_FULL_PIPES + [PAGE_SIZE]
    for reader, writer in ends:
        reader.put()
        writer.put()


def test_open_files_are_limited_and_counted_back(machine: Callable[..., Booted]) -> None:
    vfs = machine().kernel.vfs
    vfs.max_files = before = vfs.open_files + 3
    files = [vfs.open("/etc/passwd") for _ in range(3)]
    with pytest.raises(LinuxError) as caught:
        vfs.open("/etc/passwd")
    assert caught.value.errno == errno.ENFILE
    for file in files:
        file.put()
    assert vfs.open_files == before - 3
    vfs.open("/etc/passwd").put()


def test_populating_64_tib_of_zero_page_ends(machine: Callable[..., Booted]) -> None:
    m = machine()
    task = m.guest("spin")
    flags = MapFlags.PRIVATE | MapFlags.ANONYMOUS | MapFlags.NORESERVE | MapFlags.POPULATE
    at = do_mmap(task.mm, 0, HUGE, Prot.READ, flags)
    assert task.mm.tables.pte(at) and not task.mm.tables.pte(at + m.ram.size)
    m.kill_all()


def test_truncation_under_a_private_mapping_of_64_tib_ends(machine: Callable[..., Booted]) -> None:
    m = machine()
    task = m.guest("spin")
    file = m.kernel.vfs.shmem_file_setup("big", HUGE)
    at = do_mmap(task.mm, 0, HUGE, Prot.READ | Prot.WRITE, MapFlags.PRIVATE | MapFlags.NORESERVE, file)
    file.pwrite(b"x", 0)
    assert task.mm.read(at, 1) == b"x" and task.mm.tables.pte(at)
    file.inode.truncate(0)
    assert not task.mm.tables.pte(at)
    m.kill_all()
    file.put()


def test_mincore_of_64_tib_is_quick_where_nothing_is_mapped(machine: Callable[..., Booted]) -> None:
    outcome = machine().outcome("calls", "mincore 64K 64T 4096")
    assert "ENOMEM" in outcome.stdout

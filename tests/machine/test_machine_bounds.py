"""What one process may ask for is bounded: host memory, and the time that one system call takes."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from emu.fs.mounting import attach, clone, set_propagation
from emu.fs.pipe import MAX_FULL_PIPES
from emu.fs.pipefile import PipeFile
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags
from emu.linux.mman import MapFlags, Prot
from emu.mm.mmap import do_mmap
from mmu.memory import PAGE_SIZE
from tests.booted import Booted

HUGE = 64 << 40


def test_pipes_beyond_the_soft_limit_have_one_page(machine: Callable[..., Booted]) -> None:
    vfs = machine().kernel.vfs
    vfs.resources.max_files = 4 * MAX_FULL_PIPES
    ends = [vfs.pipe() for _ in range(MAX_FULL_PIPES + 1)]
    capacities = [reader.pipe.capacity for reader, _ in ends if isinstance(reader, PipeFile)]
    assert capacities == [65536] * MAX_FULL_PIPES + [PAGE_SIZE]
    for reader, writer in ends:
        reader.put()
        writer.put()


def test_open_files_are_limited_and_counted_back(machine: Callable[..., Booted]) -> None:
    vfs = machine().kernel.vfs
    resources = vfs.resources
    resources.max_files = before = resources.open_files + 3
    files = [vfs.open("/etc/passwd") for _ in range(3)]
    with pytest.raises(LinuxError) as caught:
        vfs.open("/etc/passwd")
    assert caught.value.errno == errno.ENFILE
    for file in files:
        file.put()
    assert resources.open_files == before - 3
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


def refused(call: Callable[[], object], number: int) -> None:
    with pytest.raises(LinuxError) as caught:
        call()
    assert caught.value.errno == number


def test_names_are_limited_and_counted_back(machine: Callable[..., Booted]) -> None:
    vfs = machine().kernel.vfs
    before = vfs.resources.names
    vfs.resources.max_names = before + 4
    vfs.mount("tmpfs", "/tmp", "nr_inodes=0")
    vfs.mkdir("/tmp/a/b")
    for number in range(2):
        vfs.symlink("/", f"/tmp/a/{number}")
    refused(lambda: vfs.write_file("/one", b""), errno.ENOSPC)
    vfs.umount("/tmp")
    assert vfs.resources.names == before
    vfs.write_file("/one", b"")


def test_mounts_are_limited(machine: Callable[..., Booted], monkeypatch: pytest.MonkeyPatch) -> None:
    vfs = machine().kernel.vfs
    monkeypatch.setattr("emu.fs.mount.MAX_MOUNTS", len(list(vfs.mount_table)) + 1)
    vfs.mount("tmpfs", "/tmp")
    refused(lambda: vfs.mount("tmpfs", "/tmp"), errno.ENOSPC)


def test_all_pipes_together_hold_no_more_than_memory(machine: Callable[..., Booted]) -> None:
    script = "@f = bytes 8; @pipe2 f 0; @n = fcntl 3 1031 1M; say n"
    full = "fcntl 3 1031 512K; fcntl 3 1031 1M"
    forty = "\n".join("@pipe2 f 0; @r = load f; @r = mod r 4G; @fcntl r 1031 1M" for _ in range(64))
    printed = machine(32 << 20).calls(f"{script}\n@r = 0\n{forty}\n{full}".replace("@r = 0\n", ""))
    assert printed == ["say = 0x100000", "fcntl = 524288", "fcntl = EPERM"]


def test_record_locks_are_limited(machine: Callable[..., Booted], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emu.fs.locks.MAX_RECORDS", 2)
    lock = "@l = words {kind} {start} 1 0; fcntl fd 6 l"  # F_SETLK, from SEEK_SET
    script = "\n".join(lock.format(kind=1, start=start) for start in (0, 2, 4))
    printed = machine().calls(f'@fd = open "/tmp/a" O_RDWR|O_CREAT 0600\n{script}\n@l = words 2 0 0 0; fcntl fd 6 l')
    assert printed == ["fcntl = 0", "fcntl = 0", "fcntl = -37", "fcntl = 0"]


def test_what_the_host_keeps_is_limited(machine: Callable[..., Booted], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("kernel.MAX_LOGGED", 3), ("report.MAX_FINISHED", 4), ("report.MAX_ARGUMENTS", 20)):
        monkeypatch.setattr(f"emu.kernel.{name}", value)
    m = machine()
    calls = "\n".join(f"@syscall {70000 + number}" for number in range(9))
    m.calls(f"{calls}\n" + "\n".join(["@fork c; end; @wait c"] * 9))
    assert len(m.logged) == 4 and "70002" in m.logged[2]
    assert m.logged[3] == "further messages are suppressed"
    kept = m.processes()
    assert [p["pid"] for p in kept] == [100, 107, 108, 109]
    assert all(sum(map(len, p["argv"])) <= 20 for p in kept)


@pytest.mark.parametrize("populated", [16 << 20, 2 << 30])
def test_moving_and_telling_of_what_is_populated(machine: Callable[..., Booted], populated: int) -> None:
    """By whole tables: a page at a time would take minutes for what a small machine can map of the zero page."""
    pages = populated >> 12
    script = f"""@p = mmap 2T {populated} PROT_READ PRIVATE|MAP_FIXED|MAP_NORESERVE -1 0
        madvise p {populated} 22; q = mremap p {populated} {populated} 3 4T+12K; load q+{populated - 4096}
        @v = mmap 0 {pages} RW PRIVATE -1 0; mincore q {populated} v; load v; load v+{pages - 8}"""
    printed = machine().calls(script)
    last = "0x101010101010101" if populated < 64 << 20 else "0x100000000000000"  # the last was loaded
    assert printed == [
        "madvise = 0", "q = 0x40000003000", "load = 0", "mincore = 0", "load = 0x101010101010101", f"load = {last}",
    ]  # fmt: skip


def test_mounts_that_appear_elsewhere_are_limited(
    machine: Callable[..., Booted], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    vfs = machine().kernel.vfs
    table, top = vfs.mount_table, vfs.mount("tmpfs", "/tmp")
    set_propagation(table, top, int(MountFlags.SHARED))
    vfs.mkdir("/tmp/a")
    vfs.mkdir("/peer")
    attach(table, [clone(table, top.root_path)], vfs.walker(None).resolve("/peer"), vfs.mount_ns)
    before, memory = len(list(table)), vfs.resources.kmem.charged
    monkeypatch.setattr("emu.fs.mount.MAX_MOUNTS", before + 1)
    refused(lambda: vfs.mount("tmpfs", "/tmp/a"), errno.ENOSPC)
    assert (len(list(table)), vfs.resources.kmem.charged) == (before, memory)
    monkeypatch.setattr("emu.fs.mount.MAX_MOUNTS", before + 2)
    vfs.mount("tmpfs", "/tmp/a")
    assert len(list(table)) == before + 2


def test_without_room_for_an_open_file_no_tree_of_mounts_is_left(machine: Callable[..., Booted]) -> None:
    """open_tree(OPEN_TREE_CLONE); the audit behind each test asks whether what is charged is there."""
    booted = machine()
    task = booted.guest("calls", '@mark 1; syscall 428 -100 "/" 0x8001; syscall 428 -100 "/" 1')
    booted.run_until_mark(task, 1)
    resources = booted.kernel.vfs.resources
    before, resources.max_files = resources.max_files, resources.open_files
    booted.finish()
    resources.max_files = before
    assert booted.stdout.splitlines() == ["syscall = ENFILE"] * 2

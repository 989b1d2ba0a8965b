"""/proc/sys: the parameters of the kernel, in Linux's ranges (kernel/sysctl.c).

A parameter of which nothing here depends is kept and shown.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.fanotify import MAX_USER_GROUPS
from emu.fs.inotify import MAX_QUEUED_EVENTS, MAX_USER_INSTANCES
from emu.fs.mount import MAX_MOUNTS
from emu.fs.pipe import MAX_FULL_PIPES
from emu.kernel.layout import MMAP_RND_BITS
from emu.kernel.pid import PID_MAX
from emu.linux.errors import LinuxError
from emu.linux.namespace import HOST_NAME_MAX, KINDS, UserNamespace
from emu.linux.version import RELEASE, VERSION
from emu.mm.vma import DAC_MMAP_MIN_ADDR

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

_INT_MAX = (1 << 31) - 1
_UNLIMITED = (1 << 63) - 1
#: MIN_THREADS, MAX_THREADS (FUTEX_TID_MASK), RESERVED_PIDS.
_MIN_THREADS, _MAX_THREADS, _RESERVED_PIDS = 20, 0x3FFF_FFFF, 300


class Kept(NamedTuple):
    """A parameter that is kept: what it is at first, and its range."""

    value: int
    low: int = -_INT_MAX - 1
    high: int = _INT_MAX
    mode: int = 0o644


def _switch(value: int) -> Kept:
    return Kept(value, 0, 1)


KEPT = {
    "abi/vsyscall32": _switch(1),
    "debug/exception-trace": Kept(1),
    "dev/tty/ldisc_autoload": _switch(1), "dev/tty/legacy_tiocsti": Kept(1),
    "fs/dentry-negative": _switch(0), "fs/dir-notify-enable": Kept(1),
    "fs/overflowgid": Kept(65534, 0, 65535), "fs/overflowuid": Kept(65534, 0, 65535),
    "fs/pipe-user-pages-hard": Kept(0, 0, _UNLIMITED),
    "fs/pipe-user-pages-soft": Kept(MAX_FULL_PIPES * 16, 0, _UNLIMITED),
    "fs/protected_fifos": Kept(0, 0, 2), "fs/protected_hardlinks": _switch(1),
    "fs/protected_regular": Kept(0, 0, 2), "fs/protected_symlinks": _switch(0),
    "fs/suid_dumpable": Kept(0, 0, 2),
    "kernel/auto_msgmni": _switch(0), "kernel/cad_pid": Kept(1, 1, mode=0o600),
    "kernel/core_pipe_limit": Kept(0, 0), "kernel/ctrl-alt-del": Kept(0), "kernel/dmesg_restrict": _switch(1),
    "kernel/keys/gc_delay": Kept(300, 0), "kernel/keys/maxbytes": Kept(20000, 0),
    "kernel/keys/maxkeys": Kept(200, 0), "kernel/keys/root_maxbytes": Kept(25000000, 0),
    "kernel/keys/root_maxkeys": Kept(1000000, 0),
    "kernel/kptr_restrict": Kept(0, 0, 2), "kernel/overflowgid": Kept(65534, 0, 65535),
    "kernel/overflowuid": Kept(65534, 0, 65535), "kernel/panic": Kept(0), "kernel/panic_on_oops": Kept(0),
    "kernel/panic_on_warn": _switch(0),
    "kernel/perf_cpu_time_max_percent": Kept(25, 0, 100), "kernel/perf_event_max_contexts_per_stack": Kept(8, 0, 1000),
    "kernel/perf_event_max_sample_rate": Kept(100000, 1), "kernel/perf_event_max_stack": Kept(127, 0, 640),
    "kernel/perf_event_mlock_kb": Kept(516, 0),
    "kernel/print-fatal-signals": Kept(0), "kernel/printk_delay": Kept(0, 0, 10000),
    "kernel/printk_ratelimit": Kept(5), "kernel/printk_ratelimit_burst": Kept(10),
    "kernel/pty/max": Kept(4096, 0), "kernel/pty/reserve": Kept(1024, 0),
    "kernel/random/urandom_min_reseed_secs": Kept(60), "kernel/random/write_wakeup_threshold": Kept(256),
    "kernel/sched_autogroup_enabled": _switch(1), "kernel/sched_cfs_bandwidth_slice_us": Kept(5000, 1),
    "kernel/sched_deadline_period_max_us": Kept(4194304, 0), "kernel/sched_deadline_period_min_us": Kept(100, 0),
    "kernel/sched_rr_timeslice_ms": Kept(100), "kernel/sched_rt_period_us": Kept(1000000, 1),
    "kernel/sched_rt_runtime_us": Kept(950000, -1), "kernel/shm_rmid_forced": _switch(0),
    "kernel/sysctl_writes_strict": Kept(1, -1, 1), "kernel/task_delayacct": _switch(0),
    "kernel/timer_migration": _switch(1), "kernel/unprivileged_bpf_disabled": Kept(2, 0, 2),
    "vm/admin_reserve_kbytes": Kept(8192, 0, _UNLIMITED), "vm/compact_unevictable_allowed": _switch(1),
    "vm/compaction_proactiveness": Kept(20, 0, 100), "vm/dirty_background_bytes": Kept(0, 1, _UNLIMITED),
    "vm/dirty_background_ratio": Kept(10, 0, 100), "vm/dirty_bytes": Kept(0, 8192, _UNLIMITED),
    "vm/dirty_expire_centisecs": Kept(3000, 0), "vm/dirty_ratio": Kept(20, 0, 100),
    "vm/dirty_writeback_centisecs": Kept(500, 0), "vm/dirtytime_expire_seconds": Kept(43200, 0),
    "vm/extfrag_threshold": Kept(500, 0, 1000), "vm/hugetlb_shm_group": Kept(0, 0, _INT_MAX),
    "vm/laptop_mode": Kept(0, 0), "vm/memfd_noexec": Kept(0, 0, 2),
    "vm/nr_overcommit_hugepages": Kept(0, 0, _UNLIMITED),

    "vm/percpu_pagelist_high_fraction": Kept(0, 0), "vm/stat_interval": Kept(1),
    "vm/user_reserve_kbytes": Kept(131072, 0, _UNLIMITED),
    "vm/vfs_cache_pressure": Kept(100, 0),
    "vm/watermark_boost_factor": Kept(15000, 0),
    "vm/zone_reclaim_mode": Kept(0, 0),
    "vm/defrag_mode": _switch(0), "vm/min_slab_ratio": Kept(5, 0, 100), "vm/min_unmapped_ratio": Kept(1, 0, 100),
    "vm/numa_stat": _switch(1), "vm/page_lock_unfairness": Kept(5, 0), "vm/vfs_cache_pressure_denom": Kept(100, 100),
}  # fmt: skip


def init(kernel: Kernel) -> None:
    """All of /proc/sys that is not there from the start."""
    procfs = kernel.vfs.procfs
    values = {name: kept.value for name, kept in KEPT.items()}
    for name, kept in KEPT.items():
        _add_kept(kernel, values, name, kept)
    for name, text in _shown(kernel).items():
        procfs.create_file(f"sys/{name}", text)
    _add_limits(kernel)
    _add_texts(kernel)
    procfs.create_file("sys/vm/drop_caches", lambda: b"", 0o200, store=_only_numbers)
    procfs.create_file("sys/vm/compact_memory", lambda: b"", 0o200, store=lambda data: _compact(kernel, data))
    procfs.create_file("sys/vm/stat_refresh", lambda: b"", 0o600, store=_only_numbers)


def _add_kept(kernel: Kernel, values: dict[str, int], name: str, kept: Kept) -> None:
    kernel.vfs.procfs.add_number(
        name, lambda: values[name], lambda value: values.__setitem__(name, value), kept.low, kept.high, kept.mode
    )


def _only_numbers(data: bytes) -> None:
    """What is written asks for something that there is no need of.  LinuxError(EINVAL) for what is no number."""
    if not data.strip(b" \n\0").isdigit() or not int(data.strip(b" \n\0")):
        raise LinuxError(errno.EINVAL)


def _compact(kernel: Kernel, data: bytes) -> None:
    """All of memory is compacted (sysctl_compaction_handler).  LinuxError(EINVAL) unless a 1 is written."""
    if data.strip(b" \n\0") != b"1":
        raise LinuxError(errno.EINVAL)
    kernel.compaction.whole()


def _only_node(data: bytes) -> None:
    """The order of zones has not been a choice since 4.14 (__parse_numa_zonelist_order).  LinuxError(EINVAL)."""
    if data[:1] not in (b"d", b"D", b"n", b"N"):
        raise LinuxError(errno.EINVAL)


def _shown(kernel: Kernel) -> dict[str, Callable[[], bytes]]:
    """Parameters that cannot be changed."""
    resources, random = kernel.vfs.resources, kernel.random
    boot_id = _uuid(random.getrandbits(128))

    def line(value: object) -> Callable[[], bytes]:
        return f"{value}\n".encode

    return {
        "fs/aio-nr": lambda: b"%d\n" % kernel.aio.used,
        "fs/dentry-state": lambda: b"%d\t0\t45\t0\t0\t0\n" % resources.names,
        "fs/file-nr": lambda: b"%d\t0\t%d\n" % (resources.open_files, resources.max_files),
        "fs/inode-nr": lambda: b"%d\t0\n" % resources.names,
        "fs/inode-state": lambda: b"%d\t0\t0\t0\t0\t0\t0\n" % resources.names,
        "kernel/arch": line("x86_64"), "kernel/bootloader_type": line(0), "kernel/bootloader_version": line(0),
        "kernel/cap_last_cap": line(40), "kernel/ngroups_max": line(65536), "kernel/osrelease": line(RELEASE),
        "kernel/ostype": line("Linux"), "kernel/version": line(VERSION),
        "kernel/pty/nr": line(0), "kernel/random/boot_id": line(boot_id), "kernel/random/entropy_avail": line(256),
        "kernel/random/poolsize": line(256),
        "kernel/random/uuid": lambda: f"{_uuid(random.getrandbits(128))}\n".encode(),
        "vm/mmap_min_addr": line(DAC_MMAP_MIN_ADDR),
        "vm/mmap_rnd_bits": line(MMAP_RND_BITS),
        "fs/epoll/max_user_watches": line(resources.max_epoll_watches),
        "fs/fanotify/max_queued_events": line(MAX_QUEUED_EVENTS), "fs/fanotify/max_user_groups": line(MAX_USER_GROUPS),
        "fs/fanotify/max_user_marks": lambda: b"%d\n" % resources.max_file_watches,
        "fs/inotify/max_queued_events": line(MAX_QUEUED_EVENTS),
        "fs/inotify/max_user_instances": line(MAX_USER_INSTANCES), "fs/mount-max": line(MAX_MOUNTS),
        "vm/lowmem_reserve_ratio": line("256\t256\t32\t0\t0"),
    }  # fmt: skip


def _uuid(bits: int) -> str:
    """A random UUID of version 4."""
    text = f"{bits & ~(0xF << 76 | 3 << 62) | 4 << 76 | 2 << 62:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _add_limits(kernel: Kernel) -> None:
    """Numbers on which something depends."""
    procfs, resources = kernel.vfs.procfs, kernel.vfs.resources
    for name, attribute, low, high in (
        ("fs/file-max", "max_files", 0, _UNLIMITED),
        ("fs/inotify/max_user_watches", "max_file_watches", 0, _INT_MAX),
        ("fs/nr_open", "nr_open", 64, 0x7FFFFFC0),
        ("fs/lease-break-time", "lease_break_time", -_INT_MAX - 1, _INT_MAX),
        ("fs/leases-enable", "leases_enabled", -_INT_MAX - 1, _INT_MAX),
    ):
        _add_attribute(kernel, name, resources, attribute, low, high)
    _add_attribute(kernel, "vm/unprivileged_userfaultfd", kernel.mm_context, "unprivileged_userfaultfd", 0, 1)
    _add_attribute(kernel, "fs/aio-max-nr", kernel.aio, "most", 0, _UNLIMITED)
    _add_attribute(kernel, "kernel/threads-max", kernel.pids, "max_threads", _MIN_THREADS, _MAX_THREADS)
    _add_attribute(kernel, "kernel/pid_max", kernel.pids, "pid_max", _RESERVED_PIDS + 1, PID_MAX)
    _add_attribute(kernel, "kernel/io_uring_disabled", kernel, "io_uring_disabled", 0, 2)
    _add_attribute(kernel, "kernel/io_uring_group", kernel, "io_uring_group", -1, _INT_MAX)
    _add_attribute(kernel, "kernel/perf_event_paranoid", kernel, "perf_event_paranoid", -_INT_MAX - 1, _INT_MAX)
    _add_attribute(kernel, "kernel/core_uses_pid", kernel, "core_uses_pid", -_INT_MAX - 1, _INT_MAX)
    _add_attribute(kernel, "kernel/randomize_va_space", kernel, "randomize_va_space", -_INT_MAX - 1, _INT_MAX)
    _add_attribute(kernel, "vm/max_map_count", kernel.mm_context, "max_map_count", 0, _INT_MAX)
    _add_attribute(kernel, "vm/panic_on_oom", kernel.oom, "panic_on_oom", 0, 2)
    _add_attribute(kernel, "vm/oom_kill_allocating_task", kernel.oom, "kill_allocating_task", -_INT_MAX - 1, _INT_MAX)
    _add_attribute(kernel, "vm/oom_dump_tasks", kernel.oom, "dump_tasks", -_INT_MAX - 1, _INT_MAX)
    marks = kernel.mm_context.watermarks
    _add_attribute(kernel, "vm/min_free_kbytes", marks, "min_free_kbytes", 0, _INT_MAX)
    _add_attribute(kernel, "vm/watermark_scale_factor", marks, "scale_factor", 1, 3000)
    _add_attribute(kernel, "vm/swappiness", kernel.mm_context.swap, "swappiness", 0, 200)
    _add_attribute(kernel, "vm/page-cluster", kernel.mm_context.swap, "page_cluster", 0, 31)
    _add_attribute(kernel, "vm/legacy_va_layout", kernel, "legacy_va_layout", 0, _INT_MAX)
    commit, pool, pipes = kernel.mm_context.commit, kernel.huge_pages, kernel.vfs.pipes
    procfs.add_sysctl("vm/overcommit_memory", lambda: b"%d\n" % commit.mode, commit.set_mode)
    procfs.add_sysctl("vm/overcommit_ratio", lambda: b"%d\n" % commit.ratio, commit.set_ratio)
    procfs.add_sysctl("vm/overcommit_kbytes", lambda: b"%d\n" % commit.kbytes, commit.set_kbytes)
    for name in ("vm/nr_hugepages", "vm/nr_hugepages_mempolicy"):  # there is one node
        procfs.add_sysctl(name, lambda: b"%d\n" % pool.size, pool.resize)
    procfs.create_file("sys/vm/numa_zonelist_order", lambda: b"Node\n", 0o644, store=_only_node)
    procfs.add_number("fs/pipe-max-size", lambda: pipes.max_size, pipes.set_max_size, 0, (1 << 32) - 1)


def _add_attribute(kernel: Kernel, name: str, of: object, attribute: str, low: int, high: int) -> None:
    def get() -> int:
        value: int = getattr(of, attribute)
        return value

    kernel.vfs.procfs.add_number(name, get, lambda value: setattr(of, attribute, value), low, high)


def _add_texts(kernel: Kernel) -> None:
    """Parameters that are texts."""
    texts = {
        "kernel/printk": "4\t4\t1\t7", "kernel/msg_next_id": "-1",
        "kernel/sem_next_id": "-1", "kernel/shm_next_id": "-1",
        "kernel/seccomp/actions_avail": "kill_process kill_thread trap errno user_notif trace log allow",
    }  # fmt: skip
    for name in texts:
        _add_text(kernel, f"sys/{name}", texts, name)
    taints = [0]
    procfs = kernel.vfs.procfs
    procfs.add_number("kernel/tainted", lambda: taints[0], lambda value: taints.__setitem__(0, taints[0] | value), 0)
    for name in ("hostname", "domainname"):
        _add_string(kernel, name, lambda: kernel.ns.uts, HOST_NAME_MAX)
    _add_string(kernel, "core_pattern", lambda: kernel, 127)
    for kind in KINDS:
        _add_namespaces(kernel, kind)


def _add_text(kernel: Kernel, path: str, texts: dict[str, str], name: str) -> None:
    def store(data: bytes) -> None:
        texts[name] = data.split(b"\n")[0].split(b"\0")[0][:127].decode("utf-8", "surrogateescape")

    kernel.vfs.procfs.create_file(
        path, lambda: f"{texts[name]}\n".encode("utf-8", "surrogateescape"), 0o644, store=store
    )


def _add_string(kernel: Kernel, name: str, of: Callable[[], object], longest: int) -> None:
    def text() -> bytes:
        return f"{getattr(of(), name)}\n".encode("utf-8", "surrogateescape")

    def store(data: bytes) -> None:
        setattr(of(), name, data.split(b"\n")[0].split(b"\0")[0][:longest].decode("utf-8", "surrogateescape"))

    kernel.vfs.procfs.create_file(f"sys/kernel/{name}", text, 0o644, store=store)


def _add_namespaces(kernel: Kernel, kind: str) -> None:
    """/proc/sys/user/max_KIND_namespaces, of the user namespace of who asks."""

    def here() -> UserNamespace | None:
        return None if kernel.current is None else kernel.current.credentials.user_ns

    def get() -> int:
        return kernel.namespaces.limit(here(), kind)

    def put(value: int) -> None:
        kernel.namespaces.set_limit(here(), kind, value)

    kernel.vfs.procfs.add_number(f"user/max_{kind}_namespaces", get, put, 0)

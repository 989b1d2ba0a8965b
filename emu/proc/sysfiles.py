"""Files of /sys that few programs ask for: the CPUs' topology and caches, the node, huge pages, and others."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.libfs import FixedDirectory
from emu.fs.pseudo import LateDirectory, PseudoSuperBlock, TextFile
from emu.kernel.cgroup.cgroupfs import OPTIONS
from emu.linux.errors import LinuxError
from emu.mm.pageflags import FrameKind
from emu.proc.cpuinfo import Cpuid
from emu.proc.pagelists import page_lists
from emu.proc.system import cpu_list
from emu.proc.thpfiles import add_thp
from emu.proc.tracefs import add_tracing
from emu.proc.vmstat import node_vmstat
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

_CPU = "devices/system/cpu"
_NODE = "devices/system/node"
_KERNEL_MAX = 255
_EMPTY = (
    "block", "class", "dev/block", "dev/char", "devices/virtual", "firmware", "hypervisor",
    "module", "power",
)  # fmt: skip
#: What a network device counts; nothing is counted here.
_COUNTED = ("bytes", "packets", "errors", "dropped", "fifo_errors", "compressed")
_CACHE_TYPES = {1: "Data", 2: "Instruction", 3: "Unified"}


#: What whom a group is given may write to (CFTYPE_NS_DELEGATABLE).
_DELEGATED = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "memory.oom.group", "memory.reclaim")


def add_all(kernel: Kernel) -> None:
    """Add the files."""
    tree, cpus = kernel.vfs.sysfs, kernel.cpus
    for name in _EMPTY:
        tree.create_directory(name)
    for cpu in range(cpus):
        _add_topology(tree, cpu, cpus)
    everyone = _list(cpus)
    for name, text in {
        "enabled": everyone, "isolated": "", "kernel_max": str(_KERNEL_MAX), "offline": "",
    }.items():  # fmt: skip
        _add(tree, f"{_CPU}/{name}", text)
    _add(tree, "bus/event_source/devices/software/type", "1")
    _add(tree, "kernel/cgroup/delegate", "\n".join(_DELEGATED))
    _add(tree, "kernel/cgroup/features", "\n".join(OPTIONS))
    _add_node(kernel, tree, cpus)
    _add_kernel(kernel, tree)
    holder: list[FixedDirectory] = []
    holder.append(LateDirectory(tree, lambda: _add_lo(tree, holder[0])))
    tree.create_directory("devices/virtual/net").add("lo", holder[0])
    tree.create_link("class/net/lo", "../../devices/virtual/net/lo")


def _add_lo(tree: PseudoSuperBlock, directory: FixedDirectory) -> None:
    """/sys/class/net/lo."""
    from emu.net.device import LO_INDEX, LO_MTU, LO_QUEUE, LO_TYPE

    texts: dict[str, object] = {
        "address": "00:00:00:00:00:00", "addr_assign_type": 0, "addr_len": 6, "broadcast": "00:00:00:00:00:00",
        "carrier": 1, "carrier_changes": 0, "dev_id": "0x0", "dev_port": 0, "dormant": 0, "flags": "0x9",
        "gro_flush_timeout": 0, "ifalias": "", "ifindex": LO_INDEX, "iflink": LO_INDEX, "link_mode": 0, "mtu": LO_MTU,
        "name_assign_type": 2, "netdev_group": 0, "operstate": "unknown", "proto_down": 0, "tx_queue_len": LO_QUEUE,
        "type": LO_TYPE, "uevent": "INTERFACE=lo\nIFINDEX=1",
    }  # fmt: skip
    for name, value in texts.items():
        directory.add(name, TextFile(tree, f"{value}\n".encode, size=tree.file_size))
    statistics = FixedDirectory(tree)
    directory.add("statistics", statistics)
    for name in (f"{way}_{what}" for way in ("rx", "tx") for what in _COUNTED):
        statistics.add(name, TextFile(tree, b"0\n".__bytes__, size=tree.file_size))


def _list(cpus: int) -> str:
    return cpu_list((1 << cpus) - 1)


def _add(tree: PseudoSuperBlock, name: str, text: str) -> None:
    tree.create_file(name, f"{text}\n".encode)


def _add_topology(tree: PseudoSuperBlock, cpu: int, cpus: int) -> None:
    """Every vCPU is a core of one package, with one thread."""
    own, all_ = f"{1 << cpu:x}", f"{(1 << cpus) - 1:x}"
    texts = {"core_id": str(cpu), "die_id": "0", "physical_package_id": "0", "cluster_id": str(cpu)}
    for name in ("thread_siblings", "core_cpus", "cluster_cpus"):
        texts |= {name: own, f"{name}_list": str(cpu)}
    for name in ("core_siblings", "die_cpus", "package_cpus"):
        texts |= {name: all_, f"{name}_list": _list(cpus)}
    for name, text in texts.items():
        _add(tree, f"{_CPU}/cpu{cpu}/topology/{name}", text)
    directory = tree.create_directory(f"{_CPU}/cpu{cpu}")
    holder: list[FixedDirectory] = []
    holder.append(LateDirectory(tree, lambda: _add_caches(tree, holder[0], cpu)))
    directory.add("cache", holder[0])


class Cache(NamedTuple):
    """A cache, as CPUID leaf 4 tells."""

    level: int
    kind: str
    line: int
    partitions: int
    ways: int
    sets: int


def caches() -> list[Cache]:
    """The caches of the machine's CPU model."""
    cpuid, found = Cpuid(), []
    for number in range(8):
        leaf = cpuid(4, number)
        kind = _CACHE_TYPES.get(leaf.eax & 31)
        if kind is None:
            break
        line, partitions, ways = leaf.ebx & 0xFFF, leaf.ebx >> 12 & 0x3FF, leaf.ebx >> 22
        found.append(Cache(leaf.eax >> 5 & 7, kind, line + 1, partitions + 1, ways + 1, leaf.ecx + 1))
    return found


def _add_caches(tree: PseudoSuperBlock, directory: FixedDirectory, cpu: int) -> None:
    for number, cache in enumerate(caches()):
        index = FixedDirectory(tree)
        size = cache.line * cache.partitions * cache.ways * cache.sets
        texts = {
            "coherency_line_size": cache.line, "id": cpu, "level": cache.level, "number_of_sets": cache.sets,
            "physical_line_partition": cache.partitions, "shared_cpu_list": cpu, "shared_cpu_map": f"{1 << cpu:x}",
            "size": f"{size >> 10}K", "type": cache.kind, "ways_of_associativity": cache.ways,
        }  # fmt: skip
        for name, value in texts.items():
            index.add(name, TextFile(tree, f"{value}\n".encode, size=tree.file_size))
        directory.add(f"index{number}", index)


def _add_node(kernel: Kernel, tree: PseudoSuperBlock, cpus: int) -> None:
    """The one node."""
    for name in ("has_cpu", "has_memory", "has_normal_memory", "online", "possible"):
        _add(tree, f"{_NODE}/{name}", "0")
    _add(tree, f"{_NODE}/has_generic_initiator", "")
    node = f"{_NODE}/node0"
    for name, text in {"cpulist": _list(cpus), "cpumap": f"{(1 << cpus) - 1:x}", "distance": "10"}.items():
        _add(tree, f"{node}/{name}", text)
    tree.create_file(f"{node}/meminfo", lambda: node_meminfo(kernel))
    tree.create_file(f"{node}/vmstat", partial(node_vmstat, kernel))
    for cpu in range(cpus):
        tree.create_link(f"{node}/cpu{cpu}", f"../../cpu/cpu{cpu}")
    _add_huge_pages(kernel, tree, f"{node}/hugepages", ("free_hugepages", "nr_hugepages", "surplus_hugepages"))


def node_meminfo(kernel: Kernel) -> bytes:
    """/sys/devices/system/node/node0/meminfo."""
    frames, pool, pages = kernel.frames, kernel.huge_pages, page_lists(kernel)
    lists = pages.lists
    figures = {
        "MemTotal": frames.total, "MemFree": frames.free, "MemUsed": frames.total - frames.free,
        "SwapCached": kernel.mm_context.swap.cached, "Active": lists.active_anon + lists.active_file,
        "Inactive": lists.inactive_anon + lists.inactive_file, "Unevictable": lists.unevictable,
        "Mlocked": lists.unevictable, "Dirty": 0, "Writeback": 0, "FilePages": pages.file + pages.shmem,
        "Mapped": sum(mm.rss_cache for mm in kernel.mm_context.address_spaces.values()), "AnonPages": pages.anon,
        "Shmem": pages.shmem, "PageTables": frames.used[FrameKind.PAGETABLE], "Slab": frames.kmem.pages,
        "SUnreclaim": frames.kmem.pages,
    }  # fmt: skip
    text = "".join(f"Node 0 {name + ':':<15}{pages * PAGE_SIZE >> 10:>9} kB\n" for name, pages in figures.items())
    numbers = {"HugePages_Total": pool.total, "HugePages_Free": pool.free, "HugePages_Surp": pool.surplus}
    return (text + "".join(f"Node 0 {name}: {number:>5}\n" for name, number in numbers.items())).encode()


def _add_huge_pages(kernel: Kernel, tree: PseudoSuperBlock, place: str, names: tuple[str, ...]) -> None:
    pool = kernel.huge_pages
    shown: dict[str, Callable[[], int]] = {
        "free_hugepages": lambda: pool.free, "nr_hugepages": lambda: pool.size,
        "nr_hugepages_mempolicy": lambda: pool.size, "nr_overcommit_hugepages": lambda: 0,
        "resv_hugepages": lambda: pool.reserved, "surplus_hugepages": lambda: pool.surplus,
    }  # fmt: skip
    for name in names:
        store = partial(_resize, kernel) if name == "nr_hugepages" else None
        _add_number(tree, f"{place}/hugepages-2048kB/{name}", shown[name], store)


def _resize(kernel: Kernel, data: bytes) -> None:
    """LinuxError(EINVAL)."""
    if not data.strip().isdigit():
        raise LinuxError(errno.EINVAL)
    kernel.huge_pages.resize(int(data))


def _add_number(
    tree: PseudoSuperBlock, name: str, number: Callable[[], int], store: Callable[[bytes], None] | None
) -> None:
    tree.create_file(name, lambda: b"%d\n" % number(), 0o444 if store is None else 0o644, store=store)


def _add_kernel(kernel: Kernel, tree: PseudoSuperBlock) -> None:
    add_thp(kernel, tree)
    add_tracing(kernel, tree)
    texts = {
        "address_bits": "64", "cpu_byteorder": "little", "fscaps": "1", "profiling": "0", "rcu_expedited": "0",
        "rcu_normal": "0", "uevent_seqnum": "0", "oops_count": "0", "warn_count": "0",
    }  # fmt: skip
    for name, text in texts.items():
        _add(tree, f"kernel/{name}", text)
    _add_huge_pages(
        kernel, tree, "kernel/mm/hugepages",
        ("free_hugepages", "nr_hugepages", "nr_hugepages_mempolicy", "nr_overcommit_hugepages", "resv_hugepages",
         "surplus_hugepages"),
    )  # fmt: skip

"""What is added to /proc when the first program asks for something that is not there from the start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from emu.fs.pseudo import SeekableFile, TextFile
from emu.proc import (
    activity,
    attributes,
    idmap,
    machine,
    meminfo,
    memory,
    mqueue,
    net,
    ns,
    numamaps,
    pagemap,
    process,
    smaps,
    sysctl,
    sysvipc,
    timens,
)
from emu.proc.config import config_gz
from emu.proc.cpuinfo import cpuinfo, identity
from emu.proc.superblock import ProcSuperBlock
from emu.proc.vmstat import vmstat
from emu.proc.zoneinfo import zoneinfo

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel

_TEXTS: dict[str, tuple[Callable[[Kernel], bytes], int]] = {
    "buddyinfo": (meminfo.buddyinfo, 0o444), "config.gz": (config_gz, 0o444), "loadavg": (process.loadavg, 0o444),
    "meminfo": (meminfo.meminfo, 0o444), "pagetypeinfo": (meminfo.pagetypeinfo, 0o400),
    "slabinfo": (meminfo.slabinfo, 0o400), "vmstat": (vmstat, 0o444), "zoneinfo": (zoneinfo, 0o444),
    **{name: (make, 0o444) for name, make in machine.FILES.items()},
}  # fmt: skip
_READERS = {"kpagecount": meminfo.kpagecount, "kpageflags": meminfo.kpageflags}


def add_all(kernel: Kernel) -> None:
    """Add the files."""
    procfs = kernel.vfs.procfs
    assert isinstance(procfs, ProcSuperBlock)
    for module in (activity, attributes, idmap, memory, numamaps, process, smaps, timens):
        procfs.pid_files.update(module.PID_FILES)
    procfs.pid_inodes.update(pagemap.PID_INODES)
    procfs.pid_directories.update(ns.PID_DIRECTORIES)
    procfs.pid_directories["net"] = lambda sb, task: sb.net
    for name, (make, mode) in _TEXTS.items():
        procfs.create_file(name, partial(make, kernel), mode)
    for name, text in machine.FIXED.items():
        procfs.create_file(name, text.encode)
    for name, read_at in _READERS.items():
        procfs.root.add(name, SeekableFile(procfs, partial(read_at, kernel)))
    procfs.root.add("cpuinfo", CpuInfo(kernel))
    for init in (sysctl.init, sysvipc.init, mqueue.init, net.init):
        init(kernel)


class CpuInfo(TextFile):
    """/proc/cpuinfo, for which CPUID is asked once."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel.vfs.procfs, self._make)
        self._kernel = kernel
        self._text = b""

    def _make(self) -> bytes:
        if not self._text:
            bits = 57 if self._kernel.mm_context.levels == 5 else 48
            self._text = cpuinfo(identity(), self._kernel.cpus, bits)
        return self._text

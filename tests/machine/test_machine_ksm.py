"""Same-page merging and NUMA balancing: the kernel answers as one that is built without them, and says so."""

from __future__ import annotations

import gzip

import pytest

from emu.linux.errors import LinuxError
from tests.booted import Booted


@pytest.mark.parametrize("call", ["madvise p 4K 12", "madvise p 4K 13", "prctl 67 1 0 0 0", "prctl 68 0 0 0 0"])
def test_calls_are_unknown(call: str) -> None:
    (line,) = Booted().calls(f"@p = mmap 0 8K RW PRIVATE -1 0; {call}")
    assert line.endswith(" = EINVAL")


def test_files_are_not_there() -> None:
    vfs = Booted().kernel.vfs
    for path in ("/sys/kernel/mm/ksm", "/proc/sys/kernel/numa_balancing", "/proc/self/ksm_stat"):
        with pytest.raises(LinuxError):
            vfs.walker(None).resolve(path)
    vmstat = vfs.read_file("/proc/vmstat").decode()
    assert not any(word in vmstat for word in ("ksm", "numa_pte_updates", "pgpromote"))


def test_the_configuration_says_so() -> None:
    config = gzip.decompress(Booted().kernel.vfs.read_file("/proc/config.gz")).decode()
    assert "# CONFIG_KSM is not set" in config and "CONFIG_NUMA_BALANCING=y" not in config

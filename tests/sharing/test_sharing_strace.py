"""--strace of the interface generations: ioctls by their names, which depend on the file, and their structures."""

from __future__ import annotations

import re

import pytest

from emu.trace.strace import Strace
from tests.booted import MakeMachine

FRESH = '@b = bytes 64; @fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; '

V3 = (
    "@ftruncate fd 4M; @create fd 4K 8K RW OBJECT|MAP_NORESERVE; @create fd 0 4K 1 MAP_SHARED|MAP_FIXED 9 16K;"
    "@unmap fd 8K 4K; @c = words 4K 4K 1; @ioctl fd 0x40187820 c; @ioctl fd CREATE_MAPPING 16; @ioctl fd UNMAP 0;"
    "@ioctl fd SET_SIZE b; @ioctl fd GET_SIZE b",
    [
        "ioctl(3, MSHAREFS_CREATE_MAPPING, {region_offset=0x1000, size=8192, offset=0, prot=PROT_READ|PROT_WRITE,"
        " flags=MAP_SHARED|MAP_FIXED|MAP_ANONYMOUS|MAP_NORESERVE, fd=-1}) = 0",
        "ioctl(3, MSHAREFS_CREATE_MAPPING, {region_offset=0, size=4096, offset=16384, prot=PROT_READ,"
        " flags=MAP_SHARED|MAP_FIXED, fd=9}) = -1 EBADF (Bad file descriptor)",
        "ioctl(3, MSHAREFS_UNMAP, {region_offset=0x2000, size=4096}) = 0",
        "ioctl(3, MSHAREFS_PROTECT, {region_offset=0x1000, size=4096, prot=PROT_READ}) = 0",
        "ioctl(3, MSHAREFS_CREATE_MAPPING, 0x10) = -1 EFAULT (Bad address)",
        "ioctl(3, MSHAREFS_UNMAP, NULL) = -1 EFAULT (Bad address)",
        "ioctl(3, MSHAREFS_UNMAP, {region_offset=0, size=0}) = -1 EINVAL (Invalid argument)",
        "ioctl(3, _IOC(_IOC_READ, 0x78, 0, 0x10), B) = -1 ENOTTY (Inappropriate ioctl for device)",
    ],
)
Y1 = (
    "@ioctl fd GET_SIZE b; @set_size fd 2T 4M; @ioctl fd GET_SIZE b; @create_at fd 2T 4K RW OBJECT;"
    "@unmap_at fd 2T 4K; @ioctl fd GET_SIZE 16; @ioctl fd CREATE_MAPPING b",
    [
        "ioctl(3, MSHAREFS_GET_SIZE, {start=0, size=0}) = 0",
        "ioctl(3, MSHAREFS_SET_SIZE, {start=0x20000000000, size=4194304}) = 0",
        "ioctl(3, MSHAREFS_GET_SIZE, {start=0x20000000000, size=4194304}) = 0",
        "ioctl(3, MSHAREFS_CREATE_MAPPING, {addr=0x20000000000, size=4096, offset=0, prot=PROT_READ|PROT_WRITE,"
        " flags=MAP_SHARED|MAP_FIXED|MAP_ANONYMOUS, fd=-1}) = 0",
        "ioctl(3, MSHAREFS_UNMAP, {addr=0x20000000000, size=4096}) = 0",
        "ioctl(3, MSHAREFS_GET_SIZE, 0x10) = -1 EFAULT (Bad address)",
        "ioctl(3, _IOC(_IOC_WRITE, 0x78, 0, 0x28), B) = -1 ENOTTY (Inappropriate ioctl for device)",
    ],
)
G4 = (
    "@g = mshare_create 02000000; @ftruncate g 4M; @place g 4K 8K RW OBJECT; @w = mshare_attach g 0 2M 2T 1;"
    "@mshare_protect g 4K 4K 1; @mshare_advise g 4K 4K 4; @mshare_unmap g 4K 4K; @mshare_detach w; @mshare_map g 0 40",
    [
        "mshare_create(O_CLOEXEC) = 3",
        "ftruncate(3, 4194304) = 0",
        "mshare_map(3, {offset=0x1000, size=8192, file_offset=0, prot=PROT_READ|PROT_WRITE,"
        " flags=MAP_SHARED|MAP_FIXED|MAP_ANONYMOUS, fd=-1}, 40) = 4096",
        "mshare_attach(3, 0, 2097152, 0x20000000000, 0x1) = 0x20000000000",
        "mshare_protect(3, 0x1000, 4096, PROT_READ) = 0",
        "mshare_advise(3, 0x1000, 4096, MADV_DONTNEED) = 0",
        "mshare_unmap(3, 0x1000, 4096) = 0",
        "mshare_detach(0x20000000000) = 0",
        "mshare_map(3, NULL, 40) = -1 EFAULT (Bad address)",
    ],
)
V1 = (
    '@mmap 2T 2M RW ANON|MAP_FIXED -1 0; @mshare "r" 2T 2M O_RDWR|O_CREAT 0600; @mshare_unlink "r"',
    [
        'mshare("r", 0x20000000000, 2097152, O_RDWR|O_CREAT, 0600) = 0',
        'mshare_unlink("r") = 0',
    ],
)


@pytest.mark.parametrize(
    ("abi", "script", "lines"),
    [("v3", FRESH + V3[0], V3[1]), ("y1", FRESH + Y1[0], Y1[1]), ("g4", *G4), ("v1", *V1)],
    ids=["v3", "y1", "g4", "v1"],
)
def test_what_is_printed(machine: MakeMachine, abi: str, script: str, lines: list[str]) -> None:
    booted = machine(level="pte", abi=abi)
    printed: list[str] = []
    booted.kernel.tracer = Strace(booted.kernel, printed.append)
    assert booted.calls(script) == []
    shown = [re.sub(r"^\[pid \d+\] ", "", line) for line in printed]
    shown = [re.sub(r"\) += ", ") = ", re.sub(r"0x4[0-9a-f]{5}\)", "B)", line)) for line in shown]
    names = tuple({line.partition("(")[0] + "(" for line in lines})
    assert [line for line in shown if line.startswith(names)] == lines

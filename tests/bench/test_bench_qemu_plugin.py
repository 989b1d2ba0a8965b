"""The TLB that is a plugin of QEMU's counts what exact mode counts, where a host has what it needs."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

from emu.bench.loops import program, touch
from emu.bench.qemu_plugin import PRESET, QemuPlugin, build_plugin, command_of, find_plugin, read_counts
from emu.testing import GuestMachine
from mmu.geometry import IndexHash, PageSizes, Replacement
from mmu.memory import PAGE_SIZE
from mmu.perf_events import perf_events
from mmu.presets import load_preset
from tests.bench.qemu_loops import random_stores

TEXT, DATA, PAGES = 0x40_0000, 0x50_0000, 4096
#: None stores to a page that it has loaded from before: the fault that copies the page of zeros would be another miss.
LOOPS = {
    "first level": touch(DATA, 60, PAGE_SIZE, 50),
    "second level": touch(DATA, 500, PAGE_SIZE, 20), "misses": touch(DATA, PAGES, PAGE_SIZE, 3),
    "sets": touch(DATA, 9, 256 * PAGE_SIZE, 50, store=True), "random": random_stores(DATA, 50_000),
}  # fmt: skip


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> tuple[QemuPlugin, pathlib.Path]:
    found = find_plugin()
    if found.missing():
        pytest.skip(f"needs {found.missing()}")
    return found, build_plugin(found, tmp_path_factory.mktemp("plugin"))


@pytest.mark.parametrize("name", LOOPS)
def test_it_counts_what_exact_mode_counts(
    name: str, plugin: tuple[QemuPlugin, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    path, counts = tmp_path / "loop", tmp_path / "counts"
    path.write_bytes(program(LOOPS[name], TEXT, DATA, PAGES * PAGE_SIZE))
    path.chmod(0o755)
    subprocess.run([*command_of(*plugin, counts), str(path)], check=True)
    theirs = read_counts(counts)
    machine = GuestMachine(tlb=PRESET, modules={})
    machine.spawn(machine.install(path, "/bin/loop"), in_guest=True)
    machine.finish()
    ours = perf_events(machine.kernel.cpu.mmu)
    for kind, prefix in (("loads", "LOAD"), ("stores", "STORE")):
        misses = ours[f"DTLB_{prefix}_MISSES.WALK_COMPLETED"]
        assert theirs[kind].missed == misses
        assert theirs[kind].second_level == ours[f"DTLB_{prefix}_MISSES.STLB_HIT"]


def test_the_preset_is_one_that_it_can_have() -> None:
    arrays = [array for array in load_preset(PRESET).arrays if array.page_sizes & PageSizes.K4]
    assert [array.replacement for array in arrays] == [Replacement.LRU] * 3
    assert [array.index_hash for array in arrays] == [IndexHash.LINEAR] * 3


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("emu.bench.qemu_plugin.HEADER", "no-such-header.h")
    assert find_plugin().missing() == "a qemu-x86_64 that takes plugins, a C compiler, no-such-header.h"


def test_it_is_found_where_all_is_there(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, said in (("qemu-x86_64", "-plugin  FILE"), ("cc", ""), ("pkg-config", "-DGLIB")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{said}'\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "qemu-plugin.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CPATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    expected = QemuPlugin(str(tmp_path / "qemu-x86_64"), str(tmp_path / "cc"), tmp_path)
    assert (find_plugin(), expected.missing()) == (expected, "")
    (tmp_path / "qemu-x86_64").write_text("#!/bin/sh\necho '-strace'\n")
    assert find_plugin().missing() == "a qemu-x86_64 that takes plugins"


def test_what_the_compiler_says_is_told(tmp_path: pathlib.Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'no such file' >&2\nexit 1\n")
    compiler.chmod(0o755)
    with pytest.raises(RuntimeError, match=r"(?s)^bench: .*cc -O2 .* failed:\nno such file"):
        build_plugin(QemuPlugin("/bin/qemu", str(compiler), tmp_path), tmp_path)

"""Page tables in dumps of a machine's memory, as QEMU writes them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from emu.cli.main import main
from emu.trace.pt.file import BadSnapshot, check_levels, from_json, to_json
from emu.trace.pt.opened import holds_tables, open_tables
from emu.trace.pt.tables import PageTablesSnapshot, take_tables
from mmu.registers import CR4
from tests.booted import MakeMachine, machine
from tests.pt.dumps import CR4 as QEMU_CR4
from tests.pt.dumps import elf_dump, flattened, in_place, kdump_pieces, qemu_note, vmcoreinfo

__all__ = ["machine"]

USED, PS = 0x67, 0x80


def table(entries: dict[int, int]) -> bytes:
    words = np.zeros(512, "<u8")
    for index, value in entries.items():
        words[index] = value
    return words.tobytes()


#: A PML4 at 0x1000, and below it pages of 4 KiB, 2 MiB and 1 GiB; the table of 0x400000 is not in the dump.  Another
#: PML4 at 0x123000 has the same PD.
PAGES = {
    1: table({0: 0x2000 | USED, 256: 0x2000 | USED}),
    2: table({0: 0x3000 | USED, 1: 0x8000_0000 | USED | PS}),
    3: table({0: 0x4000 | USED, 1: 0x60_0000 | USED | PS, 2: 0x7000 | USED}),
    4: table({1: 0x9000 | USED, 2: 0xA000 | USED & ~2}),
    0x123: table({0: 0x12_4000 | USED}),
    0x124: table({0: 0x3000 | USED}),
}
LEVELS = {0x1000: 4, 0x2000: 3, 0x3000: 2, 0x4000: 1, 0x12_3000: 4, 0x12_4000: 3}


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def levels_of(snapshot: PageTablesSnapshot) -> dict[int, int]:
    return {at: found.level for at, found in snapshot.tables.items()}


def forms_of(pages: dict[int, bytes], notes: bytes) -> dict[str, bytes]:
    """The same memory in each format."""
    pieces = kdump_pieces(pages, notes)
    return {
        "elf": elf_dump(pages, notes), "many": elf_dump(pages, notes, many=True), "flattened": flattened(pieces),
        "backwards": flattened(pieces[::-1]), "kdump": in_place(pieces),
    }  # fmt: skip


@pytest.mark.parametrize("form", [*forms_of(PAGES, b"")])
def test_tables_are_found_from_the_registers_down(tmp_path: Path, form: str) -> None:
    notes = qemu_note(0x1000) + qemu_note(0x1000 | 5) + qemu_note(0x12_3000) + qemu_note(0, cr0=0x11)
    path = written(tmp_path / "vm", forms_of(PAGES, notes)[form])
    assert holds_tables(path)
    snapshot = open_tables(path)
    assert [(space.name, space.pgd, space.cpus) for space in snapshot.spaces] == [
        ("vCPUs 0, 1", 0x1000, (0, 1)), ("vCPU 2", 0x12_3000, (2,)),
    ]  # fmt: skip
    assert levels_of(snapshot) == LEVELS and snapshot.levels == 4 and snapshot.registers.cr4 & CR4.PGE
    for at, found in snapshot.tables.items():
        assert found.entries.tobytes() == PAGES[at >> 12]
    assert from_json(to_json(snapshot)) == snapshot
    chosen = open_tables(written(tmp_path / "vm", forms_of(PAGES, b"")[form]), (0x12_3000,))
    assert [(space.name, space.cpus) for space in chosen.spaces] == [("CR3 0x123000", ())]
    assert levels_of(chosen) == {at: LEVELS[at] for at in (0x12_3000, 0x12_4000, 0x3000, 0x4000)}


def test_five_levels(tmp_path: Path) -> None:
    pages = {**PAGES, 0x200: table({0: 0x1000 | USED})}
    path = tmp_path / "vm"
    snapshot = open_tables(written(path, elf_dump(pages, qemu_note(0x20_0000, cr4=QEMU_CR4 | CR4.LA57))))
    assert levels_of(snapshot)[0x20_0000] == 5 == snapshot.levels
    said = vmcoreinfo("OSRELEASE=6.1\nNUMBER(pgtable_l5_enabled)=1\n")
    assert open_tables(written(path, elf_dump(pages, said)), [0x20_0000]).levels == 5
    with pytest.raises(BadSnapshot, match=r"differ in CR4\.LA57"):
        open_tables(written(path, elf_dump(pages, qemu_note(0x1000) + qemu_note(0x20_0000, cr4=0x16B0))))


def test_the_memory_of_our_machine_as_a_dump(machine: MakeMachine, tmp_path: Path) -> None:
    """What is found from CR3 down in all of memory is what was copied from the machine."""
    booted = machine(32 << 20)
    booted.guest("sharers", "mshare", 2, 2 << 20)
    booted.run_until_idle()
    snapshot = take_tables(booted, "")
    frames = {at: booted.ram.read(at << 12, 4096) for at in range(booted.ram.frames)}
    notes = b"".join(qemu_note(space.pgd) for space in snapshot.spaces)
    for data in (elf_dump(frames, notes), flattened(kdump_pieces(frames, notes))):
        found = open_tables(written(tmp_path / "vm", data))
        assert levels_of(found) == levels_of(snapshot)
        for at, each in found.tables.items():
            assert (each.entries == snapshot.tables[at].entries).all()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, saved = written(tmp_path / "vm.elf", elf_dump(PAGES, qemu_note(0x1000))), tmp_path / "vm.json"

    def said(*words: object) -> str:
        assert main(["pt", *map(str, words)]) == 0
        return capsys.readouterr().out

    shown = said("--save", saved, path)
    assert shown.startswith("page tables of vm.elf: as they were dumped\n---[ vCPU 0: PGD at 0x1000 ]---\n")
    assert "0x0000000000200000-0x0000000000400000        2M USR RW         PSE         ACC DRT x        pmd\n" in shown
    assert said(saved) == shown
    assert "---[ CR3 0x123000: PGD at 0x123000, in no CPU's CR3 ]---" in said("--cr3", 0x12_3000, path)
    assert "The physical address of 0x1008 is 0x9008." in said("--walk", "0x123000:0x1008:w", path)
    assert "The physical address of 0xffff800000001008 is 0x9008." in said("--walk", "0x1000:0xffff800000001008", path)
    assert said("--walk", "0x1000:0x400000", path).endswith("The table at 0x7000 is not there.\n")
    fault = said("--walk", "0x1000:0x2000:w", path)
    assert "RW is 0 in the PTE" in fault and "Linux" not in fault
    for words, what in (
        (("--pid", 7), "a dump names none; --cr3 says whose"),
        (("--cr3", 0x99_0000), "CR3 0x990000: its top table at 0x990000 is not in the dump"),
        (("--at", "end"), "nothing is run"),
    ):
        assert main(["pt", *map(str, words), path]) == 2
        assert what in capsys.readouterr().err
    assert main(["pt", "--cr3", str(0x12_3000), str(saved)]) == 2
    assert "no address space has its top table there (0x1000 of vCPU 0)" in capsys.readouterr().err


def test_circles_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A PML4 with an entry for itself, as other systems have it, and a table all of whose entries are for itself."""
    circle = {**PAGES, 1: table({0: 0x2000 | USED, 300: 0x1000 | USED}), 8: table(dict.fromkeys(range(512), 0x8067))}
    path = written(tmp_path / "vm", elf_dump(circle, qemu_note(0x1000) + qemu_note(0x8000)))
    snapshot = open_tables(path)
    assert levels_of(snapshot) == {at: LEVELS[at] for at in (0x1000, 0x2000, 0x3000, 0x4000)} | {0x8000: 4}
    with pytest.raises(BadSnapshot, match="as to a table of level 3, and that has level 4"):
        check_levels(snapshot.spaces, snapshot.tables, snapshot.levels)
    assert main(["pt", path]) == 2
    assert "entry 300 of the table at 0x1000 leads to 0x1000 as to a table of level 3" in capsys.readouterr().err


def with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


WHOLE, FLAT = (forms_of(PAGES, qemu_note(0x1000))[form] for form in ("elf", "flattened"))
KDUMP = in_place(kdump_pieces(PAGES, qemu_note(0x1000)))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (WHOLE[:40], "it is cut off, within its header"),
        (WHOLE[:300], "program headers are cut off"),
        (WHOLE[:-1], "the segment at 0x124000 is cut off"),
        (with_bytes(WHOLE, 18, b"\x03\0"), "no ELF core file of x86-64"),
        (with_bytes(WHOLE, 54, b"\x40\0"), "not of 56 bytes"),
        (elf_dump(PAGES, qemu_note(0x1000)[:-1]), "notes are cut off"),
        (elf_dump(PAGES, b""), "no vCPU's registers in it; --cr3"),
        (elf_dump(PAGES, qemu_note(0, cr0=0x11)), "no vCPU that pages with entries of 64 bits"),
        (elf_dump(PAGES, qemu_note(0x50_0000)), "vCPU 0: its top table at 0x500000 is not in the dump"),
        (elf_dump(PAGES, qemu_note(0x50_0000), virtual=1 << 40), "not in the dump, which was made with -p"),
        (elf_dump(PAGES, qemu_note(0x1000, version=2)), "note of vCPU 0 has version 2"),
        (FLAT[:4100], "flattened file is cut off"),
        (FLAT[:-20], "cut off"),
        (with_bytes(FLAT, 4104, b"\x70"), "a piece of the flattened file, of .* bytes, is cut off"),
        (KDUMP[:4100], "it is cut off, within its header"),
        (with_bytes(KDUMP, 428, b"\0\x20"), "its blocks have 8192 bytes"),
        (with_bytes(KDUMP, 4096 + 96 + 5, b"\xff"), "frames"),
        (in_place(kdump_pieces(PAGES, qemu_note(0x1000), flags=2)), "compressed by lzo"),
        (in_place(kdump_pieces(PAGES, qemu_note(0x1000), flags=0)), "has [0-9]+ bytes"),
    ],
)
def test_what_is_no_dump_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, what: str
) -> None:
    path = written(tmp_path / "vm", data)
    assert main(["pt", path]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and re.search(what, err), err


def test_damage_is_told_or_does_no_harm(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for case in range(300):
        data = bytearray((WHOLE, FLAT, KDUMP)[case % 3])
        for _ in range(random.integers(1, 6)):
            where = (200, 4300, len(data))[random.integers(3)]
            data[random.integers(where)] = random.integers(256)
        if random.integers(8) == 0:
            del data[random.integers(len(data)) :]
        try:
            snapshot = open_tables(written(tmp_path / "vm", bytes(data)), (0x1000,))
        except BadSnapshot as bad:
            assert len(str(bad).splitlines()) == 1
        else:
            assert 0x1000 in snapshot.tables and len(snapshot.tables) <= 300


def test_tables_that_are_reached_too_often_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four tables of which each has 512 entries for the next one."""
    pages = {frame: table(dict.fromkeys(range(512), frame + 1 << 12 | USED)) for frame in (1, 2, 3)}
    path = written(tmp_path / "vm", elf_dump({**pages, 4: table({0: 0x9000 | USED}), 9: table({})}, qemu_note(0x1000)))
    assert main(["pt", path]) == 2
    assert "vCPU 0: its tables are reached 134,480,385 times" in capsys.readouterr().err
    assert main(["pt", "--walk", "0x1000:0xffff800000000000", path]) == 0
    assert "The physical address of 0xffff800000000000 is 0x9000" in capsys.readouterr().out

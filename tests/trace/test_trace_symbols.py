"""Functions of programs and of libraries: where code is mapped is in the trace; the files are found by their paths."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import emu.trace
import guests
from emu.cli.main import main
from emu.linux.buildid import build_id_parse
from emu.trace.stat.codes import Coder
from emu.trace.stat.counting import count
from emu.trace.stat.groupings import ByFunction
from emu.trace.stat.image import Mapping
from emu.trace.stat.programs import NO_SYMBOLS, Programs
from emu.trace.stat.symbols import Elf
from tests.trace.symbols import ET_DYN, write_elf

HEADER = {
    "format": "unimmu-trace", "version": 2, "unimmu": "0", "command": ["/bin/prog"], "memory_bytes": 1 << 20, "seed": 0,
}  # fmt: skip
LIBRARY = 0x7F0000001000


def exec_of(path: str) -> dict[str, Any]:
    return {"event": "exec", "path": path, "argv": [path]}


def mmap_of(start: int, path: str, *, length: int = 0x2000, offset: int = 0x1000, **more: str) -> dict[str, Any]:
    return {"event": "mmap", "start": hex(start), "length": length, "offset": offset, "path": path, **more}


def at(rip: int) -> dict[str, Any]:
    return {"event": "switch", "previous": None, "rip": hex(rip)}


@pytest.fixture
def functions_of(tmp_path: Path) -> Callable[..., list[tuple[str, str]]]:
    """The function and the file of each event that `at` has made; ``files`` are the ELF files that are at hand."""

    def call(
        events: list[tuple[int, dict[str, Any]]], files: dict[str, Elf], remarks: list[str] | None = None
    ) -> list[tuple[str, str]]:
        path = tmp_path / "t.jsonl"
        lines = [HEADER] + [
            {"seq": seq, "clock": seq, "time": seq, "pid": pid, "tid": pid, "rip": "0x0", **event}
            for seq, (pid, event) in enumerate(events)
        ]
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        trace = emu.trace.open(path)
        programs, found = Programs(trace.header["command"], files.get), []
        for rows in trace.tables():
            images = programs.images_of(rows).tolist()
            for image, row in zip(images, rows.select(["event", "rip"]).to_pylist(), strict=True):
                if row["event"] == "switch":
                    functions, (place,) = programs.functions(image, np.array([row["rip"]], np.uint64))
                    found.append((functions[place].name, functions[place].path))
        if remarks is not None:
            remarks += programs.remarks()
        return found

    return call


@pytest.fixture
def library(tmp_path: Path) -> Elf:
    """Its text begins at 0x1000 of the file, which is address 0x1000."""
    return Elf(write_elf(tmp_path / "lib.so", {"f": (0x1000, 0x100), "g": (0x1100, 0x100)}, type=ET_DYN))


def test_a_library_is_where_it_is_mapped(functions_of: Any, library: Elf) -> None:
    events = [
        (100, exec_of("/bin/prog")), (100, mmap_of(0x401000, "/bin/prog")), (100, mmap_of(LIBRARY, "/lib.so")),
        (100, at(LIBRARY)), (100, at(LIBRARY + 0x1FF)), (100, at(LIBRARY + 0x200)), (100, at(LIBRARY + 0x2000)),
        (100, at(0x401000)),
    ]  # fmt: skip
    remarks: list[str] = []
    assert functions_of(events, {"/lib.so": library}, remarks) == [
        ("f", "/lib.so"), ("g", "/lib.so"), (NO_SYMBOLS, "/lib.so"), (NO_SYMBOLS, "/bin/prog"),
        (NO_SYMBOLS, "/bin/prog"),
    ]  # fmt: skip
    assert remarks == ["no symbols of /bin/prog: there is no such ELF file here; --elf FILE says where it is"]


def test_each_process_has_its_own_libraries(functions_of: Any, library: Elf) -> None:
    """After a fork, an execve, and where a library has taken the place of another."""
    fork = {"event": "fork", "child": 101}
    events = [
        (100, exec_of("/bin/prog")), (100, mmap_of(0x401000, "/bin/prog")), (100, mmap_of(LIBRARY, "/lib.so")),
        (100, fork), (101, at(LIBRARY)), (101, mmap_of(LIBRARY, "/other.so")), (101, at(LIBRARY)), (100, at(LIBRARY)),
        (100, exec_of("/bin/next")), (100, at(LIBRARY)), (101, at(LIBRARY)),
    ]  # fmt: skip
    assert functions_of(events, {"/lib.so": library}) == [
        ("f", "/lib.so"), (NO_SYMBOLS, "/other.so"), ("f", "/lib.so"), (NO_SYMBOLS, "/bin/next"),
        (NO_SYMBOLS, "/other.so"),
    ]  # fmt: skip


@pytest.mark.parametrize("executed", ["./prog", "prog", "/root/script.sh"])
def test_a_program_is_the_file_that_is_mapped(functions_of: Any, library: Elf, executed: str) -> None:
    """Its path is one from a working directory that the trace does not tell, or that of a script."""
    program = mmap_of(LIBRARY, "/home/me/prog")
    events = [
        (100, exec_of(executed)),
        (100, program),
        (100, at(LIBRARY)),
        (100, exec_of(executed)),
        (100, at(LIBRARY)),
    ]
    remarks: list[str] = []
    found = functions_of(events[:3], {"/home/me/prog": library}, remarks)
    assert (found, remarks) == ([("f", "/home/me/prog")], [])
    assert functions_of(events[:3], {}, remarks) == [(NO_SYMBOLS, "/home/me/prog")]
    assert remarks == ["no symbols of /home/me/prog: there is no such ELF file here; --elf FILE says where it is"]
    assert functions_of(events, {"/home/me/prog": library})[1] == (NO_SYMBOLS, executed)
    other = mmap_of(LIBRARY, "/home/me/prog", build_id="abcd")
    remarks.clear()
    events = [(100, exec_of(executed)), (100, other), (100, at(LIBRARY))]
    assert functions_of(events, {"/home/me/prog": library}, remarks) == [(NO_SYMBOLS, "/home/me/prog")]
    says = "the file here has another build ID than what ran; --elf FILE names it"
    assert remarks == [f"no symbols of /home/me/prog: {says}"]


def test_a_process_whose_execve_was_not_recorded(functions_of: Any, library: Elf) -> None:
    events = [(100, at(LIBRARY)), (101, mmap_of(LIBRARY, "/lib.so")), (101, at(LIBRARY)), (100, at(LIBRARY))]
    assert functions_of(events, {"/lib.so": library}) == [
        (NO_SYMBOLS, "/bin/prog"), ("f", "/lib.so"), (NO_SYMBOLS, "/bin/prog"),
    ]  # fmt: skip


def test_a_file_that_has_changed_gives_no_names(functions_of: Any, library: Elf) -> None:
    remarks: list[str] = []
    other = mmap_of(LIBRARY, "/lib.so", build_id="abcd")
    events = [(100, exec_of("/bin/prog")), (100, mmap_of(0x401000, "/bin/prog")), (100, other), (100, at(LIBRARY))]
    assert functions_of(events, {"/lib.so": library}, remarks) == [(NO_SYMBOLS, "/lib.so")]
    says = "the file here has another build ID than what ran; --elf FILE names it"
    assert f"no symbols of /lib.so: {says}" in remarks
    program = [(100, exec_of("/lib.so")), (100, other), (100, at(LIBRARY))]
    remarks.clear()
    assert functions_of(program, {"/lib.so": library}, remarks) == [(NO_SYMBOLS, "/lib.so")]
    assert remarks == [f"no symbols of /lib.so: {says}"]


@pytest.mark.parametrize(
    "detail", [None, "", "[", "[]", "{}", '{"start":"x","length":1,"offset":0,"path":""}',
               '{"start":"0x0","length":0,"offset":0,"path":""}', '{"start":5,"length":1,"offset":0,"path":""}',
               '{"start":"0xffffffffffffffff","length":9,"offset":0,"path":""}']
)  # fmt: skip
def test_a_mapping_that_makes_no_sense(detail: str | None) -> None:
    assert Mapping.told(detail) is None


def elf_page(*notes: tuple[int, bytes, bytes], size: int = 56) -> bytes:
    """The first page of an ELF file with such notes: kind, name, description."""
    text = b"".join(
        struct.pack("<III", len(name), len(says), kind) + name + bytes(-len(name) % 4) + says + bytes(-len(says) % 4)
        for kind, name, says in notes
    )
    header = b"\x7fELF\2\1".ljust(32, b"\0") + struct.pack("<Q", 64) + bytes(14) + struct.pack("<HH", size, 1)
    program = struct.pack("<IIQQQQQQ", 4, 4, 256, 0, 0, len(text), len(text), 4)
    return (header.ljust(64, b"\0") + program).ljust(256, b"\0") + text


def build_id(page: bytes) -> str:
    def read(size: int, offset: int) -> bytes:
        assert 0 <= offset < 1 << 63, "no loff_t"
        return page[offset : offset + size]

    return build_id_parse(read).hex()


def test_build_ids() -> None:
    page = elf_page((1, b"GNU\0", bytes(16)), (3, b"xy\0", b"no"), (3, b"GNU\0", b"\x12\xab\xff"))
    assert build_id(page) == "12abff"
    assert build_id(elf_page((3, b"GNU\0", bytes(21)))) == build_id(elf_page()) == ""
    assert build_id(elf_page((3, b"GNU\0", b"\1"), size=0)) == build_id(b"#!/bin/sh") == ""
    for cut in range(len(page)):
        assert build_id(page[:cut]) in ("", "12abff")
    far = b"\xff" * 8  # e_phoff, p_offset
    assert build_id(page[:32] + far + page[40:]) == build_id(page[:72] + far + page[80:]) == ""


def test_the_code_of_a_guest_is_told(tmp_path: Path) -> None:
    """And that of a process when it is the first of its kind that is recorded."""
    for words, pid in (([], 100), (["--trace-pid", "101"], 101)):
        path = tmp_path / "t.jsonl"
        assert main(["run", "--trace", str(path), *words, "mshare_donor"]) == 0
        told = [event for event in map(json.loads, path.read_text().splitlines()) if event.get("event") == "mmap"]
        assert [(event["path"], event["pid"]) for event in told] == [("/bin/mshare_donor", pid), ("[vdso]", pid)]
        assert (int(told[0]["start"], 16), int(told[0]["length"])) == (0x401000, 0x1000)
    assert main(["run", "--trace", str(path), "--trace-kinds", "walk", "mshare_donor"]) == 0
    assert '"mmap"' not in path.read_text()


def test_symfs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, own = tmp_path / "t.parquet", Elf(guests.path("hello_pie"))
    assert main(["run", "--trace", str(path), "hello_pie"]) == 0
    (tmp_path / "bin").mkdir()
    write_elf(tmp_path / "bin" / "hello_pie", {"all_of_it": (0, own.end)}, type=ET_DYN, entry=own.entry)
    capfd.readouterr()
    assert main(["trace", "top", "--symfs", str(tmp_path), str(path)]) == 0
    assert " all_of_it  /bin/hello_pie\n" in capfd.readouterr().out
    assert main(["trace", "top", "--symfs", str(tmp_path / "none"), str(path)]) == 2
    assert capfd.readouterr().err == f"unimmu trace: --symfs {tmp_path / 'none'}: there is no such directory\n"


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A trace of a program of this system, which has libraries."""
    program = shutil.which("sort", path="/usr/bin:/bin")
    if program is None or not any(Path("/lib64").glob("ld-linux-x86-64.so.2")):
        pytest.skip("there is no dynamic /usr/bin/sort on this host")
    path = tmp_path_factory.mktemp("dynamic") / "t.parquet"
    assert main(["run", "--root", "/", "--trace", str(path), program, "/dev/null"]) == 0
    yield path


def test_functions_of_libc(dynamic: Path) -> None:
    trace = emu.trace.open(dynamic)
    assert trace.header["root"] == "/"
    rows = trace.arrow(["event", "detail"]).to_pylist()
    told = [json.loads(row["detail"]) for row in rows if row["event"] == "mmap"]
    libraries = {Path(one["path"]).name: one for one in told}
    assert {"sort", "[vdso]", "ld-linux-x86-64.so.2", "libc.so.6"} <= {*libraries}
    libc = Elf(libraries["libc.so.6"]["path"])
    assert libraries["libc.so.6"]["build_id"] == libc.build_id != ""
    from emu.trace.stat.files import Files

    programs = Programs(trace.header["command"], Files(trace.header).find)
    grouping = ByFunction(Coder(trace.schema, "t"), 4, programs)
    count(trace, Coder(trace.schema, "t"), [grouping])
    found = {(name, Path(path).name) for (name, path), _ in grouping.groups()}
    assert ("__libc_early_init", "libc.so.6") in found
    assert {name for name, path in found if path == "libc.so.6"} > {"__libc_early_init", "malloc"} or len(found) > 9


def test_perf_script_has_functions(dynamic: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.perf.txt"
    assert main(["trace", "convert", str(dynamic), str(out)]) == 0
    frames = {line for line in out.read_text().splitlines() if line.startswith("\t")}
    assert any(" __libc_early_init+0x" in line and line.endswith("/libc.so.6)") for line in frames)
    assert any(line.endswith(" [unknown] ([unknown])") for line in frames)  # before its first instruction


def test_a_path_of_several_lines_is_one_line_of_perf_script(tmp_path: Path) -> None:
    path, out, name = tmp_path / "t.jsonl", tmp_path / "t.perf.txt", "/bin/a\nb"
    events = [exec_of(name), mmap_of(LIBRARY, name), at(LIBRARY), {"event": "end"}]
    lines = [HEADER] + [
        {"seq": seq, "clock": seq, "time": seq, "pid": 100, "tid": 100, "rip": "0x0", **event}
        for seq, event in enumerate(events)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert main(["trace", "convert", str(path), str(out)]) == 0
    text = out.read_text().splitlines()[4:]
    assert len(text) == 9 and not any(text[2::3])
    assert all(line.startswith("a\\nb     100/100 ") for line in text[::3])
    assert text[7] == "\t    7f0000001000 [unknown] (/bin/a\\nb)"

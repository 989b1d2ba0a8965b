"""`unimmu trace report`: files that are wrong, symbols of programs, progress."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import emu.trace
from emu.cli.main import main
from tests.report.conftest import Page, Traces, number

SOURCE = """
static char memory[64 * 4096];
__attribute__((noinline)) void touches_pages(void)
{
	for (unsigned long at = 0; at < sizeof(memory); at += 4096)
		*(volatile char *)(memory + at) = 1;
}
void _start(void)
{
	touches_pages();
	__asm__ volatile("syscall" : : "a"(60), "D"(0));
}
"""


def test_it_writes_the_page(traces: Traces, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reported = traces("shared")
    page = tmp_path / "report.html"
    capsys.readouterr()
    assert main(["trace", "report", str(reported.path), "-o", str(page)]) == 0
    assert page.read_text("utf-8") == reported.page
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["{trace}"], "-o/--output"),
        (["{none}", "-o", "{page}"], "No such file"),
        (["{text}", "-o", "{page}"], "not a trace"),
        (["{trace}", "-o", "{trace}"], "that is the trace, which would be lost"),
        (["{trace}", "-o", "{page}", "--elf", "{none}"], "--elf {none}: No such file"),
        (["{trace}", "-o", "{page}", "--elf", "{text}"], "this is not an ELF file"),
        (["{cut}", "-o", "{page}"], "{cut}"),
    ],
)
def test_what_cannot_be(
    arguments: list[str], says: str, traces: Traces, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "t.parquet"
    content = traces("shared").path.read_bytes()
    trace.write_bytes(content)
    names = {name: tmp_path / name for name in ("none", "text", "page", "cut")} | {"trace": trace}
    names["text"].write_text("hello\n")
    names["cut"].write_bytes(content[: len(content) // 2])
    capsys.readouterr()
    filled = [word.format_map(names) for word in arguments]
    assert main(["trace", "report", *filled]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and says.format_map(names) in said
    assert not names["page"].exists() and trace.read_bytes() == content


@pytest.mark.parametrize(
    "column, value, says", [("level", 200, "a level of 200"), ("detail", "[]", "event "), ("event", None, "no kind")]
)
def test_columns_that_cannot_be(
    column: str, value: object, says: str, traces: Traces, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(traces("shared").path)
    at, field = table.schema.get_field_index(column), table.schema.field(column)
    values = table.column(at).to_pylist()
    changed = pa.array([value if known is not None else None for known in values], field.type)
    trace = tmp_path / "t.parquet"
    pq.write_table(table.set_column(at, field, changed), trace)
    capsys.readouterr()
    assert main(["trace", "report", str(trace), "-o", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{trace}: " in said and says in said


def test_a_run_that_was_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, page = tmp_path / "t.jsonl", tmp_path / "page.html"
    main(["run", "--trace", str(trace), "hello"])
    trace.write_bytes(trace.read_bytes()[:-40])
    assert main(["trace", "report", str(trace), "-o", str(page)]) == 0
    assert f"{trace}: its end is missing" in capsys.readouterr().err
    assert "The end of the trace is missing" in page.read_text("utf-8")


@pytest.mark.parametrize("kind", ["-static", "-static-pie"])
def test_functions_have_their_names(kind: str, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no gcc, which makes a program that has symbols")
    program, source, trace = tmp_path / "touches_it", tmp_path / "t.c", tmp_path / "t.parquet"
    source.write_text(SOURCE)
    pie = ["-fPIE"] if kind == "-static-pie" else ["-fno-pie"]
    flags = [kind, *pie, "-O1", "-nostdlib", "-fno-stack-protector", "-fcf-protection=none"]
    subprocess.run([compiler, *flags, str(source), "-o", str(program)], check=True)
    assert main(["run", "--trace", str(trace), str(program)]) == 0
    page = tmp_path / "page.html"
    assert main(["trace", "report", str(trace), "-o", str(page)]) == 0
    first = page.read_bytes()
    copy = tmp_path / "elsewhere" / program.name
    copy.parent.mkdir()
    program.rename(copy)
    assert main(["trace", "report", str(trace), "-o", str(page), "--elf", str(copy)]) == 0
    assert page.read_bytes() == first.replace(f"symbols of {program}".encode(), f"symbols of {copy}".encode())
    found = Page(page.read_text("utf-8"))
    rows = found.table("functions").rows
    faults = {row[1]: number(row[4]) for row in rows}
    assert faults["touches_pages"] == 64
    assert sum(faults.values()) == emu.trace.open(trace).arrow(["event"])["event"].to_pylist().count("fault")
    assert f"symbols of {copy}" in found.words["functions"]

"""A trace that is opened again: the same events from every format that can be read, and right answers from others'
tools."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import emu.trace
from emu.cli.main import main
from emu.trace.choice import Choice
from emu.trace.columns import COLUMNS
from emu.trace.events import Decoder, RowReader
from emu.trace.formats.jsonlines import JsonLines
from emu.trace.formats.registry import UnknownFormat
from emu.trace.reader import TraceError
from emu.trace.tabulator import Tabulator
from tests.cli.conftest import environment

RUNS = {
    "mshare_donor": ["mshare_donor"],
    "two vCPUs": ["--cpus", "2", "--mount", "msharefs:/sys/fs/mshare:tlb=sharers", "region_stress", "3", "4", "256K"],
    "five levels": ["--la57", "faults"],
    "a modelled TLB": ["--tlb", "textbook", "--trace-accesses", "mshare_donor"],
}


@pytest.fixture(autouse=True)
def short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace of some thousand events is read in several batches."""
    monkeypatch.setattr("emu.trace.formats.jsonlines._READ", 1 << 10)
    monkeypatch.setattr("emu.trace.formats.parquetfile._READ", 1 << 10)


@pytest.fixture(scope="module", params=RUNS, ids=list(RUNS))
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same run as Parquet and as lines of JSON."""
    directory = tmp_path_factory.mktemp("traces")
    paths = directory / "t.parquet", directory / "t.jsonl"
    for path in paths:
        main(["run", "--trace", str(path), *RUNS[request.param]])
    return paths


def test_both_have_the_same_rows(both: tuple[Path, Path]) -> None:
    rows, others = (emu.trace.open(path).arrow() for path in both)
    for name in rows.schema.names:
        assert rows[name].to_pylist() == others[name].to_pylist(), name


def test_the_lines_come_back_from_the_table(both: tuple[Path, Path]) -> None:
    trace = emu.trace.open(both[0])
    pieces: list[bytes] = []
    sink = JsonLines(pieces.append)
    sink.begin(trace.header, trace.schema, trace.levels)
    for batch in trace.batches():
        sink.write(batch)
    sink.end()
    assert b"".join(pieces) == both[1].read_bytes()


def test_it_says_whether_it_is_complete(both: tuple[Path, Path], tmp_path: Path) -> None:
    assert all(emu.trace.open(path).complete for path in both)
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(both[1].read_bytes().splitlines(keepends=True)[:-1]))
    assert not emu.trace.open(cut).complete


def test_some_columns(both: tuple[Path, Path]) -> None:
    for path in both:
        table = emu.trace.open(path).arrow(["event", "vaddr"])
        assert table.schema.names == ["event", "vaddr"] and table.num_rows > 10
        with pytest.raises(ValueError, match=r"no column '\w+'; its columns are seq, clock, "):
            emu.trace.open(path).arrow(["colour"])


def test_every_column_says_what_it_means() -> None:
    for column in COLUMNS:
        assert column.meaning and not column.meaning.endswith(".")
        assert column.unit or column.type not in ("uint64", "int64") or column.name in ("seq", "result"), column.name


@pytest.mark.parametrize("format", [None, "parquet", "jsonl"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100), b"hello\n", bytes(8)])
def test_files_that_are_no_traces(tmp_path: Path, content: bytes, format: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=str(path)):
        emu.trace.open(path, format)


def test_a_table_that_is_no_trace(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(TraceError, match="this is not a trace"):
        emu.trace.open(path)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The rows of a trace, with all that a Parquet file says."""
    path = str(tmp_path_factory.mktemp("rows") / "t.parquet")
    main(["run", "--trace", path, "hello"])
    return pq.read_table(path)


@pytest.mark.parametrize(
    ("column", "where", "value", "says"),
    [
        ("access", "walk", "look", "access is 'look', and may be read, write, fetch"),
        ("rights", "walk", "", "rights is '', and may be ---"),
        ("resolved", "fault", "\x1b[2J", "resolved is '\\\\x1b\\[2J', and may be"),
        ("event", "walk", None, "there is no kind None|None: its detail is no object"),
        ("event", "exec", "strange", "there is no kind 'strange'"),
        ("detail", "exec", None, "'exec': its detail is no object of JSON"),
        ("detail", "exec", "[]", "'exec': its detail is no object of JSON"),
        ("detail", "exec", "{", "Expecting property name"),
        ("detail", "exec", "{}", "exec: path is missing"),
        ("detail", "mmap", '{"start": -1}', "mmap: "),
        ("result", "syscall_exit", None, "syscall_exit: "),
    ],
)
def test_a_row_that_is_no_event(
    rows: pa.Table, column: str, where: str, value: str | None, says: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "t.parquet")
    pairs = zip(rows["event"].to_pylist(), rows[column].to_pylist(), strict=True)
    held = [value if event == where else had for event, had in pairs]
    damaged = rows.set_column(rows.schema.get_field_index(column), column, pa.array(held, rows[column].type))
    pq.write_table(damaged, path)
    trace = emu.trace.open(path)
    for read in (lambda: list(trace.batches()), lambda: list(RowReader(trace, Choice()))):
        with pytest.raises(TraceError, match=f"^{path}: .*({says})") as raised:
            read()
        assert "\n" not in str(raised.value)


def test_formats_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat, match="parquet, jsonl, not as 'perfume'"):
        emu.trace.open(tmp_path / "x", "perfume")
    with pytest.raises(TraceError, match="No such file"):
        emu.trace.open(tmp_path / "x")


@pytest.mark.parametrize(
    "choice",
    [
        Choice(), Choice(kinds=frozenset({"walk", "syscall_exit", "fork"})), Choice(pids=frozenset({101})),
        Choice(addresses=(2 << 40, (2 << 40) + 0xFFFF)), Choice(begin=700), Choice(begin=700, end=1500),
        Choice(frozenset({"fault", "link", "flush"}), frozenset({100}), (0, 1 << 63), 100, 10_000),
    ],
)  # fmt: skip
def test_events_are_chosen_the_same_of_rows_and_of_batches(both: tuple[Path, Path], choice: Choice) -> None:
    trace = emu.trace.open(both[0])
    of_rows = [event for event in RowReader(trace, choice) if event["event"] != "end"]
    tabulator = Tabulator(trace.levels)
    batches = (tabulator.table(choice.of_batch(batch)) for batch in trace.batches())
    decoder = Decoder(trace)
    events = [event for rows in batches for event in decoder.events(rows) if event["event"] != "end"]
    assert events == of_rows and (of_rows or choice != Choice())


# -- others' tools -----------------------------------------------------------------------------------------------------


def test_duckdb_reads_it(both: tuple[Path, Path]) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    rows = emu.trace.open(both[0]).arrow()
    (count, pages, last) = duckdb.sql(
        f"select count(*), count(distinct vaddr & ~4095::UBIGINT), max(vaddr) from '{both[0]}' where event = 'walk'"
    ).fetchall()[0]
    walks = rows.filter(pc.equal(rows["event"].cast(pa.string()), "walk"))["vaddr"].to_pylist()
    assert (count, pages, last) == (len(walks), len({vaddr & ~4095 for vaddr in walks}), max(walks))


def test_polars_reads_it(both: tuple[Path, Path]) -> None:
    polars = pytest.importorskip("polars", reason="Polars is not installed")
    for path in both:
        frame = emu.trace.open(path).polars()
        found = frame.filter(polars.col("event") == "walk").select(polars.col("vaddr").max()).collect().item()
        rows = emu.trace.open(path).arrow(["event", "vaddr"]).to_pylist()
        assert found == max(row["vaddr"] for row in rows if row["event"] == "walk")


def test_pandas_reads_it(both: tuple[Path, Path]) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    for path in both:
        frame = emu.trace.open(path).pandas()
        rows = emu.trace.open(path).arrow(["event", "vaddr"]).to_pylist()
        expected = [row["vaddr"] for row in rows if row["event"] == "walk"]
        assert frame[frame["event"] == "walk"]["vaddr"].tolist() == expected


# -- without PyArrow ---------------------------------------------------------------------------------------------------

_WITHOUT = "import sys; sys.modules['pyarrow'] = None; from emu.cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["run", "--trace", "new.jsonl", "hello"], 0, ""),
        (["run", "--trace", "new.parquet", "hello"], 2, "parquet needs pyarrow: pip install 'unimmu[trace]'"),
        (["trace", "view", "t.jsonl"], 0, ""),
        (["trace", "convert", "t.jsonl", "new.pftrace"], 0, ""),
        (["trace", "stat", "t.jsonl"], 70, "pyarrow is needed, but is not installed: pip install 'unimmu[trace]'"),
    ],
)
def test_without_pyarrow(tmp_path: Path, words: list[str], status: int, says: str) -> None:
    main(["run", "--trace", str(tmp_path / "t.jsonl"), "hello"])
    ran = subprocess.run(
        [sys.executable, "-c", _WITHOUT, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == status and says in ran.stderr, ran.stderr


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """It is told, and nobody waits for somebody to write."""
    path = tmp_path / "fifo.parquet"
    os.mkfifo(path)
    with pytest.raises(TraceError, match=f"{path}: this is a pipe, and a trace is read several times"):
        emu.trace.open(path)

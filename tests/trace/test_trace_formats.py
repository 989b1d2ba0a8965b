"""A trace in the formats of others, opened as they open it."""

from __future__ import annotations

import gc
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import emu.trace
from emu.cli.main import main
from emu.trace.batch import Batch
from emu.trace.formats import protobuf
from emu.trace.formats.registry import BY_NAME, FORMATS, Format, format_of
from emu.trace.header import make_header
from emu.trace.schema import Schema
from mmu.event_table import EVENT_COLUMNS
from mmu.events import EventKind
from mmu.registers import Access
from tests.cli.conftest import environment

Row = dict[str, Any]
SHARED = ["--cpus", "2", "--mount", "msharefs:/sys/fs/mshare:tlb=sharers", "region_stress", "3", "2", "256K"]
SHOOTDOWNS = ["--cpus", "2", "--mount", "msharefs:/sys/fs/mshare:tlb=sharers", "stale_reader"]
ACCESSES = ["--tlb", "textbook", "--trace-accesses", "touch_pages", "40K"]
#: An address of the upper half.
HIGH = 0xFFFF_8000_1234_5678


def convert(*words: object) -> int:
    return main(["trace", "convert", *map(str, words)])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four processes on two vCPUs, which link a region."""
    path = tmp_path_factory.mktemp("shared") / "t.parquet"
    assert main(["run", "--trace", str(path), *SHARED]) == 0
    return path


@pytest.fixture(scope="module")
def accesses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each access of a process."""
    path = tmp_path_factory.mktemp("accesses") / "t.parquet"
    assert main(["run", "--trace", str(path), *ACCESSES]) == 0
    return path


def rows(path: Path, *kinds: str) -> list[Row]:
    table = emu.trace.open(path).arrow()
    found: list[Row] = table.filter(pc.is_in(table["event"].cast(pa.string()), pa.array(kinds))).to_pylist()
    return found


@pytest.mark.parametrize("form", FORMATS, ids=[form.name for form in FORMATS])
def test_a_run_writes_what_a_conversion_writes(form: Format, shared: Path, accesses: Path, tmp_path: Path) -> None:
    words, recorded = (ACCESSES, accesses) if form.of_accesses else (SHARED, shared)
    ran, converted = tmp_path / f"ran{form.suffixes[0]}", tmp_path / f"converted{form.suffixes[0]}"
    assert main(["run", "--trace", str(ran), *words]) == 0
    assert convert(recorded, converted) == 0
    assert ran.read_bytes() == converted.read_bytes()


@pytest.mark.parametrize("name", ["ran.perf.txt", "ran.pftrace"])
def test_a_run_that_records_walks_alone_names_programs_and_functions(name: str, shared: Path, tmp_path: Path) -> None:
    ran, converted = tmp_path / name, tmp_path / f"converted-{name}"
    assert main(["run", "--trace", str(ran), "--trace-kinds", "walk", *SHARED]) == 0
    assert convert(shared, converted, "--kind", "walk") == 0
    assert ran.read_bytes() == converted.read_bytes()


def test_lines_of_json_are_converted_too(shared: Path, tmp_path: Path) -> None:
    lines, names = tmp_path / "t.jsonl", [tmp_path / "a.pftrace", tmp_path / "b.pftrace"]
    assert convert(shared, lines) == convert(shared, names[0]) == convert(lines, names[1]) == 0
    assert names[0].read_bytes() == names[1].read_bytes()


def write(form: str, *addresses: int) -> bytes:
    """A trace with a walk to each address."""
    records = np.zeros(len(addresses), EVENT_COLUMNS)
    for place, address in enumerate(addresses):
        record = records[place]
        record["seq"], record["kind"], record["asid"], record["tid"] = place, EventKind.WALK, 100, 100
        record["vaddr"], record["level"], record["rights"], record["entry_1"] = address, 1, 1, 1 << 63 | 0x1025
        record["access"] = Access.READ
    pieces: list[bytes] = []
    sink = BY_NAME[form].sink(pieces.append)
    schema = Schema()
    sink.begin(make_header(schema, unimmu="0", command=["x"], memory_bytes=1 << 20, seed=0), schema, 4)
    sink.write(Batch(records, []))
    sink.end()
    return b"".join(pieces)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_recording_does_not_import_pandas(tmp_path: Path, suffix: str) -> None:
    """pyarrow.array does, where it is installed, to ask whether it was given a Series: more CPU time than many runs."""
    program = "import sys; from emu.cli.main import main; print(main(sys.argv[1:]), 'pandas' in sys.modules)"
    words = ["run", "--trace", str(tmp_path / f"t{suffix}"), "getpid_loop", "3"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]


@pytest.mark.parametrize("words", [["stat"], ["report", "-o", "page.html"]], ids=["stat", "report"])
def test_a_command_does_not_import_pandas(shared: Path, tmp_path: Path, words: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-c", "from emu.cli.entry import main; main()"]
    done = subprocess.run(
        [*command, "trace", *words, str(shared)], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, "pandas.core" in done.stderr, "pyarrow" in done.stderr) == (0, False, True)


# -- which events ------------------------------------------------------------------------------------------------------


def test_only_some_kinds_and_processes(shared: Path, tmp_path: Path) -> None:
    some = tmp_path / "some.parquet"
    assert convert("--kind", "walk,fork,syscall_enter", "--pid", "100", shared, some) == 0
    expected = [row for row in rows(shared, "walk", "fork", "syscall_enter", "end") if row["pid"] in (100, None)]
    assert emu.trace.open(some).arrow().to_pylist() == expected
    assert {"walk", "fork", "syscall_enter"} == {row["event"] for row in expected[:-1]}
    assert emu.trace.open(some).complete


def test_what_cannot_be_converted(
    shared: Path, accesses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise, out = tmp_path / "noise", tmp_path / "out.csv"
    noise.write_bytes(b"noise")
    for words, says in (
        ((shared, tmp_path / "x.txt"), "its name does not end as a trace's does"),
        ((shared, tmp_path / "x"), "--format NAME says what it is to be"),
        (("--format", "perfume", shared, out), "there is no trace format 'perfume'; the formats are parquet, jsonl"),
        (("--kind", "noise", shared, out), "--kind noise: the kinds are access, accessed_dirty, "),
        ((tmp_path / "none.parquet", out), "none.parquet: No such file or directory"),
        ((noise, out), "this is not a trace"),
        ((shared, tmp_path / "no" / "t.csv"), "cannot be written: No such file or directory"),
        ((shared, "-"), "standard output has other text on it"),
        (("--format", "csv", shared, shared), "this is the trace itself"),
        ((shared, tmp_path / "x.champsim"), "there are no accesses: record with --tlb PRESET --trace-accesses"),
        (("--kind", "walk", accesses, tmp_path / "x.lackey"), "there are no accesses: "),
    ):
        capsys.readouterr()
        assert convert(*words) == 2
        said = capsys.readouterr().err
        assert said.startswith("unimmu trace: ") and says in said and said.count("\n") == 1, said
    assert [path.name for path in tmp_path.iterdir()] == ["noise"]


@pytest.mark.parametrize("form", ["csv", "parquet", "perfetto"])
def test_a_file_that_cannot_be_written_to_its_end(shared: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    assert convert("--format", form, shared, "/dev/full") == 74
    said = capsys.readouterr().err
    assert said == "unimmu trace: /dev/full: No space left on device; the file is not complete\n"


@pytest.mark.parametrize("form", [form.name for form in FORMATS if not form.of_accesses])
def test_a_line_that_is_none_in_the_middle(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr("emu.trace.formats.jsonlines._READ", 1000)  # so that it is not in the first batch
    lines, bad = tmp_path / "t.jsonl", tmp_path / "bad.jsonl"
    convert(shared, lines)
    for place, line in (
        (2000, b"noise\n"),
        (5, lines.read_bytes().splitlines(True)[5].replace(b'"clock":', b'"clock":-9')),
    ):
        text = lines.read_bytes().splitlines(keepends=True)
        text[place] = line
        bad.write_bytes(b"".join(text))
        capsys.readouterr()
        assert convert("--format", form, bad, tmp_path / "out") == 2
        gc.collect()  # what has not been finished must not complain
        said = capsys.readouterr().err
        assert said.startswith(f"unimmu trace: {bad}: ") and " line " in said and said.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_a_trace_without_its_end(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, cut = tmp_path / "t.jsonl", tmp_path / "cut.jsonl"
    convert(shared, lines)
    cut.write_bytes(b"".join(lines.read_bytes().splitlines(keepends=True)[:-1]))
    capsys.readouterr()
    assert convert(cut, tmp_path / "t.json") == 0
    assert capsys.readouterr().err.startswith(f"unimmu trace: {cut}: its end is missing; ")
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]


def test_the_page_has_every_format() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "tracing.md").read_text("utf-8")
    for form in FORMATS:
        suffixes = ", ".join(f"`{suffix}`" for suffix in form.suffixes)
        assert f"\n| `{form.name}` | {suffixes} | " in page


def test_the_longest_suffix_decides() -> None:
    assert format_of("a.perf.txt").name == "perf-script"
    assert format_of("a.trace.json").name == "chrome"
    assert format_of("a.csv", "lackey").name == "lackey"


# -- time lines --------------------------------------------------------------------------------------------------------


class Packets:
    """A file of Perfetto's, by its published schema, with every name where it is used."""

    def __init__(self, data: bytes) -> None:
        pb2 = pytest.importorskip(
            "perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="the perfetto package is not installed"
        )
        trace = pb2.Trace()
        trace.ParseFromString(data)
        self.tracks: dict[int, Any] = {}
        self.events: list[tuple[int, str, Any, dict[str, Any]]] = []
        names: dict[str, dict[int, str]] = {}
        for packet in trace.packet:
            for name in ("event_names", "event_categories", "debug_annotation_names", "debug_annotation_string_values"):
                for one in getattr(packet.interned_data, name):
                    text = one.str.decode() if name.endswith("values") else one.name
                    assert names.setdefault(name, {}).setdefault(one.iid, text) == text
            if packet.HasField("track_descriptor"):
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            if packet.HasField("track_event"):
                event = packet.track_event
                assert event.track_uuid in self.tracks
                notes = {
                    names["debug_annotation_names"][note.name_iid]: (
                        names["debug_annotation_string_values"][note.string_value_iid]
                        if note.WhichOneof("value") == "string_value_iid"
                        else getattr(note, note.WhichOneof("value") or "array_values")
                    )
                    for note in event.debug_annotations
                }
                name = names["event_names"][event.name_iid] if event.name_iid else ""
                self.events.append((packet.timestamp, name, event, notes))


BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4


def test_perfetto(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.pftrace"
    assert convert(shared, path) == 0
    packets = Packets(path.read_bytes())
    times = [time for time, *_ in packets.events]
    assert times == sorted(times) and times[-1] > 1000
    depth: Counter[int] = Counter()
    for _, _, event, _ in packets.events:
        depth[event.track_uuid] += {BEGIN: 1, END: -1}.get(event.type, 0)
        assert depth[event.track_uuid] in (0, 1)
    assert not +depth
    processes = {
        track.process.pid: track.process.process_name for track in packets.tracks.values() if track.process.pid
    }
    assert len(processes) == 4 and set(processes.values()) == {"region_stress"}
    threads = [track for track in packets.tracks.values() if track.thread.tid]
    assert {track.thread.pid for track in threads} == set(processes)
    assert all(packets.tracks[track.parent_uuid].process.pid == track.thread.pid for track in threads)
    assert {"CPU 0", "CPU 1", "machine", "links", "shared tables"} <= {track.name for track in packets.tracks.values()}

    faults = rows(shared, "fault")
    shown = [notes for _, name, event, notes in packets.events if name == "fault" and event.type == INSTANT]
    assert [(one["vaddr"], one["error_code"], one["resolved"]) for one in shown] == [
        (one["vaddr"], one["error_code"], one["resolved"]) for one in faults
    ]
    counted = {
        packets.tracks[packets.tracks[event.track_uuid].parent_uuid].process.pid: event.counter_value
        for *_, event, _ in packets.events
        if event.type == COUNTER and packets.tracks[event.track_uuid].name == "page faults"
    }
    assert counted == Counter(one["pid"] for one in faults)
    calls = Counter(one["call"] for one in rows(shared, "syscall_enter"))
    begun = [
        name for _, name, event, _ in packets.events if event.type == BEGIN and not name.startswith("region_stress")
    ]
    assert Counter(begun) == calls


@pytest.fixture(scope="module")
def shootdowns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vCPU tells another what to invalidate."""
    path = tmp_path_factory.mktemp("shootdowns") / "t.parquet"
    main(["run", "--trace", str(path), *SHOOTDOWNS])
    return path


def arrows(path: Path) -> Counter[tuple[str, str]]:
    """From which vCPU to which."""
    sent = [json.loads(row["detail"]) for row in rows(path, "shootdown")]
    return Counter((f"CPU {one['sender']}", f"CPU {number}") for one in sent for number in one["receivers"])


def test_perfetto_has_arrows_from_a_shootdowns_sender_to_its_receivers(shootdowns: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.pftrace"
    assert convert(shootdowns, path) == 0
    packets = Packets(path.read_bytes())
    names = {uuid: track.name for uuid, track in packets.tracks.items()}
    starts = {flow: names[event.track_uuid] for *_, event, _ in packets.events for flow in event.flow_ids}
    ends = {flow: names[event.track_uuid] for *_, event, _ in packets.events for flow in event.terminating_flow_ids}
    assert starts.keys() == ends.keys()
    assert Counter((starts[flow], ends[flow]) for flow in starts) == arrows(shootdowns) != Counter()


def test_chrome_has_them_too(shootdowns: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    assert convert(shootdowns, path) == 0
    events = json.loads(path.read_text())["traceEvents"]
    names = {(one["pid"], one["tid"]): one["args"]["name"] for one in events if one["ph"] == "M"}
    starts, ends = ({one["id"]: names[one["pid"], one["tid"]] for one in events if one["ph"] == p} for p in "sf")
    assert starts.keys() == ends.keys()
    assert Counter((starts[id], ends[id]) for id in starts) == arrows(shootdowns) != Counter()


def test_perfettos_trace_processor_opens_it(shared: Path, shootdowns: Path, tmp_path: Path) -> None:
    binary = shutil.which("trace_processor_shell") or shutil.which("trace_processor")
    if binary is None:
        pytest.skip("Perfetto's trace processor is not installed")
    api = pytest.importorskip("perfetto.trace_processor", reason="the perfetto package is not installed")
    for recorded in (shared, shootdowns):
        path = tmp_path / "t.pftrace"
        assert convert(recorded, path) == 0
        with api.TraceProcessor(trace=str(path), config=api.TraceProcessorConfig(bin_path=binary)) as processor:
            for query, expected in (
                ("select count(*) as n from stats where severity = 'error' and value > 0", 0),
                ("select count(*) as n from slice where name = 'fault'", len(rows(recorded, "fault"))),
                ("select count(*) as n from flow", arrows(recorded).total()),
            ):
                assert [row.n for row in processor.query(query)] == [expected]


def test_links_are_counted(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    assert convert(shared, path) == 0
    counts = [event for event in json.loads(path.read_text())["traceEvents"] if event.get("name") == "links"]
    changes = [1 if row["event"] == "link" else -1 for row in rows(shared, "link", "unlink")]
    assert [event["args"]["value"] for event in counts] == [sum(changes[: at + 1]) for at in range(len(changes))]


def assert_slices_that_every_viewer_ends(events: list[dict[str, Any]]) -> None:
    """Speedscope ends no slice by an end without its name, nor where it began; findings/ has the experiment."""
    begun: dict[tuple[int, int], dict[str, Any]] = {}
    calls = 0
    for event in events:
        track = event["pid"], event["tid"]
        if event["ph"] == "B":
            begun[track] = event
        elif event["ph"] == "E":
            start = begun.pop(track)
            assert all(event[field] == start[field] for field in ("name", "args", "cat"))
            assert event["ts"] > start["ts"]
        elif event["ph"] == "X":
            assert event["dur"] == 0
        calls += event["ph"] in "EX" and event["cat"] == "syscall_enter" and "result" in event["args"]
    assert not begun and calls > 0


def test_chrome(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.trace.json"
    assert convert(shared, path) == 0
    trace = json.loads(path.read_text())
    assert trace["otherData"]["command"][1:] == ["3", "2", "256K"]
    open_slices: Counter[tuple[int, int]] = Counter()
    for event in trace["traceEvents"]:
        assert {"ph", "pid", "tid"} <= event.keys()
        assert event["ph"] == "M" or event["ts"] >= 0
        assert all(not isinstance(value, int) or value < 1 << 53 for value in event.get("args", {}).values())
        open_slices[event["pid"], event["tid"]] += {"B": 1, "E": -1}.get(event["ph"], 0)
        assert open_slices[event["pid"], event["tid"]] in (0, 1)
    assert not +open_slices
    assert_slices_that_every_viewer_ends(trace["traceEvents"])
    walks = [event["args"]["vaddr"] for event in trace["traceEvents"] if event.get("name") == "walk"]
    assert walks == [f"{row['vaddr']:#x}" for row in rows(shared, "walk")]


def test_addresses_of_the_upper_half_stay_whole() -> None:
    (walk,) = (notes for _, name, _, notes in Packets(write("perfetto", HIGH)).events if name == "walk")
    assert (walk["vaddr"], walk["entry_1"]) == (HIGH, 1 << 63 | 0x1025)
    *_, event = json.loads(write("chrome", HIGH))["traceEvents"]
    assert (event["args"]["vaddr"], event["args"]["entry_1"]) == (f"{HIGH:#x}", "0x8000000000001025")
    assert f"vaddr={HIGH:#x} entry_1=0x8000000000001025" in write("perf-script", HIGH).decode()
    assert f'"{HIGH:#x}"' in write("csv", HIGH, 1).decode().splitlines()[1]


def test_numbers_of_protocol_buffers() -> None:
    """Examples of protobuf.dev, "Encoding"."""
    assert protobuf.number(1, 150) == bytes.fromhex("089601")
    assert protobuf.text(2, "testing") == bytes.fromhex("120774657374696e67")
    assert protobuf.varint(-2) == bytes.fromhex("feffffffffffffffff01")
    assert protobuf.fixed64(47, 1) == bytes.fromhex("f902" + "01" + "00" * 7)


# -- tables and text ---------------------------------------------------------------------------------------------------


def test_csv(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    assert convert(shared, path) == 0
    walks = [row["vaddr"] for row in rows(shared, "walk")]
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    found = duckdb.sql(f"select count(*), max(vaddr::UBIGINT) from '{path}' where event = 'walk'").fetchall()
    assert found == [(len(walks), max(walks))]
    polars = pytest.importorskip("polars", reason="Polars is not installed")
    address = polars.col("vaddr").str.strip_prefix("0x").str.to_integer(base=16, dtype=polars.UInt64)
    frame = polars.scan_csv(path, infer_schema_length=None).filter(polars.col("event") == "walk")
    assert frame.select(address).collect()["vaddr"].to_list() == walks
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    read = pandas.read_csv(path, converters={"vaddr": lambda text: int(text or "0", 16)})
    assert read[read["event"] == "walk"]["vaddr"].tolist() == walks


def test_csv_of_the_upper_half(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    path = tmp_path / "t.csv"
    path.write_bytes(write("csv", 0x1000, HIGH))
    assert duckdb.sql(f"select max(vaddr::UBIGINT) from '{path}'").fetchall() == [(HIGH,)]


def test_perf_script(shared: Path, tmp_path: Path) -> None:
    gprof2dot = pytest.importorskip("gprof2dot", reason="gprof2dot is not installed")
    path = tmp_path / "t.perf.txt"
    assert convert(shared, path) == 0
    lines = path.read_text().splitlines()
    events = [line for line in lines if line and not line.startswith(("#", "\t"))]
    table = emu.trace.open(shared).arrow()
    hidden = ("fill", "accessed_dirty", "cr3_load", "access", "end")
    expected = [row for row in table.to_pylist() if row["event"] not in hidden]
    assert len(events) == len(expected)
    assert sum("exceptions:page_fault_user: address=" in line for line in events) == len(rows(shared, "fault"))
    with path.open() as file:
        profile = gprof2dot.PerfParser(file).parse()
    assert profile[gprof2dot.SAMPLES] == len(events)


def test_events_that_are_not_chosen_still_say_where_code_is(shared: Path, tmp_path: Path) -> None:
    whole, walks = tmp_path / "t.perf.txt", tmp_path / "walks.perf.txt"
    line = tmp_path / "walks.json"
    assert convert(shared, whole) == convert("--kind", "walk", shared, walks) == 0
    assert convert("--kind", "walk", shared, line) == 0
    head, *samples = whole.read_text().split("\n#\n")[1].split("\n\n")
    expected = [one for one in [head, *samples] if ": mmu:walk: " in one]
    assert walks.read_text().split("\n#\n")[1].split("\n\n")[:-1] == expected and len(expected) > 10
    assert all(one.startswith("region_stress ") and one.endswith(" (/bin/region_stress)") for one in expected[1:])
    events = json.loads(line.read_text())["traceEvents"]
    assert {event["name"] for event in events if event["ph"] == "i"} == {"walk"}
    assert any("region_stress" in str(event.get("args")) for event in events if event["ph"] == "M")


# -- streams of accesses -----------------------------------------------------------------------------------------------


def happened(path: Path) -> list[Row]:
    """The loads and stores that did not end in a fault, with their physical pages."""
    found: list[Row] = []
    for row in rows(path, "access", "walk"):
        if row["event"] == "access":
            found.append(row)
        elif found[-1]["tlb_level"] is None and (found[-1]["vaddr"], found[-1]["access"]) == (
            row["vaddr"],
            row["access"],
        ):
            if row["error_code"] is None:
                found[-1] = {**found[-1], "paddr": row["paddr"]}
            else:
                found.pop()
    return [row for row in found if row["access"] != "fetch"]


def test_champsim(accesses: Path, tmp_path: Path) -> None:
    """Its record is struct input_instr of inc/trace_instruction.h."""
    path = tmp_path / "t.champsim"
    assert convert(accesses, path) == 0
    input_instr = np.dtype(
        [
            ("ip", "<u8"), ("is_branch", "u1"), ("branch_taken", "u1"), ("destination_registers", "u1", 2),
            ("source_registers", "u1", 4), ("destination_memory", "<u8", 2), ("source_memory", "<u8", 4),
        ]
    )  # fmt: skip
    assert input_instr.itemsize == 64
    records = np.fromfile(path, input_instr)
    expected = happened(accesses)
    for column, access in (("destination_memory", "write"), ("source_memory", "read")):
        found = [
            (ip, address)
            for ip, some in zip(records["ip"].tolist(), records[column].tolist(), strict=True)
            for address in some
            if address
        ]
        assert found == [(row["rip"], row["vaddr"]) for row in expected if row["access"] == access]
    assert set(records["ip"].tolist()) >= {row["vaddr"] for row in rows(accesses, "access") if row["access"] == "fetch"}


def test_memtrace(accesses: Path, tmp_path: Path) -> None:
    """Its record is trace_entry_t of clients/drcachesim/common/trace_entry.h, packed."""
    path = tmp_path / "t.memtrace"
    assert convert(accesses, path) == 0
    records = np.fromfile(path, np.dtype([("type", "<u2"), ("size", "<u2"), ("value", "<u8")])).tolist()
    assert records[0] == (25, 0, 3) and records[1] == (28, 12, 3) and records[-1] == (26, 0, 0)
    physical, frames, ip, found = 0, dict[int, int](), 0, []
    for type_, size, value in records:
        if (type_, size) == (28, 15):
            physical = value
        elif (type_, size) == (28, 17):
            frames[value] = physical
        elif type_ == 10:
            ip = value
        elif type_ in (0, 1):
            found.append((ip, ("read", "write")[type_], value, frames[value & ~4095] | value & 4095))
    assert found == [(row["rip"], row["access"], row["vaddr"], row["paddr"]) for row in happened(accesses)]
    assert [value for type_, _, value in records if type_ in (22, 24)] == [100, 100]
    assert (28, 18, 4096) in records


LACKEY = r"(I  | [LSM] )[0-9a-f]{8,16},\d+"


def test_lackey(accesses: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.lackey"
    assert convert(accesses, path) == 0
    ip, found = 0, []
    for line in path.read_text().splitlines():
        assert re.fullmatch(LACKEY, line)
        address, size = line[3:].split(",")
        if line[0] == "I":
            ip = int(address, 16)
        else:
            found.append((ip, line[1], int(address, 16), int(size)))
    assert found == [
        (row["rip"], {"read": "L", "write": "S"}[row["access"]], row["vaddr"], row["size"] or 0)
        for row in happened(accesses)
    ]


def test_lackeys_lines_are_those_of_valgrind(tmp_path: Path) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind is not installed")
    log = tmp_path / "log"
    words = [valgrind, "--tool=lackey", "--trace-mem=yes", f"--log-file={log}", "/bin/true"]
    subprocess.run(words, check=True, timeout=120)
    theirs = [line for line in log.read_text().splitlines() if line and not line.startswith("==")]
    assert len(theirs) > 1000
    assert all(re.fullmatch(LACKEY, line) for line in theirs)


def test_two_processes_that_use_one_address(tmp_path: Path) -> None:
    """A map of physical pages changes when another process runs."""
    records = np.zeros(6, EVENT_COLUMNS)
    for place, (pid, paddr) in enumerate(((100, 0x1000), (101, 0x2000), (100, 0x1000))):
        access, walk = records[2 * place], records[2 * place + 1]
        access["kind"], walk["kind"], walk["rights"] = EventKind.ACCESS, EventKind.WALK, 1
        for record in (access, walk):
            record["asid"] = record["tid"] = pid
            record["vaddr"], record["access"], record["rip"] = 0x5000, Access.READ, 0x400000
        walk["paddr"] = paddr
    pieces: list[bytes] = []
    sink = BY_NAME["memtrace"].sink(pieces.append)
    schema = Schema()
    sink.begin(make_header(schema, unimmu="0", command=["x"], memory_bytes=1 << 20, seed=0), schema, 4)
    sink.write(Batch(records[:3], []))  # a walk may come with the next batch
    sink.write(Batch(records[3:], []))
    sink.end()
    entries = np.frombuffer(b"".join(pieces), np.dtype([("type", "<u2"), ("size", "<u2"), ("value", "<u8")])).tolist()
    assert [value for type_, size, value in entries if (type_, size) == (28, 15)] == [0x1000, 0x2000, 0x1000]

"""The recorder: complete, in order, and the same for the same run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import guests
from emu.linux.event_kind import EventError, Field, Kind, Type
from emu.trace.batch import Batch
from emu.trace.fanout import Fanout
from emu.trace.formats.jsonlines import JsonLines
from emu.trace.formats.sink import Sink
from emu.trace.lines import HardwareLines
from emu.trace.recorder import Recorder
from emu.trace.schema import Schema
from mmu import EVENT
from mmu.control import Counters
from mmu.event_ring import EventRing
from mmu.events import EventKind
from tests.booted import Booted

#: event kind -> the MMU's counter of it
COUNTED = {
    "fill": "fills", "walk": "walks", "fault": "page_faults", "accessed_dirty": "ad_updates", "flush": "flushes",
    "cr3_load": "cr3_loads",
}  # fmt: skip

ROOT = Path(__file__).resolve().parents[2]

Event = dict[str, Any]


class Recorded:
    """A run with a recorder: the file, its lines, and what the MMU counted meanwhile."""

    def __init__(self, name: str, *arguments: object, ring: int | None = None, **options: Any) -> None:
        machine = Booted(**options)
        mmu = machine.kernel.cpu.mmu
        if ring is not None:
            mmu.events = EventRing(mmu.state, ring)
        before = mmu.counters
        self.pieces: list[bytes] = []
        recorder = Recorder(machine, JsonLines(self.pieces.append), command=[name], seed=0, version="0")
        machine.kernel.tracer = recorder
        machine.spawn(guests.path(name), [str(argument) for argument in arguments])
        machine.run(timeout_s=100)
        recorder.finish()
        self.counted = {
            name: getattr(mmu.counters, name) - getattr(before, name) for name in Counters.__dataclass_fields__
        }
        self.file = b"".join(self.pieces)
        self.header, *self.events = [json.loads(line) for line in self.file.splitlines()]
        assert machine.audit() == []

    def of(self, *kinds: str) -> list[Event]:
        return [event for event in self.events if event["event"] in kinds]


@pytest.fixture(scope="module")
def donor() -> Recorded:
    return Recorded("mshare_donor")


def test_the_first_line_says_what_this_is(donor: Recorded) -> None:
    assert donor.header == {
        "format": "unimmu-trace", "version": 2, "unimmu": "0", "command": ["mshare_donor"], "memory_bytes": 64 << 20,
        "seed": 0, "tlb": "off",
    }  # fmt: skip


def test_events_are_numbered_and_time_goes_on(donor: Recorded) -> None:
    assert [event["seq"] for event in donor.events] == list(range(len(donor.events)))
    clocks = [event["clock"] for event in donor.events]
    assert clocks == sorted(clocks)
    assert donor.events[-1]["event"] == "end"
    assert [e["event"] for e in donor.events].count("end") == 1
    assert all("pid" in event for event in donor.events[:-1])


def test_the_same_run_gives_the_same_file(donor: Recorded) -> None:
    assert Recorded("mshare_donor").file == donor.file


def test_the_seed_changes_the_run_only(donor: Recorded) -> None:
    other = Recorded("mshare_donor", seed=4711)
    assert other.events == donor.events  # this guest asks for nothing random


@pytest.mark.parametrize("ring", [64, 128, None])
@pytest.mark.parametrize("program", [("mshare_donor",), ("region_stress", 3, 2), ("touch_pages", "700K"), ("faults",)])
def test_every_event_that_the_mmu_counted_is_there(program: tuple[str, ...], ring: int | None) -> None:
    recorded = Recorded(*program, ring=ring)
    found = Counter(event["event"] for event in recorded.events)
    not_canonical = sum(e["event"] == "signal" and e["code"] == 0x80 for e in recorded.events)
    for kind, counter in COUNTED.items():
        missing = recorded.counted[counter] - found[kind]
        assert missing == 0 or (kind == "walk" and 0 < missing <= 2 * not_canonical), kind


def test_a_small_ring_loses_nothing_and_changes_nothing(donor: Recorded) -> None:
    assert Recorded("mshare_donor", ring=64).file == donor.file


def test_a_walk_has_the_entry_of_every_level_that_it_read(donor: Recorded) -> None:
    walks = donor.of("walk")
    for walk in walks:
        assert list(walk["entries"]) == [str(level) for level in range(4, walk["level"] - 1, -1)]
        *tables, last = (int(entry, 16) for entry in walk["entries"].values())
        assert all(entry & 1 for entry in tables)
        if "paddr" in walk:
            assert last & 1 and walk["level"] == 1
            assert int(walk["paddr"], 16) == last & 0xFFFFFFFFFF000 | int(walk["vaddr"], 16) & 0xFFF
        else:
            assert "error_code" in walk
    assert {len(walk["entries"]) for walk in walks} >= {1, 4}


def test_a_fault_follows_its_walk(donor: Recorded) -> None:
    for at, event in enumerate(donor.events):
        if event["event"] == "fault":
            walk = donor.events[at - 1]
            assert walk["event"] == "walk"
            assert [walk[k] for k in ("vaddr", "access", "error_code", "level", "pid")] == [
                event[k] for k in ("vaddr", "access", "error_code", "level", "pid")
            ]


def test_links_and_unlinks_have_the_entry_before_and_after(donor: Recorded) -> None:
    links, unlinks = donor.of("link"), donor.of("unlink")
    assert len(links) == len(unlinks) == 4  # two units, two processes
    assert {e["pid"] for e in links} == {100, 101}
    for link in links:
        assert (link["region"], link["level"], link["entry_level"], link["length"]) == (
            "shareme",
            "pmd",
            "pud",
            1 << 30,
        )
        assert link["before"] == "0x0"
        assert link["after"] == link["host_entry"] != "0x0"
    for unlink in unlinks:
        assert unlink["after"] == "0x0"
        assert unlink["before"] in {link["after"] for link in links if link["entry_paddr"] == unlink["entry_paddr"]}
    # the same two PMD tables, reached from different entries of different processes
    assert len({link["after"] for link in links}) == 2
    assert len({link["entry_paddr"] for link in links}) == 4


def test_a_linked_table_is_what_the_next_walk_goes_through(donor: Recorded) -> None:
    for at, event in enumerate(donor.events):
        if event["event"] == "link":
            later = (e for e in donor.events[at:] if e["event"] == "walk" and e["pid"] == event["pid"])
            walk = next(e for e in later if int(e["vaddr"], 16) & -(1 << 30) == int(event["vaddr"], 16))
            # the walk sets A where the kernel did not
            assert int(walk["entries"]["3"], 16) & ~0x20 == int(event["after"], 16) & ~0x20


def test_system_calls_begin_and_end(donor: Recorded) -> None:
    open_calls: dict[int, str] = {}
    for event in donor.of("syscall_enter", "syscall_exit", "exit"):
        if event["event"] == "syscall_enter":
            assert event["pid"] not in open_calls
            open_calls[event["pid"]] = event["name"]
            assert all(argument.startswith("0x") for argument in event["arguments"])
        elif event["event"] == "syscall_exit":
            assert open_calls.pop(event["pid"]) == event["name"]
            assert ("result" in event) != ("errno" in event)
    assert open_calls == {}
    assert {e["errno"] for e in donor.of("syscall_exit") if "errno" in e} == {"ENOENT"}


def test_the_life_of_processes(donor: Recorded) -> None:
    assert [(e["event"], e["pid"]) for e in donor.of("exec", "fork", "exit")] == [
        ("exec", 100), ("fork", 100), ("exit", 101), ("exit", 100),
    ]  # fmt: skip
    assert donor.of("fork")[0]["child"] == 101
    assert donor.of("exec")[0]["path"] == "/bin/mshare_donor"
    (killed,) = Recorded("calls", "on SIGSEGV 0; text 16").of("exit")
    assert killed["signal"] == "SIGSEGV" and "status" not in killed
    (signal,) = Recorded("calls", "on SIGSEGV 0; text 16").of("signal")
    assert (signal["signal"], signal["code"], signal["addr"]) == ("SIGSEGV", 1, "0x10")


def test_kernel_events_stand_among_the_mmus_where_they_happened(donor: Recorded) -> None:
    """The child's exit comes after its last walk and before the parent's next one."""
    at = next(n for n, e in enumerate(donor.events) if e["event"] == "exit" and e["pid"] == 101)
    assert all(
        e["pid"] != 101 for e in donor.events[at:] if e["event"] in ("walk", "fill", "syscall_enter") and "pid" in e
    )
    before = [e for e in donor.events[:at] if e["event"] == "syscall_enter" and e["pid"] == 101]
    assert before[-1]["name"] == "exit_group"


def test_what_happens_after_the_end_is_not_recorded() -> None:
    machine = Booted()
    pieces: list[bytes] = []
    recorder = Recorder(machine, JsonLines(pieces.append), command=[], seed=0, version="0")
    recorder.finish()
    recorder.finish()
    machine.kernel.tracer = recorder
    machine.spawn(guests.path("hello"))
    machine.run()
    assert [json.loads(line).get("event") for line in b"".join(pieces).splitlines()] == [None, "end"]


def test_long_traces_are_written_in_pieces() -> None:
    recorded = Recorded("touch_pages", "40M")
    assert len(recorded.pieces) > 2
    assert max(map(len, recorded.pieces)) < 8 << 20
    assert all(piece.endswith(b"\n") for piece in recorded.pieces)


def recorder_of(machine: Booted, *kinds: Kind) -> tuple[Recorder, list[bytes]]:
    """A recorder of a machine in which a module has declared ``kinds``, and its output."""
    machine.kernel.event_kinds += kinds
    pieces: list[bytes] = []
    return Recorder(machine, JsonLines(pieces.append), command=[], seed=0, version="0"), pieces


MIGRATE = Kind.of(
    "migrate", "a page moves to another node",
    Field("entry_paddr", Type.HEX, "where its entry is", "physical address"),
    Field("before", Type.HEX, "the entry before", "page-table entry"),
    Field("count", Type.NUMBER, "how often it has moved"),
    Field("name", Type.TEXT, "the name of the node", choices=("x", "y")),
    Field("nothing", Type.NUMBER, "may be null", nullable=True),
    Field("cpus", Type.NUMBERS, "those of the node"),
    words="to {name}",
)  # fmt: skip
MIGRATED: dict[str, Any] = {
    "entry_paddr": 0x1000, "before": 1 << 63, "count": 3, "name": "x", "nothing": None, "cpus": [1, 2],
}  # fmt: skip


def test_events_that_a_module_declares_are_written_as_declared() -> None:
    recorder, pieces = recorder_of(Booted(), MIGRATE)
    Fanout([recorder]).event("migrate", pid=7, **dict(reversed(MIGRATED.items())))
    recorder.finish()
    header, event, _ = map(json.loads, b"".join(pieces).splitlines())
    assert list(event.items()) == [
        ("seq", 0), ("clock", 0), ("time", 0), ("pid", 7), ("rip", "0x0"), ("event", "migrate"),
        ("entry_paddr", "0x1000"),
        ("before", "0x8000000000000000"), ("count", 3), ("name", "x"), ("nothing", None), ("cpus", [1, 2]),
    ]  # fmt: skip
    assert [kind["name"] for kind in header["kinds"]] == ["migrate"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"colour": "red"}, "migrate: there is no field 'colour'; the fields are entry_paddr, before, count"),
        ({"seq": 5}, "migrate: there is no field 'seq'; the fields are entry_paddr, before, count"),
        ({"before": "0x5"}, "migrate: before should be a number of 64 bits, and is '0x5'"),
        ({"before": -1}, "migrate: before should be a number of 64 bits, and is -1"),
        ({"before": 1 << 64}, "migrate: before should be a number of 64 bits, and is 18446744073709551616"),
        ({"count": "3"}, "migrate: count should be a number, and is '3'"),
        ({"count": True}, "migrate: count should be a number, and is True"),
        ({"count": None}, "migrate: count should be a number, and is None"),
        ({"name": "z"}, "migrate: name should be x or y, and is 'z'"),
        ({"cpus": [1, "2"]}, r"migrate: cpus should be a list of numbers, and is \[1, '2'\]"),
    ],
)
def test_an_event_that_its_declaration_does_not_allow_is_an_error(change: Event, says: str) -> None:
    recorder, _ = recorder_of(Booted(), MIGRATE)
    with pytest.raises(EventError, match=says):
        recorder.event("migrate", pid=7, **{**MIGRATED, **change})


def test_an_event_that_lacks_something_is_an_error() -> None:
    recorder, _ = recorder_of(Booted(), MIGRATE)
    for name in MIGRATED:
        with pytest.raises(EventError, match=f"migrate: {name} is missing"):
            recorder.event("migrate", **{field: value for field, value in MIGRATED.items() if field != name})


def test_an_event_of_a_kind_that_nobody_declares_is_an_error() -> None:
    recorder, _ = recorder_of(Booted())
    with pytest.raises(EventError, match=r"there is no kind 'migrate'; the kinds are access, .*, walk$"):
        recorder.event("migrate", **MIGRATED)


def test_a_kind_is_declared_once() -> None:
    with pytest.raises(EventError, match="the event kind migrate is declared twice"):
        recorder_of(Booted(), MIGRATE, MIGRATE)
    with pytest.raises(EventError, match="the event kind link is declared twice"):
        recorder_of(Booted(), Kind.of("link", "another"))
    with pytest.raises(EventError, match="migrate: the words of a module's kind are text"):
        recorder_of(Booted(), Kind.of("migrate", "it moves", words=lambda event: ["it moves"]))


def test_every_kind_has_a_line() -> None:
    kinds = [kind for kind in EventKind if kind != EventKind.NOTE]
    events = np.zeros(len(kinds), dtype=EVENT)
    events["kind"], events["seq"] = kinds, range(10, 10 + len(kinds))
    events["level"], events["clock"], events["asid"] = 1, 2**63, 5
    for name in ("vaddr", "paddr", "cr3", "old", "new", "length"):
        events[name] = 2**64 - 1
    events["entries"][:, :4], events["rights"] = 2**64 - 1, 7
    lines = [json.loads(line) for line in HardwareLines().format(events)]
    assert [line["event"] for line in lines] == [kind.name.lower() for kind in kinds]
    assert [line["seq"] for line in lines] == list(range(10, 17))
    assert all(line["clock"] == 2**63 and line["pid"] == 5 for line in lines)
    assert lines[1]["entries"] == dict.fromkeys("4321", "0xffffffffffffffff")
    events["kind"] = 99
    with pytest.raises(ValueError, match="kind 99"):
        list(HardwareLines().format(events))


def walk_lines(levels: int, *walks: tuple[int, dict[int, int]]) -> list[dict[str, Any]]:
    """Walks of (last level, entries by level) as the trace has them."""
    events = np.zeros(len(walks), dtype=EVENT)
    events["kind"], events["rights"] = EventKind.WALK, 1
    for event, (last, entries) in zip(events, walks, strict=True):
        event["level"] = last
        for level, entry in entries.items():
            event["entries"][level - 1] = entry
    return [json.loads(line) for line in HardwareLines(levels).format(events)]


def test_walks_of_five_levels() -> None:
    full, top = walk_lines(5, (1, {5: 0x51, 4: 0x41, 3: 0x31, 2: 0x21, 1: 0x11}), (5, {5: 0}))
    assert full["entries"] == {"5": "0x51", "4": "0x41", "3": "0x31", "2": "0x21", "1": "0x11"}
    assert top["entries"] == {"5": "0x0"}
    assert "cached_level" not in full and "cached_level" not in top


def test_walks_that_begin_behind_a_cached_entry() -> None:
    walks = [(1, {1: 0}), (1, {1: 0x11}), (2, {3: 0x31, 2: 0}), (3, {4: 0x41, 3: 0x80})]
    four, five = walk_lines(4, *walks), walk_lines(5, *walks)
    assert [list(walk["entries"]) for walk in four] == [["1"], ["1"], ["3", "2"], ["4", "3"]]
    assert [walk.get("cached_level") for walk in four] == [2, 2, 4, None]
    assert [walk.get("cached_level") for walk in five] == [2, 2, 4, 5]


def test_accesses_are_recorded_where_a_tlb_is_modelled() -> None:
    machine = Booted(tlb="textbook")
    mmu, pieces = machine.kernel.cpu.mmu, list[bytes]()
    assert mmu.tlb is not None
    before = {access: counted["accesses"] for access, counted in mmu.tlb.access_counters().items()}
    recorder = Recorder(machine, JsonLines(pieces.append), command=[], seed=0, version="0", accesses=True)
    machine.outcome("touch_pages", "40K")
    recorder.finish()
    header, *events = (json.loads(line) for line in b"".join(pieces).splitlines())
    assert header["tlb"] == "textbook"
    accesses = [event for event in events if event["event"] == "access"]
    found = Counter(event["access"] for event in accesses)
    for access, counted in mmu.tlb.access_counters().items():
        assert found[access.name.lower()] == counted["accesses"] - before[access] > 0
    hits = [event for event in accesses if event["tlb_level"]]
    assert {1, None} <= {event["tlb_level"] for event in accesses} <= {1, 2, None}
    assert all(("paddr" in event) == (event["tlb_level"] is not None) for event in accesses)
    assert all(int(e["vaddr"], 16) & 0xFFF == int(e["paddr"], 16) & 0xFFF for e in hits)
    for at, event in enumerate(events):
        if event["event"] == "access" and not event["tlb_level"]:
            assert (events[at + 1]["event"], events[at + 1]["vaddr"]) == ("walk", event["vaddr"])
    assert {walk.get("cached_level") for walk in events if walk["event"] == "walk"} >= {None, 2}


def test_accesses_are_recorded_only_if_asked_for() -> None:
    machine, pieces = Booted(tlb="textbook"), list[bytes]()
    recorder = Recorder(machine, JsonLines(pieces.append), command=[], seed=0, version="0")
    machine.outcome("hello")
    recorder.finish()
    assert b'"access",' not in b"".join(pieces) and b'"walk",' in b"".join(pieces)
    with pytest.raises(ValueError, match="no TLB is modelled"):
        Recorder(Booted(), JsonLines(pieces.append), command=[], seed=0, version="0", accesses=True)


def test_fanout_tells_each_tracer_what_it_asks_for() -> None:
    from emu.kernel.tracer import Tracer

    class Notes(Tracer):
        def __init__(self, *, syscalls: bool, active: bool) -> None:
            self.syscalls, self.active = syscalls, active
            self.told: list[str] = []

        def __getattribute__(self, name: str) -> Any:
            if name in ("syscall_enter", "syscall_exit", "signal", "fork", "exec", "exit", "event"):
                return lambda *_, **__: self.told.append(name)
            return super().__getattribute__(name)

    quiet, calls, events = (
        Notes(syscalls=False, active=False),
        Notes(syscalls=True, active=False),
        Notes(syscalls=False, active=True),
    )
    both = Fanout([quiet, calls, events])
    assert (both.syscalls, both.active) == (True, True)
    assert (Fanout([quiet]).syscalls, Fanout([quiet]).active) == (False, False)
    for name, arguments in {
        "syscall_enter": 4,
        "syscall_exit": 4,
        "signal": 2,
        "fork": 2,
        "exec": 3,
        "exit": 2,
        "event": 1,
    }.items():
        getattr(both, name)(*[None] * arguments)
    common = ["signal", "fork", "exec", "exit"]
    assert (quiet.told, calls.told, events.told) == (
        common,
        ["syscall_enter", "syscall_exit", *common],
        [*common, "event"],
    )


def test_both_modes_give_the_same_file(tmp_path: Path) -> None:
    """Native hooks and plain Python (NUMBA_DISABLE_JIT=1): every event, byte for byte."""
    program = "import sys; from tests.trace.test_trace_recorder import Recorded; "
    program += "open(sys.argv[1], 'wb').write(Recorded('mshare_donor').file)"
    files = [tmp_path / flag for flag in "01"]
    for file in files:
        environment = {**os.environ, "NUMBA_DISABLE_JIT": file.name, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", program, str(file)], cwd=ROOT, env=environment, check=True)
    native, reference = (file.read_bytes() for file in files)
    assert native == reference and len(native) > 10_000


def test_long_texts_do_not_wait_for_a_full_ring() -> None:
    """What waits is bounded, whatever a guest writes."""

    class Counting(Sink):
        most = events = 0

        def begin(self, header: Mapping[str, Any], schema: Schema, levels: int) -> None:
            """Nothing is written."""

        def write(self, batch: Batch) -> None:
            self.most = max(self.most, sum(len(note.detail) for note in batch.notes))
            self.events += len(batch.notes)

    machine, sink = Booted(), Counting()
    recorder = Recorder(machine, sink, command=[], seed=0, version="0")
    for _ in range(5000):
        recorder.event("mark", pid=7, text="x" * 4096)
    recorder.finish()
    assert sink.events == 5001 and sink.most < 5 << 20

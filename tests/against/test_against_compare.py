"""Where two records of runs part, and what is passed over because it depends on who runs when."""

from __future__ import annotations

from collections.abc import Iterable
from errno import EAGAIN, EINTR, ENOENT, EPIPE
from itertools import count
from typing import Any
from zlib import crc32

import pytest

from emu.against.compare import compare
from emu.against.places import Area, Places, areas_of
from emu.against.record import Flow, Kind, Record, Run, TaskRecords

_SERIAL = count(1)


def call(name: str, result: object = 0, **fields: Any) -> Record:
    number = crc32(name.encode())
    return Record(
        Kind.CALL, name, f"{name}()", next(_SERIAL), number=number, shown=str(result), result=result, **fields
    )


def moved(name: str, data: bytes, **fields: Any) -> Record:
    got = (("buffer", data),)
    return call(name, len(data), flow=Flow.STREAM, waits=True, fd=3, data=data, got=got, **fields)


def signal(name: str, *, waits: bool) -> Record:
    return Record(Kind.SIGNAL, name, f"--- {name} ---", next(_SERIAL), number=17, waits=waits)


def end(status: int = 0) -> Record:
    return Record(Kind.END, "end", "+++ exited +++", next(_SERIAL), result=status)


def run(*tasks: Iterable[Record], threaded: bool = False) -> Run:
    names = [(), (0,), (1,)]
    found = {name: TaskRecords(name, 100 + n, threaded=threaded) for n, name in enumerate(names[: len(tasks)])}
    for name, records in zip(found, tasks, strict=True):
        found[name].records = list(records)
    return Run(found)


def kinds(guest: Run, native: Run, *, every: bool = True) -> list[str]:
    return [difference.kind for difference in compare(guest, native, every=every).differences]


def test_the_same_is_no_difference() -> None:
    records = [call("close"), moved("read", b"abc"), end()]
    found = compare(run(records), run(records), every=False)
    assert (found.differences, found.compared, found.passed) == ([], 3, 0)


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [
        (call("close", 1), call("close", 2), "result"),
        (call("close", failed=ENOENT), call("close"), "errno"),
        (call("close", given=(("fd", 1),)), call("close", given=(("fd", 2),)), "arguments"),
        (call("stat", got=(("st_size", 1),)), call("stat", got=(("st_size", 2),)), "memory"),
        (call("close"), call("stat"), "call"),
        (end(0), end(256), "end"),
        (signal("SIGSEGV", waits=False), call("close"), "call"),
    ],
)
def test_a_difference_is_named(ours: Record, theirs: Record, kind: str) -> None:
    assert kinds(run([ours]), run([theirs])) == [kind]


def test_the_first_difference_of_all_tasks_is_the_first_in_the_machines_order() -> None:
    early, late = call("close", 1), call("close", 1)
    found = compare(run([late], [early]), run([call("close")], [call("close")]), every=False)
    assert [difference.guest for difference in found.differences] == [early]


def test_all_differences_behind_one_in_the_same_call() -> None:
    ours = [call("close", 1), call("stat"), call("open", 2)]
    theirs = [call("close", 2), call("stat"), call("open", 3)]
    assert kinds(run(ours), run(theirs)) == ["result", "result"]
    assert kinds(run(ours), run(theirs), every=False) == ["result"]


def test_both_sides_are_found_again_where_three_calls_are_alike() -> None:
    ours = [call("uname"), *(rest := [call("stat"), call("open"), call("close"), call("brk", 1)])]
    theirs = [call("getuid"), call("getgid"), *rest[:3], call("brk", 2)]
    assert kinds(run(ours), run(theirs)) == ["call", "result"]


def test_calls_that_one_side_makes_more_are_found() -> None:
    assert kinds(run([call("close"), end()]), run([call("close"), call("stat"), end()])) == ["call"]


@pytest.mark.parametrize("name", ["futex", "clock_gettime", "poll"])
def test_a_call_that_depends_on_others_may_be_missing(name: str) -> None:
    assert kinds(run([call(name), call("close")]), run([call("close")])) == []
    assert kinds(run([call("close")]), run([call(name), call("close")])) == []


def test_memory_goes_from_thread_to_thread() -> None:
    ours, theirs = [call("mmap"), call("close")], [call("close")]
    assert kinds(run(ours), run(theirs)) != []
    assert kinds(run(ours, threaded=True), run(theirs, threaded=True)) == []


def test_the_bytes_of_a_pipe_are_compared_and_not_its_pieces() -> None:
    ours = [moved("read", b"abc"), moved("read", b"def"), call("close")]
    assert kinds(run(ours), run([moved("read", b"abcdef"), call("close")])) == []
    refused = call("read", flow=Flow.STREAM, waits=True, failed=EAGAIN)
    assert kinds(run(ours), run([refused, moved("read", b"abcdef"), call("close")])) == []
    assert kinds(run(ours), run([moved("read", b"abcxef"), call("close")])) == ["bytes"]


def test_calls_change_places_where_pieces_come_otherwise() -> None:
    ours = [moved("read", b"abc"), call("stat", 1), moved("read", b"def"), call("stat", 2)]
    assert kinds(run(ours), run([moved("read", b"abcdef"), call("stat", 2), call("stat", 1)])) == []


def test_how_far_a_writer_comes_that_nobody_reads() -> None:
    ours = [moved("write", b"abc"), signal("SIGPIPE", waits=False), end(13)]
    assert kinds(run(ours), run([moved("write", b"abc"), call("close"), end()])) == []
    ours = [moved("write", b"abc"), call("write", flow=Flow.STREAM, waits=True, failed=EPIPE), call("stat"), end(256)]
    assert kinds(run(ours), run([moved("write", b"abc"), call("close"), end()])) == []


def test_how_far_a_task_comes_that_somebody_kills() -> None:
    ours, theirs = (
        run([signal("SIGTERM", waits=True), end(15)]),
        run([call("a"), signal("SIGTERM", waits=True), end(15)]),
    )
    for both in (ours, theirs):
        both.tasks[()].status = 15
    assert kinds(ours, theirs) == []
    theirs.tasks[()].status = 0
    assert kinds(ours, theirs) != []


def test_who_waits_for_a_signal_that_has_come_waits_in_another_way() -> None:
    ours = [call("rt_sigprocmask", 1), call("rt_sigsuspend", failed=EINTR), call("rt_sigprocmask", 2), call("wait4")]
    assert kinds(run(ours), run([call("wait4")])) == []
    assert kinds(run([call("rt_sigprocmask")]), run([])) == ["call"]


def test_a_wait_for_any_child_finds_any() -> None:
    any_child = (("pid", -1),)
    ours = call("wait4", ("task", (0,)), given=any_child)
    assert kinds(run([ours]), run([call("wait4", ("task", (1,)), given=any_child)])) == []
    one = (("pid", ("task", (0,))),)
    assert kinds(run([call("wait4", 1, given=one)]), run([call("wait4", 2, given=one)])) == ["result"]


def test_a_signal_of_somebody_else_comes_when_it_comes() -> None:
    handled = [signal("SIGCHLD", waits=True), call("write"), call("rt_sigreturn")]
    ours = [*handled, call("close"), call("stat")]
    theirs = [call("close"), *handled, call("stat")]
    assert kinds(run(ours), run(theirs)) == []
    assert kinds(run(ours), run([call("close"), call("stat")])) == ["signal"]


def test_a_handler_within_a_handler() -> None:
    inner = [signal("SIGUSR1", waits=True), call("rt_sigreturn")]
    handled = [signal("SIGCHLD", waits=True), call("write"), *inner, call("rt_sigreturn")]
    assert kinds(run([call("close"), *handled]), run([*handled, call("close")])) == []


def test_a_signal_of_its_own_stands_where_it_stands() -> None:
    ours = [signal("SIGSEGV", waits=False), call("close")]
    assert kinds(run(ours), run([call("close")])) == ["call"]


def test_streams_are_compared_at_the_end() -> None:
    ours, theirs = run([end()]), run([end()])
    ours.stdout, theirs.stdout = b"one\ntwo\n", b"one\ntoo\n"
    (difference,) = compare(ours, theirs, every=False).differences
    assert difference.what == r"from byte 5 on: the machine 'two\n', Linux 'too\n'"


def test_a_run_that_was_cut_off() -> None:
    ours, theirs = run([call("close")]), run([call("close"), call("stat")])
    ours.cut = "stopped after 1 seconds"
    assert kinds(ours, theirs) == ["time"]
    theirs.cut = "every process waits"
    assert kinds(ours, theirs) == []


# Places


def test_an_address_is_a_mapping_and_an_offset() -> None:
    places = Places([Area(0x1000, 0x3000, ("program",), 0x1000, "/bin/a", 0)], 0x10000)
    assert places.name(0) is None
    assert places.name(0x1010) == (("program",), 0x10)
    assert places.name(0x9000) == "nothing"
    places.grow_heap(0x12000)
    assert places.name(0x10008) == (("heap",), 8)


def test_a_mapping_over_a_part_of_another() -> None:
    places = Places([], 0)
    places.add(0x10000, 0x4000, ("a",), "/lib/x", 0)
    places.add(0x11000, 0x1000, ("b",), "/lib/x", 0x8000)
    assert places.name(0x12000) == (("a",), 0x2000)
    assert places.name(0x11000) == (("b",), 0)
    assert places.where(0x12010) == ("/lib/x", 0x2010)
    assert places.where(0x11010) == ("/lib/x", 0x8010)
    places.remove(0x10000, 0x2000)
    assert places.name(0x10000) == "nothing"
    assert places.name(0x13000) == (("a",), 0x3000)
    places.move(0x12000, 0x2000, 0x50000, 0x3000)
    assert places.name(0x50000) == (("a",), 0)


def test_the_mappings_of_a_new_program() -> None:
    maps = (
        b"00400000-00401000 r--p 00000000 00:00 1          /bin/cat\n"
        b"00401000-00402000 rw-p 00000000 00:00 0 \n"
        b"7f000000-7f001000 r-xp 00000000 00:00 1          /lib/ld.so\n"
        b"7ff00000-7ff10000 rw-p 00000000 00:00 0          [stack]\n"
    )
    places = Places(areas_of(maps, "/bin/cat"), 0x900000)
    assert places.name(0x401010) == (("program",), 0x1010)
    assert places.name(0x7F000004) == (("interpreter",), 4)
    assert places.name(0x7FF00010) == (("stack",), 0)

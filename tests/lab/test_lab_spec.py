"""Specifications of sweeps: what they come to, and what is said of those that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emu.lab.point import Point, flat, point_of, run_point
from emu.lab.spec import BadSpec, Measure, Spec, read_spec
from emu.lab.store import Row
from emu.lab.sweep_report import findings, picture_names

GOOD = """
title = "t"
program = "gups {size} 100"
options = "--mem 64M"
timeout = 5
[axes]
tlb = ["zen4", { name = "none", value = "" }]
size = ["1M", "2M"]
seed = [0, 7]
[report]
across = "size"
measures = ["mmu.walks per 1000 instructions", "wall_s"]
"""


def spec_of(tmp_path: Path, text: str) -> Spec:
    (tmp_path / "s.toml").write_text(text)
    return read_spec(tmp_path / "s.toml")


def test_the_points_are_the_product_of_the_axes(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, GOOD)
    tasks = spec.tasks()
    assert len(tasks) == 8 and (spec.timeout_s, spec.across) == (5, "size")
    assert tasks[1].labels == {"tlb": "zen4", "size": "1M", "seed": "7"}
    assert tasks[1].words == ("run", "--mem", "64M", "--tlb", "zen4", "--seed", "7", "gups", "1M", "100")
    assert tasks[-1].words == ("run", "--mem", "64M", "--seed", "7", "gups", "2M", "100")
    assert spec.measures[0] == Measure("mmu.walks per 1000 instructions", "mmu.walks", "instructions", 1000)


def test_axes_and_measures_have_names_for_people(tmp_path: Path) -> None:
    names = '[report.names]\nsize = "size, bytes"\n"mmu.walks per 1000 instructions" = "walks"\n'
    spec = spec_of(tmp_path, GOOD + names)
    assert [spec.called(word) for word in ("size", "wall_s", spec.measures[0].text)] == [
        "size, bytes",
        "wall_s",
        "walks",
    ]
    rows = [
        Row(task, str(number), {"mmu.walks": number, "instructions": 1000, "wall_s": 1}, None, 1.0)
        for number, task in enumerate(spec.tasks())
    ]
    walks, wall = findings(spec, rows)
    assert (walks.heading, walks.pictures[0].across, walks.pictures[0].up) == ("walks", "size, bytes", "walks")
    assert wall.pictures[0].up == "wall_s"


def test_a_picture_is_named_by_what_is_in_it(tmp_path: Path) -> None:
    measures = '["mmu.walks per 1000 instructions", "a/b", "a-b", "wall_s"]'
    spec = spec_of(tmp_path, GOOD[: GOOD.index("measures")] + f"measures = {measures}")
    assert picture_names(spec) == ["mmu.walks-per-1000-instructions.svg", "a-b.svg", "a-b-2.svg", "wall_s.svg"]


def test_a_program_is_recorded_and_replayed(tmp_path: Path) -> None:
    axes = '[axes]\ntlb = ["zen4"]\nn = [1, 6]\nseed = [3]'
    spec = spec_of(tmp_path, f'program = "hello"\nreplay = "--pcids {{n}}"\n{axes}')
    assert spec.tasks()[1].words == ("run", "--seed", "3", "hello")
    assert spec.tasks()[1].replay == ("--pcids", "6", "--tlb", "zen4")
    with pytest.raises(BadSpec, match=":2: replay: a trace is replayed by itself"):
        spec_of(tmp_path, f'trace = "a.parquet"\nreplay = "{{n}}"\n{axes}')


def test_a_trace_is_replayed(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, 'trace = "{which}.parquet"\n[axes]\nwhich = ["a"]\ntlb = ["zen4"]')
    assert spec.tasks()[0].words == ("tlb", "sim", "--tlb", "zen4", "a.parquet")


def test_what_is_shown_by_default_is_there(tmp_path: Path) -> None:
    """A replay counts no instructions and no walks of a run, so other figures are shown of it."""
    (tmp_path / "a.csv").write_text("0x1000\n0x2000\n")
    for what in ('trace = "a.csv"', 'program = "hello"\nreplay = ""', 'program = "hello"'):
        spec = spec_of(tmp_path, f'{what}\n[axes]\ntlb = ["textbook"]')
        (task,) = spec.tasks()
        point = point_of(task.words, spec.directory, spec.timeout_s, task.replay, spec.ends)
        figures = json.loads(run_point(point.to_bytes()))["figures"]
        assert [measure.of(figures) is not None for measure in spec.measures] == [True, True]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("[axes]", "[axes"), ":6: "),
        (("timeout = 5", "timeout = -1"), ":5: timeout: seconds are needed, not -1"),
        (("timeout = 5", "timeout = true"), ":5: timeout: seconds are needed, not True"),
        (('title = "t"', "ends = [256]"), ":2: ends: a list of exit statuses is needed, not [256]"),
        (('title = "t"', "titel = 1"), ":2: titel: not known; there are axes, ends, options,"),
        (('title = "t"', 'trace = "x"'), ":2: trace: a sweep has either a program or a trace"),
        (('"gups {size} 100"', "7"), ":3: program: a text is needed, not 7"),
        (('"gups {size} 100"', '"gups {siez}"'), ":3: program: there is no axis 'siez'; there are tlb, size, seed"),
        (('"gups {size} 100"', '"gups"'), ":8: axes.size: used nowhere: write {size} in program or options"),
        (('"gups {size} 100"', '"gups {size:x}"'), ":3: program: {size} is no name of an axis"),
        (('"gups {size} 100"', '"gups \'{size}"'), ":3: program: No closing quotation"),
        (("seed = [0, 7]", "seed = []"), ":9: axes.seed: a list of values is needed"),
        (("seed = [0, 7]", "seed = [0, 0]"), ":9: axes.seed: '0' is there twice"),
        (("seed = [0, 7]", "seed = [[0]]"), ":9: axes.seed: a text or a number is needed, not [0]"),
        (("seed = [0, 7]", 'seed = [{ name = "a" }]'), ":9: axes.seed: a value that is a table has a name and a value"),
        (('across = "size"', 'across = "siez"'), ":11: report.across: there is no axis 'siez'"),
        (('"wall_s"', '"a by b"'), ":12: report.measures: 'a by b' is neither FIGURE nor FIGURE per [NUMBER] FIGURE"),
        (('across = "size"', "across = [1]"), ":11: report.across: there is no axis [1]"),
        (('"wall_s"', f'"a per {"9" * 5000} b"'), ":12: report.measures: "),
        (("seed = [0, 7]", f"seed = [0x{'f' * 5000}]"), ":9: axes.seed: a number of more than 128 bits"),
        (("seed = [0, 7]", f"seed = [{'9' * 5000}]"), "s.toml: Exceeds the limit"),
        (("[report]", "[report]\nnames = 3"), ":11: report.names: a table is needed: [report.names]"),
        (
            ("[report]", '[report.names]\nsiez = "s"\n[report]'),
            ":11: report.names.siez: neither an axis nor a measure; th",
        ),
        (("[report]", '[report.names]\nsize = ""\n[report]'), ":11: report.names.size: a text is needed, not ''"),
        (("[report]", "[[report]]"), ": report: a table is needed: [report]"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_field(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(BadSpec) as failure:
        spec_of(tmp_path, GOOD.replace(*change))
    assert str(failure.value).startswith(str(tmp_path / "s.toml")) and told in str(failure.value)


def test_too_many_points_are_refused(tmp_path: Path) -> None:
    axes = "\n".join(f"a{n} = {[*range(10)]}" for n in range(6))
    with pytest.raises(BadSpec, match=r"axes\.a5: more than 100,000 points"):
        spec_of(tmp_path, f'program = "x {" ".join(f"{{a{n}}}" for n in range(6))}"\n[axes]\n{axes}')


def test_a_value_with_a_quotation_mark_is_told(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, 'program = "x {a} {b}"\n[axes]\na = ["1", "\'"]\nb = ["2"]')
    with pytest.raises(BadSpec, match="a=' b=2: No closing quotation"):
        spec.tasks()


def test_labels_can_be_printed(tmp_path: Path) -> None:
    """In tables, pages and pictures; the command has the value itself."""
    spec = spec_of(
        tmp_path, r'program = "x {a}"' + "\n[axes]\n" + r'a = ["\u001b[2J", {name = "n\u009b", value = "v"}]'
    )
    first, second = spec.tasks()
    assert (first.labels, first.words[-1]) == ({"a": r"\x1b[2J"}, "\x1b[2J")
    assert (second.labels, second.words[-1]) == ({"a": r"n\x9b"}, "v")


def test_an_axis_of_a_hundred_thousand_values(tmp_path: Path) -> None:
    """Its values are compared once, not each with each."""
    assert len(spec_of(tmp_path, f'program = "x {{a}}"\n[axes]\na = {[*range(100_000)]}').axes["a"]) == 100_000
    with pytest.raises(BadSpec, match="more than 100,000 points"):
        spec_of(tmp_path, f'program = "x {{a}}"\n[axes]\na = {[0] * 100_001}')


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_bytes(b"a = \xff")
    with pytest.raises(BadSpec, match="not UTF-8 at byte 4"):
        read_spec(tmp_path / "s.toml")


def test_the_key_is_of_the_content(tmp_path: Path) -> None:
    """Of the words, and of the files that they name, not of where they are."""
    here, there = tmp_path / "here", tmp_path / "there"
    for directory in (here, there):
        directory.mkdir()
        (directory / "my.toml").write_text("one")
    words = ("run", "--tlb", "my.toml:a", "hello")
    first = point_of(words, here, 1)
    assert [path for path, _ in first.inputs] == ["my.toml", "hello"]
    assert point_of(words, there, 2).key == first.key != point_of((*words, "x"), here, 1).key
    assert Point.from_bytes(first.to_bytes()) == first
    (there / "my.toml").write_text("another")
    assert point_of(words, there, 1).key != first.key
    for word in ("--tlb=my.toml", "zen4,my.toml:a,none", "--tables=my.toml"):
        assert [path for path, _ in point_of(("tlb", "sim", word), here, 1).inputs] == ["my.toml"], word


def test_figures_are_flat() -> None:
    figures = {
        "a": 1,
        "b": {"c": 2.5, "d": {"e": 3}},
        "s": "x",
        "t": True,
        "n": None,
        "l": [{"x": 1}, {"x": 2, "y": 5}],
    }
    assert flat(figures) == {"a": 1, "b.c": 2.5, "b.d.e": 3, "l.count": 2, "l.x": 3, "l.y": 5}
    assert Measure("", "a", "b.c", 10).of(flat(figures)) == 4 and Measure("", "a", "z", 1).of({"a": 1}) is None

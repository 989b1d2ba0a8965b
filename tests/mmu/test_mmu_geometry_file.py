"""Geometries of a user's own: files, what is wrong in them by line, and what a command line sets."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from emu.cli import presets as command
from emu.cli.arguments import Parser, UsageError
from emu.cli.running.launch import _tlb as tlb_of
from emu.cli.tlb import preset_or_file, with_settings
from mmu.geometry import Geometry, IndexHash, Replacement, StructureShape
from mmu.geometry_file import BadPreset, read_file, read_text
from mmu.geometry_text import to_toml
from mmu.nested import Nested
from mmu.presets import all_presets, load_preset

TOY = """\
# as small as can be
[toy]
structure_caches = { PDE = 4 }

[[toy.arrays]]
name = "L1"
level = 1
kinds = ["load", "store", "fetch"]
page_sizes = ["4K"]
sets = 1
ways = 4

[[toy.arrays]]
name = "L2"
level = 2
kinds = ["load", "store", "fetch"]
page_sizes = ["4K", "2M"]
sets = 16
ways = 4
replacement = "fifo"
"""


def file_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "my.toml"
    path.write_text(text)
    return str(path)


def test_a_file_needs_no_titles_and_sources(tmp_path: Path) -> None:
    geometry = preset_or_file(file_of(tmp_path, TOY), "--tlb").geometry
    assert geometry.name == "toy"
    assert [(array.name, array.sets, array.ways, array.replacement) for array in geometry.arrays] == [
        ("L1", 1, 4, Replacement.LRU), ("L2", 16, 4, Replacement.FIFO),
    ]  # fmt: skip
    assert geometry.structure_caches == {2: 4}
    assert geometry.provenance.startswith("L1: as my.toml says")


@pytest.mark.parametrize("name", all_presets())
def test_what_show_writes_is_read_as_the_same(name: str, tmp_path: Path) -> None:
    preset = all_presets()[name]
    again = preset_or_file(file_of(tmp_path, to_toml(preset)), "--tlb")
    assert replace(again, default=preset.default) == preset


def test_texts_of_any_kind_are_written_and_read_again(tmp_path: Path) -> None:
    preset = replace(all_presets()["textbook"], name='a "b".c', title="\x7f\t\\ \u2028 \x00 é", cautions=("]", "'''"))
    (again,) = read_file(file_of(tmp_path, to_toml(preset))).values()
    assert (again.name, again.title, again.cautions) == (preset.name, preset.title, preset.cautions)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sets = 16", "sets = 12", ":18: toy, array L2: 12 sets of 4 ways; the sets must be a power of two"),
        ("sets = 16", 'sets = "16"', ":18: toy, array L2: sets: expected a number from 1, not '16'"),
        ("sets = 16", "sets = true", ":18: toy, array L2: sets: expected a number from 1, not True"),
        ("sets = 16", "sets = -16", ":18: toy, array L2: sets: expected a number from 1, not -16"),
        ("sets = 16", "", ":13: toy, array L2: without sets"),
        ("sets = 16", "set = 16", ":18: toy, array L2: there is no set; known are "),
        ("[toy]", "[toy.latency]\nstlb_hits = 7\nload = 3\n[toy]", ":3: toy: latency: there is no stlb_hits; known "),
        ("[[toy.arrays]]", "[toy.arrays]", ":5: an array stands under [[toy.arrays]], in two brackets"),
        ("sets = 16", "sets =", ":18: Invalid value"),
        ("sets = 16", "sets = 16\npcids = 65", ":19: toy, array L2: a limit of 65 PCIDs; from 0 to 64 are modelled"),
        ("sets = 16", "sets = 16\npcids = true", ":19: toy, array L2: pcids: expected a number of PCIDs, not True"),
        ("sets = 16", "sets = 16\nassoc = 4", ":19: toy, array L2: there is no assoc; known are coalesce, index_"),
        ("level = 2", "level = 3", ":15: toy, array L2: level 3; there are levels 1 and 2"),
        ('"fifo"', '"plru"', ":20: toy, array L2: replacement: 'plru' is none of lru, tree-plru, "),
        ('["4K"]', '["4k"]', ":9: toy, array L1: page_sizes: '4k' is none of 4K, 2M, 1G"),
        ('["4K"]', "[]", ":9: toy, array L1: it holds nothing without a kind of access and a page size"),
        ('["4K"]', '"4K"', ":9: toy, array L1: page_sizes: expected a list of strings, not '4K'"),
        ("ways = 4\n\n", "ways = 3\nreplacement = 'tree-plru'\n", ":11: toy, array L1: tree-PLRU needs a power of two"),
        ("ways = 4\n\n", "ways = 99999999\n", ":11: toy, array L1: 99999999 entries; at most 1048576 are modelled"),
        ('"L2"', '"L1"', ":14: toy, array L1: there is another array of this name"),
        ("PDE = 4", "PDX = 4", ":3: toy: structure_caches: 'PDX' is none of PML5E, PML4E, PDPTE, PDE"),
        ("PDE = 4", "PDE = -4", ":3: toy: structure_caches: PDE: expected a number of entries, not -4"),
        ("{ PDE = 4 }", "4", ":3: toy: structure_caches: expected a table, as { PDE = 32 }, not 4"),
        ("PDE = 4", "PDE = 9999999", ":3: toy: a structure cache of 9999999 entries; at most 1048576"),
        ("PDE = 4", "PDE = { sets = 2 }", ":3: toy: structure_caches: PDE: without ways"),
        ("PDE = 4", "PDE = { sets = 3, ways = 2 }", ":3: toy: a structure cache of 3 sets of 2 ways; the se"),
        ("PDE = 4", "PDE = { sets = 2, ways = 2, replacement = 'bit-plru' }", ":3: toy: a structure cache does not"),
        ("{ PDE = 4 }", "{}\n[toy.structure_caches2.PDE]\nways = 0", "there is no structure_caches2; known are "),
        ("structure_caches = { PDE = 4 }", "[toy.structure_caches.PDE]\nways = 1", "_caches: PDE: without sets"),
        ("[toy]", "[toy]\ninclusive = 1", ":3: toy: inclusive: expected true or false, not 1"),
        ("[toy]", "[toy", ":2: "),
        ("[toy]", "[toy.latency]\nstlb_hit = 7\n[toy]", "toy: latency: without load"),
        ("[toy]", "[toy.latency]\nstlb_hit = -7\nload = 3\n[toy]", ":3: toy: latency: stlb_hit: expected a "),
        ("[toy]", "[toy.latency]\nstlb_hit = 7\nload = 3000\n[toy]", "toy: latency: load: 3000 cycles; from 0 to 1500"),
        ("[toy]", "[toy.latency]\nstlb_hit = 7\nload = 3\nl1 = 1\n[toy]", ":5: toy: latency: there is no l1; known "),
        ("[toy]", "[toy]\nlatency = 7", ":3: toy: latency: expected a table, [NAME.latency], not 7"),
        ("[toy]", "[toy.latency]\nstlb_hit=7\nload=3\nwalk_caches=[{name='L1D',sets=3,ways=4,cycles=5}]\n[toy]",
         "toy: latency: L1D: 3 sets of 4 ways; the sets must be a power of two"),
        ("[toy]", "[toy.latency]\nstlb_hit=7\nload=3\nwalk_caches=[{name='L1D',sets=4,ways=4}]\n[toy]",
         "toy: latency: without cycles"),
        ("sets = 16", "sets = 16\ncoalesce = 3", ":19: toy, array L2: 3 pages as one; 1, 2, 4 or 8 are modelled"),
        ("sets = 16", "sets = 16\ncoalesce = '4'", ":19: toy, array L2: coalesce: expected a number from 1, not '4'"),
        ('["4K", "2M"]', '["2M"]\ncoalesce = 4', ":18: toy, array L2: it coalesces pages of 4K, and holds none"),
        ('"fifo"', '"tree-plru"\nindex_hash = "skewed"', ":20: toy, array L2: a skewed array has no sets for PLRU; "),
        ('"fifo"', '"lru"\nindex_hash = "skew"', ":21: toy, array L2: index_hash: 'skew' is none of linear, xor, sk"),
        ("[toy]", "[toy]\ncounters = 'zen'", ":3: toy: 'zen' is none of intel, amdzen1, amdzen2, amdzen3, amd"),
        ("[toy]", "[toy]\nnested = 4", ":3: toy: nested: expected a table, [NAME.nested], not 4"),
        ("[toy]", "[toy.nested]\ntlb = 4\n[toy]", ":2: toy: nested: without page_size, structure_caches"),
        ("[toy]", "[toy.nested]\npage_size = '4M'\nstructure_caches = {}\n[toy]", ":3: toy: nested: page_size: '4M' "),
        ("[toy]", "[toy.nested]\npage_size = '4K'\nstructure_caches = { PDE = -1 }\n[toy]",
         ":4: toy: nested: structure_caches: PDE: expected a number of entries, not -1"),
        ("[toy]", "[toy.nested]\npage_size = '4K'\nstructure_caches = { PML5E = 1 }\n[toy]",
         ":4: toy: nested: there is no structure cache of level 5"),
        ("[toy]", "[toy.nested]\npage_size = '4K'\nstructure_caches = {PDE={sets=1,ways=2}}\n[toy]",
         ":4: toy: nested: structure_caches: those of EPT are fully associative, as { PDE = 32 }"),
        ("[toy]", "[toy.nested]\npage_size = '4K'\nstructure_caches = {}\ntlb = -1\n[toy]",
         ":5: toy: nested: tlb: expected a number of entries, not -1"),
        ("[toy]", "[toy.nested]\npage_size = '4K'\nstructure_caches = {}\nwalk = 1\n[toy]",
         ":5: toy: nested: there is no walk; known are page_size, source, structure_caches, tlb"),
        ("[toy]", "[toy.nested]\npage_size = '4K'\nstructure_caches = {}\n[toy]\nprefetch_next = true",
         ":6: toy: the next page is not prefetched over a second dimension"),
        ("# as small", "name = 'x'\n# as small", ":1: name: stands outside of a table; a geometry is [NAME]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in TOY
    path = file_of(tmp_path, TOY.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        preset_or_file(path, "--tlb")
    assert str(caught.value).startswith(f"--tlb: {path}:")
    assert message in str(caught.value)


def test_arrays_that_coalesce_do_so_alike(tmp_path: Path) -> None:
    text = TOY.replace("ways = 4\n\n", "ways = 4\ncoalesce = 2\n\n").replace("sets = 16", "sets = 16\ncoalesce = 4")
    with pytest.raises(BadPreset, match=":2: toy: arrays coalesce 2 and 4 pages; those that do are all to do as many"):
        read_file(file_of(tmp_path, text))
    geometry = preset_or_file(file_of(tmp_path, text.replace("coalesce = 2", "")), "--tlb").geometry
    assert [array.coalesce for array in geometry.arrays] == [1, 4] and geometry.coalesce == 4
    with pytest.raises(UsageError, match="arrays coalesce 2 and 4 pages"):
        with_settings(geometry, ["l1.coalesce=2"])
    assert with_settings(geometry, ["l2.coalesce=1"]).coalesce == 1


NESTED = """\
[toy.nested]
page_size = "2M"
structure_caches = { PDPTE = 2, PDE = 8 }
tlb = 16
"""


def test_a_second_dimension_is_as_the_file_says(tmp_path: Path) -> None:
    path = file_of(tmp_path, TOY + NESTED)
    preset = preset_or_file(path, "--tlb")
    assert preset.nested == Nested(2, {3: 2, 2: 8}, 16) and preset.geometry.nested is None
    assert read_text(to_toml(preset), "my.toml", documented=True)["toy"] == preset
    assert arguments_of("--tlb", path) == preset.geometry
    said = arguments_of("--tlb", path, "--nested")
    assert isinstance(said, Geometry) and said.nested == preset.nested and said.name == "toy over EPT of 2M"
    larger = arguments_of("--tlb", path, "--nested=1G", "--tlb-set", "nested.tlb=3")
    assert isinstance(larger, Geometry) and larger.nested == Nested(3, {3: 2, 2: 8}, 3)
    unsaid = arguments_of("--tlb", file_of(tmp_path, TOY), "--nested")
    assert isinstance(unsaid, Geometry) and unsaid.nested == Nested(1, {2: 4, 3: 0, 4: 0})


def test_more_arrays_than_can_be_modelled_are_refused(tmp_path: Path) -> None:
    array = TOY[TOY.index("[[toy.arrays]]") : TOY.index('[[toy.arrays]]\nname = "L2"')]
    many = "".join(array.replace('"L1"', f'"L1-{n}"') for n in range(17))
    with pytest.raises(BadPreset, match=":1: toy: 17 arrays; at most 16 are modelled"):
        read_file(file_of(tmp_path, "[toy]\n" + many))


def test_of_several_geometries_one_is_named(tmp_path: Path) -> None:
    path = file_of(tmp_path, TOY + TOY.replace("toy", '"toy:b"'))
    assert preset_or_file(f"{path}:toy:b", "--tlb").name == "toy:b"
    with pytest.raises(UsageError, match=r"there are toy, toy:b; say which, as .*my.toml:toy"):
        preset_or_file(path, "--tlb")
    with pytest.raises(UsageError, match="no geometry 'c' in it; there are toy, toy:b"):
        preset_or_file(f"{path}:c", "--tlb")


def test_what_is_no_file_of_geometries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--tlb: .*none.toml: No such file or directory"):
        preset_or_file(str(tmp_path / "none.toml"), "--tlb")
    with pytest.raises(UsageError, match="no geometry in it"):
        preset_or_file(file_of(tmp_path, "# nothing\n"), "--tlb")
    with pytest.raises(UsageError, match="Is a directory"):
        preset_or_file(f"{tmp_path}/", "--tlb")
    (tmp_path / "my.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8 at byte 0"):
        preset_or_file(str(tmp_path / "my.toml"), "--tlb")
    with pytest.raises(UsageError, match="/dev/zero: longer than any description of a TLB"):
        preset_or_file("/dev/zero", "--tlb")
    with pytest.raises(UsageError, match=r"^--tlb: no TLB preset 'zen9'; .*\(or off\); or FILE.toml$"):
        preset_or_file("zen9", "--tlb")


def test_a_file_whose_ending_was_left_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file_of(tmp_path, TOY)
    with pytest.raises(UsageError, match=r"^no TLB preset 'my'; .*; or FILE.toml, such as the my.toml here$"):
        preset_or_file("my")


@pytest.mark.parametrize("value", ["[" * 3000, "9" * 5000], ids=["brackets", "digits"])
def test_what_python_cannot_read_is_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"my\.toml: a number of thousands of digits, or as many brackets"):
        preset_or_file(file_of(tmp_path, f"toy = {value}"), "--tlb")


def test_a_name_of_several_lines_is_told_in_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"my\.toml:1: toy\\n\\x00: a name has no characters that cannot be printed$"):
        preset_or_file(file_of(tmp_path, '["toy\\n\\u0000"]'), "--tlb")


# ---- --tlb-set


def test_an_array_a_level_and_a_beginning_can_be_set() -> None:
    zen4 = load_preset("zen4")
    name = zen4.arrays[-1].name
    changed = with_settings(zen4, [f"{name.lower()}.ways=8,L1.policy=fifo", "pde.entries=7", "inclusive=true"])
    assert changed.arrays[-1].ways == 8
    assert [array.replacement == Replacement.FIFO for array in changed.arrays] == [a.level == 1 for a in zen4.arrays]
    assert changed.structure_caches == {**zen4.structure_caches, 2: 7}
    assert changed.inclusive
    assert changed.name == f"zen4 with {name.lower()}.ways=8, L1.policy=fifo, pde.entries=7, inclusive=true"
    skylake = with_settings(load_preset("skylake-sp"), ["l1d.index_hash=xor", "stlb-1g.entries=32"])
    assert [array.name for array in skylake.arrays if array.index_hash == IndexHash.XOR and array.level == 1] == [
        array.name for array in skylake.arrays if array.name.startswith("L1D")
    ]
    assert skylake.arrays[-1].entries == 32
    assert with_settings(zen4, []) is zen4


def test_a_structure_cache_can_have_sets() -> None:
    zen4 = load_preset("zen4")
    changed = with_settings(zen4, ["pde.sets=4,pde.ways=8", "pdpte.policy=lfu", "pml4e.entries=0"])
    assert changed.structure_caches == {
        **zen4.structure_caches, 2: StructureShape(4, 8), 3: StructureShape(1, 64, Replacement.LFU), 4: 0,
    }  # fmt: skip
    written = to_toml(replace(all_presets()["zen4"], geometry=changed))
    assert 'PDE = { sets = 4, ways = 8, replacement = "lru" }' in written
    again = read_text(written, "my.toml", documented=True)["zen4"]
    assert again.geometry.structure_caches == changed.structure_caches


def test_levels_that_there_are_not_are_not_offered() -> None:
    with pytest.raises(UsageError, match=r"none has no l2; there are PML5E, PML4E, PDPTE, PDE$"):
        with_settings(load_preset("none"), ["l2.ways=4"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("l2", "expected PLACE.FIELD=VALUE"),
        ("l2=8", "expected PLACE.FIELD=VALUE, or one of inclusive, smash_1g, prefetch_next"),
        ("l3.ways=8", "textbook has no l3; there are L1I, L1D, L2, l1, l2, PML5E, PML4E, PDPTE, PDE"),
        (".ways=8", "textbook has no ; there are"),
        ("l2.way=8", "there is no way of an array; there are sets, ways, entries, policy, replacement, index_hash"),
        ("l2.ways=x", "expected a number, not 'x'"),
        ("l2.ways=٣", "expected a number, not '٣'"),
        ("l2.ways=0", "16 sets of 0 ways"),
        ("l2.sets=3", "3 sets of 4 ways; the sets must be a power of two"),
        ("l2.entries=30", "30 entries are no whole number of sets of 4 ways"),
        ("l2.policy=plru", "'plru' is none of lru, tree-plru, bit-plru, fifo, random, lfu"),
        ("pde.policy=bit-plru", "textbook with pde.policy=bit-plru: a structure cache does not replace by PLRU"),
        ("pde.index_hash=xor", "there is no index_hash of a structure cache; there are entries, sets, ways, policy"),
        ("inclusive=yes", "expected true or false"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(setting: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_settings(load_preset("textbook"), [setting])
    assert str(caught.value).startswith(f"--tlb-set {setting}: ")
    assert message in str(caught.value)


# ---- the commands


def arguments_of(*words: str) -> Geometry | str:
    from emu.cli.arguments import add_machine_options

    parser = Parser("unimmu run")
    add_machine_options(parser)
    return tlb_of(parser.parse(words))


def test_show_writes_a_file_that_run_takes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    parser = Parser("unimmu presets")
    command.add_arguments(parser)
    assert command.run(parser.parse(["--show", "zen4"])) == 0
    path = file_of(tmp_path, capsys.readouterr().out)
    assert arguments_of("--tlb", path) == load_preset("zen4")
    changed = arguments_of("--tlb", path, "--tlb-set", "l2.ways=4")
    assert isinstance(changed, Geometry) and changed.name == "zen4 with l2.ways=4"
    assert command.run(parser.parse(["--json", path])) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["name"] == "zen4"


def test_a_pipe_can_be_the_file(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, TOY.encode())
    os.close(write)
    try:
        assert preset_or_file(f"/dev/fd/{read}", "--tlb").name == "toy"
    finally:
        os.close(read)

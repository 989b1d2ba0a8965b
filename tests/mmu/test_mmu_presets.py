"""The presets, their provenance, and the command that prints them."""

from __future__ import annotations

import doctest
import json

import pytest

import mmu.presets
from emu.cli import presets as command
from emu.cli.arguments import Parser, UsageError
from mmu.geometry import IndexHash, Kinds, PageSizes, Replacement
from mmu.geometry_file import BadPreset, read_text
from mmu.presets import UnknownPreset, all_presets, find_preset, load_preset, preset_names
from tests.mmu.slow_tlb import SlowTlb

WANTED = (
    "skylake-sp", "skylake", "ice-lake-sp", "sapphire-rapids", "granite-rapids", "alder-lake-p", "alder-lake-e",
    "zen1", "zen2", "zen3", "zen4", "zen5", "textbook", "none", "champsim",
)  # fmt: skip
#: What no first-level array of a preset holds: of ChampSim nothing but 4K pages is said, of Gracemont by CPUID.
ONLY_4K = ("champsim", "alder-lake-e")


@pytest.mark.parametrize("name", WANTED)
def test_every_wanted_processor_has_a_preset(name: str) -> None:
    assert load_preset(name).name.partition(":")[0] == name


def test_doctests() -> None:
    assert doctest.testmod(mmu.presets).failed == 0


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_can_be_modelled_and_says_where_its_numbers_are_from(name: str) -> None:
    preset = find_preset(name)
    geometry = preset.geometry
    SlowTlb(geometry)
    names = [array.name for array in geometry.arrays]
    assert len(set(names)) == len(names)
    for array in geometry.arrays:
        assert array.level in (1, 2) and array.kinds and array.page_sizes and array.ways > 0
        assert array.sets & (array.sets - 1) == 0
        assert len(preset.sources[array.name]) > 10
        assert f"{array.name}: {preset.sources[array.name]}" in geometry.provenance
    assert all(f"caution: {caution}" in geometry.provenance for caution in preset.cautions)
    assert preset.structure_source in geometry.provenance
    if name != "none":
        for size in (PageSizes.K4,) if name in ONLY_4K else (PageSizes.K4, PageSizes.M2):
            for kind in Kinds.LOAD, Kinds.STORE, Kinds.FETCH:
                assert any(a.level == 1 and size in a.page_sizes and kind in a.kinds for a in geometry.arrays)


def test_what_is_not_verified_says_so() -> None:
    assert "unverified" in find_preset("ice-lake-sp").sources["L1I-4K"]


def test_sizes_of_structure_caches_that_nobody_published_are_called_assumptions() -> None:
    for name, preset in all_presets().items():
        if name not in ("textbook", "none", "champsim"):
            said = preset.structure_source
            assert said.startswith(("an assumption: ", "Chips and Cheese ", "unverified ")), name


def test_the_figures_of_the_notes() -> None:
    def entries(name: str) -> dict[str, tuple[int, int]]:
        return {array.name: (array.entries, array.ways) for array in load_preset(name).arrays}

    assert entries("skylake-sp:cpuid")["STLB"] == (1536, 6)
    assert entries("skylake-sp:measured")["STLB"] == (1536, 12)
    assert entries("ice-lake-sp:cpuid")["L1D-store"] == (16, 16)
    assert entries("sapphire-rapids:cpuid")["L1D-load-4K"] == (64, 4)
    assert entries("sapphire-rapids:measured")["L1D-load-4K"] == (96, 6) == entries("alder-lake-p")["L1D-load-4K"]
    assert entries("granite-rapids")["L1D-load-4K"] == (96, 6)
    assert entries("skylake") == entries("skylake-sp") and entries("skylake:cpuid") == entries("skylake-sp:cpuid")
    assert entries("alder-lake-p:cpuid") == entries("sapphire-rapids:cpuid")
    assert entries("alder-lake-e") == {"L1D": (48, 48), "L1I": (64, 64), "STLB": (2048, 4), "STLB-1G": (8, 8)}
    assert entries("zen1:client")["L2D"] == (1536, 12) and entries("zen1:server")["L2D"] == (1536, 6)
    assert entries("zen5")["L2D-1G"] == (1024, 4)
    assert {name: entries(name)["L1D"][0] for name in ("zen2", "zen3", "zen4", "zen5")} == {
        "zen2": 64,
        "zen3": 64,
        "zen4": 72,
        "zen5": 96,
    }
    assert {name: entries(name)["L2D"][0] for name in ("zen2", "zen3", "zen4", "zen5")} == {
        "zen2": 2048,
        "zen3": 2048,
        "zen4": 3072,
        "zen5": 4096,
    }
    assert load_preset("zen1").smash_1g and load_preset("zen2").smash_1g and not load_preset("zen3").smash_1g
    stlb = next(array for array in load_preset("skylake-sp").arrays if array.name == "STLB")
    assert (stlb.index_hash, stlb.replacement) == (IndexHash.XOR, Replacement.LRU)
    zens = {name: load_preset(name) for name in ("zen1", "zen1:client", "zen2", "zen3", "zen4", "zen5")}
    assert [zen.coalesce for zen in zens.values()] == [8, 8, 4, 4, 4, 4]
    for zen in zens.values():
        assert [array.name for array in zen.arrays if array.index_hash == IndexHash.SKEWED] == ["L2D"]
    none = load_preset("none")
    assert none.arrays == () and not any(none.structure_caches.values())


def test_a_bare_name_means_the_default_variant() -> None:
    assert load_preset("skylake-sp") == load_preset("skylake-sp:measured")
    bases: dict[str, int] = {}
    for name, preset in all_presets().items():
        base = name.partition(":")[0]
        bases[base] = bases.get(base, 0) + preset.default
    assert set(bases.values()) == {1}


@pytest.mark.parametrize("zen", ["zen2", "zen3", "zen4", "zen5"])
def test_clients_and_servers_with_the_same_leaves_are_one(zen: str) -> None:
    assert load_preset(f"{zen}:client") == load_preset(f"{zen}:server") == load_preset(zen)
    with pytest.raises(
        UnknownPreset, match=f"{zen} has no variant 'desktop'; there are {zen}, {zen}:client, {zen}:server"
    ):
        load_preset(f"{zen}:desktop")


def test_a_preset_read_alone_is_what_it_is_among_all() -> None:
    """Of a processor only its own tables are read; the first of two whose names begin alike is not the other."""
    for name, preset in all_presets().items():
        processor = name.partition(":")[0]
        assert find_preset(name) == preset
        assert {one.partition(":")[0] for one in all_presets(processor)} == {processor}
    assert list(all_presets("skylake")) == ["skylake:cpuid", "skylake:measured"]
    assert not all_presets("sky")


def test_an_unknown_name_or_variant_is_refused_with_what_there_is() -> None:
    with pytest.raises(KeyError) as caught:
        load_preset("zen9")
    assert isinstance(caught.value, UnknownPreset)
    assert str(caught.value).startswith("no TLB preset 'zen9'; there are textbook, none, skylake-sp:cpuid")
    with pytest.raises(UnknownPreset, match="skylake-sp has no variant 'x'; there are skylake-sp:cpuid, "):
        load_preset("skylake-sp:x")
    with pytest.raises(UnknownPreset, match="skylake-sp has no variant with default = true"):
        load_preset("skylake-sp:")


#: What a file of one's own may leave out, a preset of ours says (the rest: test_mmu_geometry_file.py).
TOY = """\
["toy:a"]
title = "Toy"
structure_caches = { PDE = 4 }
structure_source = "made up"

[["toy:a".arrays]]
name = "L1"
level = 1
kinds = ["load"]
page_sizes = ["4K"]
sets = 1
ways = 4
source = "made up"
"""


@pytest.mark.parametrize(
    ("lacks", "message"),
    [
        ('title = "Toy"', "presets.toml:1: toy:a: without title"),
        ("structure_caches = { PDE = 4 }", "presets.toml:1: toy:a: without structure_caches"),
        ('structure_source = "made up"', "presets.toml:1: toy:a: without structure_source"),
        ('\nsource = "made up"', "presets.toml:6: toy:a, array L1: without source"),
    ],
)
def test_what_a_preset_lacks_is_named(lacks: str, message: str) -> None:
    assert lacks in TOY
    with pytest.raises(BadPreset) as caught:
        read_text(TOY.replace(lacks, "", 1), "presets.toml", documented=True)
    assert str(caught.value) == message
    assert read_text(TOY.replace(lacks, "", 1), "my.toml", documented=False)


def test_a_bare_name_without_a_default_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = read_text(TOY, "presets.toml", documented=True)
    assert toy["toy:a"].cautions == ()
    monkeypatch.setattr(mmu.presets, "all_presets", lambda *_: toy)
    with pytest.raises(UnknownPreset, match="toy has no variant with default = true; there are toy:a"):
        find_preset("toy")


# ---- unimmu presets


def run(*words: str) -> int:
    parser = Parser("unimmu presets")
    command.add_arguments(parser)
    return command.run(parser.parse(words))


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_command_prints_every_preset_and_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert run() == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= int(columns)
    squeezed = "".join(text.split())
    for name, preset in all_presets().items():
        assert name in text
        remarks = [*preset.sources.values(), *preset.cautions, preset.structure_source] if preset.sources else []
        if columns == "200":
            assert all(name in text for name in preset.sources)
        assert all("".join(remark.split())[:20] in squeezed for remark in remarks)


def test_the_command_lists_names(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(preset_names())
    for line, (name, preset) in zip(lines, all_presets().items(), strict=True):
        assert name in line.split("  ")[0].split(", ") and line.rstrip().endswith(preset.title)
    assert any(line.startswith("skylake, skylake:measured  ") for line in lines)
    assert any(line.startswith("zen4, zen4:client, zen4:server  ") for line in lines)


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found] == preset_names()
    assert run("zen4", "--json") == 0
    (zen4,) = json.loads(capsys.readouterr().out)
    assert zen4["structure_caches"] == {"PML5E": 2, "PML4E": 64, "PDPTE": 64, "PDE": 32}
    assert [array["entries"] for array in zen4["arrays"]] == [64, 72, 512, 3072, 64]
    assert all(array["source"] for array in zen4["arrays"])


def test_the_command_refuses_in_one_line(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match="no TLB preset 'zen9'"):
        run("zen9")
    with pytest.raises(UsageError, match="No such file"):
        run("--cpuid", str(tmp_path / "missing"))
    (tmp_path / "dump").write_text("nothing of that kind\n")
    with pytest.raises(UsageError, match="not a CPUID dump"):
        run("--cpuid", str(tmp_path / "dump"))


def test_the_command_shows_a_dump(capsys: pytest.CaptureFixture[str], tmp_path) -> None:  # type: ignore[no-untyped-def]
    dump = tmp_path / "dump.txt"
    dump.write_text("CPUID 00000002: 76036301-00F0B5FF-00000000-00C30000 [SL 00]\n")
    assert run("--cpuid", str(dump), "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [array["entries"] for array in found["arrays"]] == [64, 8, 64, 32, 4, 1536, 16]
    assert found["arrays"][0]["source"] == "CPUID leaf 2, descriptor B5"
    assert "ChampSim" in found["structure_source"]

"""TLB geometry from CPUID.

The dumps here have only the leaves about TLBs. What is called quoted is verbatim from a dump of InstLatx64/InstLatx64,
which is named; the rest is encoded from the figures of a processor by the leaf layouts of the manuals. What leaf 1 has
in EAX is in the name of a dump.
"""

from __future__ import annotations

import platform
import sys

import pytest

from mmu.cpuid import from_cpuid
from mmu.cpuid_descriptors import DESCRIPTORS
from mmu.cpuid_leaves import CpuidError, host_leaves, parse_dump
from mmu.geometry import Array, Geometry, IndexHash, Kinds, PageSizes
from mmu.presets import load_preset
from mmu.zen import zen_of
from tests.mmu.slow_tlb import SlowTlb

# leaf 2 quoted, of 50654; that of 506E3 (GenuineIntel00506E3_Skylake_CPUID2, a Core i7-6700K) is the same
SKYLAKE_SP = "CPUID 00000002: 76036301-00F0B5FF-00000000-00C30000 [SL 00]"

# leaf 18h encoded from the figures
ICE_LAKE_SP = """
CPUID 00000002: 00FEFF01-000000F0-00000000-00000000 [SL 00]
CPUID 00000018: 00000007-00000000-00000000-00000000 [SL 00]
CPUID 00000018: 00000000-00080007-00000001-00004122 [SL 01]
CPUID 00000018: 00000000-0010000F-00000001-00004125 [SL 02]
CPUID 00000018: 00000000-00040001-00000010-00004024 [SL 03]
CPUID 00000018: 00000000-00040006-00000008-00004024 [SL 04]
CPUID 00000018: 00000000-00080008-00000001-00004124 [SL 05]
CPUID 00000018: 00000000-00080007-00000080-00004043 [SL 06]
CPUID 00000018: 00000000-00080009-00000080-00004043 [SL 07]
CPUID 80000005: 00000000-00000000-00000000-00000000 [SL 00]
CPUID 80000006: 00000000-00000000-05007040-00000000 [SL 00]
"""

# quoted, of GenuineIntel0090672_AlderLake_CPUID01; Sapphire Rapids has the same core
GOLDEN_COVE = """
CPUID 00000002: 00FEFF01-000000F0-00000000-00000000
CPUID 00000018: 00000008-00000000-00000000-00000000 [SL 00]
CPUID 00000018: 00000000-00080001-00000020-00004022 [SL 01]
CPUID 00000018: 00000000-00080006-00000004-00004022 [SL 02]
CPUID 00000018: 00000000-0010000F-00000001-00004125 [SL 03]
CPUID 00000018: 00000000-00040001-00000010-00004024 [SL 04]
CPUID 00000018: 00000000-00040006-00000008-00004024 [SL 05]
CPUID 00000018: 00000000-00080008-00000001-00004124 [SL 06]
CPUID 00000018: 00000000-00080007-00000080-00004043 [SL 07]
CPUID 00000018: 00000000-00080009-00000080-00004043 [SL 08]
"""

# quoted, of GenuineIntel00A06D1_GraniteRapids_03: the same but for sub-leaf 4
GRANITE_RAPIDS = GOLDEN_COVE.replace("00000000-00040001-00000010-00004024", "00000000-00060001-00000010-00004024")

# quoted, of GenuineIntel00906A4_AlderLakeP_00, logical CPU #6
GRACEMONT = """
CPUID 00000002: 00FEFF01-00000000-00000000-00000000
CPUID 00000018: 00000004-00000000-00000000-00000000 [SL 00]
CPUID 00000018: 00000000-00300001-00000001-00000121 [SL 01]
CPUID 00000018: 00000000-00040003-00000200-00000043 [SL 02]
CPUID 00000018: 00000000-00400001-00000001-00000122 [SL 03]
CPUID 00000018: 00000000-00080008-00000001-00000143 [SL 04]
"""

# quoted, of AuthenticAMD0800F11_K17_Zen2, a Ryzen 7 1700X
ZEN_1_CLIENT = """
CPUID 80000005: FF40FF40-FF40FF40-20080140-40040140
CPUID 80000006: 26006400-66006400-02006140-00808140
CPUID 80000019: F040F040-00000000-00000000-00000000
"""

# quoted, of AuthenticAMD0800F12_K17_Zen, an EPYC 7551P
ZEN_1_SERVER = ZEN_1_CLIENT.replace("26006400-66006400", "36006400-56006400")

# quoted, of AuthenticAMD0830F10_K17_Rome; AuthenticAMD0870F10_K17_Matisse has the same TLBs
ZEN_2 = """
CPUID 80000005: FF40FF40-FF40FF40-20080140-20080140
CPUID 80000006: 48006400-68006400-02006140-08009140
CPUID 80000019: F040F040-00000000-00000000-00000000
"""

# quoted, of AuthenticAMD0A20F10_K19_Vermeer2, which has the TLBs of A00F11 (Milan)
ZEN_3 = """
CPUID 80000005: FF40FF40-FF40FF40-20080140-20080140
CPUID 80000006: 48002200-68004200-02006140-02009140
CPUID 80000019: F040F040-F0400000-00000000-00000000
"""

# quoted, of AuthenticAMD0A60F12_K19_Raphael_01, which has the TLBs of A10F11 (Genoa), but for 80000021h, left out
ZEN_4 = """
CPUID 80000005: FF48FF40-FF48FF40-20080140-20080140
CPUID 80000006: 5C002200-6C004200-04006140-01009140
CPUID 80000019: F048F040-F0400000-00000000-00000000
"""

# quoted, of AuthenticAMD0B00F21_K20_Turin_01; AuthenticAMD0B40F40_K20_GraniteRidge_03 has the same TLBs
ZEN_5 = """
CPUID 80000005: FF60FF40-FF60FF40-300C0140-20080140
CPUID 80000006: 40802040-60804040-04008140-08009140
CPUID 80000019: F060F040-40200000-00000000-00000000
CPUID 80000021: D93FFFCF-00080382-00000000-00000000
"""


def geometry(dump: str) -> Geometry:
    return from_cpuid(parse_dump(dump))


def amd(dump: str, eax: int, vendor: str = "68747541-444D4163-69746E65") -> str:
    """A dump with the vendor, and the signature that leaf 1 has in EAX."""
    return f"CPUID 00000000: 00000010-{vendor}\nCPUID 00000001: {eax:08X}-00000000-00000000-00000000\n{dump}"


HYGON = "6F677948-656E6975-6E65476E"


@pytest.mark.parametrize(
    ("dump", "preset"),
    [
        (SKYLAKE_SP, "skylake-sp:cpuid"),
        (SKYLAKE_SP, "skylake:cpuid"),
        (ICE_LAKE_SP, "ice-lake-sp:cpuid"),
        (GOLDEN_COVE, "sapphire-rapids:cpuid"),
        (GOLDEN_COVE, "alder-lake-p:cpuid"),
        (GRANITE_RAPIDS, "granite-rapids"),
        (GRACEMONT, "alder-lake-e"),
        (amd(ZEN_1_CLIENT, 0x800F11), "zen1:client"),
        (amd(ZEN_1_SERVER, 0x800F12), "zen1:server"),
        (amd(ZEN_2, 0x830F10), "zen2"),
        (amd(ZEN_3, 0xA20F10), "zen3"),
        (amd(ZEN_4, 0xA60F12), "zen4"),
        (amd(ZEN_5, 0xB00F21), "zen5"),
    ],
)
def test_a_dump_gives_the_arrays_of_the_preset(dump: str, preset: str) -> None:
    """Those of a Zen coalesce pages and are skewed, of which CPUID says nothing: its preset does."""
    found, wanted = geometry(dump), load_preset(preset)
    assert found.arrays == wanted.arrays
    assert (found.counters, found.smash_1g) == (wanted.counters, wanted.smash_1g)
    SlowTlb(found)
    for array in found.arrays:
        assert f"{array.name}: CPUID leaf " in found.provenance


@pytest.mark.parametrize("dump", [ZEN_1_SERVER, ZEN_2, ZEN_3, ZEN_4, ZEN_5])
def test_nothing_is_assumed_of_a_zen_that_is_not_known_to_be_one(dump: str) -> None:
    for text in (dump, amd(dump, 0xB50F00), amd(dump, 0x900F01, HYGON)):
        found = geometry(text)
        assert found.coalesce == 1 and all(array.index_hash == IndexHash.LINEAR for array in found.arrays)
        assert (found.counters, found.name) == ("intel", "cpuid")
        assert "no pages are assumed to be coalesced" in found.provenance


#: What leaf 1 has in EAX, as in names of dumps of InstLatx64/InstLatx64, and the Zen.
SIGNATURES = [
    (1, (0x800F11, 0x800F82, 0x810F10, 0x810F81, 0x820F01)),
    (2, (0x830F10, 0x860F01, 0x868F01, 0x870F10, 0x890F02, 0x8A0F00)),
    (3, (0xA00F11, 0xA00F82, 0xA20F10, 0xA40F41, 0xA50F00)),
    (4, (0xA10F11, 0xA60F12, 0xA70F41, 0xA70F80, 0xAA0F01)),
    (5, (0xB00F21, 0xB10F10, 0xB20F40, 0xB40F40, 0xB60F00, 0xB70F00)),
]


@pytest.mark.parametrize(("number", "eax"), [(zen, eax) for zen, group in SIGNATURES for eax in group])
def test_which_zen_it_is(number: int, eax: int) -> None:
    zen, note = zen_of(parse_dump(amd(ZEN_2, eax)))
    assert zen is not None and (zen.number, note) == (number, None)
    assert load_preset(f"zen{number}").counters == f"amdzen{number}"


@pytest.mark.parametrize("eax", [0x700F01, 0x660F01, 0x580F])  # Jaguar, Excavator, K8
def test_an_older_core_is_no_zen(eax: int) -> None:
    assert zen_of(parse_dump(amd(ZEN_2, eax))) == (None, None)


def test_what_is_assumed_of_a_zen_is_said() -> None:
    found = geometry(amd(ZEN_2, 0x870F10))
    assert found.name == "cpuid, as zen2 where CPUID does not tell"
    assumed, policies, structures = found.provenance.splitlines()[-3:]
    assert assumed == (
        "family 17h, model 71h is Zen 2; assumptions, as of the preset zen2, because CPUID does not tell: 4 pages of 4K"
        " may be one entry (L1I, L1D, L2I, L2D), L2D is skewed, 1G pages enter the second level as 2M pieces"
    )
    assert policies == "CPUID does not tell: replacement (LRU assumed), inclusion (neither assumed)"
    assert structures == "paging-structure caches: CPUID does not tell; those of the preset zen2, assumptions too"
    assert found.structure_caches == load_preset("zen2").structure_caches
    assert "1G pages enter" not in geometry(amd(ZEN_3, 0xA20F10)).provenance


def test_provenance_names_leaf_and_what_was_assumed() -> None:
    lines = geometry(SKYLAKE_SP).provenance.splitlines()
    assert lines[0] == "L1I-4K: CPUID leaf 2, descriptor B5"
    assert any("replacement (LRU assumed)" in line for line in lines)
    assert any("ChampSim" in line for line in lines)
    zen4 = geometry(ZEN_4).provenance
    assert "3072 entries 8-way: 12 ways assumed" in zen4 and "6 ways for 2M" in zen4
    assert "80000021h is missing" in zen4 and "80000021h" not in geometry(ZEN_5).provenance
    assert "(in units of 32)" in geometry(ZEN_5).provenance
    assert "merged with CPUID leaf 18h, sub-leaf 7" in geometry(ICE_LAKE_SP).provenance


def test_both_kinds_of_dump_say_the_same_and_the_first_processor_counts() -> None:
    other = """
CPU 0:
   0x00000002 0x00: eax=0x76036301 ebx=0x00f0b5ff ecx=0x00000000 edx=0x00c30000
   0x00000018 0x01: eax=0x00000000 ebx=0x00000000 ecx=0x00000000 edx=0x00000000
CPU 1:
   0x00000002 0x00: eax=0x00000001 ebx=0x00000000 ecx=0x00000000 edx=0x00000000
"""
    assert geometry(other) == geometry(SKYLAKE_SP)
    leaves = parse_dump(other)
    assert leaves[2, 0] == (0x76036301, 0x00F0B5FF, 0, 0x00C30000)
    assert leaves == {(2, 0): leaves[2, 0], (0x18, 1): (0, 0, 0, 0)}
    assert parse_dump(SKYLAKE_SP.replace(" [SL 00]", "\r"))[2, 0] == leaves[2, 0]


def test_leaf_2_ignores_its_lowest_byte_and_registers_with_bit_31() -> None:
    assert [a.name for a in geometry("CPUID 00000002: 00000303-00000000-00000000-00000000").arrays] == ["L1D"]
    # B5 lies in a register that is marked as invalid
    assert [a.name for a in geometry("CPUID 00000002: 00000301-800000B5-00000000-00000000").arrays] == ["L1D"]


def test_leaf_2_second_level_of_core_2_and_4m_pages() -> None:
    """B0 B1 05 F0 57 56 B4: DTLB0 of 16 and DTLB1 of 256 entries."""
    found = geometry("CPUID 00000002: 05B0B101-005657F0-00000000-000000B4 [SL 00]")
    levels = {array.name: (array.level, array.entries) for array in found.arrays}
    assert levels == {"L1I-4K": (1, 128), "L1I-2M": (1, 8), "L1D": (1, 16), "L2D": (2, 256)}
    assert "descriptor 56 left out: 4M pages" in found.provenance


def test_leaf_2_associativity_not_given() -> None:
    found = geometry("CPUID 00000002: 00005001-00000000-00000000-00000000")
    assert found.arrays == (Array("L1I", 1, Kinds.FETCH, PageSizes.K4 | PageSizes.M2, 1, 64),)
    assert "associativity not given: fully associative assumed" in found.provenance


def test_ff_is_about_caches_and_fe_sends_to_leaf_18h() -> None:
    assert geometry(SKYLAKE_SP).arrays  # has FF
    with pytest.raises(CpuidError, match="FE: the TLBs are in leaf 18h, which is missing"):
        geometry("CPUID 00000002: 00FEFF01-000000F0-00000000-00000000 [SL 00]")


def test_every_descriptor_can_be_modelled() -> None:
    for byte, arrays in DESCRIPTORS.items():
        if any(one.page_sizes for one in arrays):
            SlowTlb(geometry(f"CPUID 00000002: {byte << 8 | 1:08X}-00000000-00000000-00000000"))


@pytest.mark.parametrize(
    ("code", "sets", "ways"),
    [
        (1, 256, 3),  # 768 sets are no power of two; nor are 384, 192 and so on
        (2, 256, 3),
        (3, 256, 3),
        (4, 128, 6),
        (5, 128, 6),
        (6, 64, 12),
        (8, 32, 24),
        (0xA, 16, 48),
        (0xB, 16, 48),
        (0xC, 8, 96),
        (0xD, 8, 96),
        (0xE, 4, 192),
        (0xF, 1, 768),
    ],
)
def test_amd_associativity_codes(code: int, sets: int, ways: int) -> None:
    dump = f"""
CPUID 80000005: FF40FF40-FF40FF40-00000000-00000000 [SL 00]
CPUID 80000006: 00000000-{code << 28 | 768 << 16:08X}-00000000-00000000 [SL 00]
"""
    (level_2,) = (array for array in geometry(dump).arrays if array.level == 2)
    assert (level_2.sets, level_2.ways) == (sets, ways)


def test_an_amd_code_that_no_tlb_has() -> None:
    dump = """
CPUID 80000005: FF40FF40-FF40FF40-00000000-00000000 [SL 00]
CPUID 80000006: 00000000-90400000-00000000-00000000 [SL 00]
"""
    with pytest.raises(CpuidError, match="associativity code 9h"):
        geometry(dump)


def test_amd_sizes_that_differ_are_different_arrays() -> None:
    """Family 16h: 32 and 8 instruction entries, 40 and 8 data entries; second level 512 and 256."""
    found = geometry(
        "CPUID 80000005: FF08FF08-FF28FF20-00000000-00000000\nCPUID 80000006: 21000000-42004200-00000000-00000000"
    )
    assert [(array.name, array.entries) for array in found.arrays] == [
        ("L1I-4K", 32),
        ("L1I-2M", 8),
        ("L1D-4K", 40),
        ("L1D-2M", 8),
        ("L2I", 512),
        ("L2D-4K", 512),
        ("L2D-2M", 256),
    ]
    assert "80000019h is missing or empty" in found.provenance


@pytest.mark.parametrize(
    "dump",
    [
        "CPUID 00000000: 0000000D-756E6547-6C65746E-49656E69",
        "CPUID 00000002: 00000001-00000000-00000000-00000000",
        "CPUID 00000004: 1C004121-01C0003F-0000003F-00000000 [SL 00]",
        "CPUID 80000005: 00000000-00000000-00000000-00000000\nCPUID 80000006: 00000000-00000000-01006040-00000000",
    ],
)
def test_a_dump_without_tlbs_is_refused(dump: str) -> None:
    with pytest.raises(CpuidError, match=r"no TLB is described.*hypervisors may hide them"):
        geometry(dump)


def test_what_is_no_dump_is_refused() -> None:
    with pytest.raises(CpuidError, match="this is not a CPUID dump"):
        parse_dump("model name: AMD EPYC\n")


def test_leaf_18h_that_cannot_be_modelled() -> None:
    with pytest.raises(CpuidError, match="type 9"):
        geometry("CPUID 00000018: 00000000-00080007-00000001-00004129 [SL 01]")
    with pytest.raises(CpuidError, match="level 3"):
        geometry("CPUID 00000018: 00000000-00080007-00000001-00004161 [SL 01]")


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="CPUID is read on x86-64 Linux only"
)
def test_this_host() -> None:
    leaves = host_leaves()
    assert leaves == host_leaves() | {(1, 0): leaves[1, 0]}  # leaf 1 tells which processor it ran on
    vendor = b"".join(leaves[0, 0][i].to_bytes(4, "little") for i in (1, 3, 2)).decode()
    with open("/proc/cpuinfo") as lines:
        assert f"vendor_id\t: {vendor}\n" in lines
    try:
        found = from_cpuid(leaves, "host")
    except CpuidError as error:
        assert "hypervisors may hide them" in str(error)
    else:
        assert found.name == "host"
        SlowTlb(found)


def test_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(CpuidError, match="x86-64 Linux only, not on aarch64"):
        host_leaves()


@pytest.mark.parametrize(
    ("ebx", "ecx", "said"),
    [
        (0x00FF_0001, 0xFFFF_FFFF, "4294967295 sets of 255 ways"),
        (0x0000_0001, 16, "16 sets of 0 ways"),
        (0x0004_0001, 0, "0 sets of 4 ways"),
    ],
)
def test_a_leaf_18h_of_a_size_that_no_tlb_has(ebx: int, ecx: int, said: str) -> None:
    """Refused at once: to look for a power of two of sets took hours."""
    text = f"CPUID 00000018: 00000000-{ebx:08X}-{ecx:08X}-00000022 [SL 01]"
    with pytest.raises(CpuidError, match=f"leaf 18h, sub-leaf 1: {said}"):
        from_cpuid(parse_dump(text))

"""The plugin inside pytest: fixtures, marks, options, and what a failing test shows."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import emu.testing.machine  # so that the tests within tests do not load it anew
import guests.build
from emu.machine import Machine
from emu.testing import GuestMachine
from emu.testing.keywords import KEYWORDS
from mmu.codecache import cache_directory

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
import pytest
import msharefs.module

@pytest.fixture
def unimmu_modules():
    return {"msharefs": msharefs.module.init}
"""
CACHE = cache_directory()
HAS_COMPILER = guests.build.compiler() is not None
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="there is no gcc on the PATH")

assert emu.testing.machine.DEFAULT_MEMORY == 64 << 20


@pytest.fixture
def outside(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An outside project, with no other plugin."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("UNIMMU_CACHE_DIR", str(CACHE))  # pytester gives the test another home
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\naddopts = --strict-markers -p emu.testing.plugin\n")
    return pytester


def test_fixtures_and_guest(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        def test_guest(machine, run_guest, mmu_events):
            result = run_guest("hello")
            assert result.stdout == "hello, world\\n"
            assert mmu_events.walks and mmu_events is machine.events
        def test_several(make_machine):
            a, b = make_machine(), make_machine(memory=16 << 20)
            assert (a.ram.size, b.ram.size) == (64 << 20, 16 << 20)
    """)
    outside.runpytest().assert_outcomes(passed=2)


def test_the_mark_chooses_and_multiplies(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        import pytest
        pytestmark = pytest.mark.unimmu(memory="32M", level="pte")
        @pytest.mark.unimmu(level=["pmd", "pud"], tlb=["off", "skylake-sp"])
        def test_many(machine):
            assert machine.ram.size == 32 << 20
            print("ran", machine.level, machine.kernel.cpu.mmu.mode)
        def test_one(machine):
            assert machine.unit == 2 << 20
        def test_without(): pass
    """)
    result = outside.runpytest("-v", "-s")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines_random([
        "*test_many?pmd-off?*", "*test_many?pud-skylake-sp?*", "*test_one *", "*ran pmd filtered*", "*ran pud exact*",
    ])  # fmt: skip


def test_the_command_line_chooses_too(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        import pytest
        def test_any(machine): assert machine.level in ("pte", "pud") and machine.ram.size == 16 << 20
        @pytest.mark.unimmu(level=["pmd", "pud"])
        def test_some(machine): assert machine.level == "pud"
        @pytest.mark.unimmu(level="pmd")
        def test_other(machine): assert 0
        def test_without(): pass
    """)
    result = outside.runpytest("-v", "-rs", "--unimmu-levels", "pte,pud", "--unimmu-memory", "16M")
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.fnmatch_lines(["*test_any?pte?*", "*test_any?pud?*", "*test_some?pud?*", "SKIPPED*level pmd only*"])


def test_interface_generations_are_mount_options(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        def test_abi(machine): assert machine.abi in ("v3", "v9")
    """)
    result = outside.runpytest("--unimmu-abis", "v3,v9")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["there can be no machine with abi='v9': cannot mount msharefs on /sys/fs/mshare with options 'abi=v9'*"]
    )


def test_a_wrong_mark_is_refused(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        import pytest
        @pytest.mark.unimmu("pmd")
        def test(machine): pass
    """)
    result = outside.runpytest()
    result.stdout.fnmatch_lines(["*::test: pytest.mark.unimmu takes keywords only, such as level='pmd'"])
    result.stdout.no_fnmatch_line("*Error*:*")  # no traceback
    assert result.ret


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ('quirk="none"', "pytest.mark.unimmu has no 'quirk'; what a file system is mounted with goes into "
         "mount_options={'quirk': ...}; there are: memory, level, abi, stdin, mount_options, record, *"),
        ('memory="lots"', "there can be no machine with memory='lots': memory: 'lots' is not a size *"),
        ('tlb="zen17"', "there can be no machine with tlb='zen17': no TLB preset 'zen17'; there are textbook, *"),
        ('mount_options={"quirk": "x"}', "there can be no machine with mount_options=*quirk=x: the quirks are *"),
        ("cpus=99", "there can be no machine with cpus=99: a machine has from 1 to 64 vCPUs, not 99"),
        ('level="ptee"', "there can be no machine with level='ptee': there is no level 'ptee'; there are pte, *"),
        ('level=["pmd", "ptee"]', "there can be no machine with level='ptee': there is no level 'ptee'; *"),
        ('tlb=["off", "zen17"]', "there can be no machine with tlb='zen17': no TLB preset 'zen17'; there are *, off"),
        ('abi="v9"', "there can be no machine with abi='v9': cannot mount msharefs *: the abis are *"),
        ("level=[]", "level is empty, which leaves nothing to run with"),
        ("level=4", "level should be a name or a list of them, and is 4"),
        ('la57="off"', "la57 should be True or False, and is 'off'"),
        ("la57=[False, True]", "la57 should be True or False, and is [[]False, True]"),
        ('cpus="2"', "cpus should be a whole number, and is '2'"),
        ("cpus=True", "cpus should be a whole number, and is True"),
        ("memory=16e6", "memory should be bytes, or a size such as \"256M\", and is 16000000.0"),
        ('modules="toy"', "modules should be a list of names such as *, and is 'toy'"),
        ('modules=["toy"]', "there can be no machine with modules=[[]'toy']: no kernel module 'toy' is installed; *"),
        ('mount_options="owner=die"', "mount_options should be a dictionary such as *, and is 'owner=die'"),
        ("max_instructions=0", "there can be no machine with max_instructions=0: max_instructions should be above 0*"),
        ("stdout=print", "pytest.mark.unimmu has no 'stdout'; *"),
    ],
)  # fmt: skip
def test_a_mark_that_makes_no_machine_is_one_line(outside: pytest.Pytester, mark: str, says: str) -> None:
    outside.makepyfile(f"""
        import pytest
        @pytest.mark.unimmu({mark})
        def test(machine): pass
    """)
    result = outside.runpytest()
    result.assert_outcomes(errors=2 if mark.endswith('"]') and not mark.startswith("modules") else 1)
    result.stdout.fnmatch_lines([says])
    result.stdout.no_fnmatch_line("*>*machine*")  # no traceback


@pytest.mark.parametrize("body", ["def test(): pass", "def test(make_machine): pass", "def test(machine): pass"])
def test_a_keyword_that_is_not_documented_is_an_error_whatever_the_test_uses(
    outside: pytest.Pytester, body: str
) -> None:
    outside.makepyfile(f"""
        import pytest
        pytestmark = [pytest.mark.unimmu(levl="pte"), pytest.mark.skipif(True, reason="not today")]
        {body}
    """)
    result = outside.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["pytest.mark.unimmu has no 'levl'; *there are: memory, level, abi, *"])


def test_the_documented_keywords_are_all_there_are() -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8").partition("| keyword |")[2].partition("\n\n")[0]
    documented = [
        name
        for line in page.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1] if line[:1] == "|" else "")
    ]
    assert sorted(documented) == sorted(KEYWORDS)
    parameters = {name for kind in (GuestMachine, Machine) for name in inspect.signature(kind).parameters}
    assert parameters - {"options", "stdout", "stderr", "log"} == set(KEYWORDS)


def test_none_is_as_if_the_mark_did_not_say_it(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        import pytest
        pytestmark = pytest.mark.unimmu(level="pte", memory="16M", mount_options={"owner": "persist"})
        @pytest.mark.unimmu(level=None, memory=None, mount_options=None)
        def test(machine): assert machine.level == "pmd" and machine.ram.size == 64 << 20
    """)
    outside.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--unimmu-levels", "ptee"], "ERROR: --unimmu-levels: there is no level 'ptee'; there are pte, pmd, pud"),
        (["--unimmu-levels", "pmd,ptee"], "ERROR: --unimmu-levels: there is no level 'ptee'; *"),
        (["--unimmu-levels", ","], "ERROR: --unimmu-levels names nothing"),
        (["--unimmu-tlbs", "off,zen17"], "ERROR: --unimmu-tlbs: no TLB preset 'zen17'; there are textbook, *, off"),
        (["--unimmu-memory", "lots"], "ERROR: --unimmu-memory: 'lots' is not a size *"),
    ],
)
def test_an_option_that_names_what_there_is_not_ends_the_session(
    outside: pytest.Pytester, options: list[str], says: str
) -> None:
    outside.makepyfile("""
        import pytest
        @pytest.mark.unimmu(level="pmd", tlb="off")
        def test(machine): pass
    """)
    result = outside.runpytest(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([says])


@pytest.mark.parametrize("abis", ["v33", "v3,v33"])
def test_an_interface_that_there_is_not_does_not_just_leave_tests_out(outside: pytest.Pytester, abis: str) -> None:
    outside.makepyfile("""
        import pytest
        @pytest.mark.unimmu(abi=["y2", "v3"])
        def test_list(machine): pass
        @pytest.mark.unimmu(abi="y2")
        def test_one(make_machine): make_machine()
    """)
    result = outside.runpytest("--unimmu-abis", abis)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["there can be no machine with abi='v33': cannot mount msharefs *: the abis are *"] * 2)
    outside.makepyfile("""
        import pytest
        @pytest.mark.unimmu(abi=["v3", "v33"])
        def test_list(machine): pass
    """)
    outside.runpytest("--unimmu-abis", "v3").assert_outcomes(errors=1)
    outside.makepyfile("""
        import pytest
        @pytest.mark.unimmu(abi="y2")
        def test_list(machine): pass
    """)
    result = outside.runpytest("-rs", "--unimmu-abis", "v3,rfc3")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*test_an_interface*.py:2: runs with abi y2 only"])


def test_a_machine_that_comes_too_late_for_parameters_is_an_error(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        import pytest
        @pytest.mark.unimmu(level=["pte", "pmd"])
        def test_two(request): request.getfixturevalue("machine")
        @pytest.mark.unimmu(level="pte")
        def test_one(request): assert request.getfixturevalue("machine").level == "pte"
        def test_any(request): assert request.getfixturevalue("machine").level == "pmd"
    """)
    result = outside.runpytest()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["to run with several values of level, the test *needs an argument `machine`*"])
    outside.runpytest("--unimmu-levels", "pte").assert_outcomes(passed=2, failed=1)  # the option is heard


def test_the_order_of_a_set_is_the_same_in_every_process(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        import pytest
        @pytest.mark.unimmu(level={"pud", "pte", "pmd"})
        def test(machine): pass
    """)
    result = outside.runpytest("--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test?pmd?", "*test?pte?", "*test?pud?"], consecutive=True)


def test_an_expectation_without_with_fails_the_test(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        import pytest
        from emu.testing import assert_no_fault
        def test_expect(machine):
            machine.expect(link_faults=1)
            machine.run_guest("hello")
        def test_no_fault(machine):
            assert_no_fault(machine)
            machine.run_guest("hello")
        @pytest.fixture
        def watched(machine):
            with machine.expect(minor_faults=2):
                yield machine
        def test_fixture(watched): watched.run_guest("hello")
        def test_fixture_fails(watched): pass
        @pytest.fixture
        def careless(machine):
            yield machine.expect(minor_faults=2).__enter__()
            machine.expect(minor_faults=7)
        def test_careless(careless): pass
    """)
    result = outside.runpytest()
    result.assert_outcomes(passed=3, failed=2, errors=2)
    unused = "*fails_the_test.py:%d: the expectation of %s was made without `with`, so nothing was checked"
    open_ = "*fails_the_test.py:%d: the expectation of %s was entered and never left, so nothing was checked"
    result.stdout.fnmatch_lines_random([
        unused % (4, "1 link fault"), unused % (7, "no hardware faults"), "*expected 2 minor faults, counted 0.*",
        open_ % (17, "2 minor faults"), unused % (18, "7 minor faults"),
    ])  # fmt: skip


def test_an_endless_guest_fails_the_test(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        import pytest
        @pytest.mark.unimmu(max_instructions=2_000_000)
        def test(run_guest):
            run_guest("spin")
    """)
    result = outside.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "E       AssertionError: the machine should run to its end, but 2,000,000 instructions were not enough (*",
        "E         process 100 (spin): runs at 0x*: jmp 0x*, after 2,000,000 instructions",
    ])  # fmt: skip


def test_modules_are_asked_for_by_a_fixture_and_by_marks(outside: pytest.Pytester) -> None:
    info = outside.mkdir("noter-1.dist-info")
    points = "".join(f"noter{n} = noter:init{n}\n" for n in (1, 2))
    (info / "entry_points.txt").write_text(f"[unimmu.modules]\n{points}")
    outside.makepyfile(
        noter="""
        def init1(kernel): kernel.reporters["one"] = lambda: 1
        def init2(kernel): kernel.reporters["two"] = lambda: 2
    """
    )
    outside.syspathinsert()
    outside.makepyfile("""
        import pytest
        def have(machine): return [name for name in machine.kernel.reporters if name in ("one", "two", "regions")]
        def test_without(machine): assert have(machine) == ["regions"]
        @pytest.mark.unimmu(modules=["noter1"])
        def test_one(machine): assert have(machine) == ["regions", "one"]
        @pytest.mark.unimmu(modules={})
        def test_none(machine): assert have(machine) == []
        class TestNamed:
            @pytest.fixture
            def unimmu_modules(self): return ["msharefs", "noter1"]
            def test_fixture(self, machine): assert have(machine)[-2:] == ["regions", "one"]
            @pytest.mark.unimmu(modules=["noter2"])
            def test_both(self, machine): assert have(machine)[-3:] == ["regions", "one", "two"]
    """)
    outside.runpytest("-v").assert_outcomes(passed=5)


def test_mount_options(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        import pytest
        @pytest.mark.unimmu(mount_options={"tlb": "local", "quirk": "stale-munmap"}, abi="y2")
        def test(machine):
            mounts = machine.run_guest("calls", 'fd = open "/proc/mounts" O_RDONLY; b = bytes 1K; n = read fd b 1K;'
                                       'write 1 b n').stdout
            (line,) = [line for line in mounts.splitlines() if "msharefs" in line]
            assert {"abi=y2", "tlb=local", "quirk=stale-munmap"} <= set(line.split()[3].split(","))
    """)
    outside.runpytest().assert_outcomes(passed=1)


def test_the_audit_fails_the_test_itself(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        from emu.mm.pageflags import FrameKind
        def test_leak(machine, run_guest):
            run_guest("hello")
            machine.kernel.frames.alloc(FrameKind.PAGETABLE)
        def test_leak_and_failure(machine):
            machine.kernel.frames.alloc(FrameKind.PAGETABLE)
            assert 0
    """)
    result = outside.runpytest()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([
        "the audit after the test found 3 things wrong:",
        "4096 bytes of page tables are accounted for, and 0 are reachable",
        "frame 0x* (PAGETABLE) has 1 references, and none was found: leaked",
        "*Captured guest stdout call*",
        "hello, world",
        "*assert 0*",
        "*Captured audit call*",
        "4096 bytes of page tables*",
    ])  # fmt: skip


def test_a_failing_assertion_ends_at_the_test_s_own_line(outside: pytest.Pytester) -> None:
    outside.makepyfile("""
        from emu.testing import assert_same_frame
        def test(machine):
            task = machine.guest("calls", "mark 1")
            machine.run_until_mark(task, 1)
            assert_same_frame(task, task, 0, 4096)
    """)
    result = outside.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        ">       assert_same_frame(task, task, 0, 4096)",
        "E       AssertionError: process 100 (calls) does not see the same memory as * (0x1000 and 0x0).",
        "E         process 100 (calls): nothing, its P* entry is not present",
        "E       PGD  *0x* = 0x* = *0x* = 0x*",
    ])  # fmt: skip
    assert "assertions.py" not in result.stdout.str()


@needs_compiler
def test_guests_are_compiled_on_the_fly(outside: pytest.Pytester) -> None:
    outside.makepyfile(r"""
        LIBC = '#include <stdio.h>\n#include <unimmu.h>\nint main(void) { unimmu_mark(4); puts("libc"); return 3; }'
        BARE = '#include "guest.h"\nint main(int c, char **v, char **e) { print("%d\\n", c); return 4; }'
        def test_libc(machine, run_guest):
            result = run_guest(LIBC, name="one")
            assert (result.stdout, result.status) == ("libc\n", 3)
            assert [mark.number for mark in machine.marks.passed] == [4]
        def test_bare(run_guest):
            result = run_guest(BARE, "argument")
            assert (result.stdout, result.status) == ("2\n", 4)
        def test_wrong(run_guest):
            run_guest("int main(void) {\n return x; }")
    """)
    result = outside.runpytest()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines([
        ">       run_guest(*", "E       emu.testing.compiled.GuestBuildError: *gcc does not compile this guest:*",
        "E       guest.c:2:*undeclared*",
    ])  # fmt: skip
    assert "_compile(" not in result.stdout.str()


def test_without_a_compiler_c_is_skipped(outside: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    outside.makepyfile("""
        def test_c(run_guest): run_guest("int main(void) { return 0; }")
        def test_prebuilt(run_guest): assert run_guest("hello").status == 0
    """)
    result = outside.runpytest("-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*this guest is C source, and there is no gcc on the PATH to compile it"])


def test_other_projects_pay_nothing() -> None:
    """pytest loads the plugin wherever unimmu is installed: it must load nothing else of it."""
    code = (
        "import sys, pytest; before = set(sys.modules); import emu.testing.plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["emu", "emu.testing", "emu.testing.plugin"]


def test_help_names_the_options(outside: pytest.Pytester) -> None:
    result = outside.runpytest("--help")
    options = [f"*--unimmu-{name}=LIST*" for name in ("levels", "abis", "tlbs")]
    result.stdout.fnmatch_lines(["machines whose processes share page tables:", *options])
    result = outside.runpytest("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.unimmu(level=, abi=, tlb=*"])

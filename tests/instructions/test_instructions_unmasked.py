"""Floating-point exceptions that are not masked: who gets them, when, and what is stored; and bad control words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.booted import MakeMachine
from tests.instructions.pieces_of_code import EXITED, End, build, end_in, end_on_host
from tests.machine.native_host import needs_host

UD, GP, MF, XM = 6, 13, 16, 19
#: mov dword [rbx], MXCSR; ldmxcsr [rbx]
ZE, IE, PE, OE = ("c703801d0000 0fae13", "c703001f0000 0fae13", "c703800f0000 0fae13", "c703801b0000 0fae13")
#: xmm0 = 1.0f, xmm1 = 0
ONE_AND_ZERO = "b80000803f 660f6ec0 0f57c9"
#: fninit; mov word [rbx], FCW; fldcw [rbx]
X87_ZE, X87_IE = ("dbe3 66c7037b03 d92b", "dbe3 66c7037e03 d92b")
DIVIDE = "d9e8 d9ee def9"  # fld1; fldz; fdivp

#: xor edx, edx; mov eax, what; xrstor [rbx] (with the MXCSR of a new program)
XRSTOR = "c74318801f0000 31d2 b8{:02x}000000 0fae2b"
#: mov byte [rbx+512], 1
X87_IS_THERE = "c6830002000001"

CASES: dict[str, tuple[str, End]] = {
    "xrstor of SSE, where the image has no control word": (XRSTOR.format(2) + DIVIDE + "9b", EXITED),
    "xrstor of an x87 state that is left out": (XRSTOR.format(1) + DIVIDE + "9b", EXITED),
    "xrstor of an x87 state": (
        "66c7037b03" + X87_IS_THERE + XRSTOR.format(1) + DIVIDE + "9b", End("SIGFPE", MF, 0, 35),
    ),
    "divss by 0": (ZE + ONE_AND_ZERO + "f30f5ec1", End("SIGFPE", XM, 0, 21)),
    "divps by 0 in one element": (ZE + ONE_AND_ZERO + "0f5ec1", End("SIGFPE", XM, 0, 21)),
    "divss by 0, masked": (ONE_AND_ZERO + "f30f5ec1", EXITED),
    "divss by 0 where another one is unmasked": (OE + ONE_AND_ZERO + "f30f5ec1", EXITED),
    "and masked again": (ZE + "c703801f0000 0fae13" + ONE_AND_ZERO + "f30f5ec1", EXITED),
    "sqrtss of -1": (IE + "b8000080bf 660f6ec0 f30f51c0", End("SIGFPE", XM, 0, 18)),
    "addss without exception": (IE + ONE_AND_ZERO + "f30f58c1", EXITED),
    "inexact": (PE + "b803000000 f30f2ac8 b80000803f 660f6ec0 f30f5ec1", End("SIGFPE", XM, 0, 27)),
    "cvttss2si of infinity": (IE + "b80000807f 660f6ec0 f30f2cc0", End("SIGFPE", XM, 0, 18)),
    "ucomiss of a signalling NaN": (IE + "b80100807f 660f6ec0 0f2ec0", End("SIGFPE", XM, 0, 18)),
    "divss by 0 in memory": (ZE + ONE_AND_ZERO + "f30f5e4310", End("SIGFPE", XM, 0, 21)),
    "divps misaligned": (ZE + ONE_AND_ZERO + "0f5e4301", End("SIGSEGV", GP, 0, 21)),
    "x87, and fwait": (X87_ZE + DIVIDE + "90 9b", End("SIGFPE", MF, 0, 16)),
    "x87, and the next instruction": (X87_ZE + DIVIDE + "90 d9e8", End("SIGFPE", MF, 0, 16)),
    "x87, and an instruction that does not wait": (X87_ZE + DIVIDE + "dfe0 dbe2 9b d9e8", EXITED),
    "x87 0/0": (X87_IE + "d9ee d9ee def9 9b", End("SIGFPE", MF, 0, 15)),
    "x87 of an empty register": (X87_IE + "d8c1 9b", End("SIGFPE", MF, 0, 11)),
    "x87 stack overflow": (X87_IE + "d9e8" * 9 + "9b", End("SIGFPE", MF, 0, 27)),
    "fistp of too much": (X87_IE + "c743080000807f d94308 df7b10 9b", End("SIGFPE", MF, 0, 22)),
    "x87 without exception": (X87_ZE + "d9e8 d9ee dec1 9b", EXITED),
    "what was flagged before is pending": ("dbe3" + DIVIDE + "66c7037b03 d92b 9b", End("SIGFPE", MF, 0, 15)),
    "fninit forgets": (X87_ZE + DIVIDE + "dbe3 9b d9e8", EXITED),
    **{
        f"{form}, which is no instruction": (X87_ZE + form, End("SIGILL", UD, 0, 9))
        for form in ("d9d1", "d9e2", "d9ef", "dae0", "daff", "dbe5", "dbff", "ddf0", "ded8", "dedf", "dfe1", "dff8")
    },
    "ldmxcsr of reserved bits": ("c70380ff0100 0fae13", End("SIGSEGV", GP, 0, 6)),
    "ldmxcsr of all the others": ("c703ffff0000 0fae13", EXITED),
    "fxrstor of reserved bits": ("0fae8300010000 0fae8b00010000", EXITED),
    "fxrstor of reserved bits, bad": (
        "0fae8300010000 c7831801000080ff0100 0fae8b00010000", End("SIGSEGV", GP, 0, 17),
    ),
}  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"tlb": "textbook"}], ids=["filtered", "exact"])
@pytest.mark.parametrize("name", CASES)
def test_how_it_ends(machine: MakeMachine, tmp_path: Path, name: str, options: dict[str, object]) -> None:
    code, end = CASES[name]
    assert end_in(machine(**options), build(tmp_path, code)) == end


@needs_host
@pytest.mark.parametrize("name", CASES)
def test_the_host_ends_it_so(tmp_path: Path, name: str) -> None:
    code, end = CASES[name]
    assert end_on_host(build(tmp_path, code)) == end.signal


#: cmp [rbx+16], eax; je +2; ud2
MUST_BE_EAX = "394310 7402 0f0b"


@pytest.mark.parametrize(
    "code",
    [
        # 1/3 with PE masked and IE not: xmm0 has it, and its inexactness is flagged
        IE + "b803000000 f30f2ac8 b80000803f 660f6ec0 f30f5ec1 f30f114310 b8abaaaa3e" + MUST_BE_EAX
        + "0fae5b10 b8201f0000" + MUST_BE_EAX,
        # cvttss2si r9d of 2.5: a register with REX
        IE + "b800002040 660f6ec0 41b900000000 f3440f2cc8 44894b10 b802000000" + MUST_BE_EAX,
        # comiss sets the flags; fstp stores 4 bytes
        IE + ONE_AND_ZERO + "0f2fc1 7702 0f0b",
        X87_ZE + "d9e8 d95b10 b80000803f" + MUST_BE_EAX,
        # of a division by zero nothing is popped, and nothing stored
        X87_ZE + "d9e8 d9ee def9 dfe0 0fb7c0 2500380000 894310 b800300000" + MUST_BE_EAX,
    ],
)  # fmt: skip
def test_what_comes_of_it(machine: MakeMachine, tmp_path: Path, code: str) -> None:
    assert end_in(machine(), build(tmp_path, code)) == EXITED


@needs_host
def test_the_user_is_told_once(machine: MakeMachine, tmp_path: Path) -> None:
    booted = machine()
    for _ in range(2):
        end_in(booted, build(tmp_path, IE))
    assert [line.split(":")[0] for line in booted.logged if "unmasks" in line] == [
        "a program unmasks floating-point exceptions"
    ]


def test_a_child_and_a_thread_of_the_machine_are_not_concerned(machine: MakeMachine, tmp_path: Path) -> None:
    """Two programs take turns at the same addresses, and only one of them has unmasked an exception."""
    loop = "b9e8030000" + ONE_AND_ZERO + "f30f58c8 ffc9 75f8"
    booted = machine(turn=50)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    tasks = [
        booted.spawn(build(tmp_path / "a", IE + loop)), booted.spawn(build(tmp_path / "b", "0f1f00" * 3 + loop)),
    ]  # fmt: skip
    booted.run(timeout_s=60)
    assert [task.exit_code for task in tasks] == [0, 0]

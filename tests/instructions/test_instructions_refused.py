"""Instructions that raise an exception on a CPU and run in the engine: what the signal says, and what the host does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.booted import MakeMachine
from tests.instructions.pieces_of_code import EXITED, End, build, end_in, end_on_host
from tests.machine.native_host import needs_host

UD, GP, SS = 6, 13, 12

#: Code and how it ends.  The host's CPU may have more extensions than the emulated one: see ``HERE``.
EVERYWHERE: dict[str, tuple[str, End]] = {
    "movaps, misaligned load": ("0f284301", End("SIGSEGV", GP, 0, 0)),
    "movaps, misaligned store": ("90 0f294308", End("SIGSEGV", GP, 0, 1)),
    "movaps, aligned": ("0f284310 0f294320", EXITED),
    "movups, misaligned": ("0f104301", EXITED),
    "movdqa by an index": ("b901000000 660f6f040b", End("SIGSEGV", GP, 0, 5)),
    "addps": ("0f584304", End("SIGSEGV", GP, 0, 0)),
    "addss of 4 bytes": ("f30f584304", EXITED),
    "cvtdq2pd of 8 bytes": ("f30fe64301", EXITED),
    "cvttpd2dq": ("660fe64301", End("SIGSEGV", GP, 0, 0)),
    "pshufb": ("660f380003 660f38004301", End("SIGSEGV", GP, 0, 5)),
    "pcmpistri is allowed": ("660f3a63430100", EXITED),
    "lddqu is allowed": ("f20ff04301", EXITED),
    "movaps behind a change of its base": ("0f284310 4883c301 0f284310", End("SIGSEGV", GP, 0, 8)),
    "movaps relative to RIP": ("0f280500000000", End("SIGSEGV", GP, 0, 0)),
    "movaps with an address of 32 bits": ("670f284301", End("SIGSEGV", GP, 0, 0)),
    "misaligned, and the page is not there": ("0f288301300000", End("SIGSEGV", GP, 0, 0)),
    "fxsave": ("0fae4308", End("SIGSEGV", GP, 0, 0)),
    "int 40h": ("90 cd40", End("SIGSEGV", GP, 0x202, 1)),
    "int 0": ("cd00", End("SIGSEGV", GP, 2, 0)),
    "int 1": ("cd01", End("SIGSEGV", GP, 0xA, 0)),
    "int 3 of two bytes": ("cd03", End("SIGTRAP", 3, 0, 2)),
    "int 4": ("cd04", End("SIGSEGV", 4, 0, 2)),
    "int 13": ("cd0d", End("SIGSEGV", GP, 0x6A, 0)),
    "int1": ("90 f1", End("SIGTRAP", 1, 0, 2)),
    "into": ("ce", End("SIGILL", UD, 0, 0)),
    "in, and nothing behind it": ("e410 31c9f7f1", End("SIGSEGV", GP, 0, 0)),
    "rep outsd": ("f36f", End("SIGSEGV", GP, 0, 0)),
    "lock mov": ("f08903", End("SIGILL", UD, 0, 0)),
    "lock lea": ("f08d03", End("SIGILL", UD, 0, 0)),
    "lock bt": ("f00fa303", End("SIGILL", UD, 0, 0)),
    "lock cmp": ("f03903", End("SIGILL", UD, 0, 0)),
    "lock add of a register": ("f001d8", End("SIGILL", UD, 0, 0)),
    "lock nop": ("f090", End("SIGILL", UD, 0, 0)),
    "lock add": ("f00103", EXITED),
    "lock cmpxchg16b": ("f0480fc70b", EXITED),
    "lock btc": ("f00fba3b05", EXITED),
    "lock not": ("f0f713", EXITED),
    "push at an address that is not canonical": (
        "48b80000000000000080 4889c4 50", End("SIGBUS", SS, 0, 13),
    ),
    "load by RBP": ("48bd0000000000000080 8b4500", End("SIGBUS", SS, 0, 10)),
    "load by RAX": ("48b80000000000000080 8b00", End("SIGSEGV", GP, 0, 10)),
    "jmp to what is not canonical": ("48b80000000000000080 ffe0", End("SIGSEGV", GP, 0, 10)),
    "ret": ("48b80000000000000080 50 c3", End("SIGSEGV", GP, 0, 11)),
    "call": ("48b80000000000000080 90 ffd0", End("SIGSEGV", GP, 0, 11)),
    "mov ss of what is there": ("8cd0 8ed0 8cd0", EXITED),
    "mov ss of nothing": ("31c0 8ed0", End("SIGSEGV", GP, 0, 2)),
    "mov ss of the kernel's": ("b81b000000 8ed0", End("SIGSEGV", GP, 0x18, 5)),
    "mov ss out of memory": ("66c7032b00 8e13", EXITED),
    "clflush": ("0fae3b", EXITED),
    "clflush of nothing": ("0fae3c2500000000", End("SIGSEGV", 14, 4, 0)),
    "prefetch of nothing": ("0f180c2500000000", EXITED),
}  # fmt: skip

#: Of extensions that the emulated CPU does not have, and the host may.
HERE: dict[str, tuple[str, End]] = {
    "vpxor": ("90 c5f1efc2", End("SIGILL", UD, 0, 1)),
    "vaddps behind another": ("90 c5fc58c1", End("SIGILL", UD, 0, 1)),
    "vaddps behind what is checked": ("0f2803 c5fc58c1", End("SIGILL", UD, 0, 3)),
    "vzeroupper": ("c5f877", End("SIGILL", UD, 0, 0)),
    "vfmadd of three bytes": ("c4e2f198c2", End("SIGILL", UD, 0, 0)),
    "vmovaps zmm": ("62f17c482803", End("SIGILL", UD, 0, 0)),
    "vprotb": ("8fe878c0c001", End("SIGILL", UD, 0, 0)),
    "pop is no xop": ("50 8f03", EXITED),
    "xtest": ("0f01d6", End("SIGILL", UD, 0, 0)),
    "xabort": ("c6f801", End("SIGILL", UD, 0, 0)),
    "extrq": ("660f79c1", End("SIGILL", UD, 0, 0)),
    "movntss": ("f30f2b03", End("SIGILL", UD, 0, 0)),
    "rdpmc": ("0f33", End("SIGSEGV", GP, 0, 0)),
}


@pytest.mark.parametrize("options", [{}, {"tlb": "textbook"}], ids=["filtered", "exact"])
@pytest.mark.parametrize("name", [*EVERYWHERE, *HERE])
def test_how_it_ends(machine: MakeMachine, tmp_path: Path, name: str, options: dict[str, object]) -> None:
    code, end = (EVERYWHERE | HERE)[name]
    assert end_in(machine(**options), build(tmp_path, code)) == end


@needs_host
@pytest.mark.parametrize("name", EVERYWHERE)
def test_the_host_ends_it_so(tmp_path: Path, name: str) -> None:
    code, end = EVERYWHERE[name]
    assert end_on_host(build(tmp_path, code)) == end.signal


def test_the_user_is_told_what_is_missing(machine: MakeMachine, tmp_path: Path) -> None:
    booted = machine()
    for code in ("c5f1efc2", "c5f877", "0f0b", "480fc7f0"):
        end_in(booted, build(tmp_path, code))
    said = [line for line in booted.logged if "SIGILL" in line and "executes" in line]
    assert said == [
        "program executes 'vpxor xmm0, xmm1, xmm2', which needs AVX: the emulated CPU has none (SIGILL)",
        "program executes 'rdrand rax', which needs RDRAND: the emulated CPU has none (SIGILL)",
    ]


def test_the_end_of_a_page(machine: MakeMachine, tmp_path: Path) -> None:
    """There is no room for a jump, nor for the next instruction: each place of MOV SS and IN around a page's end."""
    for distance in range(1, 6):
        for code, end in (
            ("8cd0 8ed0 9090", ""),
            ("8cd0 e410 90", "SIGSEGV"),
            ("0f284301", "SIGSEGV"),
            ("ec", "SIGSEGV"),
        ):
            padding = 4096 - 64 - 2 * 56 - 10 - distance
            path = build(tmp_path, "0f1f00" * 10 + "90" * (padding - 30) + code)
            assert end_in(machine(), path).signal == end, (distance, code)


def test_nobody_sees_that_it_is_stepped_through(machine: MakeMachine, tmp_path: Path) -> None:
    """PUSHF, and INT 40h at a page's end, to which the machine goes instruction by instruction: TF is not pushed."""
    code = "9c 58 c1e808 83e001 0f280403"  # pushfq; pop rax; shr eax, 8; and eax, 1; movaps xmm0, [rbx+rax]
    padding = 4096 - 64 - 2 * 56 - 10 - len(bytes.fromhex(code)) - 2
    path = build(tmp_path, "90" * padding + code + "cd40")
    assert end_in(machine(), path) == End("SIGSEGV", GP, 0x202, padding + len(bytes.fromhex(code)))

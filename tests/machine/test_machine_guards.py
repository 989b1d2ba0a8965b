"""Blocks that guard their aligned operands (emu.inline.guards): a misaligned one raises #GP where a CPU does."""

from __future__ import annotations

import ctypes
import gc
import mmap
import struct
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from emu.inline import stubs
from emu.testing import GuestMachine
from tests.machine.both_ways import compare, compare_guards, run
from tests.machine.inline_programs import DATA, TEXT, elf, hold

if TYPE_CHECKING:
    from emu.kernel.task import Task

#: Loads and stores of 16 bytes, aligned where RBX, R12, R13 and RBP are, and RDX and R9 are 0.
FORMS = {
    "movaps load": "0f2803", "movaps store": "0f2903", "disp8": "0f294310", "disp32": "0f288b00010000",
    "movdqa load from r12": "66410f6f0424", "movntdq to r13+r9*2": "66430fe7444d00",
    "paddd with an index": "660ffe0493", "pshufd": "660f70031b", "pshufb": "660f380003", "palignr": "660f3a0f4b2005",
    "cmpps": "0fc20301", "movshdup": "f30f1603", "cvtdq2ps": "0f5b4340", "ptest": "660f381703", "haddpd": "660f7c03",
    "addps to rbp": "0f586d00", "movntdqa": "660f382a7b10", "sqrtpd": "660f5143f0", "psllw": "660ff10b",
    "two in one block": "0f28034883c0010f294b20",
}  # fmt: skip
_PAGE = 0x1000
#: mov r12, rbx; mov rbp, rbx; mov r13, rbx; xor edx, edx; xor r9d, r9d; inc rax
_BASES = bytes.fromhex("4989dc4889dd4989dd31d24531c948ffc0")


def program(tmp_path: Path, form: str, *, catches: bool = True) -> tuple[Path, int]:
    """It executes the instruction ten times aligned, in a loop, and then misaligned; and the address of that."""
    # jmp over the handler: mov rax, [rdx+0xa8] (RIP); mov [DATA], rax; mov edi, eax; and edi, 127; exit_group
    code = bytearray(b"\xeb\x1b" + bytes.fromhex("488b82a8000000") + b"\x48\x89\x04\x25" + struct.pack("<I", DATA))
    code += bytes.fromhex("89c783e77fb8e70000000f05")
    if catches:
        code += bytes.fromhex("4881ec00010000")
        for n, word in enumerate((TEXT + 2, 0x0400_0004, TEXT, 0)):
            code += b"\x48\xb8" + struct.pack("<Q", word) + b"\x48\x89\x44\x24" + bytes([8 * n])
        code += bytes.fromhex("bf0b0000004889e631d241ba08000000b80d0000000f05")  # rt_sigaction(SIGSEGV, ...)
    code += b"\xbb" + struct.pack("<I", DATA + 0x100) + bytes.fromhex("b90a000000")  # mov ebx, DATA; mov ecx, 10
    loop = len(code)
    code += _BASES
    refused = TEXT + len(code)
    code += bytes.fromhex(FORMS[form]) + bytes.fromhex("ffc9")
    code += b"\x75" + struct.pack("<b", loop - len(code) - 2)
    code += bytes.fromhex("4883c308ffc1")  # add rbx, 8; inc ecx
    code += b"\xeb" + struct.pack("<b", loop - len(code) - 2)
    path = tmp_path / "program"
    path.write_bytes(elf(((TEXT, 5, bytes(code)), (DATA, 6, bytes(range(256)) * 16))))
    path.chmod(0o755)
    return path, refused


@pytest.mark.parametrize("form", FORMS)
def test_a_misaligned_operand_is_refused_where_it_is(form: str, tmp_path: Path) -> None:
    path, refused = program(tmp_path, form)
    assert compare_guards(path).ended == str(refused & 127)
    ran = compare(path)
    assert (ran.ended, ran.made > 0) == (str(refused & 127), True)


def test_turns_end_in_blocks_with_operands(tmp_path: Path) -> None:
    for turn in (1, 2, 3, 7):
        compare(program(tmp_path, "two in one block")[0], turn=turn)
    compare_guards(program(tmp_path, "two in one block")[0], turn=5)


def test_without_a_handler_the_process_ends(tmp_path: Path) -> None:
    path, _ = program(tmp_path, "movaps store", catches=False)
    assert compare_guards(path).ended == compare(path).ended == "SIGSEGV"


def running(path: Path) -> tuple[GuestMachine, Task]:
    machine = GuestMachine(record=False, modules={}, engine_fast=True)
    return machine, machine.spawn(machine.install(path, "/bin/program"), in_guest=True)


def test_the_code_guards_them_and_not_the_hook(tmp_path: Path) -> None:
    machine, _ = running(program(tmp_path, "two in one block")[0])
    machine.finish()
    cpu = machine.kernel.cpu
    record = cpu.inlining.record
    assert 2 <= record.shortened <= record.guarded
    assert cpu.blocks.hits is not None
    assert cpu.blocks.hits.refusal is None


def test_a_hook_counts_and_the_second_half_of_an_operand_is_looked_up(tmp_path: Path) -> None:
    """Operands are guarded, and nothing else is other code than the engine's."""
    machine = GuestMachine(record=False, modules={}, engine_fast=False)
    machine.spawn(machine.install(program(tmp_path, "two in one block")[0], "/bin/program"), in_guest=True)
    machine.finish()
    record = machine.kernel.cpu.inlining.record
    assert (record.guarded > 0, record.shortened) == (True, 0)


def test_beside_a_machine_in_exact_mode_they_are_guarded_too(tmp_path: Path) -> None:
    """It has functions of its own in the engine's tables, for all engines of the process."""
    path, _ = program(tmp_path, "two in one block")
    before, _ = running(path)
    assert GuestMachine(modules={}, tlb="skylake-sp").run_guest("hello").stdout
    after, _ = running(path)
    for machine in (before, after):
        machine.finish()
        assert machine.kernel.cpu.inlining.record.guarded >= 2


def test_code_that_is_not_as_expected_is_cut(tmp_path: Path) -> None:
    """The access leads elsewhere: the hook checks the operand."""
    path, refused = program(tmp_path, "movaps load")
    machine, task = running(path)
    record = machine.kernel.cpu.inlining.record
    record.load, record.other_load = record.load + 16, 1
    machine.finish()
    assert (record.guarded, str(machine.ending(task))) == (0, str(refused & 127))


def test_room_near_the_code_is_found_where_there_is_any() -> None:
    """Each place that is told is free: memory that is asked for there is given there."""
    library = ctypes.CDLL(None)
    near = ctypes.cast(library.memcpy, ctypes.c_void_p).value
    assert near is not None
    places = list(islice(stubs._gaps(near, 5000), 8))
    assert places
    for place in places:
        at = stubs._libc().mmap(place, 5000, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        stubs._libc().munmap(at, 5000)
        assert at == place and abs(at - near) < 1 << 31


def test_without_memory_near_the_code_the_hook_does_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> int:
        raise OSError("no memory is near the engine's code")

    path, _ = program(tmp_path, "movaps load")
    expected = run(path, fast=True)
    monkeypatch.setattr(stubs, "_executable_near", full)
    machine, task = running(path)
    machine.finish()
    inlining = machine.kernel.cpu.inlining
    assert (inlining.record.made, inlining.record.guarded) == (0, 0)
    assert "no memory is near the engine's code" in inlining.state()
    assert (machine.kernel.cpu.clock, str(machine.ending(task))) == (expected.clock[0], expected.ended)


def test_memory_near_is_given_back() -> None:
    class Owner:
        pass

    owner = Owner()
    near = ctypes.addressof(ctypes.create_string_buffer(1))
    at = stubs._executable_near(near, b"\xc3", owner)
    assert abs(at - near) < 1 << 31
    assert mapped(at)
    del owner
    gc.collect()
    assert not mapped(at)


def mapped(address: int) -> bool:
    with open("/proc/self/maps", encoding="ascii") as file:
        ranges = [[int(word, 16) for word in line.split()[0].split("-")] for line in file]
    return any(begin <= address < end for begin, end in ranges)


def test_palignr_by_each_distance(tmp_path: Path) -> None:
    """The operands differ from turn to turn; both ways have the same in memory."""
    code = b"\xbb" + struct.pack("<I", DATA) + bytes.fromhex("b903000000")  # mov ebx, DATA; mov ecx, 3
    loop = b""
    for distance in range(40):
        # movups xmm1, [rbx]; movups xmm2, [rbx+16]; palignr; movups [rbx+...], xmm1; and of a register with itself
        loop += bytes.fromhex("0f100b0f105310660f3a0fca") + bytes([distance])
        loop += b"\x0f\x11\x8b" + struct.pack("<i", 32 + 32 * distance)
        loop += (
            bytes.fromhex("660f3a0fd2") + bytes([distance]) + b"\x0f\x11\x93" + struct.pack("<i", 48 + 32 * distance)
        )
    loop += bytes.fromhex("4883c30affc9")  # add rbx, 10; dec ecx
    code += loop + b"\x0f\x85" + struct.pack("<i", -len(loop) - 6) + bytes.fromhex("31ffb8e70000000f05")
    path = tmp_path / "program"
    path.write_bytes(elf(((TEXT, 5, code), (DATA, 6, bytes(n * 37 & 0xFF for n in range(0x1000))))))
    path.chmod(0o755)
    ran = compare(path)
    assert (ran.ended, ran.made > 0) == ("0", True)


@pytest.mark.parametrize("guards", [True, False])
@pytest.mark.parametrize(("first", "ended"), [(True, "0"), (False, "SIGBUS")])
def test_a_piece_is_another_one_in_another_mode(first: bool, ended: str, guards: bool, tmp_path: Path) -> None:
    """EFLAGS.AC is set and the operand aligned, then it is not set and misaligned; and the other way round."""
    path = tmp_path / "program"
    flags = "9c810c24000004009d", "9c812424fffffbff9d"  # pushf; or, and [rsp]; popf
    code = b"\xbb" + struct.pack("<I", DATA + (not first)) + b"\x41\xbc" + struct.pack("<I", DATA) + b"\x31\xed"
    code += bytes.fromhex(flags[not first])
    # 1: mov rax, [rbx]; movaps xmm0, [r12]; inc ebp; cmp ebp, 2; je 2f; popf...; inc rbx; jmp 1b; 2: exit_group(0)
    loop = bytes.fromhex("488b03" + "410f280424" + "ffc5" + "83fd02" + "740e" + flags[first] + "48ffc3")
    code += loop + b"\xeb" + struct.pack("<b", -len(loop) - 2) + bytes.fromhex("31ffb8e70000000f05")
    path.write_bytes(elf(((TEXT, 5, code), (DATA, 6, bytes(64)))))
    path.chmod(0o755)
    assert run(path, fast=True, guards=guards).ended == ended


@pytest.mark.parametrize("seed", [80069, 80073])
def test_random_programs_in_which_pieces_meet_other_modes(seed: int, tmp_path: Path) -> None:
    hold(seed, tmp_path)

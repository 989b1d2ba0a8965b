"""Code that is written while it runs, in exact mode: Unicorn keeps translated code by physical address, and aliases
have several."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmu import Access, PageFault
from mmu.hooks import PHYSMAP
from tests.mmu.exact_guest import PAGE, ExactGuest, X, rbx, tiny
from tests.mmu.guest import CODE_PADDR, DATA, DATA_PADDR, JUMP, returns

FUNCTION, FUNCTION_PADDR = 0x7000_0000, 0x60_0000
STACK, STACK_PADDR = 0x9000_0000, 0x50_0000
TOP = STACK + 0x800


@pytest.fixture(params=["textbook", "none", "zen2"])
def jit(request: pytest.FixtureRequest) -> ExactGuest:
    guest = ExactGuest(request.param)
    guest.tables.map_page(STACK, STACK_PADDR)
    guest.tables.map_page(DATA, DATA_PADDR)
    guest.ram.write(FUNCTION_PADDR, returns(0))
    return guest


def movabs(register: str, value: int) -> str:
    return ({"rbx": b"\x48\xbb", "rdx": b"\x48\xba"}[register] + value.to_bytes(8, "little")).hex()


def rounds(written: list[int], run: list[int]) -> str:
    """For each pair of addresses: add 1 to the immediate of the function written at one, run it at the other, add to
    rsi."""
    code = ""
    for to, at in zip(written, run, strict=True):
        code += movabs("rdx", to) + "80420101" + movabs("rbx", at) + "ffd3" + "4801c6"
    return code


@pytest.mark.parametrize("offset", range(0xFEF, 0x1001))
def test_code_that_patches_the_instruction_behind_it(jit: ExactGuest, offset: int) -> None:
    """SDM vol. 3, 8.1.3: it executes what it has written, in whatever window its page is, across an edge too."""
    aliases = [FUNCTION + 0x5000 * n for n in range(3)]
    for alias in aliases:
        for page in range(2):
            jit.tables.map_page(alias + PAGE * page, FUNCTION_PADDR + PAGE * page)
    jit.tables.map_page(DATA, FUNCTION_PADDR, XD=1)
    jit.tables.map_page(DATA + PAGE, FUNCTION_PADDR + PAGE, XD=1)
    # movl $42, 1(%rip); mov $0, %eax; ret; and, elsewhere, mov byte [rbx], 0 by the page that is not executable
    code = "c705010000002a000000" + "b800000000" + "c3"
    for alias in aliases * 2:
        jit.ram.write(FUNCTION_PADDR + offset, bytes.fromhex(code))
        for frame in (FUNCTION_PADDR >> 12, (FUNCTION_PADDR >> 12) + 1):
            jit.mmu.code_written(frame)
        jit.program(movabs("rbx", alias + offset), "ffd3", movabs("rbx", DATA + offset + 11), "c60300")
        assert jit.run(rsp=TOP) == 42, hex(alias)
        jit.program(movabs("rbx", DATA + offset + 6), "c60307", movabs("rbx", alias + offset), "ffd3")  # patched first
        assert jit.run(rsp=TOP) == 7, hex(alias)


def total(number: int) -> int:
    return number * (number + 1) // 2


@pytest.mark.parametrize("aliases", [1, 2, 5, 8, 9, 12])
def test_code_written_through_one_alias_and_run_through_another(jit: ExactGuest, aliases: int) -> None:
    """Every call sees the code written just before it, through whatever page it was written."""
    writable = [0x1000_0000 + 0x3000 * n for n in range(aliases)]
    executable = [FUNCTION + 0x3000 * n for n in range(aliases)]
    for page in writable:
        jit.tables.map_page(page, FUNCTION_PADDR, XD=1)
    for page in executable:
        jit.tables.map_page(page, FUNCTION_PADDR, RW=0)
    number = 24
    written = [writable[n % aliases] for n in range(number)]
    run = [executable[5 * n % aliases] for n in range(number)]
    jit.program(rounds(written, run))
    jit.run(rsp=TOP, rsi=0)
    assert jit["rsi"] == total(number)


@pytest.mark.parametrize("aliases", [1, 2, 9])
def test_pages_with_write_and_execute(jit: ExactGuest, aliases: int) -> None:
    pages = [FUNCTION + 0x3000 * n for n in range(aliases)]
    for page in pages:
        jit.tables.map_page(page, FUNCTION_PADDR)
    number = 20
    jit.program(rounds([pages[n % aliases] for n in range(number)], [pages[3 * n % aliases] for n in range(number)]))
    jit.run(rsp=TOP, rsi=0)
    assert jit["rsi"] == total(number)


def test_an_executable_alias_of_a_page_with_write_and_execute(jit: ExactGuest) -> None:
    """The writable page is alone at first; then code is run through an alias that has no W."""
    both, executable = FUNCTION, FUNCTION + 0x3000
    jit.tables.map_page(both, FUNCTION_PADDR)
    jit.tables.map_page(executable, FUNCTION_PADDR, RW=0)
    jit.program(rounds([both] * 9, [both, both, executable, executable, both, executable, both, both, executable]))
    jit.run(rsp=TOP, rsi=0)
    assert jit["rsi"] == total(9)


def test_a_block_that_changes_itself(jit: ExactGuest) -> None:
    """mov byte [rip + 1], 7 changes the immediate of the mov that follows, in the same block, in every turn."""
    jit.tables.map_page(FUNCTION, FUNCTION_PADDR)
    code = bytes.fromhex("480fb6d1881501000000b8000000004801c6ffc975eac3")
    # movzx rdx, cl; mov [rip + 1], dl; mov eax, 0; add rsi, rax; dec ecx; jnz; ret
    jit.ram.write(FUNCTION_PADDR, code)
    jit.program("ffd3")
    jit.set(rcx=20)
    jit.run(rbx=FUNCTION, rsp=TOP, rsi=0)
    assert jit["rsi"] == total(20)


def test_code_next_to_its_data(jit: ExactGuest) -> None:
    """A page that is code, constant and counter at once."""
    jit.tables.map_page(FUNCTION, FUNCTION_PADDR)
    # add qword [rip + 0x100], 3; mov rax, [rip + 0xf9]; ret
    jit.ram.write(FUNCTION_PADDR, bytes.fromhex("4883050001000003488b05f9000000c3"))
    jit.program("ffd3" * 30)
    assert jit.run(rbx=FUNCTION, rsp=TOP) == 90


def test_writing_changing_rights_running(jit: ExactGuest) -> None:
    """A JIT that never has W and X at once: the handler of its page faults swaps them."""

    def swap(fault: PageFault) -> bool:
        fetch = fault.access == Access.FETCH
        jit.tables.map_page(FUNCTION, FUNCTION_PADDR, RW=int(not fetch), XD=int(fetch is False))
        jit.mmu.invlpg(FUNCTION)
        return True

    jit.mmu.on_page_fault = swap
    jit.mmu.registers = replace(jit.mmu.registers, cpl=3)
    jit.program(rounds([FUNCTION] * 15, [FUNCTION] * 15))
    jit.run(rsp=TOP, rsi=0)
    assert jit["rsi"] == total(15)


def test_the_host_writes_code(jit: ExactGuest) -> None:
    for n in range(3):
        jit.tables.map_page(FUNCTION + n * PAGE, FUNCTION_PADDR, RW=0)
    jit.program("ffd3")
    for number in range(8):
        jit.ram.write(FUNCTION_PADDR, returns(number))
        jit.mmu.code_written(FUNCTION_PADDR >> 12)
        for n in range(3):
            assert jit.run(rbx=FUNCTION + n * PAGE, rsp=TOP) == number


def test_what_runs_in_the_physmap_is_not_counted() -> None:
    """So the machine's own start-up code is in no statistics, nor is where it leads."""
    guest = ExactGuest(tiny(4))
    guest.program("eb00" + rbx(DATA) + JUMP)
    guest.mmu.state.physmap_open = 1
    guest.stops(PHYSMAP + CODE_PADDR)
    guest.mmu.state.physmap_open = 0
    guest.mmu.take_failure()
    assert guest["rip"] == DATA and guest.tlb.access_counters()[X]["accesses"] == 0
    assert (guest.mmu.counters.walks, guest.mmu.counters.page_faults) == (0, 0)

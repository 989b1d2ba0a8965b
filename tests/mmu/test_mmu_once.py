"""What is made once a process, by several threads at the same moment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from mmu.once import Once
from tests.cli.conftest import environment

#: As many engines with an Mmu of their own as there are threads; each counts in memory whose page is never there at
#: first.  In a process of its own, because the first ones load native code and test the engine.
ENGINES = """
import sys, threading
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn.x86_const import UC_X86_REG_RCX
from mmu import Mmu, PhysicalMemory
from mmu.entries import encode

threads, tlb = int(sys.argv[1]), sys.argv[2]
COUNT = bytes.fromhex("48ff0425" "00605000" "48ffc9" "75f3" "f4")  # inc qword [0x506000]; dec rcx; jne
answers, together = [None] * threads, threading.Barrier(threads)

def work(number):
    together.wait()
    ram = PhysicalMemory(4 << 20)
    mmu = Mmu(uc := Uc(UC_ARCH_X86, UC_MODE_64), ram, tlb=tlb)
    for level, table in ((4, 0x1000), (3, 0x2000)):
        ram.write_u64(table, encode(level, P=1, RW=1, US=1, ADDRESS=table + 0x1000))
    ram.write_u64(0x3010, encode(2, P=1, RW=1, US=1, ADDRESS=0x4000))
    ram.write_u64(0x4000, encode(1, P=1, RW=1, US=1, ADDRESS=0x100000))
    ram.write(0x100000, COUNT)
    faults = 0

    def fixed(_fault):
        nonlocal faults
        faults += 1
        ram.write_u64(0x4000 + 8 * 0x106, encode(1, P=1, RW=1, US=1, ADDRESS=0x102000))
        return True

    mmu.on_page_fault = fixed
    mmu.load_cr3(0x1000)
    for _ in range(100):
        ram.write_u64(0x4000 + 8 * 0x106, 0)
        mmu.invlpg(0x506000)
        uc.reg_write(UC_X86_REG_RCX, 50)
        uc.emu_start(0x400000, 0x40000d)
    answers[number] = ram.read_u64(0x102000), faults

workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(set(answers))
"""


@pytest.mark.parametrize("tlb", ["off", "zen4"])
def test_engines_in_threads_of_their_own(tlb: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", ENGINES, "8", tlb],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.returncode) == ("{(5000, 100)}\n", 0), ran.stderr


def test_all_get_what_one_has_made() -> None:
    made: list[object] = []

    @Once
    def slow(name: str) -> object:
        time.sleep(0.05)  # time for all the others to ask
        made.append(object())
        return made[-1]

    got: list[object] = []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        got.append(slow("name"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert got == made * 8


def test_each_argument_has_a_result_of_its_own() -> None:
    assert [Once(str.upper)(word) for word in ("a", "b", "a")] == ["A", "B", "A"]


def test_what_fails_is_tried_again() -> None:
    calls: list[int] = []

    @Once
    def fails_at_first() -> int:
        calls.append(5)
        if len(calls) == 1:
            raise ValueError("at first")
        return 5

    with pytest.raises(ValueError, match="at first"):
        fails_at_first()
    assert (fails_at_first(), fails_at_first()) == (5, 5)


def test_who_asks_in_between_gets_the_same() -> None:
    """As the handler of a signal may, while the first call is on its way."""
    calls: list[list[int]] = []

    @Once
    def nested() -> list[int]:
        mine: list[int] = []
        calls.append(mine)
        if len(calls) == 1:
            assert nested() is calls[1]
        return mine

    assert nested() is calls[1]
    assert nested() is calls[1]

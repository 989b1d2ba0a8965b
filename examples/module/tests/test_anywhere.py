"""What `anywhere` promises.  Every machine is audited when its test is over."""

import pytest

from emu.kernel.task import Task
from emu.testing import GuestMachine, assert_no_fault, assert_pagetable_bytes, assert_same_frame, assert_shares_table

#: The tests' machines load the module by its name, besides unimmu's own.
pytestmark = pytest.mark.unimmu(modules=["anywhere"])

TIB, MIB = 1 << 40, 1 << 20
#: Process a maps 4 MiB of a file at 2 TiB and writes; b has it at 6 TiB, and does something with it between its marks.
MAP = 'm = open "/tmp/f" O_RDWR|O_CREAT 0600; ftruncate m 4M; p = mmap {at} 4M RW 0x400001|MAP_FIXED m 0'
A = f"{MAP.format(at='2T')}; store p 7; mark 1; load p+2M; mark 2"
B = f"{MAP.format(at='6T')}; mark 1; load p; mark 2; load p; mark 3; store p+2M 8; mark 4; pause"


def start(machine: GuestMachine, *scripts: str) -> list[Task]:
    return [machine.run_until_mark(machine.guest("calls", script), 1) for script in scripts]


def test_tables_are_shared_at_two_addresses(machine: GuestMachine) -> None:
    a, b = start(machine, A, B)
    with machine.expect(task=b, link_faults=1, hardware_faults=1):
        machine.run_until_mark(b, 2)
    assert_shares_table(a, b, 2 * TIB, 6 * TIB, level="pte")
    assert_same_frame(a, b, 2 * TIB, 6 * TIB)
    assert [link.vaddr for link in machine.events.links] == [2 * TIB, 6 * TIB]
    machine.run_until_mark(b, 4)
    machine.run_until_mark(a, 2)
    assert machine.stdout.splitlines()[-1] == "load = 8"


def test_the_tables_belong_to_the_file(machine: GuestMachine) -> None:
    a, b = start(machine, A, B)
    machine.run_until_mark(b, 2)
    assert_pagetable_bytes(machine.host_mm("f"), 4 * 4096)  # PGD, PUD, PMD and one PTE table
    machine.send_signal(a, 9)
    with assert_no_fault(machine, task=b):
        machine.run_until_mark(b, 3)
    assert machine.ending(a) == "SIGKILL"
    assert machine.host_mm("f")  # b still uses the tables that a has filled
    machine.send_signal(b, 9)
    machine.run_until_idle()
    assert machine.host_mms == []


@pytest.mark.unimmu(tlb="skylake-sp", cpus=2)
def test_a_process_that_lets_go_flushes(machine: GuestMachine) -> None:
    """The audit also says whether a vCPU used a stale translation."""
    result = machine.run_guest("calls", f"{MAP.format(at='2T')}; store p 1; munmap p 4M; load p")
    assert result.stdout.splitlines()[-2:] == ["munmap = 0", "load = SEGV_MAPERR"]
    assert result.counts.link_faults == 1


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ("mmap 0x60000001000 4M RW 0x400001|MAP_FIXED m 0", "no multiple of 2 MiB"),
        ("mmap 6T 2M RW 0x400001|MAP_FIXED m 0", "not as long"),
        ("mmap 6T 4M PROT_READ 0x400001|MAP_FIXED m 0", "fewer rights"),
        ("mmap 6T 4M RW MAP_SHARED|MAP_FIXED m 0", "without the flag"),
    ],
)
def test_what_does_not_fit_is_an_ordinary_mapping(machine: GuestMachine, second: str, why: str) -> None:
    result = machine.run_guest("calls", f"{MAP.format(at='2T')}; store p 5; q = {second}; load q")
    assert result.stdout.splitlines()[-1] == "load = 5"
    assert result.counts.link_faults == 1, why


def test_what_cannot_be_is_refused(machine: GuestMachine) -> None:
    script = f"{MAP.format(at='2T')}; munmap p 4K; mprotect p 4M PROT_READ; mmap 0 4M RW 0x400002 m 0"
    assert machine.run_guest("calls", script).stdout.splitlines()[-3:] == [
        "munmap = EINVAL", "mprotect = EINVAL", "mmap = EINVAL",
    ]  # fmt: skip


@pytest.mark.unimmu(modules=None)
def test_without_the_module_there_is_no_such_flag(machine: GuestMachine) -> None:
    assert machine.run_guest("calls", f"{MAP.format(at='2T')}; store p 5").counts.link_faults == 0

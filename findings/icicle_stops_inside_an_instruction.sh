#!/bin/sh
# Guess:   icicle-emu stops at a page fault with registers and memory as before the instruction (Intel SDM volume 3, 6.5: a
#          fault is restartable), so registers read there can be saved, and the task goes on from them after the page is mapped.
# Reality: it stops inside the instruction.  `pop [rax]` has moved RSP, `movsb` RSI and RDI, a store of 8 bytes over the end of a
#          page has left its first half behind.  run() goes on inside the instruction, and then all is right; but whoever writes
#          pc, be it with the value that it has, starts the instruction anew with the registers of its middle: `rep movsb` leaves
#          a byte out, `pop` takes the next word.
# Why it matters: this is the engine that authors of Unicorn scripts look at for its speed and its soft MMU.  Demand paging alone
#          works; demand paging with a context switch at the fault, a signal's frame, or a snapshot that is restored loses bytes
#          without an error.
# Seen with icicle-emu 0.0.11 from PyPI, Python 3.11, with and without its JIT.  Fails if that changes.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" --quiet --disable-pip-version-check install icicle-emu==0.0.11
"$directory/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from icicle import ExceptionCode, Icicle, MemoryProtection, RunStatus

CODE, DATA, STACK, LAZY, PAGE = 0x40_0000, 0x1_0000, 0x3_0000, 0x2_0000, 0x1000


def fault_then_map(code, jit, writes_pc, **registers):
    """Registers at the fault on the page LAZY, and the machine after that page was mapped and the instruction ended."""
    machine = Icicle("x86_64", jit=jit)
    machine.mem_map(CODE, PAGE, MemoryProtection.ExecuteRead)
    machine.mem_write(CODE, bytes.fromhex(code))
    for page in (DATA, STACK, LAZY - PAGE):
        machine.mem_map(page, PAGE, MemoryProtection.ReadWrite)
    machine.mem_write(DATA, bytes(range(256)))
    machine.mem_write(STACK, bytes.fromhex("1111111111111111" "2222222222222222"))
    for name, value in registers.items():
        machine.reg_write(name, value)
    machine.pc, end = CODE, CODE + len(code) // 2
    assert machine.run_until(end) == RunStatus.UnhandledException
    assert machine.exception_code == ExceptionCode.WriteUnmapped and machine.pc == CODE
    seen = {name: machine.reg_read(name) for name in registers}
    machine.mem_map(LAZY, PAGE, MemoryProtection.ReadWrite)
    if writes_pc:
        machine.pc = machine.pc
    assert machine.run_until(end) == RunStatus.Breakpoint
    return seen, machine


print("icicle-emu", version("icicle-emu"))
for jit in (True, False):
    for writes_pc in (False, True):
        seen, machine = fault_then_map("f3a4", jit, writes_pc, RSI=DATA, RDI=LAZY - 16, RCX=64)
        copy = bytes(machine.mem_read(LAZY - 16, 64))
        print(f"{jit=} {writes_pc=} rep movsb: RSI at the fault {seen['RSI']:#x} (right {DATA + 16:#x}), then", copy[14:20].hex())
        assert seen == {"RSI": DATA + 17, "RDI": LAZY + 1, "RCX": 48}
        assert copy == (bytes(range(16)) + bytes([0, *range(17, 64)]) if writes_pc else bytes(range(64)))

        seen, machine = fault_then_map("8f00", jit, writes_pc, RAX=LAZY, RSP=STACK)
        popped = bytes(machine.mem_read(LAZY, 2)).hex()
        print(f"{jit=} {writes_pc=} pop [rax]: RSP at the fault {seen['RSP']:#x} (right {STACK:#x}), then {popped} (right 1111)")
        assert seen["RSP"] == STACK + 8
        assert popped == ("2222" if writes_pc else "1111")

        seen, machine = fault_then_map("50", jit, writes_pc, RAX=0x3333, RSP=LAZY + 8)
        assert seen["RSP"] == LAZY + 8 and machine.reg_read("RSP") == LAZY, "push is right"

    machine = Icicle("x86_64", jit=jit)
    machine.mem_map(CODE, PAGE, MemoryProtection.ExecuteRead)
    machine.mem_write(CODE, bytes.fromhex("488908"))
    machine.mem_map(DATA, PAGE, MemoryProtection.ReadWrite)
    machine.mem_map(DATA + PAGE, PAGE, MemoryProtection.ReadOnly)
    machine.reg_write("RAX", DATA + PAGE - 4)
    machine.reg_write("RCX", 0x1122_3344_5566_7788)
    machine.pc = CODE
    assert machine.run_until(CODE + 3) == RunStatus.UnhandledException
    assert machine.exception_code == ExceptionCode.WritePerm
    half = bytes(machine.mem_read(DATA + PAGE - 4, 4)).hex()
    print(f"{jit=} mov [rax], rcx into a read-only page: {half} in the page before (right 00000000)")
    assert half == "88776655"
PYTHON

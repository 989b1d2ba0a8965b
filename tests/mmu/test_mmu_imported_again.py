"""unimmu imported, dropped and imported again in one process, as pytester does with what a test has imported."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, sys

def run():
    import guests
    from emu.machine import Machine
    out = bytearray()
    machine = Machine(16 << 20, tlb="textbook", stdout=out.extend)
    machine.spawn(guests.path("hello"))
    machine.run()
    print(out.decode().strip(), machine.kernel.cpu.mmu.fast_path.state())
    return machine

for held in (False, False, True, False):
    machine = run()
    if not held:
        machine = None
    for name in [name for name in sys.modules if name.split(".")[0] in ("mmu", "emu", "msharefs", "sharing", "guests")]:
        del sys.modules[name]
    gc.collect()
"""


def test_the_engine_s_tables_hold_helpers_that_are_there() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and len(set(lines)) == 1
    assert lines[0].startswith("hello, world ") and "go to the TLB model themselves" in lines[0]

"""Machines in Python threads of their own."""

from __future__ import annotations

import subprocess
import sys

from tests.cli.conftest import environment

#: Eight machines in eight threads, in a process where nothing has been loaded yet; then the same, one after the other.
PROGRAM = """
import sys, threading
import guests
from emu.machine import Machine, exit_status
from emu.trace.formats.jsonlines import JsonLines
from emu.trace.recorder import Recorder
from msharefs.module import init

RUNS = [
    ("fork_shared", "off"), ("hello", "off"), ("cow", "zen4"), ("region_stress", "off"),
    ("fork_shared", "skylake-sp"), ("mshare_consumer", "off"), ("cow", "off"), ("threads", "off"),
]

def run(seed):
    program, tlb = RUNS[seed]
    printed, trace = bytearray(), bytearray()
    machine = Machine(
        64 << 20, tlb=tlb, seed=seed, modules={"msharefs": init}, stdout=printed.extend, stderr=printed.extend,
        log=lambda line: printed.extend(line.encode()),
    )
    task = machine.spawn(guests.path(program))
    recorder = Recorder(machine, JsonLines(trace.extend), command=[program], seed=seed, version="0")
    reason = machine.run()
    recorder.finish()
    assert trace and printed
    return bytes(printed), bytes(trace), exit_status(task.exit_code), reason, machine.audit()

in_threads, together = {}, threading.Barrier(len(RUNS))

def work(seed):
    together.wait()
    in_threads[seed] = run(seed)

threads = [threading.Thread(target=work, args=(seed,)) for seed in range(len(RUNS))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print([seed for seed in range(len(RUNS)) if in_threads[seed] != run(seed)])
"""


def test_eight_machines_in_eight_threads() -> None:
    """They print and trace what they do alone, byte for byte."""
    ran = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr, ran.returncode) == ("[]\n", "", 0)

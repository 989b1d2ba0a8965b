"""``unimmu run --record``: the file of the access stream."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emu.cli.arguments import UsageError, output_name
from emu.cli.messages import version

if TYPE_CHECKING:
    from emu.machine import Machine

Write = Callable[[bytes], None]
#: The TLB that is modelled where nobody says which: every model gets the same accesses.
DEFAULT_TLB = "textbook"
_SUFFIX = ".parquet"


def add_arguments(add: Callable[..., Any]) -> None:
    """The option."""
    add(
        "--record", type=output_name, metavar=f"FILE{_SUFFIX}",
        help="record every load, store and fetch, and what the TLBs are told, for `unimmu tlb sim FILE --tlb "
        f"A,B,...` (models a TLB, {DEFAULT_TLB} unless --tlb says which; docs/tlb-lab.md)",
    )  # fmt: skip


def check(arguments: argparse.Namespace) -> None:
    """Say which TLB is modelled.  :class:`UsageError` for what cannot be recorded."""
    if arguments.record is None:
        return
    if not arguments.record.endswith(_SUFFIX):
        raise UsageError(f"--record {arguments.record}: the name must end in {_SUFFIX}, which is what it writes")
    if arguments.region is not None:
        raise UsageError("--record and --region exclude each other: a stream is recorded from the start of a run")
    if arguments.against_host is not None:
        raise UsageError("--record and --against-host exclude each other")
    if arguments.tlb == "off" and arguments.tlb_from_cpuid is None:
        arguments.tlb = DEFAULT_TLB


class _Written(io.RawIOBase):
    """A file of a run, for who writes Parquet."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        self._write(bytes(data))
        self._at += len(data)
        return len(data)


class Accesses:
    """The recorder of a run."""

    def __init__(self, machine: Machine, write: Write, arguments: argparse.Namespace) -> None:
        """``write`` puts a piece into the file."""
        from emu.lab.code_tracer import CodeTracer
        from emu.lab.recorder import record_machine
        from emu.lab.stream_file import StreamWriter

        mmu = machine.kernel.cpu.mmu
        assert mmu.tlb is not None
        facts = {
            "command": " ".join([arguments.program, *arguments.arguments]),
            "program": arguments.program,
            "root": arguments.root or "",
            "memory_bytes": str(machine.ram.size),
            "seed": str(arguments.seed),
            "cpus": str(mmu.processors),
            "levels": str(mmu.registers.levels),
            "tlb": mmu.tlb.geometry.name,
            "unimmu": version(),
        }
        self._writer = StreamWriter(_Written(write), facts)
        self._recorder = record_machine(machine, self._writer.write)
        #: To be told what processes execute.
        self.tracer = CodeTracer(self._recorder.number_of)

    def finish(self) -> None:
        """The run is over: write what is left."""
        from emu.lab.code_map import FACT

        self._recorder.finish()
        self._writer.close({FACT: self.tracer.code.to_text()})


def needs_library(name: str) -> None:
    """:class:`UsageError` if what writes and reads Parquet is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(f"{name}: it needs {error.name}: pip install 'unimmu[trace]'") from None

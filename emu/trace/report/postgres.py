"""What ``unimmu demo --postgres`` measures: the same work of a real server on page tables of several kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emu.trace.report.figures import Grid
from emu.trace.report.snapshot import Snapshot
from emu.trace.report.units import kib, plural, size_text


@dataclass(frozen=True)
class Probe:
    """One more backend that reads all buffers and ends, while the others wait: what the kernel did for it."""

    minor_faults: int
    link_faults: int
    hardware_faults: int
    #: The kernel's work for it in ns of the machine's time, until it ends, and for its end.
    attach_ns: int
    exit_ns: int


@dataclass(frozen=True)
class ServerFigures:
    """The work in one way; faults are sums over the backends of the clients, from their start on."""

    label: str
    title: str
    #: The processes at the moment when all clients have done their work and wait.
    snapshot: Snapshot
    #: All processes of the server, and the tables that belong to none.
    server_pagetable_bytes: int
    shared_pagetable_bytes: int
    #: What the MMU did while the clients worked.
    walks: int
    walk_loads: int
    #: Misses of loads, stores and fetches in the modelled TLB of each preset.
    tlb_misses: dict[str, int]
    #: TLB shootdowns, and the vCPUs that received them.
    shootdowns: int
    receivers: int
    probe: Probe
    #: All processes of the machine then, and bytes of the host's memory that the emulator has besides the machine's
    #: memory; None where the host does not say.
    processes: int
    host_bytes: int | None
    #: Seconds of CPU time of the host for everything.
    cpu_s: float

    @property
    def backends(self) -> int:
        """How many clients there are."""
        return len(self.snapshot.processes)

    @property
    def pagetable_bytes(self) -> int:
        """All page tables of the server, each once."""
        return self.server_pagetable_bytes + self.shared_pagetable_bytes

    @property
    def backend_pagetable_bytes(self) -> int:
        """The mean of what a client's backend owns."""
        return sum(process.pagetable_bytes for process in self.snapshot.processes) // self.backends

    def faults(self, kind: str) -> int:
        """The faults of all backends: ``minor``, ``link`` or ``hardware``."""
        return sum(getattr(process, f"{kind}_faults") for process in self.snapshot.processes)

    def as_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "mode": self.label,
            "backends": self.backends,
            "mapping_bytes": self.snapshot.length,
            "pagetable_bytes": self.pagetable_bytes,
            "backend_pagetable_bytes": self.backend_pagetable_bytes,
            "shared_pagetable_bytes": self.shared_pagetable_bytes,
            "minor_faults": self.faults("minor"),
            "link_faults": self.faults("link"),
            "hardware_faults": self.faults("hardware"),
            "walks": self.walks,
            "walk_loads": self.walk_loads,
            "tlb_misses": dict(self.tlb_misses),
            "shootdowns": self.shootdowns,
            "receivers": self.receivers,
            "probe": vars(self.probe).copy(),
            "processes": self.processes,
            "host_bytes_besides_memory": self.host_bytes,
            "cpu_s": round(self.cpu_s, 3),
        }


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / (1 << 20):,.0f}"


def grid(runs: Sequence[ServerFigures], buffers: int, stride: int = 1) -> Grid:
    """Side by side."""
    rows = [
        ("page tables of the server, kB", *(kib(run.pagetable_bytes) for run in runs)),
        ("  that processes share, kB", *(kib(run.shared_pagetable_bytes) for run in runs)),
        ("  of a backend, kB", *(kib(run.backend_pagetable_bytes) for run in runs)),
        ("minor faults of the backends", *(f"{run.faults('minor'):,}" for run in runs)),
        ("link faults of the backends", *(f"{run.faults('link'):,}" for run in runs)),
        ("#PF of the backends", *(f"{run.faults('hardware'):,}" for run in runs)),
        ("page walks", *(f"{run.walks:,}" for run in runs)),
        ("entries read by walks", *(f"{run.walk_loads:,}" for run in runs)),
        *((f"TLB misses, {preset}", *(f"{run.tlb_misses[preset]:,}" for run in runs)) for preset in runs[0].tlb_misses),
        ("TLB shootdowns", *(f"{run.shootdowns:,}" for run in runs)),
        ("  vCPUs that received one", *(f"{run.receivers:,}" for run in runs)),
        ("one more backend: minor faults", *(f"{run.probe.minor_faults:,}" for run in runs)),
        ("  link faults", *(f"{run.probe.link_faults:,}" for run in runs)),
        ("  kernel's work for it, us", *(f"{run.probe.attach_ns / 1000:,.0f}" for run in runs)),
        ("  kernel's work for its end, us", *(f"{run.probe.exit_ns / 1000:,.0f}" for run in runs)),
        ("processes of the machine", *(f"{run.processes:,}" for run in runs)),
        ("memory of the emulator besides theirs, MiB", *(_mib(run.host_bytes) for run in runs)),
        ("CPU seconds on this host", *(f"{run.cpu_s:.1f}" for run in runs)),
    ]
    clients = plural(runs[0].backends, "client", "clients")
    read = "all that is in them" if stride == 1 else f"one block in {stride:,} of them"
    return Grid(
        f"PostgreSQL with {size_text(buffers)} of buffers and {clients}, each of which has read {read}",
        ("", *(run.label for run in runs)),
        tuple(rows),
        note="page tables: when every client has done its work and waits; faults, walks, misses and shootdowns: from"
        "\nthe start of the clients on; kernel's work: in the machine's time (docs/time.md)",
    )


def in_words(plain: ServerFigures, shared: ServerFigures) -> str:
    """The result in a sentence."""
    backends = plural(plain.backends, "backend", "backends")
    return (
        f"{backends}: {size_text(plain.pagetable_bytes)} of page tables with plain MAP_SHARED,"
        f" {size_text(shared.pagetable_bytes)} with {shared.title}; one more backend takes"
        f" {plain.probe.minor_faults:,} minor faults, or {shared.probe.minor_faults:,} and"
        f" {plural(shared.probe.link_faults, 'link', 'links')}."
    )

"""``unimmu demo --postgres``: a real server whose buffers are mapped in several ways, here with few clients."""

from __future__ import annotations

import io
import json
import pathlib
import shutil
import tarfile
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

import guests
from emu.cli.demos import postgres
from emu.cli.demos.postgresguest import blocks_of, environment, rows_read
from emu.cli.demos.postgresserver import Cluster, Mode, Work, serve
from emu.cli.main import main
from emu.trace.formats.registry import format_of
from emu.trace.report.postgres import ServerFigures, grid, in_words
from emu.trace.report.sharing import draw_sharing
from tests.booted import MIB
from tests.native.postgresql import SERVER, cluster

needs_postgres = pytest.mark.skipif(not SERVER.exists(), reason="PostgreSQL 15 is not installed")


@pytest.fixture(autouse=True)
def directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["demo", *words]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--postgres", "--root", "."], "no PostgreSQL in /usr/lib/postgresql: apt install postgresql-15, or name a"),
        (["--postgres", "--clients", "0"], "--clients 0: it must be from 1 to 1000"),
        (["--postgres", "--cpus", "0"], "--cpus 0: it must be from 1 to 64"),
        (["--postgres", "--shared-buffers", "1000K"], "--shared-buffers 1000K: it must be a multiple of 1M"),
        (["--postgres", "--stride", "0"], "--stride 0: it must be from 1 to 128"),
        (["--postgres", "--stride", "129"], "--stride 129: it must be from 1 to 128"),
        (["--postgres", "--tlb", "zen99"], "--tlb: "),
        (["--postgres", "--output", "x.html"], "--output x.html: the name must end in .svg"),
        (["--postgres", "--sga"], "--sga and --postgres are two demos"),
        (["--postgres", "--processes", "3"], "--processes has no meaning with --postgres"),
        (["--postgres", "--trace", "x.odd"], "x.odd: its name does not end as a trace's does"),
        (["--clients", "3"], "--clients needs --postgres"),
        (["--shared-buffers", "16M"], "--shared-buffers needs --postgres"),
        (["--stride", "2"], "--stride needs --postgres"),
        (["--sga", "--quick", "--tlb", "off"], "--tlb needs --postgres"),
        (["--postgres", "--plain", "1"], "--plain needs --sga"),
        (["--level", "pte"], "--level pte needs --postgres"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(capfd: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert said in complaint(capfd, *words)


def test_a_file_that_cannot_be_written_is_told_before_anything_runs(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "programs_in", lambda root: "/nowhere")
    told = complaint(capfd, "--postgres", "--json", "no/x.json")
    assert "--json no/x.json: cannot be written: No such file or directory" in told


def test_the_newest_version_of_a_root_is_taken(tmp_path: pathlib.Path) -> None:
    for version in ("9", "13", "15", "odd"):
        place = tmp_path / "usr/lib/postgresql" / version / "bin"
        place.mkdir(parents=True)
        (place / "postgres").touch()
    assert postgres.programs_in(str(tmp_path)) == "/usr/lib/postgresql/15/bin"


def test_a_root_that_has_hardly_anything(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is missing is told, one after the other."""
    place, users = tmp_path / "usr/lib/postgresql/15/bin", tmp_path / "etc/passwd"
    place.mkdir(parents=True)
    (place / "postgres").touch()
    users.parent.mkdir()
    words = "--postgres", "--root", str(tmp_path)
    assert "--root: its /etc/passwd, which says who runs the server: No such file" in complaint(capfd, *words)
    users.write_text("root:x:0:0:root:/root:/bin/bash\n")
    assert "--root: its /etc/passwd has no user but root" in complaint(capfd, *words)
    users.write_text("postgres:x:101:101::/:/bin/bash\n")
    assert f"--root {tmp_path}: /bin/bash: the working directory /tmp cannot be entered" in complaint(capfd, *words)
    tmp_path.chmod(0o755)
    assert f"--root {tmp_path}: /bin/bash: " in complaint(capfd, *words)
    (tmp_path / "bin").mkdir()
    shutil.copy(guests.path("hello"), tmp_path / "bin/bash")
    assert main(["demo", *words]) == 2
    assert f"{tmp_path}: /usr/lib/postgresql/15/bin there makes no cluster: exit status 0" in capfd.readouterr().err


def test_the_machine_has_room_for_all_tables() -> None:
    def work(clients: int, buffers: int) -> int:
        return Work("/", "/bin", clients, buffers, 1).memory

    assert work(8, 16 * MIB) % 4096 == 0
    assert work(108, 16 * MIB) - work(8, 16 * MIB) >= 100 * (16 * MIB >> 9)
    assert work(8, 116 * MIB) - work(8, 16 * MIB) >= 300 * MIB, "buffers, the file in half of the memory, huge pages"


def test_more_memory_than_the_host_has_is_refused(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "usr/lib/postgresql/15/bin").mkdir(parents=True)
    (tmp_path / "usr/lib/postgresql/15/bin/postgres").touch()
    monkeypatch.setattr(postgres, "available_memory", lambda: 1 << 30)
    words = ("--postgres", "--root", ".", "--clients", "200", "--shared-buffers", "1G")
    assert "of this host's memory are needed and 1 GiB are free" in complaint(capfd, *words)


def test_a_table_fills_three_quarters_of_the_buffers() -> None:
    blocks = blocks_of(16 * MIB)
    assert blocks == 16 * MIB // 8192 * 3 // 4
    assert rows_read(16 * MIB, 1) == 2 * blocks and rows_read(16 * MIB, 100) == blocks // 100 + 1
    told = environment("/bin", 8, 16 * MIB, 1, False)
    assert (told["ROWS"], told["SUM"]) == (str(2 * blocks), str(sum(range(1, 2 * blocks + 1))))
    some = environment("/bin", 8, 16 * MIB, 100, False)
    assert (
        some["SUM"] == str(sum(range(1, 2 * blocks, 200))) and f"generate_series(0, {blocks - 1}, 100)" in some["READ"]
    )


class Runs(NamedTuple):
    """What two runs gave, the trace of the second one, and the memory of this process before both, in bytes."""

    plain: ServerFigures
    shared: ServerFigures
    trace: bytes
    rss: int


@pytest.fixture(scope="module")
def runs() -> Runs:
    """The same work of two clients in two ways, on a cluster that the host has made."""
    with cluster() as made:
        archive = io.BytesIO()
        settings = "autovacuum = off\nmax_parallel_workers_per_gather = 0\nshared_buffers = 8MB\n"
        with (made.directory / "data" / "postgresql.conf").open("a") as file:
            file.write(settings + "unix_socket_directories = '/tmp/postgres'\n")
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(made.directory / "data", "data")
    found = Cluster(archive.getvalue(), 0, "15")
    work = Work("/", str(SERVER.parent), 2, 8 * MIB, 1)
    modes = (Mode("plain", "plain MAP_SHARED"), Mode("msharefs", "msharefs", options="level=pmd,anonymous=on"))
    trace, rss = bytearray(), int(pathlib.Path("/proc/self/statm").read_text().split()[1]) << 12
    sinks = (None, format_of("t.jsonl").sink(trace.extend))
    ran = {mode.label: serve(work, found, mode, "off", sink) for mode, sink in zip(modes, sinks, strict=True)}
    return Runs(ran["plain"], ran["msharefs"], bytes(trace), rss)


@needs_postgres
def test_backends_that_share_tables_take_fewer_faults_and_less_memory(runs: Runs) -> None:
    plain, shared = runs.plain, runs.shared
    assert plain.backends == shared.backends == 2
    assert plain.snapshot.length > 7 * MIB and abs(plain.snapshot.length - shared.snapshot.length) < 64 << 10
    assert plain.faults("link") == plain.shared_pagetable_bytes == plain.probe.link_faults == 0
    assert shared.faults("link") == 2 and shared.probe.link_faults == 1, "a link for each backend"
    leaf = shared.snapshot.hosts[0].tables[1]
    assert shared.shared_pagetable_bytes == (len(leaf) + 3) * 4096, "PTE tables, a PMD, a PUD and the host mm's PGD"
    assert shared.snapshot.is_shared(1) and shared.snapshot.is_shared(2) and not plain.snapshot.is_shared(1)
    # what a backend does not have any more: the tables of its buffers, and the faults that filled them
    assert plain.backend_pagetable_bytes - shared.backend_pagetable_bytes in range(4 * 4096, 10 * 4096)
    assert plain.probe.minor_faults - shared.probe.minor_faults > 6 * MIB // (64 << 10)
    assert plain.probe.attach_ns > shared.probe.attach_ns and plain.probe.exit_ns > shared.probe.exit_ns > 0


@needs_postgres
def test_the_trace_is_of_the_time_when_the_clients_work(runs: Runs) -> None:
    told = [line for line in runs.trace.splitlines() if b'"event":"link"' in line or b'"event":"exec"' in line]
    events = [json.loads(line) for line in told]
    links = {event["pid"] for event in events if event["event"] == "link"}
    assert {process.pid for process in runs.shared.snapshot.processes} <= links, "every backend has linked the buffers"
    programs = {event["path"] for event in events if event["event"] == "exec"}
    assert "/usr/lib/postgresql/15/bin/pgbench" in programs and not any("pg_ctl" in path for path in programs)


@needs_postgres
def test_the_figures_stand_side_by_side(runs: Runs) -> None:
    both = [runs.plain, runs.shared]
    table = grid(both, 8 * MIB)
    rows: dict[str, Any] = {row[0].strip(): row[1:] for row in table.rows}
    assert table.headers == ("", "plain", "msharefs") and "8 MiB of buffers and 2 clients" in table.title
    assert rows["link faults of the backends"] == ("0", "2")
    assert rows["page tables of the server, kB"] == tuple(f"{run.pagetable_bytes >> 10:,}" for run in both)
    said = in_words(*both)
    assert said.startswith("2 backends: ") and said.endswith(" and 1 link.")
    report = both[1].as_json()
    assert rows["processes of the machine"] == tuple(f"{run.processes}" for run in both)
    beside = report["host_bytes_besides_memory"]
    assert beside == both[1].host_bytes and 40 * MIB < beside < runs.rss + 600 * MIB, "not the machine's own memory"
    assert report["link_faults"] == 2 and report["probe"]["link_faults"] == 1 and report["tlb_misses"] == {}
    snapshots = [run.snapshot for run in both]
    picture, mapping = draw_sharing(*snapshots), snapshots[0].length >> 12
    assert "2 processes" in picture
    for snapshot in snapshots:  # three quarters of the buffers, and not all of the rest of the mapping
        assert 3 * (8 * MIB >> 12) // 4 < snapshot.mapped_pages < mapping
        assert f"{snapshot.mapped_pages:,} of {snapshot.length >> 12:,} pages, in memory once" in picture


def test_misses_of_every_preset_have_a_row() -> None:
    run = SimpleNamespace(**dict.fromkeys(("pagetable_bytes", "shared_pagetable_bytes", "backend_pagetable_bytes"), 0))
    run.faults = lambda kind: 0
    run.label, run.backends, run.cpu_s = "plain", 1, 0.0
    run.walks = run.walk_loads = run.shootdowns = run.receivers = 0
    run.probe = SimpleNamespace(minor_faults=0, link_faults=0, attach_ns=0, exit_ns=0)
    run.processes, run.host_bytes = 20, 210 * MIB
    run.tlb_misses = {"zen4": 1234, "skylake-sp": 5}
    rows = {row[0]: row[1:] for row in grid([run], MIB).rows}  # type: ignore[list-item]
    assert rows["TLB misses, zen4"] == ("1,234",) and rows["TLB misses, skylake-sp"] == ("5",)

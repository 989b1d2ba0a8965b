"""The region of interest: within a function, between marks, between counts of instructions; recorded and counted."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import emu.trace
from emu.cli.main import main
from emu.kernel.region import Region

Rows = list[dict[str, Any]]
INSIDE, OUTSIDE = range(0x10000000, 0x10040000), range(0x20000000, 0x20040000)
#: What the guest `regions` does, the region that it has then, and how many pages it touches within.
WAYS = [
    ("calls", "compute", 6), ("nested", "compute", 6), ("threads", "compute", 4), ("fork", "compute_and", 3),
    ("exec", "compute_and", 1), ("stays", "compute_and", 2), ("jumps", "compute_and", 4), ("marks", "marker", 4),
]  # fmt: skip


def recorded(directory: Path, region: str, way: str, *options: str) -> Rows:
    """The events of the guest, without their numbers, and without the last one and what code is mapped, which
    is told where a recording begins."""
    path = directory / "t.jsonl"
    assert main(["run", "--region", region, "--trace", str(path), *options, "regions", way]) == 0
    trace = emu.trace.open(path)
    *rows, end = trace.arrow().to_pylist()
    assert trace.header["region"] == region and end["event"] == "end"
    kept = [row for row in rows if row["event"] != "mmap"]
    return [{name: value for name, value in row.items() if name != "seq"} for row in kept]


def counted(directory: Path, region: str, way: str, *options: str) -> dict[str, Any]:
    """What --json has."""
    path = directory / "t.json"
    assert main(["run", "--region", region, "--json", str(path), *options, "regions", way]) == 0
    run: dict[str, Any] = json.loads(path.read_text())
    return run


def touched(rows: Rows, area: range) -> list[int]:
    """The pages of an area at which there were faults."""
    return [row["vaddr"] for row in rows if row["event"] == "fault" and row["vaddr"] in area]


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way[0])
def inside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, int, Rows]:
    """A way of the guest, its region, the pages, and the events within it."""
    way, region, pages = request.param
    return way, region, pages, recorded(tmp_path_factory.mktemp("inside"), region, way)


def test_a_region_has_what_happens_within_it_and_nothing_else(
    tmp_path: Path, inside: tuple[str, str, int, Rows]
) -> None:
    way, region, pages, rows = inside
    assert len(touched(rows, INSIDE)) == pages
    left_by_a_jump = way == "jumps"  # it ends where the next call of the function begins
    assert touched(rows, OUTSIDE) == [] or left_by_a_jump
    assert recorded(tmp_path, region, way, "--engine-fast", "off") == rows


def test_counts_are_those_of_the_trace(tmp_path: Path, inside: tuple[str, str, int, Rows]) -> None:
    way, region, _, rows = inside
    run = counted(tmp_path, region, way)
    faults = sum(row["event"] == "fault" for row in rows)
    assert run["mmu"]["page_faults"] == faults == sum(process["hardware_faults"] for process in run["processes"])
    assert run["mmu"]["walks"] == sum(row["event"] == "walk" for row in rows)
    assert run["instructions"] == sum(process["instructions"] for process in run["processes"])
    assert run["instructions"] == sum(cpu["instructions"] for cpu in run["cpus"])
    for options in (["--engine-fast", "off"], ["--tlb", "skylake-sp"], ["--tlb", "skylake-sp", "--engine-fast", "off"]):
        other = counted(tmp_path, region, way, *options)
        assert other["instructions"] == run["instructions"] and other["processes"] == run["processes"]
        assert other["region_of_interest"] == run["region_of_interest"]


@pytest.mark.parametrize(("way", "region"), [("calls", "compute"), ("threads", "compute"), ("marks", "marker")])
def test_the_trace_says_how_many_instructions_it_is_about(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], way: str, region: str
) -> None:
    """Not those up to the end of the run, nor those from one time in the region to the next."""
    instructions = counted(tmp_path, region, way)["instructions"]
    for name, options in (("t.jsonl", []), ("t.parquet", []), ("t.jsonl", ["--cpus", "2"])):
        path = tmp_path / name
        assert main(["run", "--region", region, "--trace", str(path), *options, "regions", way]) == 0
        capfd.readouterr()
        assert main(["trace", "stat", str(path)]) == 0
        assert f" events, {instructions:,} instructions\n" in capfd.readouterr().out
    assert main(["trace", "stat", "--from", "0", str(path)]) == 0
    assert f" {instructions:,} instructions\n" not in capfd.readouterr().out


@pytest.mark.parametrize("region", ["compute", "./regions:compute", "../mine/regions:compute"])
def test_a_program_in_the_working_directory(tmp_path: Path, region: str) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy(_guest("regions"), tmp_path / "mine" / "regions")
    path = tmp_path / "t.json"
    options = ["--root", str(tmp_path), "--cwd", "/mine", "--json", str(path), "--region", region]
    assert main(["run", *options, "./regions", "calls"]) == 0
    assert json.loads(path.read_text())["instructions"] == counted(tmp_path, "compute", "calls")["instructions"]


def test_the_program_is_that_of_the_command_line(tmp_path: Path) -> None:
    """By whatever path it is found on the host, it has one of its own in the machine."""
    program, path = _guest("regions"), tmp_path / "t.json"
    assert main(["run", "--region", f"{program}:compute", "--json", str(path), program, "calls"]) == 0
    assert json.loads(path.read_text())["instructions"] == counted(tmp_path, "compute", "calls")["instructions"]


def test_processes_that_ran_before_the_recording_have_names(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, text = tmp_path / "t.jsonl", tmp_path / "t.perf.txt"
    assert main(["run", "--region", "compute_and", "--trace", str(path), "regions", "fork"]) == 0
    capfd.readouterr()
    assert main(["trace", "stat", "--by", "process", str(path)]) == 0
    said = capfd.readouterr().out
    assert re.search(r" 100  /bin/regions$", said, re.M) and re.search(r" 101  /bin/regions$", said, re.M)
    assert main(["trace", "convert", str(path), str(text)]) == 0
    events = [line for line in text.read_text().splitlines() if line[:1] not in {"", "#", "\t"}]
    assert {line.split()[0] for line in events} == {"regions"}


def test_instructions_are_counted_one_by_one(tmp_path: Path) -> None:
    """compute(2, 0) has 29 instructions, with those of touch_inside(), from its first one to RET."""
    run = counted(tmp_path, "compute", "calls")
    assert (run["instructions"], run["region_of_interest"]["entered"]) == (3 * 29, 3)


def test_exact_mode_sees_the_accesses_of_the_region(tmp_path: Path) -> None:
    options = ["--tlb", "skylake-sp"]
    rows = recorded(tmp_path, "marker", "marks", *options, "--trace-accesses")
    run = counted(tmp_path, "marker", "marks", *options)
    stores = [row for row in rows if row["event"] == "access" and row["access"] == "write"]
    faults = len(touched(rows, INSIDE))  # each is made again
    assert run["mmu"]["perf"]["dTLB-stores"] == len(stores) - faults == 12
    assert [row["vaddr"] for row in stores if row["vaddr"] in OUTSIDE] == []
    off = recorded(tmp_path, "marker", "marks", *options, "--trace-accesses", "--engine-fast", "off")
    assert rows == off


def test_caches_are_warm_or_cold(tmp_path: Path) -> None:
    options = ["--tlb", "skylake-sp", "--check-tlb"]
    warm, cold, again = (
        counted(tmp_path, "compute", "calls", *options, *more)
        for more in ([], ["--region-cold"], ["--region-cold", "--engine-fast", "off"])
    )
    for run in (warm, cold, again):
        assert run["instructions"] == 87 and run["audit"]["stale"] == []
        run["mmu"].pop("code"), run.pop("engine"), run.pop("wall_s")
    assert cold == again
    misses = [run["mmu"]["perf"]["dTLB-store-misses"] + run["mmu"]["perf"]["iTLB-load-misses"] for run in (warm, cold)]
    assert misses[1] >= misses[0] + 3 * 2  # the page of code, that of the counter or the stack, each time
    assert warm["region_of_interest"] == cold["region_of_interest"] and warm["processes"] == cold["processes"]


def test_marks_have_texts(tmp_path: Path) -> None:
    rows = recorded(tmp_path, "marker", "marks")
    assert [json.loads(row["detail"])["text"] for row in rows if row["event"] == "mark"] == ["nested", "again"]
    assert not any(row["event"] == "mark" for row in recorded(tmp_path, "compute", "calls"))


def test_only_the_thread_that_is_in_the_function(tmp_path: Path) -> None:
    for cpus in ("1", "2"):
        rows = recorded(tmp_path, "compute", "threads", "--cpus", cpus)
        assert len({row["tid"] for row in rows}) == 1 and len(touched(rows, INSIDE)) == 4


def test_a_region_of_instructions(tmp_path: Path) -> None:
    whole = recorded(tmp_path, "0..", "calls")
    low, high = (whole[len(whole) * part // 4]["clock"] for part in (1, 3))
    some = recorded(tmp_path, f"{low}..{high}", "calls")
    assert 0 < len(some) < len(whole) and some == [row for row in whole if row in some]
    assert all(low < row["clock"] <= high + 200 for row in some)
    assert recorded(tmp_path, f"{low}..{high}", "calls", "--engine-fast", "off") == some
    assert recorded(tmp_path, f"..{low}", "calls") == whole[: whole.index(some[0])]
    run = counted(tmp_path, f"{low}..{high}", "calls")
    assert run["mmu"]["walks"] == sum(row["event"] == "walk" for row in some)
    assert 0 < run["instructions"] < high - low + 200


def test_slices_end_where_they_would(tmp_path: Path) -> None:
    """The run is the same with a region as without one: who runs when, and what the clock says."""
    seen = []
    for region in ([], ["--region", "30000.."], ["--region", "25000..90000"]):
        path = tmp_path / "t.jsonl"
        options = ["--cpus", "2", "--trace", str(path), "--trace-kinds", "switch"]
        assert main(["run", *options, *region, "pthreads", "3", "20"]) == 0
        seen.append([row for row in emu.trace.open(path).arrow().to_pylist() if row["event"] == "switch"])
    whole, late, some = ([(row["clock"], row["tid"]) for row in rows] for rows in seen)
    assert late and late == whole[-len(late) :]
    assert set(some) <= set(whole)


def test_events_and_repetitions(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    events = "instructions,exceptions:page_fault_user,sched:sched_process_fork,raw_syscalls:sys_enter"
    assert main(["run", "--region", "compute_and", "--stats", "-x,", "-e", events, "regions", "fork"]) == 0
    rows = {line.split(",")[2]: line.split(",")[0] for line in capfd.readouterr().err.splitlines()}
    assert rows == {
        "instructions": rows["instructions"], "exceptions:page_fault_user": "7", "sched:sched_process_fork": "1",
        "raw_syscalls:sys_enter": "2",
    }  # fmt: skip
    assert main(["run", "--region", "compute", "--stats", "-r", "2", "-e", "page-faults", "regions", "calls"]) == 0
    assert " 6      page-faults" in capfd.readouterr().err


def test_the_table_says_what_it_is_of(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--region", "compute", "--stats", "regions", "calls"]) == 0
    err = capfd.readouterr().err
    assert "In the region compute, which was entered 3 times:" in err and "  6  page faults" in err


@pytest.mark.parametrize(
    ("region", "says"),
    [
        ("compute", "the region compute was never entered: compute of /bin/regions was not called"),
        ("marker", "the region marker was never entered: no program came to a mark that begins it"),
        ("99999999..", "the region 99999999.. was never entered: "),
    ],
)
def test_a_region_that_is_never_entered(capfd: pytest.CaptureFixture[str], region: str, says: str) -> None:
    assert main(["run", "--region", region, "--stats", "regions", "never"]) == 0
    err = capfd.readouterr().err
    assert f"unimmu: {says}" in err and "entered 0 times" in err and "  0  instructions" in err


@pytest.mark.parametrize(
    ("region", "says"),
    [
        ("compte", "--region /bin/regions has no function compte; it has compute"),
        ("qsort", "/bin/regions has no function qsort (one of another file is FILE:qsort, as libc.so.6:qsort)\n"),
        ("5..3", "expected FROM..TO with TO above FROM"),
        ("..", "expected FROM..TO"),
        (f"{'9' * 5000}..", "/bin/regions has no function"),
        ("\udcff", "/bin/regions has no function"),
        ("libnone.so:f", "there is no file /lib/x86_64-linux-gnu/libnone.so or"),
        ("libnone.so:f", "/usr/lib/libnone.so in the machine; FILE may be a path\n"),
        ("/bin/none:f", "there is no file /bin/none in the machine"),
        ("/bin/regions:", "expected FROM..TO, FUNCTION, FILE:FUNCTION or marker"),
    ],
)
def test_a_region_that_cannot_be(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], region: str, says: str
) -> None:  # fmt: skip
    path = tmp_path / "t.jsonl"
    path.write_text("precious")
    assert main(["run", "--region", region, "--trace", str(path), "regions"]) == 2
    out, err = capfd.readouterr()
    assert says in err and out == "" and path.read_text() == "precious"


def test_a_program_without_symbols(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--region", "main", "--stats", "hello"]) == 2
    assert "/bin/hello is stripped: it has no symbols, so main cannot be found in it" in capfd.readouterr().err
    assert main(["run", "--region", "main", "--region-cold", "--stats", "hello"]) == 2
    assert "--region-cold needs --tlb PRESET" in capfd.readouterr().err
    assert main(["run", "--region", "main", "hello"]) == 2
    assert "--region needs --trace FILE, --stats or --json FILE" in capfd.readouterr().err


def test_tracing_on_ends_a_region_too(tmp_path: Path) -> None:
    """The file of ftrace and marks are one switch."""
    script = 'on = open "/sys/kernel/tracing/tracing_on" O_WRONLY; write on "1" 1; getpid; write on "0" 1; getpid'
    path = tmp_path / "t.jsonl"
    assert main(["run", "--region", "marker", "--trace", str(path), "calls", script]) == 0
    calls = [row["call"] for row in emu.trace.open(path).arrow().to_pylist() if row["event"] == "syscall_exit"]
    assert calls.count("getpid") == 1


def test_pairs_and_switches() -> None:
    region, seen = Region(), list[bool]()
    region.on_change.append(lambda: seen.append(region.on))
    region.switch(False)
    region.end()
    region.begin()
    region.set_inside(False)
    region.set_inside(True)
    region.switch(False)
    region.end()
    assert seen == [False, True, False, True, False] and region.entered == 1


def test_a_shell_marks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """unimmu-mark begins, ends and marks, and runs a command within the region, of which it has the exit status."""
    path = tmp_path / "t.jsonl"
    options = ["--region", "marker", "--trace", str(path), "--file", f"{_guest('regions')}:/bin/regions"]
    assert main(["run", *options, "unimmu-mark", "run", "regions", "calls"]) == 0
    *rows, _ = emu.trace.open(path).arrow().to_pylist()
    assert len(touched(rows, OUTSIDE)) == 5 and len(touched(rows, INSIDE)) == 6
    assert not any(row["pid"] == 101 and row["event"] == "mark" for row in rows)
    assert main(["run", *options, "unimmu-mark", "run", "nothing"]) == 127
    assert "unimmu-mark: nothing: ENOENT" in capfd.readouterr().err
    assert main(["run", *options, "unimmu-mark", "begin"]) == 0
    assert "marker: the region has no end: it reaches to that of the run" in capfd.readouterr().err


def _guest(name: str) -> str:
    import guests

    return str(guests.path(name))


LIBRARY = "int api(int n) { volatile int sum = 0; for (int i = 0; i < n; i++) sum += i; return sum; }"
PROGRAM = """
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int api(int);
static void *thread(void *n) { return (void *)(long)api((long)n); }
/* What follows the call runs often before anybody calls. */
__attribute__((noinline)) static void seldom(int calls)
{
	if (calls)
		__asm__ volatile("call work" : : : "memory");
}
__asm__(".type work, @function; work: nop; nop; ret; .size work, 3");
int main(void)
{
	pthread_t threads[2];
	for (int i = 0; i < 20000; i++)
		seldom(i > 19990);
	for (long i = 0; i < 2; i++)
		pthread_create(&threads[i], 0, thread, (void *)(500 + i * 500));
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], 0);
	if (!fork())
		_exit(api(7) & 0);
	wait(0);
	printf("%d\\n", api(3));
	return 0;
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a position-independent program with a library of its own."""
    gcc = shutil.which("gcc")
    if gcc is None or not Path("/lib64/ld-linux-x86-64.so.2").exists():
        pytest.skip("there is no gcc with glibc, which builds a program with a library")
    directory = tmp_path_factory.mktemp("built")
    for name, text in (("lib.c", LIBRARY), ("app.c", PROGRAM)):
        (directory / name).write_text(text)
    subprocess.run([gcc, "-O1", "-shared", "-fPIC", "lib.c", "-o", "libapi.so"], cwd=directory, check=True)
    link = ["-L.", "-lapi", "-Wl,-rpath,/mnt", "-pthread"]
    subprocess.run([gcc, "-O1", "app.c", "-o", "app", *link], cwd=directory, check=True)
    return directory


def of_built(built: Path, region: str, *options: str) -> dict[str, Any]:
    path = built / "t.json"
    where = ["--root", "/", "--cwd", "/", "--bind", f"{built}:/mnt"]
    assert main(["run", *where, "--region", region, "--json", str(path), *options, "/mnt/app"]) == 0
    run: dict[str, Any] = json.loads(path.read_text())
    return run


def test_a_function_of_a_library_in_threads_and_a_child(built: Path) -> None:
    runs = [
        of_built(built, "/mnt/libapi.so:api", *options)
        for options in ([], ["--engine-fast", "off"], ["--tlb", "zen4"], ["--cpus", "2"])
    ]
    assert {run["instructions"] for run in runs} == {runs[0]["instructions"]} and runs[0]["instructions"] > 1510 * 4
    for run in runs:
        assert run["region_of_interest"]["entered"] == 4 and run["processes"] == runs[0]["processes"]
        assert sum(cpu["instructions"] for cpu in run["cpus"]) == run["instructions"]


def test_what_follows_the_call_counted_itself_before(built: Path) -> None:
    """The code at the place of return has run often, so that nobody was asked any more."""
    for options in ([], ["--engine-fast", "off"], ["--tlb", "zen4"]):
        run = of_built(built, "work", *options)
        assert (run["instructions"], run["region_of_interest"]["entered"]) == (9 * 3, 9)


def test_places_of_return_that_were_forgotten_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [counted(tmp_path, "touch_inside", way) for way in ("calls", "threads")]
    monkeypatch.setattr("emu.trace.functions._MOST_RETURNS", 1)
    for way, run in zip(("calls", "threads"), whole, strict=True):
        again = counted(tmp_path, "touch_inside", way)
        assert again["region_of_interest"] == run["region_of_interest"] and again["instructions"] == run["instructions"]
        assert run["region_of_interest"]["entered"] > 2


def test_a_stack_pointer_at_the_end_of_all_addresses(tmp_path: Path) -> None:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("there is no gcc, which builds the program")
    source, program = tmp_path / "edge.s", tmp_path / "edge"
    source.write_text(".globl _start\n_start: mov $-4, %rsp\njmp work\n.type work, @function\nwork: ret\n")
    subprocess.run([gcc, "-nostdlib", "-static", source, "-o", program], check=True)
    path = tmp_path / "t.json"
    assert main(["run", "--region", "work", "--json", str(path), str(program)]) == 128 + signal.SIGSEGV
    assert json.loads(path.read_text())["region_of_interest"]["entered"] == 1


def test_a_program_that_another_one_runs(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    options = ["--region", "/bin/regions:compute", "--json", str(path), "--file", f"{_guest('regions')}:/bin/regions"]
    assert main(["run", *options, "unimmu-mark", "run", "regions", "calls"]) == 0
    run = json.loads(path.read_text())
    assert run["instructions"] == 3 * 29 and [p["instructions"] for p in run["processes"]] == [0, 87]

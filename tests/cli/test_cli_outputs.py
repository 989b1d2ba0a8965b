"""The files that a run writes: two options never share one, and a FIFO that nobody reads holds nothing up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emu.cli.main import main
from tests.cli.conftest import Unimmu, environment, start

#: What an option needs where the file's name does not end as a trace's does.
_FORMAT = {"--trace": ("--trace-format", "jsonl")}

# ---- two options and one file


def refused(ran: tuple[int, str, str], later: str, earlier: str) -> None:
    assert ran == (2, "", f"unimmu run: {later}: {earlier} writes to the same file\n")


@pytest.mark.parametrize("there", [False, True])
def test_one_file_for_two_options(unimmu: Unimmu, tmp_path: Path, there: bool) -> None:
    """It is neither made nor emptied."""
    one = tmp_path / "one"
    if there:
        one.write_text("precious")
    refused(
        unimmu("run", "--json", one, "--trace-format", "jsonl", "--trace", one, "hello"),
        f"--trace {one}",
        f"--json {one}",
    )
    refused(
        unimmu("run", "--strace", "-o", one, "--trace-format", "jsonl", "--trace", one, "hello"),
        f"--trace {one}",
        f"-o {one}",
    )
    refused(unimmu("run", "--strace", "-o", one, "--json", one, "hello"), f"-o {one}", f"--json {one}")
    assert (one.read_text() if there else one.exists()) == ("precious" if there else False)


@pytest.mark.parametrize("there", [False, True])
def test_one_file_by_another_name(unimmu: Unimmu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """Relative, through directories, and through links of both kinds."""
    one, link, directory = tmp_path / "one", tmp_path / "link", tmp_path / "directory"
    link.symlink_to(one)
    directory.symlink_to(tmp_path)
    names = ["one", "./one", "directory/../one" if there else "./one", directory / "one", link]
    if there:
        one.write_text("precious")
        os.link(one, tmp_path / "hard")
        names.append("hard")
        directory.unlink()
        directory.mkdir()
        names[3] = "directory/../one"
    monkeypatch.chdir(tmp_path)
    for name in names:
        refused(
            unimmu("run", "--json", one, "--trace-format", "jsonl", "--trace", name, "hello"),
            f"--trace {name}",
            f"--json {one}",
        )
    assert one.exists() == there


def test_one_file_by_its_descriptor(unimmu: Unimmu, tmp_path: Path) -> None:
    with (tmp_path / "one").open("wb") as file:
        name = f"/dev/fd/{file.fileno()}"
        ran = unimmu("run", "--json", tmp_path / "one", "--trace-format", "jsonl", "--trace", name, "hello")
        refused(ran, f"--trace {name}", f"--json {tmp_path / 'one'}")


def test_one_pipe_for_two_options(unimmu: Unimmu) -> None:
    reader, writer = os.pipe()
    name, again = f"/dev/fd/{writer}", f"/proc/self/fd/{writer}"
    try:
        refused(
            unimmu("run", "--json", name, "--trace-format", "jsonl", "--trace", again, "hello"),
            f"--trace {again}",
            f"--json {name}",
        )
    finally:
        os.close(reader)
        os.close(writer)


def test_a_device_keeps_nothing(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--json", "/dev/null", "--trace", "/dev/null", "--trace-format", "csv", "hello")
    assert ran == (0, "hello, world\n", "")


def test_two_files(unimmu: Unimmu, tmp_path: Path) -> None:
    """What they had before is gone."""
    figures, trace = tmp_path / "figures", tmp_path / "trace.jsonl"
    figures.write_text("x" * 100_000)
    assert unimmu("run", "--json", figures, "--trace", trace, "hello").status == 0
    assert json.loads(figures.read_text())["exit_status"] == 0
    assert json.loads(trace.read_text().splitlines()[-1])["event"] == "end"


# ---- FIFOs


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


@pytest.mark.parametrize("option", ["--json", "--trace", "-o"])
def test_a_fifo_that_nobody_opens_cannot_outlast_the_time_limit(fifo: Path, option: str) -> None:
    process = start(
        "run",
        "--strace",
        "--timeout",
        "0.5",
        *_FORMAT.get(option, ()),
        option,
        fifo,
        "spin",
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (124, f"unimmu: stopped by --timeout: {option} {fifo}: nobody reads it\n")


def test_a_fifo_that_nobody_reads_cannot_either(fifo: Path) -> None:
    """It is open, and full after 64 KiB."""
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        process = start(
            "run", "--timeout", "1", *_FORMAT["--trace"], "--trace", fifo, "spin", "1000000000", stderr=subprocess.PIPE
        )
        full = start("run", "--timeout", "1", "--strace", "-o", fifo, "getpid_loop", "1000000", stderr=subprocess.PIPE)
        for one in (process, full):
            _, said = one.communicate(timeout=60)
            assert one.returncode == 124
            assert "stopped by --timeout: 100" in said
        assert f"unimmu run: -o {fifo}: nobody reads it; the file is not complete\n" in said
    finally:
        os.close(reader)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_standard_stream_that_nobody_reads(stream: str) -> None:
    """The guest's output, or ours on stderr, until the pipe is full."""
    words = ["calls", "@b = bytes 4096; repeat 1000; write 1 b 4096; end"]
    if stream == "stderr":
        words = ["--strace", "getpid_loop", "10000000"]
    reader, writer = os.pipe()
    other = os.memfd_create("other")
    process = start(
        "run", "--timeout", "1", *words, stdout=writer if stream == "stdout" else other,
        stderr=writer if stream == "stderr" else other,
    )  # fmt: skip
    try:
        assert process.wait(60) == 124
        if stream == "stdout":
            assert os.pread(other, 1000, 0) == b"unimmu: stopped by --timeout: 100 (calls) writes its output\n"
    finally:
        process.kill()
        process.wait()
        for fd in (reader, writer, other):
            os.close(fd)


def test_figures_that_nobody_reads(fifo: Path) -> None:
    """The program has ended long before; the time limit holds for what is written after it too."""
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        process = start(
            "run", "--timeout", "0.5", "--json", fifo, "hello", stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.communicate(timeout=60) == (
            "hello, world\n",
            f"unimmu run: --json {fifo}: nobody reads it; the file is not complete\n",
        )
        assert process.returncode == 124
    finally:
        os.close(reader)
        os.close(writer)


def test_a_reader_that_takes_its_time(fifo: Path) -> None:
    """Nothing is lost, and nothing limits the run."""
    process = start("run", "--strace", "-o", fifo, "getpid_loop", "3000", stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    read = b""
    with fifo.open("rb", buffering=0) as reader:
        while more := reader.read(20_000):
            read += more
            time.sleep(0.01)
    assert process.wait(60) == 0
    assert read.count(b"getpid()") == 3001
    assert len(read) > 1 << 16
    assert read.endswith(b"+++ exited with 0 +++\n")


def test_a_reader_in_the_same_process(fifo: Path) -> None:
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    assert main(["run", "--json", str(fifo), "hello"]) == 0
    reader.join()
    assert json.loads(got[0])["exit_status"] == 0


def test_a_process_substitution(tmp_path: Path) -> None:
    """As in `--trace >(gzip ...)`: a pipe of the shell's."""
    line = f"{sys.executable} -m emu.cli.entry run --json >(cat > {tmp_path / 'figures'}) hello; wait $!"
    subprocess.run(["bash", "-c", line], env=environment(), check=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "figures").exists() or not (tmp_path / "figures").stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.02)

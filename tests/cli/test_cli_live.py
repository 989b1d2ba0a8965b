"""``unimmu run --live`` on a terminal: the view, what the guest writes, and that nothing else is different; progress of
long work.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.cli.running.live import KeptOutput
from tests.cli.conftest import Unimmu, command, environment, unimmu

__all__ = ["unimmu"]

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
#: Long enough for the view to come; it says one line, and then a number of its loops.
LOOP = "i=0; echo begins; while [ $i -lt 5000 ]; do i=$((i+1)); done; echo $i; exit 3"
#: The command, whose view comes after so many seconds, and looks as often.
_LIVE = """
import sys
from emu.cli.running import live
live._PAUSE_S = float(sys.argv.pop(1))
from emu.cli.entry import main
main()
"""


def on_terminal(
    *words: object, when: Callable[[str], bool] = lambda seen: False, then: Callable[[int], None] | None = None,
    rows: int = 24, columns: int = 120,
) -> tuple[int, str]:  # fmt: skip
    """Run a command on a terminal of that size; returns its status and all that it wrote there.

    ``then`` is called once, with the number of its process, when what has been written is as it should be.
    """
    pid, master = pty.fork()
    if not pid:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        here = environment(TERM="xterm-256color", LINES=str(rows), COLUMNS=str(columns))
        os.execvpe(str(words[0]), [str(word) for word in words], here)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
    seen = ""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # nobody has it open any more
            break
        if not data:
            break
        seen += data.decode("utf-8", "replace")
        if then is not None and when(seen):
            then(pid)
            then = None
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.replace("\r", "")


def live(*words: object, pause_s: float = 0.02, **more: object) -> tuple[int, str]:
    return on_terminal(*live_command(*words, pause_s=pause_s), **more)  # type: ignore[arg-type]


def live_command(*words: object, pause_s: float = 0.02) -> list[str]:
    return [sys.executable, "-c", _LIVE, str(pause_s), "run", "--live", *map(str, words)]


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_the_view_and_then_what_the_guest_has_written() -> None:
    status, seen = live("--root", "/", "sh", "-c", LOOP)
    assert status == 3
    view, _, after = seen.partition(LEAVE)
    assert after == "begins\n5000\n"
    assert view.count(ENTER) == 1
    shown = plain(view)
    for words in ("unimmu: sh -c i=0;", "walks", "#PF", "tables:", "PID", "TABLES", "output:\nbegins"):
        assert words in re.sub(r" +\n", "\n", shown), words
    assert re.search(r"^100 +1 R 100\.0 ", shown, re.MULTILINE)


@pytest.mark.parametrize(
    "words", [("--cpus", 2, "sharers", "plain", 4, 8 << 20), ("--tlb", "zen4", "touch_pages", "8M")]
)
def test_counts_and_events_are_those_of_a_run_without(tmp_path: Path, words: tuple[object, ...]) -> None:
    runs = []
    for name in ("live", "plain"):
        files = [tmp_path / f"{name}.{kind}" for kind in ("json", "jsonl")]
        options = ("--json", files[0], "--trace", files[1])
        if name == "live":
            assert ENTER in live(*options, *words)[1]
        else:
            with (tmp_path / "out").open("wb") as out:
                subprocess.run(
                    command("run", *options, *words), env=environment(), stdin=subprocess.DEVNULL, stdout=out,
                    stderr=out, check=False,
                )  # fmt: skip
        figures = json.loads(files[0].read_text())
        del figures["wall_s"]
        lines = files[1].read_text().splitlines()
        runs.append((figures, lines[1:]))
    assert runs[0][0] == runs[1][0]
    assert runs[0][1] == runs[1][1]


def test_the_modelled_tlb_is_in_the_view() -> None:
    _, seen = live("--tlb", "zen4", "--timeout", "0.7", "spin")
    assert re.search(r"TLB misses/lookups: .*/", plain(seen))


@pytest.mark.parametrize("columns", [34, 80])
def test_a_narrow_terminal_shows_what_there_is_room_for(columns: int) -> None:
    """No column is cut off; all of the caches are told of, in several lines."""
    words = ("--tlb", "zen4", "--timeout", "0.7", "region_stress", "3", "40")
    _, seen = live(*words, rows=30, columns=columns)
    screen = plain(seen.partition(LEAVE)[0].split("\x1b[H")[-1]).splitlines()
    assert max(len(line.rstrip()) for line in screen) <= columns
    head = next(line for line in screen if line.startswith("PID"))
    assert "…" not in head and head.split()[0] == "PID" and head.split()[-1] == "COMMAND" and "%CPU" in head
    row = screen[screen.index(head) + 1]
    assert row.split()[0].isdigit() and "/bin/region" in row
    told = " ".join(screen[: screen.index(head)])
    for array in ("L1I", "L1D", "L2I", "L2D"):
        assert re.search(rf"{array} [\d,]+/[\d,]+", told), told


def test_a_terminal_of_few_lines_says_how_many_more_there_are() -> None:
    _, seen = live("--timeout", "0.7", "region_stress", "12", "40", rows=12, columns=80)
    screen = plain(seen.partition(LEAVE)[0].split("\x1b[H")[-1]).splitlines()
    assert len(screen) <= 12
    assert re.search(r"\.\.\. and \d+ more", "\n".join(screen))


def test_one_of_a_kind_is_no_plural() -> None:
    _, seen = live("--timeout", "0.7", "spin")
    assert "1 vCPU\n" in re.sub(r" +\n", "\n", plain(seen)) and "0 regions" in plain(seen)


def test_a_pipe_gets_the_output_at_once_and_the_terminal_the_view(tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = shlex.join(live_command("--root", "/", "sh", "-c", LOOP))
    status, seen = on_terminal("sh", "-c", f"exec {line} > {out}")
    assert status == 3
    assert out.read_text() == "begins\n5000\n"
    assert "PID" in plain(seen)
    assert "output:" not in plain(seen)
    assert seen.endswith(LEAVE)


def test_ctrl_c_ends_the_run_and_the_terminal_is_as_before() -> None:
    status, seen = live("spin", when=lambda seen: ENTER in seen, then=lambda pid: os.kill(pid, signal.SIGINT))
    assert status == 130
    after = seen.partition(LEAVE)[2]
    assert re.fullmatch(r"unimmu: interrupted: 100 \(spin\) runs at 0x[0-9a-f]+\n", after)


def test_ctrl_z_gives_the_terminal_back_meanwhile() -> None:
    def stop_and_go(pid: int) -> None:
        os.kill(pid, signal.SIGTSTP)
        os.waitpid(pid, os.WUNTRACED)
        time.sleep(0.05)
        os.kill(pid, signal.SIGCONT)

    status, seen = live("--timeout", "1.5", "spin", when=lambda seen: ENTER in seen, then=stop_and_go)
    assert status == 124
    assert seen.count(ENTER) == seen.count(LEAVE) == 2


def test_a_short_run_shows_no_view() -> None:
    assert live("hello", pause_s=60) == (0, "hello, world\n")


def test_no_terminal_no_view(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--live", "hello")
    assert (ran.status, ran.out) == (0, "hello, world\n")
    assert ran.err == "unimmu: --live: standard error is no terminal, so there is no view\n"


def test_strace_needs_a_file_then(unimmu: Unimmu) -> None:
    ran = unimmu("run", "--live", "--strace", "hello")
    assert (ran.status, ran.err) == (2, "unimmu run: --live has the screen: --strace needs -o FILE\n")


# ---- progress


def test_the_demo_shows_how_far_it_is(tmp_path: Path) -> None:
    picture = tmp_path / "p.svg"
    program = "import emu.cli.progress as progress; progress._PER_SECOND = 500; from emu.cli.entry import main; main()"
    words = ("demo", "--processes", "2", "--size", "32M", "--output", str(picture))
    status, seen = on_terminal(sys.executable, "-c", program, *words)
    assert status == 0
    percents = [int(p) for p in re.findall(r"(\d+)%", plain(seen))]
    assert any(0 < percent < 100 for percent in percents)
    assert picture.exists()


def test_progress_is_silent_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    from emu.cli.progress import progress

    with progress("work", 3) as report:
        report(1)
        report(3, "more")
    assert capfd.readouterr() == ("", "")


def test_of_very_much_output_the_last_is_kept(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emu.cli.running.live._MOST_KEPT", 1000)
    kept = KeptOutput()
    descriptor = kept._file.fileno()  # which the guest has
    for number in range(10):
        assert os.write(descriptor, b"%d" % number * 600) == 600
        kept.trim()
    assert kept.last_lines() == []
    os.write(descriptor, b"end")
    kept.release()
    said, _, rest = capfd.readouterr().err.partition("\n")
    assert said == "unimmu: --live: the first 4,800 bytes of the output are not kept"
    assert rest == "8" * 600 + "9" * 600 + "end"

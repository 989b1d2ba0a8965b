"""``unimmu``: finds the command and runs it.  A command's module is imported only when it is asked for."""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from types import FrameType

from emu.cli.arguments import OutputError, Parser, UsageError
from emu.cli.messages import complain, complain_lines, version

#: name -> (module with ``add_arguments(parser)`` and ``run(arguments) -> int``, what it is for)
COMMANDS = {
    "demo": ("emu.cli.demo", "the two-minute story: processes that share page tables, counted and drawn"),
    "run": ("emu.cli.run", "run an x86-64 Linux program"),
    "pt": ("emu.cli.pt", "the page tables of a run at one moment: ranges, pictures, who shares what, walks in words"),
    "presets": ("emu.cli.presets", "the TLBs of known processors, and where each number comes from"),
    "tlb": ("emu.cli.laboratory", "the laboratory for TLBs: replay accesses through models, analyse them, run sweeps"),
    "trace": ("emu.cli.trace", "look at what `unimmu run --trace` recorded"),
    "bench": ("emu.cli.bench", "the benchmark suite"),
}

# Exit statuses of our own.
USAGE = 2
INTERNAL = 70  # EX_SOFTWARE of sysexits.h
OUTPUT_FAILED = 74  # EX_IOERR
INTERRUPTED = 130  # 128 + SIGINT, as a shell's

_OUR_PACKAGES = ("emu", "mmu", "msharefs", "sharing", "guests")
#: How long to wait where a signal cannot be dealt with.
_LATER_S = 0.001
#: Exceptions whose message says all there is to say; by name, since a plain run does not import the modules of all.
_SPEAK_FOR_THEMSELVES = ("AddressSpaceTooSmall", "CompileError", "ModuleError", "UnicornMismatch")
#: What printing meets; files that are opened by name have one in their errors.
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
#: How to install what only some commands need.
_EXTRA = {"pyarrow": ": pip install 'unimmu[trace]'", "distributed": ": pip install 'unimmu[dask]'"}


def main(argv: Sequence[str] | None = None, at_end: Callable[[int], None] | None = None) -> int:
    """The ``unimmu`` command; returns its exit status.  ``at_end`` is given it when all has been printed.

    As the entry point of a process, without ``argv``, it does not return: taking the interpreter and the engine down
    piece by piece would cost more than a short program takes.
    """
    if argv is not None:
        return _main(list(argv))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # there are characters that not every locale has
    status = _until_interrupted(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            pass  # said already, or nowhere left to complain
    if at_end is not None:
        at_end(status)
    os._exit(status)


def _until_interrupted(words: list[str]) -> int:
    """The exit status; from the end on, Ctrl-C does nothing any more."""
    interruptions: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if _imports(frame):  # importlib has callbacks in which what is raised would be lost
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if _finalizes(frame):  # so would it be there: once more, a little later
            again = threading.Timer(_LATER_S, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        interruptions.append(number)
        raise KeyboardInterrupt

    try:
        if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # emu.cli.entry has set it
            signal.signal(signal.SIGINT, handler)
        status = _main(words, interruptions)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        status = INTERRUPTED
    return status


def _finalizes(frame: FrameType | None) -> bool:
    """Whether an object is being disposed of: in callbacks of weak references, or in ``__del__``."""
    while frame is not None:
        if frame.f_code.co_filename == weakref.__file__ or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _main(words: list[str], interruptions: Sequence[int] = ()) -> int:
    """``interruptions``: signals that came; numpy, for one, makes an ImportError of what is raised in its imports."""
    name = "unimmu"
    try:
        try:
            if words and words[0] in COMMANDS:
                name = f"unimmu {words[0]}"
                return _run_command(words[0], words[1:])
            return _without_command(words)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a closed pipe can still be dealt with
    except SystemExit as leaving:  # argparse's --help and --version
        return leaving.code if isinstance(leaving.code, int) else 0
    except UsageError as error:
        complain(f"{name}: {error}")
        return USAGE
    except OutputError as error:
        complain(f"{name}: {error}")
        return OUTPUT_FAILED
    except BrokenPipeError:
        _throw_stdout_away()
        return 141  # 128 + SIGPIPE: what a program that does not catch it ends with
    except KeyboardInterrupt:
        complain(f"{name}: interrupted")
        return INTERRUPTED
    except Exception as error:
        if interruptions:
            complain(f"{name}: interrupted")
            return INTERRUPTED
        return _failed(name, error)


def _failed(name: str, error: Exception) -> int:
    if isinstance(error, OSError):
        if error.filename is None and error.errno in _WRITE_ERRORS and not _outside(error):
            _throw_stdout_away()
            complain(f"{name}: standard output cannot be written: {error.strerror}")
            return OUTPUT_FAILED
    return _our_fault(name, error)


def _run_command(command: str, words: list[str]) -> int:
    module = importlib.import_module(COMMANDS[command][0])
    if command != "run":  # which does it once the machine is there
        gc.enable()  # which emu.cli.entry has disabled
    what = COMMANDS[command][1]
    parser = Parser(f"unimmu {command}", description=f"{what[0].upper()}{what[1:]}.")
    module.add_arguments(parser)
    return int(module.run(parser.parse(words)))


def _without_command(words: list[str]) -> int:
    width = max(map(len, COMMANDS))
    parser = Parser(
        "unimmu",
        description="An emulated-hardware MMU, and a small Linux-like machine whose processes share page tables.",
        epilog="commands:\n"
        + "".join(f"  {name:{width}}  {help}\n" for name, (_, help) in COMMANDS.items())
        + "\n`unimmu COMMAND --help` says more about each.",
    )
    parser.usage = "unimmu COMMAND [...]"
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    if words and not words[0].startswith("-"):
        raise UsageError(f"there is no command {words[0]!r}; the commands are {', '.join(COMMANDS)}")
    if parser.parse(words).version:
        print(f"unimmu {version()}")
        return 0
    if not words:
        raise UsageError(f"a command is needed: {', '.join(COMMANDS)} (`unimmu --help` says more)")
    parser.print_help()
    return 0


def _throw_stdout_away() -> None:
    """Nobody reads what we print any more: discard what is still buffered, or Python would complain at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _our_fault(name: str, error: Exception) -> int:
    outside = _outside(error)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] not in _OUR_PACKAGES:
        who = f" by {outside}" if outside else ""
        how = _EXTRA.get(error.name, "")
        complain(f"{name}: the Python package {error.name} is needed{who}, but is not installed{how}")
    elif type(error).__name__ in _SPEAK_FOR_THEMSELVES:
        complain_lines(f"{name}: {error}")
    elif sys.stderr is not None:
        import traceback

        complain_lines("".join(traceback.format_exception(error)).rstrip())
        if outside:
            complain(
                f"{name}: this happened in {outside}, which is not part of unimmu; the lines above are for its author"
            )
        else:
            complain(f"{name}: this is a bug in unimmu {version()}; please report it, with the lines above")
    return INTERNAL


def _outside(error: BaseException) -> str:
    """The Python module of another distribution's kernel module that an exception came out of or through; else ""."""
    from importlib.metadata import entry_points

    roots = {point.module.partition(".")[0] for point in entry_points(group="unimmu.modules")} - {*_OUR_PACKAGES}
    found, at = "", error.__traceback__
    while at is not None:
        module = str(at.tb_frame.f_globals.get("__name__"))
        if module.partition(".")[0] in roots:
            found = f"{module} ({at.tb_frame.f_code.co_filename}:{at.tb_lineno})"
        at = at.tb_next
    return found


if __name__ == "__main__":
    sys.exit(main())

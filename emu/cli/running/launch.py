"""From a command line to a machine with a program in it."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import guests
from emu.cli.arguments import UsageError, format_size
from emu.cli.streams import Stopper, host_stream
from emu.fs.bind import Bind
from emu.kernel.elf import NO_FORMAT
from emu.kernel.modules import UnknownModule
from emu.kernel.task import Task
from emu.machine import DEFAULT_MEMORY, MIN_MEMORY, CwdError, LaunchError, Machine, Mount, ParameterError
from mmu.memory import MAX_BYTES, PAGE_SIZE

if TYPE_CHECKING:
    from mmu.geometry import Geometry

#: What a program finds in its environment unless ``--env`` says otherwise.
DEFAULT_ENVIRONMENT = {"PATH": "/bin"}
#: The option for each parameter of Machine that may be wrong.
_OPTIONS = {
    "memory": "--mem", "cpus": "--cpus", "turn": "--slice", "clock": "--clock", "hugepages": "--hugepages",
    "mounts": "--mount", "root": "--root", "binds": "--bind", "hostname": "--hostname", "swap": "--swap",
}  # fmt: skip


def build_machine(
    arguments: argparse.Namespace, stopper: Stopper, log: Callable[[str], None], streams: Sequence[Any] | None = None
) -> Machine:
    """The machine that the options describe; ``streams`` take the place of the standard streams.  :class:`UsageError`
    if no such machine is possible.
    """
    stdin, stdout, stderr = streams or (
        host_stream(sys.stdin, "standard input", stopper),
        host_stream(sys.stdout, "standard output", stopper),
        host_stream(sys.stderr, "standard error", stopper),
    )
    memory = DEFAULT_MEMORY if arguments.mem is None else arguments.mem
    if not MIN_MEMORY <= memory <= MAX_BYTES:
        possible = f"from {format_size(MIN_MEMORY)} to {format_size(MAX_BYTES)} are possible"
        raise UsageError(f"--mem {format_size(memory)}: {possible}")
    if memory % PAGE_SIZE:
        raise UsageError(f"--mem {memory}: it must be a multiple of {PAGE_SIZE}")
    tlb = _tlb(arguments)
    try:
        return Machine(
            memory,
            mounts=[parse_mount(text) for text in arguments.mount],
            seed=arguments.seed,
            tlb=tlb,
            check_tlb=arguments.check_tlb,
            cpus=arguments.cpus,
            turn=arguments.slice,
            clock=arguments.clock,
            la57=arguments.la57,
            hugepages=arguments.hugepages,
            swap=arguments.swap,
            modules=arguments.module,
            root=arguments.root,
            binds=[parse_bind(text) for text in arguments.bind],
            hostname=arguments.hostname,
            aslr=arguments.aslr,
            engine_fast=None if arguments.engine_fast is None else arguments.engine_fast == "on",
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            log=log,
        )
    except ParameterError as error:
        raise UsageError(f"{_OPTIONS[error.parameter]}: {error}") from None
    except UnknownModule as error:
        raise UsageError(f"--module: {error}") from None
    except MemoryError as error:
        raise UsageError(f"--mem: {error}") from None


def _tlb(arguments: argparse.Namespace) -> str | Geometry:
    """What TLB is to be modelled: "off", or a geometry."""
    if arguments.tlb == "off" and arguments.tlb_from_cpuid is None:
        return "off"
    from emu.cli.tlb import geometry_from_cpuid, nested, preset_or_file, timed, with_settings

    said = None
    if arguments.tlb_from_cpuid is not None:
        geometry = geometry_from_cpuid(arguments.tlb_from_cpuid, "--tlb-from-cpuid")
    else:
        preset = preset_or_file(arguments.tlb, "--tlb")
        geometry, said = timed(preset) if arguments.tlb_latency else preset.geometry, preset.nested
    if arguments.nested is not None:
        geometry = nested(geometry, arguments.nested, said)
    return with_settings(geometry, arguments.tlb_set)


def parse_mount(text: str) -> Mount:
    """``TYPE:PATH[:OPTIONS]``."""
    fstype, _, rest = text.partition(":")
    path, _, options = rest.partition(":")
    if not fstype or not path.startswith("/"):
        raise UsageError(f"--mount {text}: expected TYPE:/PATH[:OPTIONS]")
    return Mount(fstype, path, options)


def parse_bind(text: str) -> Bind:
    """``HOST:GUEST[:rw]``."""
    places = text.removesuffix(":rw")
    host, _, guest = places.rpartition(":")
    if not host or not guest.startswith("/"):
        raise UsageError(f"--bind {text}: expected HOST:/GUEST/PATH, perhaps with :rw")
    return Bind(host, guest, places != text)


def start_program(machine: Machine, arguments: argparse.Namespace) -> tuple[Task, str]:
    """Put the files and the program into the machine; returns the program's task, and its path there.

    :class:`LaunchError` if it cannot run there.
    """
    copied = [_copy(machine, text) for text in arguments.file]
    if not arguments.program:
        raise LaunchError("'': no such file: the name of the program is empty", 127)
    if arguments.cwd == "":
        raise UsageError("--cwd '': expected a path in the machine")
    try:
        return _start(machine, arguments, copied)
    except CwdError as error:
        if arguments.cwd is not None:
            raise UsageError(f"--cwd {arguments.cwd}: cannot be entered in the machine: {error.reason}") from None
        who = f"user {arguments.uid or 0} cannot enter the working directory {error.cwd}: {error.reason}"
        raise UsageError(f"{who}; --cwd PATH starts the program elsewhere") from None
    except LaunchError as error:
        if str(error).endswith(NO_FORMAT):
            how = f"`unimmu run --root {arguments.root or '/'} sh {arguments.program}` runs it"
            raise LaunchError(f"{error}; if it holds shell commands, {how}", error.status) from None
        raise


def _copy(machine: Machine, text: str) -> str:
    """Do what ``--file HOST[:GUEST]`` says; returns where the file is in the machine."""
    host, _, guest = text.partition(":")
    if not host or (guest and not guest.startswith("/")):
        raise UsageError(f"--file {text}: expected HOST[:/GUEST/PATH]")
    try:
        return machine.install(_checked(machine, host), guest or None)
    except LaunchError as error:
        raise UsageError(f"--file {error}") from None


def _start(machine: Machine, arguments: argparse.Namespace, copied: Sequence[str]) -> tuple[Task, str]:
    """``copied``: what --file has put into the machine."""
    name: str = arguments.program
    words = list(map(os.fsencode, arguments.arguments))  # the very bytes, whatever the locale
    if arguments.root is not None:
        from emu.cli.running.rooted import default_environment, start_in_root, user_of

        user = user_of(machine, arguments)
        environment = parse_environment(arguments.env, default_environment(machine, user))
        return start_in_root(machine, arguments, words, environment, user)
    credentials = None
    if arguments.uid is not None or arguments.gid is not None:
        from emu.cli.running.rooted import user_of

        credentials = user_of(machine, arguments).credentials
    start = partial(
        machine.spawn, arguments=words, env=parse_environment(arguments.env), credentials=credentials,
        cwd=arguments.cwd or "/",
    )  # fmt: skip
    path = name if "/" in name else f"/bin/{name}"
    if path in copied:
        return start(path, in_guest=True, argv0=name), path
    try:
        program = _checked(machine, name)
    except LaunchError as error:
        if error.status != 127:
            raise
        if name not in guests.NAMES:
            raise LaunchError(f"{error}{_elsewhere(name, copied)}", 127) from None
        path = machine.install(guests.path(name))
        return start(path, in_guest=True), path
    if not program.stat().st_mode & 0o111:
        raise LaunchError(f"{name}: is not executable (chmod +x makes it so)", 126)
    try:
        return start(name), f"/bin/{program.name}"
    except LaunchError as error:
        if error.status == 127:  # the program is there, so it is what runs it that is not
            why = _missing_interpreter(program, error)
            how = "--root / shows the machine the files of this system, --file HOST:GUEST puts one there"
            raise LaunchError(f"{why}; {how}", 127) from None
        raise


def _elsewhere(name: str, copied: Sequence[str]) -> str:
    """What to say of a program that is no file of the host: where else it was looked for, and how to have it."""
    given = f"; --file has put {', '.join(copied)} into the machine" if copied else ""
    if "/" in name:
        return f" on this host{given}"
    import shutil  # not where all is well

    told = f", and no program of that name comes with unimmu (`unimmu run --help` lists them){given}"
    return told + (f"; `unimmu run --root / {name}` runs this system's" if shutil.which(name) else "")


def _missing_interpreter(program: Path, error: LaunchError) -> str:
    """What to say if something that the program needs is not in the machine."""
    with program.open("rb") as file:
        first = file.readline(256)
    if first[:2] != b"#!":
        return str(error)
    return f"{program}: there is no {first[2:].decode(errors='replace').strip()} in the machine"


def _checked(machine: Machine, name: str) -> Path:
    """The host file, if it can be copied into the machine: a regular file that is not larger than memory."""
    try:
        status = os.stat(name)
    except FileNotFoundError:
        raise LaunchError(f"{name}: no such file", 127) from None
    except (OSError, ValueError) as error:
        raise LaunchError(f"{name}: {getattr(error, 'strerror', None) or error}", 126) from None
    if stat.S_ISDIR(status.st_mode):
        raise LaunchError(f"{name}: is a directory", 126)
    if not stat.S_ISREG(status.st_mode):
        raise LaunchError(f"{name}: is not a regular file", 126)
    if status.st_size > machine.ram.size:
        size = format_size(machine.ram.size)
        raise LaunchError(f"{name}: does not fit into the machine's memory of {size} (see --mem)", 2)
    return Path(name)


def parse_environment(settings: list[str], default: Mapping[str, str] = DEFAULT_ENVIRONMENT) -> dict[str, str]:
    """The program's environment: PATH=/bin (or another default), and what ``K=V`` and ``K`` (with the host's value) add
    or change.
    """
    environment = dict(default)
    for text in settings:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"--env {text}: expected K=V or K")
        if equals:
            environment[name] = value
        elif name in os.environ:
            environment[name] = os.environ[name]
        else:
            raise UsageError(f"--env {name}: it has no value here (K=V gives it one)")
    return environment

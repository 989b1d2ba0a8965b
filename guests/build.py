# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the guest programs. From the top of the repository:

    python -m guests.build                       all prebuilt ones anew, and bin/BUILD.json
    python -m guests.build --check               do the sources still give the files in bin/?
    python -m guests.build --out DIR [NAME ...]  into another directory, hello_glibc too if named

GUESTS is the one table of them.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = HERE / "bin"
RECORD = BIN / "BUILD.json"

# -fno-ident, -s and no build id: nothing of the builder's machine gets into a file but its compiler's choices.
COMMON = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fno-ident", "-s", "-Wl,--build-id=none")
BARE = (
    *("-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fcf-protection=none", "-march=x86-64"),
    *("-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-ffunction-sections", "-Wl,--gc-sections"),
    *("-Wl,-z,noexecstack", "-Wl,-z,max-page-size=4096", "-Wl,-z,norelro", "-Iinclude"),
)
STATIC = ("-static", "-fno-pic", "-no-pie")
STATIC_PIE = ("-static-pie", "-fpie")
# The musl-gcc wrapper does not know -static-pie and would give a dynamic program: the same link, spelled out.
MUSL_STATIC_PIE = (
    *("-static", "-fpie", "-nostartfiles", "-Wl,-pie", "-Wl,--no-dynamic-linker", "-Wl,-z,text"),
    *("-l:rcrt1.o", "-l:crti.o", "-l:crtn.o"),
)


@dataclass(frozen=True)
class Guest:
    """One row of the table: how a program is made of its source."""

    name: str
    source: str
    flags: tuple[str, ...] = (*COMMON, *BARE, *STATIC)
    compiler: str = "gcc"
    prebuilt: bool = True


GUESTS: tuple[Guest, ...] = (
    Guest("hello", "hello.c"),
    Guest("hello_pie", "hello_pie.c", (*COMMON, *BARE, *STATIC_PIE)),
    Guest("hello_musl", "hello_libc.c", (*COMMON, *STATIC), "musl-gcc"),
    Guest("hello_musl_pie", "hello_libc.c", (*COMMON, *MUSL_STATIC_PIE), "musl-gcc"),
    Guest("hello_glibc", "hello_libc.c", (*COMMON, *STATIC), prebuilt=False),
    Guest("fork_shared", "fork_shared.c"),
    Guest("cow", "cow.c"),
    Guest("pipes", "pipes.c"),
    Guest("timeslice", "timeslice.c"),
    Guest("exec_self", "exec_self.c"),
    Guest("procinfo", "procinfo.c"),
    Guest("faults", "faults.c"),
    Guest("mshare_donor", "mshare_donor.c"),
    Guest("mshare_consumer", "mshare_consumer.c"),
    Guest("mshare_call_donor", "mshare_call_donor.c"),
    Guest("mshare_call_consumer", "mshare_call_consumer.c"),
    Guest("mshare_donor_v1", "mshare_donor_v1.c"),
    Guest("mshare_consumer_v1", "mshare_consumer_v1.c"),
    Guest("mshare_donor_v2", "mshare_donor_v2.c"),
    Guest("mshare_consumer_v2", "mshare_consumer_v2.c"),
    Guest("mshare_donor_ioctl", "mshare_donor_ioctl.c"),
    Guest("mshare_consumer_ioctl", "mshare_consumer_ioctl.c"),
    Guest("region_stress", "region_stress.c"),
    Guest("stale_reader", "stale_reader.c"),
    Guest("region_churn", "region_churn.c"),
    Guest("sharers", "sharers.c"),
    Guest("sga", "sga.c"),
    Guest("concurrent_populate", "concurrent_populate.c"),
    Guest("owner_death", "owner_death.c"),
    Guest("unlink_while_mapped", "unlink_while_mapped.c"),
    Guest("several_windows", "several_windows.c"),
    Guest("unmapped_under_reader", "unmapped_under_reader.c"),
    Guest("exec_in_the_middle", "exec_in_the_middle.c"),
    Guest("file_three_ways", "file_three_ways.c"),
    Guest("calls", "calls.c"),
    Guest("threads", "threads.c"),
    Guest("restart", "restart.c"),
    Guest("fpu", "fpu.c"),
    Guest("instructions", "instructions.c"),
    Guest("operands", "operands.c"),
    Guest("timers", "timers.c"),
    Guest("traps", "traps.c"),
    Guest("pthreads", "pthreads.c", (*COMMON, *STATIC, "-pthread"), "musl-gcc"),
    Guest("pthreads_glibc", "pthreads.c", (*COMMON, *STATIC, "-pthread"), prebuilt=False),
    Guest("sysv", "sysv.c", (*COMMON, *STATIC), "musl-gcc"),
    Guest("spin", "spin.c"),
    Guest("touch_pages", "touch_pages.c"),
    Guest("gups", "gups.c"),
    Guest("getpid_loop", "getpid_loop.c"),
    Guest("hoard", "hoard.c"),
    Guest("many", "many.c", (*COMMON, *STATIC, "-pthread"), "musl-gcc"),
    Guest("costs", "costs.c", (*COMMON, *STATIC, "-pthread"), "musl-gcc"),
    Guest("handlers", "handlers.c", (*COMMON, *STATIC), "musl-gcc"),
    Guest("turns", "turns.c", (*COMMON, *STATIC, "-pthread"), "musl-gcc"),
    Guest("joins", "joins.c", (*COMMON, *STATIC, "-pthread"), "musl-gcc"),
    Guest("touches", "touches.c", (*COMMON, *STATIC, "-pthread"), "musl-gcc"),
    Guest("regions", "regions.c", tuple(flag for flag in (*COMMON, *BARE, *STATIC) if flag != "-s")),
    Guest("unimmu-mark", "unimmu-mark.c"),
)


class BuildError(Exception):
    """A guest program could not be built: there is no such program, no compiler, or the compiler failed."""


@dataclass(frozen=True)
class Built:
    """How one file in a bin directory came about; BUILD.json holds these."""

    name: str
    command: str
    compiler: str
    source_sha256: str
    sha256: str
    size_bytes: int


def compiler(name: str = "gcc") -> str | None:
    """The path of a compiler, or None if this machine has none of that name."""
    return shutil.which(name)


def build(out_dir: Path, cc: str = "gcc", names: Iterable[str] | None = None) -> list[Built]:
    """Builds programs into `out_dir` (the prebuilt ones if not told which) and says how.

    `cc` stands in for gcc; what needs musl-gcc is built with musl-gcc. Raises BuildError.
    """
    chosen = [guest for guest in GUESTS if guest.prebuilt] if names is None else [find(name) for name in names]
    out_dir.mkdir(parents=True, exist_ok=True)
    return [_build_one(guest, out_dir, cc if guest.compiler == "gcc" else guest.compiler) for guest in chosen]


def find(name: str) -> Guest:
    """The row of the table for `name`. Raises BuildError."""
    for guest in GUESTS:
        if guest.name == name:
            return guest
    raise BuildError(f"no guest program {name!r} in the table; there are: {', '.join(g.name for g in GUESTS)}")


def _build_one(guest: Guest, out_dir: Path, cc: str) -> Built:
    if compiler(cc) is None:
        raise BuildError(f"{guest.name} is built with {cc}, which is not on this machine's PATH")
    target = out_dir.resolve() / guest.name
    arguments = [*guest.flags, f"src/{guest.source}"]
    done = subprocess.run([cc, *arguments, "-o", str(target)], cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{cc} failed on {guest.source}:\n{done.stderr}")
    target.chmod(0o755)
    image = target.read_bytes()
    return Built(
        name=guest.name,
        command=" ".join([cc, *arguments, "-o", f"bin/{guest.name}"]),
        compiler=_version(cc),
        source_sha256=source_sha256(guest),
        sha256=hashlib.sha256(image).hexdigest(),
        size_bytes=len(image),
    )


def source_sha256(guest: Guest) -> str:
    """The hash of all that a program is made of: its source and every header, in the order of their names."""
    digest = hashlib.sha256((HERE / "src" / guest.source).read_bytes())
    for header in (*sorted((HERE / "include").glob("*.h")), *sorted((HERE / "src").glob("*.h"))):
        digest.update(header.read_bytes())
    return digest.hexdigest()


def _version(cc: str) -> str:
    """The compiler's own first line about itself, with the musl wrapper named where it is one."""
    first = subprocess.run([cc, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return f"{first} (through musl-gcc)" if Path(cc).name == "musl-gcc" else first


def recorded() -> dict[str, Built]:
    """What BUILD.json says of the files in bin/, by name."""
    return {entry["name"]: Built(**entry) for entry in json.loads(RECORD.read_text())}


def check() -> list[str]:
    """Builds everything again elsewhere; one line for each file that comes out otherwise than bin/ has it."""
    with tempfile.TemporaryDirectory() as scratch:
        now = {built.name: built for built in build(Path(scratch))}
    before = recorded()
    differences = [f"{name}: in bin/ but not in the table" for name in before.keys() - now.keys()]
    for name, built in now.items():
        if name not in before:
            differences.append(f"{name}: in the table but not in bin/")
        elif hashlib.sha256((BIN / name).read_bytes()).hexdigest() != before[name].sha256:
            differences.append(f"{name}: bin/{name} is not the file that BUILD.json describes")
        elif built != before[name]:
            changed = [key for key, value in asdict(built).items() if value != asdict(before[name])[key]]
            differences.append(f"{name}: not the same {', '.join(changed)}")
    return differences


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 if a build failed or a check found a difference."""
    parser = argparse.ArgumentParser(prog="python -m guests.build", description="Builds the guest programs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="programs (all prebuilt ones if none is named)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to put them (bin/, with BUILD.json)")
    parser.add_argument("--cc", default="gcc", help="the compiler to use for gcc")
    parser.add_argument("--check", action="store_true", help="only compare with what is in bin/")
    options = parser.parse_args(argv)
    if options.names and not options.out:
        parser.error("bin/ is rebuilt as a whole; name programs only together with --out")
    try:
        if options.check:
            differences = check()
            print("\n".join(differences) or "bin/ is what the sources give")
            return 1 if differences else 0
        made = build(options.out or BIN, options.cc, options.names or None)
    except BuildError as error:
        print(f"guests.build: {error}", file=sys.stderr)
        return 1
    if not options.out:
        RECORD.write_text(json.dumps([asdict(built) for built in made], indent=2) + "\n")
    for built in made:
        print(f"{built.size_bytes:8} {built.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

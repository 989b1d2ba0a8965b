"""Guests from a C string: compiled where there is a compiler, and kept in unimmu's cache directory."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import guests.build as build
from mmu.codecache import cache_directory, make_directory

_HERE = Path(__file__).resolve().parent / "include"
_GUEST_HEADERS = Path(build.__file__).resolve().parent / "include"
_FLAGS = ("-O2", "-std=gnu11", "-Wall", "-g0", "-fno-ident", "-Wl,--build-id=none")
_BARE = (*(flag for flag in build.BARE if not flag.startswith("-I")), *build.STATIC)


class NoCompiler(unittest.SkipTest):
    """There is no compiler for a guest; pytest and unittest skip the test and show the reason."""


class GuestBuildError(Exception):
    """The compiler refused a guest; the message is what it said."""


def compile_guest(source: str, path: Path | None = None) -> Path:
    """The static program that a C source gives; ``path`` is the file that it stands in, for messages.

    A source that includes "guest.h" (or "mshare.h") stands on guests/include alone, without a libc; any other is linked
    with musl where musl-gcc is there, else with the host's libc.  ``#include <unimmu.h>`` goes with both.  The program
    is kept in unimmu's cache directory, by all that it is made of.

    NoCompiler if there is no compiler, GuestBuildError if it refuses the source, or if the user has no
    cache directory.

    >>> program = compile_guest("int main(void) { return 7; }")
    >>> GuestMachine().run_guest(program).status
    7
    """
    __tracebackhide__ = True
    bare = re.search(r'^\s*#\s*include\s*"(guest|mshare|linux)\.h"', source, re.MULTILINE) is not None
    compiler = build.compiler() if bare else build.compiler("musl-gcc") or build.compiler()
    if compiler is None:
        raise NoCompiler("this guest is C source, and there is no gcc on the PATH to compile it")
    flags = (*_FLAGS, f"-I{_HERE}", *((f"-I{_GUEST_HEADERS}", *_BARE) if bare else ("-static",)))
    cache = cache_directory()
    if cache is None:
        raise GuestBuildError("there is no home directory to keep compiled guests in (UNIMMU_CACHE_DIR names another)")
    target = cache / "guests" / _digest(source, compiler, flags)
    if not target.exists():
        _compile(source, path, [compiler, *flags], target)
    return target


def _digest(source: str, compiler: str, flags: tuple[str, ...]) -> str:
    """A name for the program: all that it is made of."""
    digest = hashlib.sha256(source.encode())
    headers = (*sorted(_HERE.glob("*.h")), *sorted(_GUEST_HEADERS.glob("*.h")))
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    for data in (compiler.encode(), version, " ".join(flags).encode(), *(header.read_bytes() for header in headers)):
        digest.update(hashlib.sha256(data).digest())
    return f"guest-{digest.hexdigest()[:8]}"


def _compile(source: str, path: Path | None, command: list[str], target: Path) -> None:
    __tracebackhide__ = True
    make_directory(target.parent)
    name = "guest.c" if path is None else str(path)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        file, program = Path(scratch) / "guest.c", Path(scratch) / "guest"
        file.write_text(f'#line 1 "{name}"\n{source}')
        done = subprocess.run([*command, str(file), "-o", str(program)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise GuestBuildError(f"{Path(command[0]).name} does not compile this guest:\n\n{done.stderr}")
        sys.stderr.write(done.stderr)  # warnings, once
        program.chmod(0o755)
        os.replace(program, target)

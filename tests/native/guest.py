"""The guests of this directory: small C programs of ours, each with its built file and what it did on Linux.

``guests/SUBJECT/NAME.c`` is the source, ``NAME.elf`` the program, and ``NAME.json`` what was recorded.  Lines at the
head of a source say on what a guest depends::

    // since: 6.13          the first version of Linux that does so
    // needs: root          what the host must have, by the names in tests.native.host.NEEDS; more than one with commas
    // differs: WHY         the machine is known not to do so, and why

"""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HERE = Path(__file__).resolve().parent
GUESTS = HERE / "guests"
_LINE = re.compile(r"(?://|/\*) (since|needs|differs): (.*?)(?: \*/)?")

# As guests/build.py has it, but for size: one segment, and no page of its own for each section.
FLAGS = (
    *("-Os", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fno-ident", "-s", "-Wl,--build-id=none"),
    *("-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fcf-protection=none", "-march=x86-64", "-static"),
    *("-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-ffunction-sections", "-Wl,--gc-sections"),
    *("-Wl,-z,noexecstack", "-Wl,-z,max-page-size=4096", "-Wl,-z,norelro", "-Wl,-z,noseparate-code"),
    *("-fno-pic", "-no-pie"),
)


@dataclass(frozen=True)
class Guest:
    """One program, ``name`` being its file without the suffix: ``fds/pipe_write_without_reader``."""

    name: str
    source: Path

    @property
    def program(self) -> Path:
        """The built file."""
        return self.source.with_suffix(".elf")

    @property
    def recording(self) -> Path:
        """What it did on Linux."""
        return self.source.with_suffix(".json")

    @cached_property
    def _said(self) -> dict[str, str]:
        found = (_LINE.fullmatch(line.rstrip()) for line in self.source.read_text("utf-8").splitlines()[:12])
        return {match[1]: match[2] for match in found if match}

    @property
    def since(self) -> tuple[int, int]:
        """The first version of Linux that does so; (0, 0) for all."""
        major, _, minor = self._said.get("since", "0.0").partition(".")
        return int(major), int(minor)

    @property
    def needs(self) -> tuple[str, ...]:
        """What the host must have."""
        return tuple(need.strip() for need in self._said.get("needs", "").split(",") if need)

    @property
    def differs(self) -> str:
        """Why the machine is known not to do so; empty where it does."""
        return self._said.get("differs", "")

    @property
    def digest(self) -> str:
        """Of the source, so that a program is not taken for that of another source; the headers do not count."""
        return hashlib.sha256(self.source.read_bytes()).hexdigest()[:16]

    def build(self, *more: str) -> None:
        """Compile it, with more words for the compiler.  CalledProcessError, with its own on stderr, if that fails."""
        words = ["gcc", *FLAGS, *more, "-I", str(HERE / "include"), str(self.source), "-o", str(self.program)]
        subprocess.run(words, check=True)
        self.program.chmod(0o755)


def all_guests() -> list[Guest]:
    """All of them, by name."""
    return [Guest(str(file.relative_to(GUESTS).with_suffix("")), file) for file in files_of(".c")]


def files_of(suffix: str) -> list[Path]:
    """All files of a kind (".elf", ".json")."""
    return sorted(GUESTS.glob(f"*/*{suffix}"))

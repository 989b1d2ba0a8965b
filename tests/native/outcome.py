"""What a guest did: output, end, and the files that it left."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import asdict, dataclass
from typing import Any

#: Contents of a file are kept up to here; of a longer one its hash.
_SHOWN = 200


@dataclass(frozen=True)
class Outcome:
    """Equal for two runs that did the same.  ``status`` is None if a signal ended it."""

    stdout: tuple[str, ...]
    stderr: tuple[str, ...]
    status: int | None
    signal: str
    files: tuple[str, ...]

    @property
    def text(self) -> list[str]:
        """As lines, for a comparison that somebody reads."""
        end = f"killed by {self.signal}" if self.signal else f"exit status {self.status}"
        lines = list(self.stdout)
        for name, more in (("stderr", self.stderr), ("files", self.files)):
            lines += [f"--- {name}", *more] if more else []
        return [*lines, f"--- {end}"]


@dataclass(frozen=True)
class Recording:
    """An outcome of Linux, and of which; ``source`` is the digest of the source at that time.

    ``calls`` are the calls that the machine saw while the guest ran: those that succeeded, those that failed.
    """

    kernel: str
    source: str
    outcome: Outcome
    calls: dict[str, list[str]]

    def dump(self) -> str:
        """As a file."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, text: str) -> Recording:
        """From a file."""
        values: dict[str, Any] = json.loads(text)
        kept = values["outcome"]
        out, err, files = (tuple(kept[name]) for name in ("stdout", "stderr", "files"))
        outcome = Outcome(out, err, kept["status"], kept["signal"], files)
        return cls(values["kernel"], values["source"], outcome, values["calls"])

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor number of the kernel."""
        return version_of(self.kernel)


def version_of(release: str) -> tuple[int, int]:
    """Major and minor number of a kernel's version."""
    major, minor = release.split(".")[:2]
    return int(major), int(minor)


def lines(data: bytes) -> tuple[str, ...]:
    """Output as lines; a last one without its end is told from one with it."""
    text = data.decode("utf-8", "backslashreplace")
    return tuple(text.splitlines()) + (("(no newline at the end)",) if text and not text.endswith("\n") else ())


def describe(path: str, mode: int, links: int, owner: tuple[int, int] | None, content: bytes | str) -> str:
    """A line about a file that was left: ``a: -rw-r--r-- 1 5 bytes 'text\\n'``; the content of a link is its target."""
    words = [f"{path}:", stat.filemode(mode)]
    words += [] if stat.S_ISDIR(mode) else [str(links)]
    words += [] if owner is None else [f"{owner[0]}:{owner[1]}"]
    if isinstance(content, str):
        words.append(content)
    elif stat.S_ISREG(mode):
        shown = repr(content)[1:] if len(content) <= _SHOWN else hashlib.sha256(content).hexdigest()[:16]
        words += [f"{len(content)} bytes", shown]
    return " ".join(word for word in words if word)

"""What a process may touch outside its directory: nothing but the cache of object code, as far as Python's audit hooks
can see.

Unicorn itself writes no files; whatever else unimmu writes goes through Python.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Devices that keep nothing, and names of what is open already.
_HARMLESS = ("/dev/null", "/dev/full", "/dev/zero", "/dev/tty", "/dev/fd/", "/dev/stdout", "/dev/stderr", "/proc/self/")
#: Events whose arguments begin with one path, or with two, and where their dir_fd is.
_ONE_PATH = {
    "os.mkdir": 2, "os.remove": 1, "os.rmdir": 1, "os.truncate": None, "os.chmod": 2, "os.chown": 3, "os.utime": 3,
    "os.setxattr": None, "os.removexattr": None, "shutil.rmtree": 1,
}  # fmt: skip
_TWO_PATHS = {"os.rename": (2, 3), "os.link": (2, 3), "os.symlink": (None, 2)}
_NEVER = ("socket.connect", "socket.bind", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.system",
          "os.forkpty")  # fmt: skip


def confine(directory: Path, cache: Path | None, tell: Callable[[str], None]) -> None:
    """From now on ``tell`` is called with each attempt to write elsewhere, or to start a process, and it fails.

    ``cache`` is where this process keeps object code.
    """
    inside = os.path.realpath(directory)
    ours = () if cache is None else (f"{os.path.realpath(cache)}/",)

    def refuse(what: str) -> None:
        tell(what)
        raise PermissionError(f"outside of the case's directory: {what}")

    def check(event: str, path: Any, dir_fd: Any) -> None:
        name = _resolved(path, dir_fd)
        if name is None or name.startswith(_HARMLESS):
            return
        real = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
        if event == "open":
            real = os.path.realpath(name)
        if not f"{real}/".startswith((f"{inside}/", *ours)) and not real.startswith(_HARMLESS):
            refuse(f"{event} {name}")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if (isinstance(flags, int) and flags & _WRITING) or (isinstance(mode, str) and set(mode) & set("wax+")):
                check(event, path, None)
        elif event in _ONE_PATH:
            at = _ONE_PATH[event]
            check(event, arguments[0], None if at is None or at >= len(arguments) else arguments[at])
        elif event in _TWO_PATHS:
            for path, at in zip(arguments[:2], _TWO_PATHS[event], strict=True):
                if event != "os.symlink" or path is arguments[1]:
                    check(event, path, None if at is None or at >= len(arguments) else arguments[at])
        elif event in _NEVER:
            refuse(event)

    sys.addaudithook(hook)


def _resolved(path: Any, dir_fd: Any) -> str | None:
    """An absolute name; None for a descriptor, and for what cannot be a name."""
    if isinstance(path, int) or path is None:
        return None
    name = os.fsdecode(path)
    if "\0" in name:
        return None
    if not os.path.isabs(name) and isinstance(dir_fd, int) and dir_fd >= 0:
        name = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), name)
    return os.path.abspath(name)

"""What ``unimmu run --root`` finds in the root: the program, the user, and the place where it starts."""

from __future__ import annotations

import argparse
import os
import shlex
import stat
from typing import NamedTuple

import guests
from emu.cli.messages import complain
from emu.fs.inode import Inode
from emu.kernel.task import Task
from emu.linux.caller import Credentials
from emu.linux.errors import LinuxError
from emu.machine import LaunchError, Machine

#: Where programs are looked for, unless ``--env`` says otherwise.
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: As much of /etc/passwd is read.
_PASSWD_BYTES = 1 << 20
#: File systems that show files of the host, and directories of the machine over which nothing of the host's goes.
_OF_HOST, _OF_KERNEL = frozenset({"overlay", "hostfs"}), frozenset({"/proc", "/sys"})


class User(NamedTuple):
    """The user that the program runs as."""

    credentials: Credentials
    home: str


class Here(NamedTuple):
    """Where the program starts."""

    cwd: str
    #: The working directory here, as a path in the root, if the machine has something of its own there.
    hidden: str = ""


def user_of(machine: Machine, arguments: argparse.Namespace) -> User:
    """The user of ``--uid`` and ``--gid``, with the group and the home directory that /etc/passwd has for it."""
    uid = arguments.uid or 0
    gid, home = uid, "/root" if uid == 0 else "/"
    if arguments.root is not None or uid:
        gid, home = _in_passwd(machine, uid) or (gid, home)
    if arguments.gid is not None:
        gid = arguments.gid
    return User(Credentials(uid, gid, uid, gid, (), uid, gid), home)


def _in_passwd(machine: Machine, uid: int) -> tuple[int, str] | None:
    """Group and home directory of a user."""
    try:
        text = machine.kernel.vfs.read_file("/etc/passwd", _PASSWD_BYTES).decode(errors="replace")
    except LinuxError:
        return None
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2] == str(uid) and fields[3].isdigit():
            return int(fields[3]), fields[5] or "/"
    return None


def default_environment(machine: Machine, user: User) -> dict[str, str]:
    """What a program finds in its environment unless ``--env`` says otherwise; with a terminal also what kind it is."""
    environment = {"PATH": SEARCHED, "HOME": user.home}
    if machine.kernel.ttys.of_host and "TERM" in os.environ:
        environment["TERM"] = os.environ["TERM"]
    return environment


def start_in_root(
    machine: Machine, arguments: argparse.Namespace, words: list[bytes], environment: dict[str, str], user: User
) -> tuple[Task, str]:
    """Start the program that the machine has under its name; returns the task, and the program's path.  LaunchError if
    it cannot run.
    """
    here = Here(arguments.cwd) if arguments.cwd else _here(machine, arguments.root)
    path = _find_program(machine, arguments, environment.get("PATH", ""), here)
    task = machine.spawn(
        path, words, environment, in_guest=True, credentials=user.credentials, cwd=here.cwd, argv0=arguments.program
    )
    if here.hidden:
        own = _own_part(machine, here.hidden)
        shown = _bind_words(arguments.root, here.hidden, own, "shows the directory here") or "; --cwd says where else"
        complain(f"unimmu run: the program starts in the machine's {here.cwd}, since {own} is its own{shown}")
    return task, path


def _find_program(machine: Machine, arguments: argparse.Namespace, searched: str, here: Here) -> str:
    """A program's path in the machine, as a shell finds it."""
    name: str = arguments.program
    cwd = here.cwd
    if "/" in name:
        inode = _inode(machine, os.path.join(cwd, name))
        if inode is None:
            raise LaunchError(f"{name}: {_why_missing(machine, arguments.root, here, name)}", 127)
        _check_program(name, inode.mode)
        return name
    for directory in searched.split(":"):
        path = os.path.join(directory or cwd, name)
        inode = _inode(machine, path)
        if inode is not None and inode.is_regular and inode.mode & 0o111:
            return path
    if name in guests.NAMES:
        return machine.install(guests.path(name), f"/tmp/{name}")
    raise LaunchError(f"{name}: no such program in {searched} of {arguments.root}, and none comes with unimmu", 127)


def _check_program(name: str, mode: int) -> None:
    """LaunchError for what is no regular file that may be executed."""
    if stat.S_ISDIR(mode):
        raise LaunchError(f"{name}: is a directory", 126)
    if not stat.S_ISREG(mode):
        raise LaunchError(f"{name}: is not a regular file", 126)
    if not mode & 0o111:
        raise LaunchError(f"{name}: is not executable (chmod +x makes it so)", 126)


def _why_missing(machine: Machine, root: str, here: Here, name: str) -> str:
    """Why there is no such file in the machine: perhaps the host's is hidden by what the machine has of its own."""
    path = os.path.normpath(os.path.join(here.hidden or here.cwd, name))
    own = _own_part(machine, path)
    if not own or not os.path.exists(_on_host(root, path)):
        return f"no such file in {root}"
    shown = _bind_words(root, os.path.dirname(path), own, "shows it")
    return f"no such file in the machine, whose {own} is its own{shown}"


def _bind_words(root: str, directory: str, own: str, what: str) -> str:
    """What to give so that a directory in the root is seen though ``own`` hides it; empty if nothing helps."""
    if own in _OF_KERNEL:
        return ""
    return f"; --bind {shlex.quote(f'{_on_host(root, directory)}:{directory}')} {what}"


def _on_host(root: str, path: str) -> str:
    return os.path.realpath(root).rstrip("/") + path


def _own_part(machine: Machine, path: str) -> str:
    """The first directory on a path where the machine has something of its own, not the host's; empty if none is."""
    parts = [part for part in path.split("/") if part]
    prefixes = ["/" + "/".join(parts[: length + 1]) for length in range(len(parts))]
    if _shows_host(machine, path):
        return ""  # bound there
    return next((prefix for prefix in prefixes if _shows_host(machine, prefix) is False), "")


def _shows_host(machine: Machine, path: str) -> bool | None:
    """Whether what is there is of the host; None if nothing is."""
    try:
        return machine.kernel.vfs.walker(None).resolve(path).mount.sb.fstype.name in _OF_HOST
    except LinuxError:
        return None


def _here(machine: Machine, root: str) -> Here:
    """The present working directory as the machine sees it, if it does; else ``/``."""
    try:
        here, top = os.getcwd(), os.path.realpath(root)
    except OSError:
        return Here("/")
    inside = here if top == "/" else here.removeprefix(top) if f"{here}/".startswith(f"{top}/") else ""
    inode = _inode(machine, inside) if inside else None
    seen = inode is not None and inode.is_directory
    return Here(inside if seen else "/", inside if _own_part(machine, inside) else "")


def _inode(machine: Machine, name: str) -> Inode | None:
    """What the machine has under a name, if it has something."""
    try:
        return machine.kernel.vfs.walker(None).resolve(name).inode
    except LinuxError:
        return None

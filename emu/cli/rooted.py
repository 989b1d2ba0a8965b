"""What ``unimmu run --root`` finds in the root: the program, the user, and the place where it starts."""

from __future__ import annotations

import argparse
import os
from typing import NamedTuple

import guests
from emu.fs.inode import Inode
from emu.kernel.task import Task
from emu.linux.caller import Credentials
from emu.linux.errors import LinuxError
from emu.machine import LaunchError, Machine

#: Where programs are looked for, unless ``--env`` says otherwise.
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: As much of /etc/passwd is read.
_PASSWD_BYTES = 1 << 20


class User(NamedTuple):
    """The user that the program runs as."""

    credentials: Credentials
    home: str


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
    cwd = arguments.cwd or _here(machine, arguments.root)
    path = _find_program(machine, arguments, environment.get("PATH", ""), cwd)
    task = machine.spawn(
        path, words, environment, in_guest=True, credentials=user.credentials, cwd=cwd, argv0=arguments.program
    )
    return task, path


def _find_program(machine: Machine, arguments: argparse.Namespace, searched: str, cwd: str) -> str:
    """A program's path in the machine, as a shell finds it."""
    name: str = arguments.program
    if "/" in name:
        inode = _inode(machine, os.path.join(cwd, name))
        if inode is None:
            raise LaunchError(f"{name}: no such file in {arguments.root}", 127)
        if inode.is_directory:
            raise LaunchError(f"{name}: is a directory", 126)
        if inode.is_regular and not inode.mode & 0o111:
            raise LaunchError(f"{name}: is not executable (chmod +x makes it so)", 126)
        return name
    for directory in searched.split(":"):
        path = os.path.join(directory or cwd, name)
        inode = _inode(machine, path)
        if inode is not None and inode.is_regular and inode.mode & 0o111:
            return path
    if name in guests.NAMES:
        return machine.install(guests.path(name), f"/tmp/{name}")
    raise LaunchError(f"{name}: no such program in {searched} of {arguments.root}, and none comes with unimmu", 127)


def _here(machine: Machine, root: str) -> str:
    """The present working directory as the machine sees it, if it does."""
    try:
        here, top = os.getcwd(), os.path.realpath(root)
    except OSError:
        return "/"
    inside = here if top == "/" else here.removeprefix(top) if f"{here}/".startswith(f"{top}/") else ""
    inode = _inode(machine, inside) if inside else None
    return inside if inode is not None and inode.is_directory else "/"


def _inode(machine: Machine, name: str) -> Inode | None:
    """What the machine has under a name, if it has something."""
    try:
        return machine.kernel.vfs.walker(None).resolve(name).inode
    except LinuxError:
        return None

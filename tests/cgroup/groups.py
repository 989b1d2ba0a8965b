"""Scripts and looks at control groups, for machines of tests."""

from __future__ import annotations

from tests.booted import Booted

TOP = "/sys/fs/cgroup"


def make(booted: Booted, *names: str, controllers: str = "+pids") -> None:
    """Groups, each below the root or below another, with controllers for all of them."""
    booted.kernel.vfs.write_file(f"{TOP}/cgroup.subtree_control", controllers.encode())
    for name in names:
        booted.kernel.vfs.mkdir(f"{TOP}/{name}")
        if "/" in name:
            above = name.rpartition("/")[0]
            booted.kernel.vfs.write_file(f"{TOP}/{above}/cgroup.subtree_control", controllers.encode())


def put(name: str, text: str) -> str:
    """The statement of a script that writes to a file of a group: it prints what write(2) gives."""
    return f'@fd = open "{TOP}/{name}" O_WRONLY; write fd "{text}" {len(text)}; @close fd'


def quietly(name: str, text: str) -> str:
    """The same without a word."""
    return put(name, text).replace("; write", "; @write")


def store(booted: Booted, name: str, text: str) -> None:
    """The machine's owner writes to a file."""
    booted.kernel.vfs.write_file(f"{TOP}/{name}", text.encode())


def see(booted: Booted, name: str) -> str:
    """What a file says."""
    return booted.kernel.vfs.read_file(f"{TOP}/{name}").decode()


def number(booted: Booted, name: str, word: str = "") -> int:
    """The number in a file, or that behind a word."""
    text = see(booted, name)
    return int(text) if not word else int(dict(line.split() for line in text.splitlines())[word])


def private(name: str, size: str) -> str:
    """Map and touch private memory, whose address gets a name."""
    return f"@{name} = mmap 0 {size} RW PRIVATE -1 0; @touch {name} {size}"

"""Whether there is a Linux host to compare with, and which."""

from __future__ import annotations

import os
import platform
import sys

import pytest

ON_X86_LINUX = sys.platform == "linux" and platform.machine() == "x86_64"
needs_host = pytest.mark.skipif(not ON_X86_LINUX, reason="the host is no x86-64 Linux: nothing to compare with")


def skip_before(version: tuple[int, int]) -> None:
    """Skip a test whose answers are those of this version of Linux and later ones."""
    if not host_is(*version):
        pytest.skip(f"the host's kernel {os.uname().release} is older than {version[0]}.{version[1]}")


def host_is(major: int, minor: int) -> bool:
    """Whether the host's kernel is at least that new."""
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (major, minor)

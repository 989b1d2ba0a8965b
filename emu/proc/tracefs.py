"""/sys/kernel/tracing: where a guest marks its own trace, and stops and starts its recording
(Documentation/trace/ftrace.rst).

Where nothing is recorded both do nothing, as on a Linux whose tracers are off.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError

if TYPE_CHECKING:
    from emu.fs.pseudo import PseudoSuperBlock
    from emu.kernel.kernel import Kernel

_PLACE = "kernel/tracing"
#: The most of a text that is kept (TRACE_MARKER_MAX_SIZE).
_MOST = 4096


def add_tracing(kernel: Kernel, tree: PseudoSuperBlock) -> None:
    """Add the files."""
    tree.create_file(f"{_PLACE}/trace_marker", lambda: b"", 0o220, store=partial(_mark, kernel))
    tree.create_file(
        f"{_PLACE}/tracing_on", lambda: b"%d\n" % kernel.region.switched_on, 0o644, store=partial(_switch, kernel)
    )


def _mark(kernel: Kernel, data: bytes) -> None:
    task, tracer = kernel.scheduler.current, kernel.tracer
    if task is not None and tracer.active:
        text = data[:_MOST].decode("utf-8", "backslashreplace").removesuffix("\n")
        tracer.event("mark", pid=task.tgid, text=text)


def _switch(kernel: Kernel, data: bytes) -> None:
    """LinuxError(EINVAL)."""
    text = data.strip()
    if not text.isdigit():
        raise LinuxError(errno.EINVAL)
    kernel.region.switch(int(text) != 0)

"""/proc/PID/numa_maps: the policy and the pages of every mapping; there is one node (show_numa_map)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emu.mm.flags import VmFlags
from emu.mm.pageflags import PG_ACTIVE, PG_DIRTY, FrameKind
from emu.mm.pagetable import D
from emu.mm.rss import pages_of
from emu.proc.memory import encode_lines, vma_name
from emu.proc.pidfile import PidFile
from emu.proc.smaps import present
from emu.proc.system import cpu_list

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel
    from emu.kernel.task import Task
    from emu.mm.address_space import AddressSpace
    from emu.mm.vma import Vma

_POLICIES = ("default", "prefer", "bind", "interleave", "local", "prefer (many)", "weighted interleave")

_ESCAPES = {letter: f"\\{ord(letter):03o}" for letter in "\n\t= "}


def _policy_words(mode: int, nodes: int) -> str:
    """A NUMA policy (mpol_to_str)."""
    words = _POLICIES[mode & 0xFFF]
    flags = [name for bit, name in ((0x8000, "static"), (0x4000, "relative"), (0x2000, "balancing")) if mode & bit]
    words += f"={'|'.join(flags)}" if flags else ""
    return f"{words}:{cpu_list(nodes)}" if nodes else words


def numa_maps(kernel: Kernel, task: Task) -> bytes:
    """The file."""
    lines = []
    for vma in task.mm.vmas:
        kernel.stop.check()
        words = [f"{vma.start:08x} {_policy_words(*(vma.policy or task.memory_policy))}"]
        name = vma_name(kernel, task, vma)
        if vma.object is not None:
            words.append("file=" + "".join(_ESCAPES.get(letter, letter) for letter in name))
        elif name in ("[heap]", "[stack]"):
            words.append(name.strip("[]"))
        words += ["huge"] if vma.ops.leaf_level > 1 else []
        lines.append(" ".join([*words, *_page_words(task.mm, vma)]))
    return encode_lines(lines)


def _page_words(mm: AddressSpace, vma: Vma) -> list[str]:
    pages = anon = dirty = active = most = 0
    for ptes in present(mm, vma):
        frames = pages_of(ptes)
        private, flags = mm.frames.kinds[frames] == FrameKind.ANON, mm.frames.flags[frames]
        pages += len(ptes)
        anon += int(np.count_nonzero(private))
        dirty += int(np.count_nonzero((ptes & np.uint64(D) != 0) | (flags & PG_DIRTY != 0)))
        active += len(ptes) if vma.flags & VmFlags.LOCKED else int(np.count_nonzero(flags & PG_ACTIVE))
        most = max(most, int((mm.frames.counts[frames] - ~private).max()))
    if not pages:
        return []
    words = [f"{name}={number}" for name, number in (("anon", anon), ("dirty", dirty)) if number]
    words += [f"mapped={pages}"] if pages not in (anon, dirty) else []
    words += [f"mapmax={most}"] if most > 1 else []
    words += [f"active={active}"] if active < pages and vma.ops.leaf_level == 1 else []
    return [*words, f"N0={pages}", f"kernelpagesize_kB={vma.ops.page_size >> 10}"]


PID_FILES = {"numa_maps": PidFile(numa_maps, private=True)}

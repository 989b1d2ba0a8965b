"""/sys/kernel/mm/transparent_hugepage (mm/huge_memory.c, mm/khugepaged.c)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from emu.linux.errors import LinuxError
from emu.mm import thp
from emu.mm.hugepmd import PMD_SIZE
from emu.mm.pageflags import BLOCK_FRAMES
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.fs.pseudo import PseudoSuperBlock
    from emu.kernel.kernel import Kernel

_PLACE = "kernel/mm/transparent_hugepage"
_MOST = (1 << 32) - 1


def _shown(words: tuple[str, ...], chosen: str) -> bytes:
    return (" ".join(f"[{word}]" if word == chosen else word for word in words) + "\n").encode()


def _word(words: tuple[str, ...], data: bytes) -> str:
    """The word that was written (sysfs_streq).  LinuxError(EINVAL)."""
    word = data.decode("latin-1").removesuffix("\n")
    if word not in words:
        raise LinuxError(errno.EINVAL)
    return word


def _number(data: bytes, least: int, most: int) -> int:
    """LinuxError(EINVAL)."""
    text = data.decode("latin-1").strip("\n")
    try:
        number = int(text, 0) if text[:1].isdigit() else -1
    except ValueError:
        number = -1
    if not least <= number <= most:
        raise LinuxError(errno.EINVAL)
    return number


def add_thp(kernel: Kernel, tree: PseudoSuperBlock) -> None:
    """Add the files."""
    state = kernel.mm_context.thp
    _add_choice(kernel, tree, "enabled", thp.ENABLED)
    _add_choice(kernel, tree, "defrag", thp.DEFRAG)
    _add_choice(kernel, tree, "shmem_enabled", thp.SHMEM_ENABLED)
    _add_number(tree, "use_zero_page", state, 1)
    _add_number(tree, "shrink_underused", state, 1)
    tree.create_file(f"{_PLACE}/hpage_pmd_size", f"{PMD_SIZE}\n".encode)
    _add_khugepaged(kernel, tree)
    for order in range(thp.LEAST_SHMEM, thp.PMD_ORDER + 1):
        _add_size(kernel, tree, order)


def _add_khugepaged(kernel: Kernel, tree: PseudoSuperBlock) -> None:
    khugepaged, place = kernel.khugepaged, f"{_PLACE}/khugepaged"
    for name in ("max_ptes_none", "max_ptes_swap", "max_ptes_shared"):
        _add_number(tree, name, khugepaged, BLOCK_FRAMES - 1, place)
    for name in ("scan_sleep_millisecs", "alloc_sleep_millisecs"):
        _add_number(tree, name, khugepaged, _MOST, place)
    _add_number(tree, "pages_to_scan", khugepaged, _MOST, place, least=1)
    _add_number(tree, "defrag", khugepaged, 1, place)
    tree.create_file(f"{place}/pages_collapsed", lambda: b"%d\n" % khugepaged.pages_collapsed)
    tree.create_file(f"{place}/full_scans", lambda: b"%d\n" % khugepaged.full_scans)


def _add_choice(kernel: Kernel, tree: PseudoSuperBlock, name: str, words: tuple[str, ...]) -> None:
    state = kernel.mm_context.thp

    def store(data: bytes) -> None:
        word = _word(words, data)
        setattr(state, name, word)
        if name == "shmem_enabled" and word not in ("deny", "force"):
            state.shm_mnt = word
        _told(kernel)

    tree.create_file(f"{_PLACE}/{name}", lambda: _shown(words, getattr(state, name)), 0o644, store=store)


def _told(kernel: Kernel) -> None:
    """A setting has changed: memory that never asked for huge pages may get some."""
    kernel.mm_context.thp.sizes_changed()
    kernel.mm_context.thp.tell_caches(kernel.frames)
    if kernel.mm_context.thp.unasked:
        kernel.mm_context.thp.used = True
        for mm in kernel.mm_context.address_spaces.values():
            mm.may_have_huge = True


def _add_number(
    tree: PseudoSuperBlock, name: str, owner: object, most: int, place: str = _PLACE, least: int = 0
) -> None:
    def store(data: bytes) -> None:
        setattr(owner, name, _number(data, least, most))

    tree.create_file(f"{place}/{name}", lambda: b"%d\n" % getattr(owner, name), 0o644, store=store)


def _add_size(kernel: Kernel, tree: PseudoSuperBlock, order: int) -> None:
    state = kernel.mm_context.thp
    place = f"{_PLACE}/hugepages-{(PAGE_SIZE << order) >> 10}kB"
    settings: list[tuple[str, dict[int, str], tuple[str, ...]]] = [
        ("shmem_enabled", state.shmem_of_size, thp.SHMEM_OF_SIZE)
    ]
    if order in state.anon_of_size:
        settings.append(("enabled", state.anon_of_size, thp.ANON_OF_SIZE))
    for name, chosen, words in settings:
        show: Callable[[], bytes] = partial(_show_of_size, words, chosen, order)
        tree.create_file(f"{place}/{name}", show, 0o644, store=partial(_store_of_size, kernel, words, chosen, order))
    for name in thp.STATS + (thp.ANON_STATS if order in state.anon_of_size else ()):
        tree.create_file(f"{place}/stats/{name}", partial(_stat, kernel, order, name))


def _show_of_size(words: tuple[str, ...], chosen: dict[int, str], order: int) -> bytes:
    return _shown(words, chosen[order])


def _store_of_size(kernel: Kernel, words: tuple[str, ...], chosen: dict[int, str], order: int, data: bytes) -> None:
    chosen[order] = _word(words, data)
    _told(kernel)


def _stat(kernel: Kernel, order: int, name: str) -> bytes:
    if name.startswith("nr_anon") and order == thp.PMD_ORDER:
        return b"%d\n" % thp.anon_folios(kernel.frames, partly_mapped=name != "nr_anon")
    return b"%d\n" % kernel.mm_context.thp.stats[order][name]

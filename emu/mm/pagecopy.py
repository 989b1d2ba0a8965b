"""Pages copied to a store of swapped pages, natively: past the caches, since nobody reads them again soon."""

from __future__ import annotations

from mmu.memory import PAGE_SHIFT, PAGE_SIZE
from mmu.native import entry, inlined, load64, native, store8, stream64

_LINE = 64
_TOGETHER = 4  #: The memory of the host is busy with several pages at a time, as in its own copies.


@native
def _zero(page: int) -> int:
    """1 for a page that is full of zeros, or 0."""
    for at in range(0, PAGE_SIZE, 8):
        if load64(page + at) != 0:
            return 0
    return 1


@inlined
def _copy_line(to: int, line: int) -> None:
    for at in range(0, _LINE, 8):
        stream64(to + at, load64(line + at))


@native
def _copy(to: int, page: int) -> None:
    for at in range(0, PAGE_SIZE, _LINE):
        _copy_line(to + at, page + at)


@inlined
def _at(pages: int, indices: int, index: int) -> int:
    """The host address of the page that an array of indices names."""
    return pages + (load64(indices + 8 * index) << PAGE_SHIFT)


@native
def _store(target: int, places: int, source: int, pages: int, index: int, zeros: int) -> None:
    """One page."""
    page = _at(source, pages, index)
    zero = _zero(page)
    store8(zeros + index, zero)
    if zero == 0:
        _copy(_at(target, places, index), page)


@native
def _store_together(target: int, places: int, source: int, pages: int, index: int, zeros: int) -> bool:
    """Four pages, unless one is full of zeros; returns whether it was done."""
    page0, page1 = _at(source, pages, index), _at(source, pages, index + 1)
    page2, page3 = _at(source, pages, index + 2), _at(source, pages, index + 3)
    if _zero(page0) + _zero(page1) + _zero(page2) + _zero(page3) != 0:
        return False
    to0, to1 = _at(target, places, index), _at(target, places, index + 1)
    to2, to3 = _at(target, places, index + 2), _at(target, places, index + 3)
    for at in range(0, PAGE_SIZE, _LINE):
        _copy_line(to0 + at, page0 + at)
        _copy_line(to1 + at, page1 + at)
        _copy_line(to2 + at, page2 + at)
        _copy_line(to3 + at, page3 + at)
    for n in range(_TOGETHER):
        store8(zeros + index + n, 0)
    return True


@entry("void", "u64", "u64", "u64", "u64", "u64", "u64")
def store_pages(target: int, places: int, source: int, pages: int, number: int, zeros: int) -> None:
    """Copy pages that are not full of zeros from one array of pages to another, both given by their host addresses.

    ``pages`` and ``places`` are the addresses of so many uint64: the indices in ``source`` and in ``target``.  The
    bytes from ``zeros`` on say which page is full of zeros; its place stays as it is.
    """
    whole = number // _TOGETHER * _TOGETHER
    for index in range(0, whole, _TOGETHER):
        if not _store_together(target, places, source, pages, index, zeros):
            for n in range(_TOGETHER):
                _store(target, places, source, pages, index + n, zeros)
    for index in range(whole, number):
        _store(target, places, source, pages, index, zeros)

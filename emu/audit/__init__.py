"""The audit: recount every reference from the tables up, and report where the books are wrong.

The audit trusts no counter: it walks every table of every address space and every page cache, and compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emu.audit.accounts import check_commit, check_frames, check_huge_pages, check_users, page_caches
from emu.audit.books import Books
from emu.audit.keys import check_keys
from emu.audit.kmem import check_kmem
from emu.audit.leaves import walk_leaves
from emu.audit.swap import check_swap
from emu.audit.tables import check_tables, claim_tables
from emu.audit.tlb import check_tlbs
from emu.mm.freeframes import Frames
from mmu.memory import PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.kernel import Kernel


def audit(kernel: Kernel, tlbs: bool | None = None) -> list[str]:
    """Every inconsistency, a sentence each; an empty list means that the books are right.

    ``tlbs``: check the entries of the modelled TLBs against the tables too (default: if the detector of stale
    translations is on).
    """
    counts, waiting = kernel.frames.counts, np.array(kernel.flusher.held_frames(), dtype=np.int64)
    np.subtract.at(counts, waiting, 1)  # references kept for vCPUs that were not told are not in any table
    try:
        books = _keep_books(kernel, waiting)
    finally:
        np.add.at(counts, waiting, 1)
    if kernel.flusher.detector is not None if tlbs is None else tlbs:
        for finding in check_tlbs(kernel):
            books.say(finding)
    return books.findings


def _keep_books(kernel: Kernel, waiting: Frames) -> Books:
    books = Books(np.zeros(kernel.frames.total, dtype=np.int32))
    # host mms first, so that an entry of a process that points at a shared table never makes the process its owner
    spaces = sorted(kernel.mm_context.address_spaces.values(), key=lambda mm: not mm.shared_tables)
    for mm in spaces:  # owned tables first, so that a link can be told from a table that is owned twice
        claim_tables(books, mm)
    for mm in spaces:
        walk_leaves(books, mm)
    caches = page_caches(books, kernel, spaces)
    check_swap(books, kernel, caches)
    check_tables(books, kernel, waiting)
    check_huge_pages(books, kernel, spaces, caches)
    check_commit(books, kernel, spaces, caches)
    check_frames(books, kernel, caches)
    check_users(books, kernel)
    check_kmem(books, kernel, spaces, caches)
    check_keys(books, kernel)
    if kernel.frames.memcg is not None:
        memory = kernel.cgroups.memory
        for finding in (*memory.control.check(), *memory.swap.check()):
            books.say(finding)
    for hook in kernel.audit_hooks:
        for finding in hook():
            books.say(finding)
    if kernel.frames.read(kernel.frames.zero_frame, 0, PAGE_SIZE) != bytes(PAGE_SIZE):
        books.say("the zero page, which backs every untouched page, is not zero")
    if kernel.flusher.pending:
        books.say(f"{kernel.flusher.pending} changes of page tables were neither flushed nor declared to need no flush")
    return books

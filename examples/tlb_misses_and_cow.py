# %% [markdown]
# # TLB misses, and copy on write, in seven steps
#
# A processor does not walk the page tables for each access: it keeps translations in a small memory, the TLB. Here a
# program touches pages in an emulated machine whose TLB is small enough to count along, and then two processes share
# pages until one of them writes. The other notebook, *From CR3 to the byte*, draws the walk itself.
#
# As a script (`python examples/tlb_misses_and_cow.py`) it writes its pictures to files; as a notebook it shows them.

# %%
import io
import pathlib

import guests
from emu.kernel.task import Task
from emu.lab.curves import draw_curves
from emu.lab.finding import Curve, Picture
from emu.machine import Machine
from emu.testing import GuestMachine
from emu.trace.pt.picture import draw_tables
from emu.trace.pt.sharing import find_sharing
from emu.trace.pt.tables import take_tables
from emu.trace.pt.walk import WalkStory, walk
from emu.trace.pt.walkpicture import draw_walk
from mmu import Access, load_preset
from mmu.entries import ADDRESS, RW
from mmu.perf_events import perf_events


class Shown:
    """An SVG, which a notebook shows."""

    def __init__(self, name: str, svg: str) -> None:
        self.svg = svg
        pathlib.Path(f"{name}.svg").write_text(svg, "utf-8")

    def _repr_svg_(self) -> str:
        return self.svg


# %% [markdown]
# ## Step 1: a TLB
#
# The preset `textbook` is no real processor. Its first level has few entries, in sets and ways, so that one can follow
# it on paper.

# %%
geometry = load_preset("textbook")
for array in geometry.arrays:
    print(f"{array.name}: level {array.level}, {array.sets} sets of {array.ways} ways = {array.entries} entries")

# %% [markdown]
# ## Step 2: one run, counted
#
# The program `touch_pages` stores to each page of some memory once. Each page is new to the TLB, so each store misses,
# and the MMU walks the tables. perf has the same counters on a processor: stores, and those that needed a walk.


# %%
def count(program: str, *words: str, tlb: str = "textbook") -> dict[str, int]:
    """The counters of a run, under perf's names."""
    machine = Machine(64 << 20, tlb=tlb, stdout=io.BytesIO())
    machine.spawn(guests.path(program), list(words))
    machine.run()
    return perf_events(machine.kernel.cpu.mmu)


counted = count("touch_pages", "64K")
for name in ("dTLB-stores", "dTLB-store-misses", "PAGE_WALKER_LOADS"):
    print(f"{counted[name]:5} {name}")
print("pages:", (64 << 10) // 4096)

# %% [markdown]
# ## Step 3: the same pages again
#
# `gups` updates random words of a table, which is loads and stores all over its pages. As long as the TLB holds all
# pages, only the first access to each misses. The larger the table is beyond that, the more of its loads do.

# %%
SIZES = (64, 128, 256, 512, 1024, 2048)  # KiB
shares = []
for size in SIZES:
    counted = count("gups", f"{size}K", "2000")
    share = counted["dTLB-load-misses"] / counted["dTLB-loads"]
    shares.append((float(size), 100 * share))
    print(f"{size:4} KiB = {size // 4:4} pages: {100 * share:5.1f} % of the loads miss")

# %%
marks = [(float(size), str(size)) for size in SIZES]
curve = Curve("textbook", shares)
Shown("misses", draw_curves(Picture("TLB misses", "KiB of the table", "% of loads that miss", [curve], True, marks)))

# %% [markdown]
# ## Step 4: parent and child
#
# Now to two processes. The parent has one page, to which it has written. `fork` gives the child page tables of its own
# and copies no data: both PTEs hold the same frame, and R/W is 0 in both, so that nobody can write. The script stops
# at `mark 1`, before the child has written.

# %%
SCRIPT = """
    p = mmap 2T 4K RW PRIVATE|MAP_FIXED -1 0; store p 1
    fork child; mark 1; store p 2; mark 2; end
    wait child
"""
machine = GuestMachine()
parent = machine.guest("calls", SCRIPT)
child = machine.run_until_mark(None, 1)


def page_of(task: Task, access: Access = Access.READ) -> WalkStory:
    """The walk of a process to the page, now."""
    snapshot = take_tables(machine, "now")
    (space,) = (space for space in snapshot.spaces if task.pid in space.pids)
    return walk(snapshot, space, 2 << 40, access)


for task in (parent, child):
    entry = page_of(task).entries[-1].value
    print(f"process {task.pid}: frame {(entry & ADDRESS) >> 12}, R/W {int(bool(entry & RW))}")

# %% [markdown]
# ## Step 5: the child writes
#
# The walk comes to its end, but a store is not allowed. So there is a page fault, whose error code says: the page is
# present, and it was a write.

# %%
fault = page_of(child, Access.WRITE)
print("\n".join(fault.ending))
Shown("not_allowed", draw_walk(fault))

# %% [markdown]
# ## Step 6: what the kernel made of it
#
# The mapping allows writing, so this is no mistake of the program's: the kernel copies the page, and lets the child's
# PTE point at the copy. Only what is written to is copied: our page, and one in which the program keeps its own
# variables.

# %%
with machine.expect(task=child, minor_faults=2) as found:
    machine.run_until_mark(child, 2)
for event in found.events.where("fault"):
    print(event)
for task in (parent, child):
    entry = page_of(task).entries[-1].value
    print(f"process {task.pid}: frame {(entry & ADDRESS) >> 12}, R/W {int(bool(entry & RW))}")

# %% [markdown]
# ## Step 7: all tables
#
# Parent and child have all their tables for themselves: none is dark in the picture. Where processes share tables, and
# not only pages, is what the last step of *From CR3 to the byte* shows.

# %%
snapshot = take_tables(machine, "the child has written", ("calls",))
Shown("parent_and_child", draw_tables(snapshot, find_sharing(snapshot)))

# %% [markdown]
# # From CR3 to the byte, in ten steps
#
# A program reads a byte at a *virtual* address. Memory knows only *physical* addresses. Between the two lies the page
# walk, which a processor makes in hardware. Here a real x86-64 program runs in an emulated machine whose page tables
# have the processor's own format, and we make the walk by hand: entry by entry, with shifts and masks.
#
# As a script (`python examples/cr3_to_the_byte.py`) it writes its pictures to files; as a notebook it shows them.

# %%
import pathlib

import guests
from emu.machine import Machine
from emu.trace.pt.picture import draw_tables
from emu.trace.pt.sharing import find_sharing
from emu.trace.pt.tables import take_tables
from emu.trace.pt.walk import walk
from emu.trace.pt.walkpicture import draw_walk
from mmu import Access
from mmu.entries import ADDRESS, P, describe


class Picture:
    """An SVG, which a notebook shows."""

    def __init__(self, name: str, svg: str) -> None:
        self.svg = svg
        pathlib.Path(f"{name}.svg").write_text(svg, "utf-8")

    def _repr_svg_(self) -> str:
        return self.svg


# %% [markdown]
# ## Step 1: a machine and a process
#
# The program `sharers` maps one MiB at `0x20000000000`, reads all of it, and waits. We run it until it waits.

# %%
machine = Machine(64 << 20)
task = machine.spawn(guests.path("sharers"), ["plain", "1", str(1 << 20)])
before = take_tables(machine, "before its first instruction")
print(machine.run().value)

# %% [markdown]
# ## Step 2: CR3
#
# Each process has page tables of its own. The control register CR3 holds the *physical* address of the topmost one:
# that is all that the processor knows when it starts.

# %%
cr3 = task.mm.tables.pgd_paddr
print(f"CR3 = {cr3:#x}")

# %% [markdown]
# ## Step 3: the address is four indices and an offset
#
# We want the first byte of the program's code, at `0x401000`. Its 48 bits are four indices of 9 bits, one for each
# level of tables, and 12 bits of offset in a page of 4096 bytes. A table has 512 entries of 8 bytes: 4096 bytes, one
# page.

# %%
vaddr = 0x401000
indices = {level: vaddr >> 12 + 9 * (level - 1) & 511 for level in (4, 3, 2, 1)}
offset = vaddr & 0xFFF
for level, index in indices.items():
    low = 12 + 9 * (level - 1)
    print(f"bits {low + 8}:{low} = {index:09b} = {index}")
print(f"bits 11:0  = {offset:#x}")

# %% [markdown]
# ## Step 4: the first entry
#
# The first index chooses an entry of the table at CR3. Bit 0 of the entry (P) says whether it means anything; bits
# 51:12 are the physical address of the next table. The low bits and the highest one are rights, and marks of use.

# %%
pml4e = machine.ram.read_u64(cr3 + 8 * indices[4])
print(f"[{cr3 + 8 * indices[4]:#x}] = {pml4e:#018x}")
print(describe(4, pml4e))
pdpt = pml4e & int(ADDRESS)

# %% [markdown]
# ## Step 5: the second table
#
# Linux calls it PUD, Intel's manual PDPT. An entry here covers 1 GiB.

# %%
pdpte = machine.ram.read_u64(pdpt + 8 * indices[3])
print(f"[{pdpt + 8 * indices[3]:#x}] = {pdpte:#018x}")
print(describe(3, pdpte))
pd = pdpte & int(ADDRESS)

# %% [markdown]
# ## Step 6: the third table
#
# An entry of the PMD (the manual's PD) covers 2 MiB. If its bit 7 (PS) were set, it would map a page of 2 MiB, and
# the walk would end here.

# %%
pde = machine.ram.read_u64(pd + 8 * indices[2])
print(f"[{pd + 8 * indices[2]:#x}] = {pde:#018x}")
print(describe(2, pde))
pt = pde & int(ADDRESS)

# %% [markdown]
# ## Step 7: the last entry
#
# An entry of the PTE table maps a page of 4 KiB. US: user mode may use it; RW is not there, so nobody may write to
# code; neither is XD, so it may be executed. A: it has been used. The rights of a page are those that *every* entry
# on the way grants.

# %%
pte = machine.ram.read_u64(pt + 8 * indices[1])
print(f"[{pt + 8 * indices[1]:#x}] = {pte:#018x}")
print(describe(1, pte))
frame = pte & int(ADDRESS)

# %% [markdown]
# ## Step 8: the byte
#
# The page's physical address and the offset: that is where the byte is. It is the byte that the program's file has.

# %%
paddr = frame + offset
code = machine.ram.read(paddr, 8)
print(f"{vaddr:#x} is at {paddr:#x}: {code.hex(' ')}")
assert code in guests.path("sharers").read_bytes()
story = walk(take_tables(machine, "it waits"), before.spaces[0], vaddr, Access.FETCH, machine.ram)
assert story.paddr == paddr, "the MMU comes to the same byte"
Picture("walk", draw_walk(story))

# %% [markdown]
# ## Step 9: where there is nothing
#
# Before its first instruction the program had no entry for this page: the kernel waits until somebody asks. The walk
# ends at an entry whose P is 0, and the processor raises a page fault. Its error code says what was tried; CR2 says
# where.

# %%
fault = walk(before, before.spaces[0], vaddr, Access.FETCH)
assert not fault.entries[-1].value & P
print("\n".join(fault.ending))
Picture("fault", draw_walk(fault))

# %% [markdown]
# ## Step 10: two ways to one table
#
# Nothing says that a table belongs to one process. Two processes whose entries hold the same address share the table,
# and every page below it: one fault for all, and one set of tables. That is what mshare does. Here three processes
# share a region of 6 MiB. The dark tables exist once, and each process has an arrow to them.

# %%
shared = Machine(64 << 20)
shared.spawn(guests.path("sharers"), ["mshare", "3", str(6 << 20)])
shared.run()
snapshot = take_tables(shared, "three processes wait", ("sharers", "mshare"))
for space in snapshot.processes:
    entry = walk(snapshot, space, 2 << 40, Access.READ).entries[1]
    print(f"process {space.pids[0]}: the entry at {entry.paddr:#x} holds {entry.value:#x}")
Picture("sharing", draw_tables(snapshot, find_sharing(snapshot)))

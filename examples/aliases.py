"""Two virtual pages of one frame: a memory hook tells through which of them each access was made."""

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc

from mmu import HookedAccess, Mmu, PageFault, PhysicalMemory
from mmu.entries import encode

PML4, PDPT, PD, PT, CODE_FRAME, DATA_FRAME = range(0x1000, 0x7000, 0x1000)  # physical addresses
CODE, ONE, OTHER = 0x400000, 0x405000, 0x406000  # virtual addresses

ram = PhysicalMemory(64 << 20)
mmu = Mmu(uc := Uc(UC_ARCH_X86, UC_MODE_64), ram)
ram.write_u64(PML4, encode(4, P=1, RW=1, US=1, ADDRESS=PDPT))
ram.write_u64(PDPT, encode(3, P=1, RW=1, US=1, ADDRESS=PD))
ram.write_u64(PD + 8 * 2, encode(2, P=1, RW=1, US=1, ADDRESS=PT))
ram.write_u64(PT + 8 * 0, encode(1, P=1, RW=0, US=1, ADDRESS=CODE_FRAME))
for page in (ONE, OTHER):
    ram.write_u64(PT + 8 * (page >> 12 & 511), encode(1, P=1, RW=1, US=1, XD=1, ADDRESS=DATA_FRAME))
# mov dword [0x405010], 42; mov eax, [0x406010]
ram.write(CODE_FRAME, bytes.fromhex("c70425105040002a000000 8b042510604000"))


def told(access: HookedAccess) -> None:
    print(f"{access.access.name} of {access.value} at {access.vaddr:#x}, which is {access.paddr:#x}")


mmu.load_cr3(PML4)
mmu.enter_user_mode()
mmu.add_memory_hook(told)
uc.emu_start(CODE, CODE + 18)
print(mmu.read(OTHER + 0x10, 4).hex(), "by", mmu.translate(OTHER + 0x10).steps[-1])
try:
    mmu.read(OTHER + 0x1000, 4)
except PageFault as fault:
    print(fault, "because", fault.steps[-1])

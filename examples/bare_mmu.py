"""A bare Unicorn engine whose every access goes through page tables: one page is mapped, one comes on demand."""

from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn.x86_const import UC_X86_REG_RAX

from mmu import Mmu, PageFault, PhysicalMemory, translate
from mmu.entries import encode

PML4, PDPT, PD, PT, CODE_FRAME, DATA_FRAME = range(0x1000, 0x7000, 0x1000)  # physical addresses
CODE, DATA = 0x400000, 0x405000  # virtual addresses

ram = PhysicalMemory(64 << 20)
ram.write_u64(PML4 + 8 * 0, encode(4, P=1, RW=1, US=1, ADDRESS=PDPT))
ram.write_u64(PDPT + 8 * 0, encode(3, P=1, RW=1, US=1, ADDRESS=PD))
ram.write_u64(PD + 8 * 2, encode(2, P=1, RW=1, US=1, ADDRESS=PT))
ram.write_u64(PT + 8 * 0, encode(1, P=1, RW=0, US=1, ADDRESS=CODE_FRAME))
# mov dword [0x405010], 42; mov eax, [0x405010]; hlt
ram.write(CODE_FRAME, bytes.fromhex("c70425105040002a000000 8b042510504000 f4"))


def on_page_fault(fault: PageFault) -> bool:
    print(fault)
    if fault.vaddr != DATA:
        return False  # emu_start ends with UC_ERR_EXCEPTION; mmu.take_failure() tells the exact address
    ram.write_u64(PT + 8 * 5, encode(1, P=1, RW=1, US=1, XD=1, ADDRESS=DATA_FRAME))
    return True  # walk again


uc = Uc(UC_ARCH_X86, UC_MODE_64)
mmu = Mmu(uc, ram)  # maps ram, and answers every TLB fill from here on
mmu.load_cr3(PML4)
mmu.on_page_fault = on_page_fault
uc.emu_start(CODE, 0)

print("eax =", uc.reg_read(UC_X86_REG_RAX))
for step in translate(ram, mmu.registers, DATA + 0x10).steps:
    print(step)

"""Instructions at CPL 0 that change what the MMU holds, when a guest executes them: INVLPG, INVPCID, MOV to and from
CR0, CR3 and CR4, LMSW, and WRMSR of IA32_EFER.

Unicorn has no hook for them.  Whenever Unicorn asks for a page to fetch code, the page is searched for their opcodes,
and a code hook is put on every place where one could begin; it runs only if an instruction really begins there.

How far this goes.  What a processor refuses with #GP(0) ends emulation with UC_ERR_EXCEPTION, and
:meth:`mmu.Mmu.take_failure` says why; so does any of them at another CPL than 0.  INVPCID is not Unicorn's to execute
(it raises #UD there): it is done here and skipped.  MOV from CR3 and CR4 gives what the :class:`mmu.Mmu` has, with
Unicorn's own for the bits of CR4 that are no affair of paging.  WRMSR of IA32_PKRS or IA32_PAT, WRPKRU, STAC and CLAC
are not seen: set :attr:`mmu.Mmu.registers` instead.  An instruction that a page with W and X has just had written over
another one is found the next time that its page is asked for; one that code elsewhere in the page has written is found
only when the page is dropped (:meth:`mmu.Mmu.code_written`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from unicorn import UC_HOOK_CODE, Uc
from unicorn import x86_const as x86

from mmu.control import Control
from mmu.engine_registers import CR4_PAGING
from mmu.faults import GeneralProtection, PageFault
from mmu.memory import PAGE_SIZE
from mmu.registers import CR3_NO_FLUSH, Access, Refused
from mmu.translation import translate

_MAX_INSTRUCTION = 15
#: A page-fault handler that says "fixed" this often for one load without making it succeed is broken.
_MAX_RETRIES = 64
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF
_MOV_FROM_CR, _MOV_TO_CR, _GROUP_7, _INVPCID = b"\x0f\x20", b"\x0f\x22", b"\x0f\x01", b"\x0f\x38\x82"
_WRMSR = b"\x0f\x30"
_IA32_EFER = 0xC000_0080
_MP_EM_TS = 0xE
_REGISTER = 1  # capstone's X86_OP_REG
_PREFIXES = frozenset((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3, *range(0x40, 0x50)))


def candidates(page: bytes) -> Iterator[int]:
    """Offsets at which one of them could begin, prefixes included, even if the rest lies in the next page."""
    for opcode in (_GROUP_7, _MOV_FROM_CR, _MOV_TO_CR, _INVPCID, _WRMSR):
        at = page.find(opcode)
        while at >= 0:
            if _is_wanted(opcode, page[at + len(opcode) : at + len(opcode) + 1]):
                yield from _with_prefixes(page, at)
            at = page.find(opcode, at + 1)
    for rest in (b"", b"\x0f", b"\x0f\x38"):
        if page.endswith(rest):
            at = len(page) - len(rest)
            yield from (start for start in _with_prefixes(page, at) if start < len(page))


def _is_wanted(opcode: bytes, modrm: bytes) -> bool:
    """Whether the byte behind the opcode completes one of them; it may lie in the next page."""
    if not modrm or opcode == _WRMSR:
        return True
    register, memory = modrm[0] >> 3 & 7, modrm[0] >> 6 != 3
    if opcode == _GROUP_7:
        return register == 6 or (register == 7 and memory)
    if opcode == _MOV_FROM_CR and register == 0:
        return False  # the engine's own is right
    return memory if opcode == _INVPCID else register in (0, 3, 4)


def _with_prefixes(page: bytes, at: int) -> Iterator[int]:
    yield at
    start = at
    while start > 0 and page[start - 1] in _PREFIXES and at - start < _MAX_INSTRUCTION - 3:
        start -= 1
        yield start


class PrivilegedInstructions:
    """Watches the code of a bare engine for the instructions above, which ``control`` then does.

    ``fail`` ends emulation by raising a fault for an access; ``resolved`` says whether the page-fault handler has fixed
    the fault of a load.
    """

    def __init__(
        self,
        control: Control,
        fail: Callable[[PageFault | GeneralProtection, Access], NoReturn],
        resolved: Callable[[PageFault], bool],
    ) -> None:
        self._control, self._fail, self._resolved = control, fail, resolved
        self._capstone: Any = None
        self._hooked: set[int] = set()
        #: By page of code, what was looked through last.
        self._scanned: dict[int, bytes] = {}
        #: By page of code, the frame that Unicorn fetches it from.
        self._frames: dict[int, int] = {}

    @property
    def decoder(self) -> Any:
        """Capstone, which is imported only when it is needed."""
        if self._capstone is None:
            from capstone import CS_ARCH_X86, CS_MODE_64, Cs

            self._capstone = Cs(CS_ARCH_X86, CS_MODE_64)
            self._capstone.detail = True
        return self._capstone

    def page_fetched(self, vaddr: int, frame: int) -> None:
        """Code of this frame is about to be translated."""
        self._frames[vaddr // PAGE_SIZE] = frame
        page = self._control.ram.read(frame * PAGE_SIZE, PAGE_SIZE)
        if self._scanned.get(vaddr // PAGE_SIZE) == page:
            return
        self._scanned[vaddr // PAGE_SIZE] = page
        for offset in candidates(page):
            address = (vaddr & -PAGE_SIZE) + offset
            if address not in self._hooked:
                self._hooked.add(address)
                self._control.uc.hook_add(UC_HOOK_CODE, self._on_instruction, None, address, address)

    def _on_instruction(self, uc: Uc, address: int, size: int, _data: Any) -> None:
        code = self.fetched(address, min(size, _MAX_INSTRUCTION))
        instruction = next(self.decoder.disasm(code, address), None)
        if instruction is None:
            return
        work = self._work_of(uc, instruction)
        if work is None:
            return
        if self._control.state.cpl:
            self._refuse(address, f"{instruction.mnemonic} at CPL {self._control.state.cpl}")
        try:
            work(uc, instruction)
        except Refused as error:
            self._refuse(address, str(error).removeprefix("#GP(0): "))

    def _refuse(self, address: int, reason: str) -> NoReturn:
        self._fail(GeneralProtection(address, reason), Access.FETCH)

    def _work_of(self, uc: Uc, instruction: Any) -> Any:
        """The function that executes it; None for any other instruction."""
        first, _, second = (part.strip() for part in instruction.op_str.partition(","))
        match instruction.mnemonic, first, second:
            case "invlpg", _, _:
                return self._invlpg
            case "invpcid", _, _:
                return self._invpcid
            case "lmsw", _, _:
                return self._lmsw
            case "wrmsr", _, _ if int(uc.reg_read(x86.UC_X86_REG_ECX)) == _IA32_EFER:
                return self._wrmsr
            case "mov", "cr0" | "cr3" | "cr4", _:
                return self._mov_to
            case "mov", _, "cr3" | "cr4":
                return self._mov_from
        return None

    def _invlpg(self, uc: Uc, instruction: Any) -> None:
        self._control.invlpg(self._effective_address(uc, instruction, 0))

    def _invpcid(self, uc: Uc, instruction: Any) -> None:
        kind = int(uc.reg_read(_register(instruction.reg_name(instruction.operands[0].reg))))
        at = self._effective_address(uc, instruction, 1)
        descriptor = self._load(at, 16)
        pcid, vaddr = (int.from_bytes(descriptor[k : k + 8], "little") for k in (0, 8))
        self._control.invpcid(kind, pcid, vaddr)  # type: ignore[arg-type]
        uc.reg_write(x86.UC_X86_REG_RIP, instruction.address + instruction.size)

    def _lmsw(self, uc: Uc, instruction: Any) -> None:
        """PE can be set, which it is, and not be cleared."""
        operand = instruction.operands[0]
        if operand.type == _REGISTER:
            word = int(uc.reg_read(_register(instruction.reg_name(operand.reg))))
        else:
            word = int.from_bytes(self._load(self._effective_address(uc, instruction, 0), 2), "little")
        uc.reg_write(x86.UC_X86_REG_CR0, int(uc.reg_read(x86.UC_X86_REG_CR0)) & ~_MP_EM_TS | word & _MP_EM_TS)
        self._control.load_cr0(self._control.registers.cr0 & ~_MP_EM_TS | word & _MP_EM_TS)
        uc.reg_write(x86.UC_X86_REG_RIP, instruction.address + instruction.size)

    def _wrmsr(self, uc: Uc, _instruction: Any) -> None:
        low, high = (int(uc.reg_read(register)) for register in (x86.UC_X86_REG_EAX, x86.UC_X86_REG_EDX))
        self._control.load_efer(high << 32 | low)

    def _mov_to(self, uc: Uc, instruction: Any) -> None:
        control, _, name = (part.strip() for part in instruction.op_str.partition(","))
        value = int(uc.reg_read(_register(name)))
        if control == "cr3":
            self._control.mov_to_cr3(value)
            if value & CR3_NO_FLUSH:  # the engine would keep this bit
                uc.reg_write(x86.UC_X86_REG_RIP, instruction.address + instruction.size)
        elif control == "cr0":
            self._control.load_cr0(value)
        else:
            self._control.load_cr4(value)

    def _mov_from(self, uc: Uc, instruction: Any) -> None:
        name, _, control = (part.strip() for part in instruction.op_str.partition(","))
        registers = self._control.registers
        value = registers.cr3
        if control == "cr4":
            value = registers.cr4 | int(uc.reg_read(x86.UC_X86_REG_CR4)) & ~CR4_PAGING
        uc.reg_write(_register(name), value)
        uc.reg_write(x86.UC_X86_REG_RIP, instruction.address + instruction.size)

    def fetched(self, address: int, length: int) -> bytes:
        """The bytes that Unicorn has fetched, whatever the tables say by now."""
        ram = self._control.ram
        return b"".join(ram.read(self.fetched_from(at), 1) for at in range(address, address + length))

    def fetched_from(self, address: int) -> int:
        """The physical address that Unicorn has fetched code from."""
        return self._frames[address // PAGE_SIZE] * PAGE_SIZE + address % PAGE_SIZE

    def _load(self, vaddr: int, length: int) -> bytes:
        """A load by the guest, which the TLB model sees; an inaccessible address faults in the guest."""
        here = min(length, PAGE_SIZE - vaddr % PAGE_SIZE)
        data = self._control.ram.read(self._load_address(vaddr), here)
        return data + self._load(vaddr + here & _ALL_ONES, length - here) if here < length else data

    def _load_address(self, vaddr: int) -> int:
        for _ in range(_MAX_RETRIES):
            try:
                return accessed(self._control, vaddr, Access.READ)
            except GeneralProtection as fault:
                self._fail(fault, Access.READ)
            except PageFault as fault:
                if not self._resolved(fault):
                    self._fail(fault, Access.READ)
        raise RuntimeError(
            f"Mmu: the page-fault handler said {_MAX_RETRIES} times that {vaddr:#x} is fixed, and it is not"
        )

    @staticmethod
    def _effective_address(uc: Uc, instruction: Any, number: int) -> int:
        """The linear address of a memory operand."""
        operand = instruction.operands[number].mem
        address = operand.disp
        for register, scale in ((operand.base, 1), (operand.index, operand.scale)):
            if register:
                name = instruction.reg_name(register)
                value = instruction.address + instruction.size if name == "rip" else int(uc.reg_read(_register(name)))
                address += value * scale
        if operand.segment and instruction.reg_name(operand.segment) in ("fs", "gs"):
            address += int(uc.reg_read(_register(f"{instruction.reg_name(operand.segment)}_base")))
        return int(address) & _ALL_ONES


def accessed(control: Control, vaddr: int, access: Access) -> int:
    """The physical address of an access by the guest, which the TLB model sees.  Raises :class:`PageFault` or
    :class:`GeneralProtection`.
    """
    if control.tlb is None:
        return translate(control.ram, control.registers, vaddr, access).paddr
    found = control.tlb.lookup(vaddr, access)
    if found is None:
        raise GeneralProtection(vaddr)
    if found.paddr is None:
        fault = PageFault(vaddr, control.state.walked.error_code, bytes(control.state.failed))
        control.tlb.page_fault(vaddr, control.state.pcid)
        raise fault
    return found.paddr


def _register(name: str) -> int:
    return int(getattr(x86, f"UC_X86_REG_{name.upper()}"))

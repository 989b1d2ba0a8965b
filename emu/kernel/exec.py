"""execve: a new address space from an ELF program, with its stack (fs/exec.c, fs/binfmt_elf.c, fs/binfmt_script.c)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from emu.fs.file import File
from emu.kernel.binprm import ExeFile, Program, allow_write, find_interpreter, open_program
from emu.kernel.creds import exec_credentials
from emu.kernel.elf import ElfProgram, NotExecutable, read_elf
from emu.kernel.exit import de_thread, release_memory, vfork_done
from emu.kernel.layout import CLEARED_ON_SETID, ELF_ET_DYN_BASE, Layout, Persona, choose_layout
from emu.kernel.rlimit import soft_limit
from emu.kernel.signal_state import SIG_DFL, SIG_IGN, AltStack, SigAction
from emu.kernel.task import Task
from emu.linux.caller import Credentials
from emu.linux.errors import LinuxError
from emu.linux.fileflags import MountFlags
from emu.linux.limits import Rlimit
from emu.linux.mman import MapFlags, Prot
from emu.linux.namespace import is_inside
from emu.mm.address_space import AddressSpace, page_align
from emu.mm.execgain import inherited
from emu.mm.flags import VmFlags
from emu.mm.image import map_image
from emu.mm.kmem import VM_AREA_STRUCT
from emu.mm.mmap import do_mmap
from emu.mm.unmapped_area import unmapped_area
from emu.mm.vma import Vma
from mmu.memory import PAGE_SIZE
from mmu.record import record

if TYPE_CHECKING:
    from emu.fs.mount import VfsMount
    from emu.kernel.kernel import Kernel

STACK_INITIAL = 132 << 10
#: Limits of argv and envp: of each string, of all in any case, and what is always allowed.
MAX_ARG_STRLEN = 32 * PAGE_SIZE
MAX_ARG_TOTAL = 6 << 20
_ARG_MAX = 128 << 10
_PLATFORM = b"x86_64\0"
_READ_WRITE, _READ_WRITE_EXECUTE = Prot.READ | Prot.WRITE, Prot.READ | Prot.WRITE | Prot.EXEC
_STACK_FLAGS = VmFlags.GROWSDOWN | VmFlags.ACCOUNT
_WORD = 0xFFFF_FFFF_FFFF_FFFF
_DEFAULT, _IGNORED = SigAction(SIG_DFL), SigAction(SIG_IGN)

_AT = dict(
    PHDR=3, PHENT=4, PHNUM=5, PAGESZ=6, BASE=7, FLAGS=8, ENTRY=9, UID=11, EUID=12, GID=13, EGID=14, PLATFORM=15,
    HWCAP=16, CLKTCK=17, SECURE=23, RANDOM=25, HWCAP2=26, RSEQ_FEATURE_SIZE=27, RSEQ_ALIGN=28, EXECFN=31,
    SYSINFO_EHDR=33, MINSIGSTKSZ=51,
)  # fmt: skip


@record(eq=False, repr=False)
class _Loaded:
    program: ElfProgram
    bias: int

    @property
    def entry(self) -> int:
        return (self.program.entry + self.bias) & _WORD

    @property
    def phdr(self) -> int:
        return (self.program.phdr_vaddr + self.bias) & _WORD


def do_execve(kernel: Kernel, task: Task, program: Program, argv: Sequence[bytes], envp: Sequence[bytes]) -> None:
    """Replace the program of ``task``.  Raises LinuxError while the old one is still whole.

    The task's registers and RIP are those of the new program afterwards; CPU state is loaded if it is the current one.
    """
    argv = list(argv) or [b""]
    _check_size(task, program, argv, envp)
    # for the stack, and for the arguments until the old ones go
    kernel.frames.kmem.reserve(_size_of(argv) + 4 * (MAX_ARG_STRLEN + VM_AREA_STRUCT))
    task.files.reserve_own()
    given = argv
    file, argv, head = find_interpreter(kernel, task, program, argv)
    mm = None
    try:
        if argv is not given:
            _check_size(task, program, argv, envp)
        elf = read_elf(file, file.inode.size, kernel.known_programs, head)
        interpreter = _open_interpreter(kernel, task, elf)
        rights = _rights_after(kernel, task, file)
        try:
            mm = AddressSpace(kernel.mm_context, program.comm)
            mm.exe_file = ExeFile(file)
            mm.thp_disable, mm.mdwe = task.mm.thp_disable, inherited(task.mm.mdwe)
            rip, rsp = _load(kernel, task, rights, mm, file, elf, interpreter, program.filename, argv, envp)
            mm.runs((file.inode.sb.dev, file.inode.ino))
        finally:
            if interpreter is not None:
                allow_write(interpreter[0])
        exe = file.path
    except LinuxError:
        if mm is not None:
            mm.put()
        raise
    finally:
        allow_write(file)
    number = task.pid
    _commit(kernel, task, mm, program, argv)
    if task.ns.time is not task.ns.time_for_children:
        task.ns.time_for_children.frozen = True
        task.ns = task.ns.with_others({"time": task.ns.time_for_children})
        kernel.namespaces.sweep()
    task.exe = exe
    _take_rights(task, rights)
    _start_program(kernel, task, rip, rsp)
    if task.ptrace is not None:
        task.ptrace.executed(number)


def _check_size(task: Task, program: Program, argv: Sequence[bytes], envp: Sequence[bytes]) -> None:
    """LinuxError(E2BIG) for arguments that do not fit into a quarter of the stack, or 6 MiB (bprm_stack_limits)."""
    stack = soft_limit(task, Rlimit.STACK)
    limit = max(MAX_ARG_TOTAL if stack is None else min(stack // 4, MAX_ARG_TOTAL), _ARG_MAX)
    lengths = [*map(len, argv), *map(len, envp)]
    total = len(program.filename) + 1 + sum(lengths) + 9 * len(lengths)
    if total > limit or max(lengths) >= MAX_ARG_STRLEN:
        raise LinuxError(errno.E2BIG)


class Rights(NamedTuple):
    """What a program may do, whether it trusts its environment, and the flags of personality(2) that it loses."""

    credentials: Credentials
    secure: bool
    cleared: int


def _rights_after(kernel: Kernel, task: Task, file: File) -> Rights:
    """The rights of a program: set-ID bits count unless the mount, or PR_SET_NO_NEW_PRIVS, forbids it."""
    program = exec_credentials(
        task.credentials,
        file.inode,
        set_ids=_may_set_ids(task, file.path.mount),
        unsafe=_is_unsafe(kernel, task),
    )
    return Rights(program.credentials, program.secure, int(CLEARED_ON_SETID) if program.set_ids else 0)


def _may_set_ids(task: Task, mount: VfsMount) -> bool:
    """Whether set-ID bits count there: in the caller's tree, on what no other user namespace has made
    (mnt_may_suid).
    """
    known = mount.ns is task.ns.mnt and is_inside(task.credentials.user_ns, mount.sb.user)
    return known and not mount.flags & MountFlags.NOSUID


def _is_unsafe(kernel: Kernel, task: Task) -> bool:
    """Whether a tracer without rights of its own, or a process that shares the root and the working directory, could
    lead a program astray (check_unsafe_exec).
    """
    if task.ptrace is not None and not task.ptrace.privileged:
        return True
    return any(other.fs is task.fs and other.group is not task.group for other in kernel.tasks.values())


def _take_rights(task: Task, rights: Rights) -> None:
    task.mm.dumpable = int(not rights.secure)
    ns = rights.credentials.user_ns
    if ns is not None:
        task.mm.root_user, task.mm.root_group = ns.maps["uid"].down(0) or 0, ns.maps["gid"].down(0) or 0
    if rights.secure:
        task.pdeath_signal = 0
    task.credentials = rights.credentials
    task.personality &= ~rights.cleared


def _open_interpreter(kernel: Kernel, task: Task, program: ElfProgram) -> tuple[File, ElfProgram] | None:
    if program.interpreter is None:
        return None
    try:
        file = open_program(kernel, task, program.interpreter).file
    except LinuxError as error:
        raise LinuxError(error.errno, f"its interpreter {program.interpreter} is missing (a dynamic program)") from None
    try:
        return file, read_elf(file, file.inode.size, kernel.known_programs)
    except LinuxError:
        allow_write(file)
        raise LinuxError(errno.ELIBBAD, f"its interpreter {program.interpreter} is not a usable program") from None


def _load(
    kernel: Kernel, task: Task, rights: Rights, mm: AddressSpace, file: File, program: ElfProgram,
    interpreter: tuple[File, ElfProgram] | None, path: str, argv: Sequence[bytes], envp: Sequence[bytes],
) -> tuple[int, int]:  # fmt: skip
    layout = _layout(kernel, task)
    mm.mmap_base, mm.bottom_up, mm.random = layout.mmap_base, layout.bottom_up, layout.random
    _map_stack(mm, program, layout.stack_top)  # first: a segment there replaces it, as any later mapping does
    main = _map_program(mm, file, program, _bias(mm, program, layout, interpreted=interpreter is not None))
    _note_places(mm, main)
    _place_heap(mm, main, layout, interpreted=interpreter is not None)
    rip, base = main.entry, 0
    if interpreter is not None:
        shared = interpreter[1]
        loaded = _map_program(mm, interpreter[0], shared, _free_place(mm, shared))
        rip, base = loaded.entry, loaded.bias
    vdso = kernel.vdso.map(mm, task.ns.time_for_children)
    if task.personality & Persona.MMAP_PAGE_ZERO:
        _map_page_zero(mm)
    try:
        rsp = _build_stack(kernel, rights, mm, main, base, vdso, layout, path, argv, envp)
    except LinuxError as error:
        if error.errno != errno.EFAULT:
            raise
        raise NotExecutable("a segment of the ELF file lies where the stack goes") from None
    return rip, rsp


def _layout(kernel: Kernel, task: Task) -> Layout:
    mode, persona = kernel.randomize_va_space, task.personality
    random = kernel.layout_random if mode and not persona & Persona.ADDR_NO_RANDOMIZE else None
    if kernel.legacy_va_layout:
        persona |= Persona.ADDR_COMPAT_LAYOUT
    return choose_layout(random, persona, soft_limit(task, Rlimit.STACK), heap=mode > 1)


def _map_page_zero(mm: AddressSpace) -> None:
    """A page of zeros at 0, which stays, for those who may have it (System V's null pointers)."""
    try:
        do_mmap(mm, 0, PAGE_SIZE, Prot.READ | Prot.EXEC, MapFlags.PRIVATE | MapFlags.FIXED | MapFlags.ANONYMOUS)
    except LinuxError:
        return
    zero = mm.vmas.find(0)
    assert zero is not None
    zero.flags |= VmFlags.SEALED


def _free_place(mm: AddressSpace, program: ElfProgram) -> int:
    """The bias of an interpreter, or of a program without one, which goes where mappings go."""
    low, high = program.whole
    return unmapped_area(mm, page_align(high) - low, align=max(program.alignment, PAGE_SIZE)) - low


def _bias(mm: AddressSpace, program: ElfProgram, layout: Layout, *, interpreted: bool) -> int:
    if not program.position_independent:
        return 0
    if not interpreted:
        return _free_place(mm, program)
    return (ELF_ET_DYN_BASE + layout.program) & -max(program.alignment, PAGE_SIZE)


def _place_heap(mm: AddressSpace, main: _Loaded, layout: Layout, *, interpreted: bool) -> None:
    """The heap begins behind the program, unless that lies among the mappings."""
    end = main.program.whole.end + main.bias
    if main.program.position_independent and not interpreted:
        end = ELF_ET_DYN_BASE
    mm.start_brk = mm.brk_end = page_align(end) + layout.heap


def _map_stack(mm: AddressSpace, program: ElfProgram, top: int) -> None:
    mm.context.commit.charge(STACK_INITIAL // PAGE_SIZE)
    bottom, prot = top - STACK_INITIAL, _READ_WRITE_EXECUTE if program.executable_stack else _READ_WRITE
    mm.adopt(Vma(bottom, top, prot, _STACK_FLAGS, pgoff=bottom // PAGE_SIZE))


def _map_program(mm: AddressSpace, file: File, program: ElfProgram, bias: int) -> _Loaded:
    if program.pieces and map_image(mm, file, program.pieces, bias):
        for address, number in program.cleared:
            mm.write(address + bias, bytes(number))
        return _Loaded(program, bias)
    for segment in program.segments:
        start = (segment.vaddr + bias) & -PAGE_SIZE
        file_end = segment.vaddr + bias + segment.filesz
        memory_end = segment.vaddr + bias + segment.memsz
        if segment.filesz:
            offset = segment.offset - (segment.vaddr + bias - start)
            do_mmap(mm, start, file_end - start, segment.prot, MapFlags.PRIVATE | MapFlags.FIXED, file, offset)
            if memory_end > file_end and segment.prot & Prot.WRITE:
                mm.write(file_end, bytes(-file_end % PAGE_SIZE))  # the whole page: ld.so allocates from the rest of it
        zero_start, zero_end = (page_align(file_end) if segment.filesz else start), page_align(memory_end)
        if zero_end > zero_start:
            flags = MapFlags.PRIVATE | MapFlags.FIXED | MapFlags.ANONYMOUS
            do_mmap(mm, zero_start, zero_end - zero_start, segment.prot, flags)
    return _Loaded(program, bias)


def _note_places(mm: AddressSpace, main: _Loaded) -> None:
    """Where code and data are."""
    program, bias = main.program, main.bias
    mm.start_code, mm.end_code = bias + program.code.start, bias + program.code.end
    mm.start_data, mm.end_data = bias + program.data.start, bias + program.data.end


def _build_stack(
    kernel: Kernel, rights: Rights, mm: AddressSpace, main: _Loaded, base: int, vdso: int, layout: Layout, path: str,
    argv: Sequence[bytes], envp: Sequence[bytes],
) -> int:  # fmt: skip
    """Strings at the top, then auxv, envp, argv and argc, as the System V ABI wants them (AMD64 psABI 3.4.1)."""
    top = layout.stack_top - 8
    strings = (*argv, *envp, path.encode("utf-8", "surrogateescape"), b"")
    blob = b"\0".join(strings)
    at = start = top - len(blob)
    addresses = []
    for text in strings:
        addresses.append(at)
        at += len(text) + 1
    addresses.pop()
    mm.write(start, blob)
    mm.arg_start, mm.arg_end = start, addresses[len(argv)]
    mm.env_start, mm.env_end = mm.arg_end, addresses[-1]
    platform = ((start - layout.stack) & -16) - len(_PLATFORM)  # neither this nor what follows is aligned
    random = platform - 16
    mm.write(random, kernel.random.randbytes(16) + _PLATFORM)
    who = rights.credentials
    ids = {"UID": who.uid, "EUID": who.euid, "GID": who.gid, "EGID": who.egid}
    if who.user_ns is not None:
        ids = {name: who.shown(name[-3:].lower(), number) for name, number in ids.items()}
    auxv = dict(
        SYSINFO_EHDR=vdso, MINSIGSTKSZ=2048, HWCAP=kernel.cpu.hwcap, PAGESZ=PAGE_SIZE, CLKTCK=100, PHDR=main.phdr,
        PHENT=56, PHNUM=main.program.phnum, BASE=base, FLAGS=0, ENTRY=main.entry, **ids,
        SECURE=rights.secure, RANDOM=random, HWCAP2=0, EXECFN=addresses[-1],
        PLATFORM=platform, RSEQ_FEATURE_SIZE=28, RSEQ_ALIGN=32,
    )  # fmt: skip  # in the order of create_elf_tables()
    words = [len(argv), *addresses[: len(argv)], 0, *addresses[len(argv) : len(argv) + len(envp)], 0]
    pairs = [word for key, value in auxv.items() for word in (_AT[key], value)] + [0, 0]
    mm.auxv = struct.pack(f"<{len(pairs)}Q", *pairs)
    rsp = (random - 8 * (len(words) + len(pairs))) & -16
    mm.start_stack = rsp
    mm.write(rsp, struct.pack(f"<{len(words)}Q", *words) + mm.auxv)
    return rsp


def _commit(kernel: Kernel, task: Task, mm: AddressSpace, program: Program, argv: Sequence[bytes]) -> None:
    """The point of no return: the old program is discarded."""
    de_thread(kernel, task)
    if kernel.urings is not None:
        kernel.urings.task_leaves(task, ends=False)
    release_memory(kernel, task)
    old, task.mm = task.mm, mm
    task.usage.max_rss = max(task.usage.max_rss, old.peak)
    if task is kernel.current:
        kernel.flusher.switch_mm(mm)
    old.put()
    vfork_done(task)
    task.files = task.files.unshare_reserved()
    task.files.close_on_exec()
    task.signals.actions = [_IGNORED if a.handler == SIG_IGN else _DEFAULT for a in task.signals.actions]
    task.signals.alt_stack = AltStack(flags=task.signals.alt_stack.flags)
    if task.group.timers is not None:
        task.group.timers.delete_posix()
    if task.thread_keyring is not None or task.group.process_keyring is not None:
        from emu.kernel.process_keys import has_new_program  # few programs have keys

        has_new_program(kernel.keys, task)
    task.comm = program.comm
    more = _size_of(argv) - _size_of(task.argv)
    task.kmem.charge_reserved(more)
    task.charged += more
    task.argv = tuple(argv)
    task.rseq, task.rseq_event = None, False
    task.personality &= ~Persona.READ_IMPLIES_EXEC
    task.group.has_execed = True
    task.group.barriers = 0
    if task.perf is not None:
        task.perf.execed()
    mm.on_kernel_fault = kernel.count_kernel_fault


def _size_of(argv: Sequence[bytes]) -> int:
    """What arguments take on the host, which keeps them for reports."""
    return sum(map(len, argv)) + 64 * len(argv)


def _start_program(kernel: Kernel, task: Task, rip: int, rsp: int) -> None:
    """Give a task the registers of a new program (ELF psABI: all zero but RSP)."""
    task.rip = rip
    if task is kernel.current:
        kernel.cpu.load_fresh(rsp)
        task.registers_replaced = True
    else:
        task.context = kernel.cpu.fresh_context(rsp)

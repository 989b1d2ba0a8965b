"""The operations of VMAs: no code tests which kind a VMA is, and a module can add a new kind of memory."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import msharefs.module
from emu.fs.file import File
from emu.kernel.kernel import Kernel
from emu.linux.errors import LinuxError
from emu.linux.fileflags import makedev
from emu.mm import rss
from emu.mm.address_space import AddressSpace
from emu.mm.flags import FaultResult
from emu.mm.gup import read_remote, write_remote
from emu.mm.memory import PageMemory, set_new_entry
from emu.mm.pagecache import PageCache
from emu.mm.pagetable import RW, D
from emu.mm.vma import Vma
from emu.mm.vmops import VmOperations
from emu.trace.peek import peek
from mmu import Access
from mmu.memory import PAGE_SHIFT
from tests.booted import Booted, MakeMachine

TIB = 1 << 40
ROOT = Path(__file__).resolve().parents[2]
#: Where operations are implemented, and where a VMA gets those that it has unless somebody says otherwise.
IMPLEMENTATIONS = {f"emu/mm/{name}.py" for name in ("vma", "vmops", "memory", "ordinary", "hugefault", "hugetlb")}
#: Words that once were questions.
QUESTIONS = {"huge", "is_huge", "hugetlb", "owns_tables"}
#: What stands in every module that asks.
WORDS = rf"\.\s*(ops|{'|'.join(QUESTIONS)})\b"


# ---- nobody asks


def is_ops(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "ops"


def questions(tree: ast.AST, *, of_others: bool = True) -> list[int]:
    """The lines that ask for the kind of a VMA; a module may recognise the operations that are its own."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()) if name in QUESTIONS:
                found.append(node.lineno)
            case ast.Compare(
                left=left, comparators=[right, *_], ops=[ast.Is() | ast.IsNot() | ast.Eq() | ast.NotEq(), *_]
            ):
                none = any(isinstance(side, ast.Constant) and side.value is None for side in (left, right))
                both = is_ops(left) and is_ops(right)
                if (is_ops(left) or is_ops(right)) and (none or (of_others and not both)):
                    found.append(node.lineno)
            case ast.Call(func=ast.Name(id="isinstance" | "type" | "issubclass"), args=[asked, *_]) if of_others:
                if is_ops(asked):
                    found.append(node.lineno)
            case ast.BoolOp(values=values) if any(map(is_ops, values)):
                found.append(node.lineno)
            case ast.UnaryOp(op=ast.Not(), operand=operand) if is_ops(operand):
                found.append(node.lineno)
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if is_ops(test):
                found.append(node.lineno)
    return found


@pytest.mark.parametrize("package", ["emu", "msharefs", "sharing"])
def test_nobody_asks_for_the_kind_of_a_vma(package: str) -> None:
    asked = [
        f"{path}:{line}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in IMPLEMENTATIONS
        if re.search(WORDS, text := path.read_text(encoding="utf-8"))
        for line in questions(ast.parse(text), of_others=package == "emu")
    ]
    assert asked == []


@pytest.mark.parametrize(
    "source",
    [
        "if vma.huge: pass",
        "x = vma.ops is not None and vma.ops.link_level",
        "x = vma.ops and vma.ops.link_level",
        "x = 1 if vma.ops else 2",
        "x = not vma.ops",
        "if None is vma.ops: pass",
        "if vma.ops is ORDINARY: pass",
        "if isinstance(vma.ops, HugetlbOperations): pass",
        "x = type(vma.ops)",
        "x = vma.ops.owns_tables",
    ],
)
def test_a_question_is_found(source: str) -> None:
    assert re.search(WORDS, source)
    assert questions(ast.parse(source)) == [1]


@pytest.mark.parametrize("source", ["vma.ops.fault(mm, vma)", "vma.ops = ops", "x = low.ops is high.ops"])
def test_an_operation_is_no_question(source: str) -> None:
    assert questions(ast.parse(source)) == []


def test_operations_that_lack_what_there_must_be_cannot_be_made() -> None:
    class Half(VmOperations):
        def change_protection(self, mm: AddressSpace, vma: Vma) -> int:
            return 0

    with pytest.raises(TypeError, match=r"fault.*zap"):
        Half()  # type: ignore[abstract]


# ---- memory from outside: private pages that hold their numbers, and the memory of a device


class NumberedPages(PageMemory):
    """Each page begins with 1000 and its number in the file."""

    flag_names = ("io",)

    def missing(self, mm: AddressSpace, vma: Vma, address: int, access: Access, slot: int) -> FaultResult:
        frame = rss.new_page(mm)
        mm.vmas.anon_vma_prepare(vma)
        mm.frames.write(frame, 0, (1000 + vma.index_of(address)).to_bytes(8, "little"))
        writable = RW if vma.allows(Access.WRITE) else 0
        set_new_entry(mm, address, slot, frame << PAGE_SHIFT | vma.page_bits | writable | D)
        return FaultResult.MINOR

    def name(self, vma: Vma) -> str:
        return "[numbers]"


NUMBERED = NumberedPages()


class NumberedFile(File):
    def mmap(self, mm: AddressSpace, vma: Vma) -> None:
        vma.ops = NUMBERED


class DeviceMemory(PageMemory):
    """A few pages shared by all who map them, which live while they are mapped."""

    def __init__(self, pages: PageCache) -> None:
        self._pages = pages
        self._mappings = 0

    def open(self, mm: AddressSpace, vma: Vma) -> None:
        self._mappings += 1

    def close(self, mm: AddressSpace, vma: Vma) -> None:
        self._mappings -= 1
        if not self._mappings:
            self._pages.truncate(0)
            self._pages.truncate(4 << PAGE_SHIFT)

    def missing(self, mm: AddressSpace, vma: Vma, address: int, access: Access, slot: int) -> FaultResult:
        index = vma.index_of(address)
        if not self._pages.check_index(index):
            return FaultResult.ADRERR
        frame = self._pages.get_page(index)
        rss.get_cached(mm, (frame,))
        set_new_entry(mm, address, slot, frame << PAGE_SHIFT | vma.cached_bits | D)
        return FaultResult.MINOR

    def object_at(self, vma: Vma, address: int) -> tuple[PageCache, int]:
        return self._pages, vma.index_of(address)


def init(kernel: Kernel) -> None:
    """Module init: two character devices."""
    operations = DeviceMemory(PageCache(kernel.frames, 4 << PAGE_SHIFT))

    class DeviceFile(File):
        def mmap(self, mm: AddressSpace, vma: Vma) -> None:
            vma.ops = operations

    kernel.vfs.resources.register_device(makedev(240, 1), NumberedFile)
    kernel.vfs.resources.register_device(makedev(240, 2), DeviceFile)


NUMBERS = '@mknod "/tmp/n" 020666 0xf001; @n = open "/tmp/n" O_RDWR; @p = mmap 4T 64K RW MAP_PRIVATE n 4K;'
DEVICE = '@mknod "/tmp/d" 020666 0xf002; @d = open "/tmp/d" O_RDWR; @p = mmap 4T 64K RW MAP_SHARED d 0;'


@pytest.fixture
def booted(machine: MakeMachine) -> Booted:
    return machine(modules={"msharefs": msharefs.module.init, "outside": init})


#: Calls on the private mapping, and their results.
CALLS = {
    "load": ("load p; load p+12K; load p+60K", "1001 1004 1016"),
    "store": ("store p 5; load p; load p+4K", "0 5 1002"),
    "fork before": ("@fork c; load p; @store p 5; end; @wait c; load p", "1001 1001"),
    "fork and copy": ("@load p; @fork c; load p; @store p 5; load p; end; @wait c; load p", "1001 5 1001"),
    "the parent writes": ("@store p 4; @fork c; @await q 1; load p; end; @store p 5; @store q 1; @wait c; load p",
                          "4 5"),
    "mprotect": ("@store p 5; @mprotect p 4K PROT_READ; load p; store p 6; load p+4K", "5 SEGV_ACCERR 1002"),
    "mprotect and back": ("@load p; @mprotect p 8K 0; load p; @mprotect p 8K RW; store p 6; load p; load p+4K",
                          "SEGV_ACCERR 0 6 1002"),
    "mremap": ("@store p 5; @q = mremap p 64K 64K 3 8T; load q; load q+4K; load p", "5 1002 SEGV_MAPERR"),
    "mremap of a part": ("@store p+8K 5; @q = mremap p+8K 8K 8K 3 8T; load q; load q+4K; load p; load p+8K; load p+16K",
                         "5 1004 1001 SEGV_MAPERR 1005"),
    "it grows": ("@load p; @mremap p 64K 128K 0; load p+64K; load p+124K", "1017 1032"),
    "munmap": ("@store p 5; @munmap p 8K; load p; load p+8K", "SEGV_MAPERR 1003"),
    "thrown away": ("@store p 5; @madvise p 4K 4; load p", "1001"),
    "locked": ("mlock p 64K; load p+60K; munlock p 64K", "0 1016 0"),
    "populated": ("madvise p 64K 23; load p+60K", "0 1016"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_pages_of_an_outside_module(booted: Booted, name: str) -> None:
    script, expected = CALLS[name]
    lines = booted.calls(f"{NUMBERS} @q = mmap 6T 4K RW ANON -1 0; {script}")
    assert [int(word, 0) if word[0] in "0123456789" else word for word in (line.split(" = ")[1] for line in lines)] == [
        int(word) if word.isdigit() else word for word in expected.split()
    ]
    assert booted.audit() == []


def test_what_others_see_of_an_outside_module(booted: Booted) -> None:
    """/proc, a read from outside that faults a page in, and a look that does not."""
    task = booted.guest("calls", f"{NUMBERS} @load p; @store p+8K 5; @mprotect p+32K 32K 0; @mark 1; @pause")
    booted.run_until_mark(task, 1)
    lines = booted.kernel.vfs.read_file(f"/proc/{task.pid}/smaps").decode().splitlines()
    head, forbidden = (at for at, line in enumerate(lines) if line.endswith("[numbers]"))
    assert lines[head].startswith("40000000000-40000008000 rw-p 00001000 ") and "---p" in lines[forbidden]
    shown = dict(line.split(":", 1) for line in lines[head + 1 : forbidden])
    assert shown["KernelPageSize"].split() == ["4", "kB"] and shown["Rss"].split() == ["8", "kB"]
    assert shown["Private_Dirty"].split() == ["8", "kB"] and shown["VmFlags"].split()[-2:] == ["io", "ac"]
    assert peek(task.mm, 4 * TIB, 2) == (1001).to_bytes(2, "little")
    assert peek(task.mm, 4 * TIB + 0x1000, 2) == b""  # not there yet, and nobody can tell
    assert read_remote(task.mm, 4 * TIB + 0x1000, 2) == (1002).to_bytes(2, "little")
    with pytest.raises(LinuxError):
        read_remote(task.mm, 4 * TIB + 0x8000, 2)
    assert read_remote(task.mm, 4 * TIB + 0x8000, 2, force=True) == (1009).to_bytes(2, "little")
    assert booted.audit() == []


@pytest.mark.parametrize("merged", [False, True])
def test_neighbours_of_an_outside_module_are_joined_where_it_allows_that(booted: Booted, merged: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NumberedPages, "mergeable", merged)
        lines = booted.calls(f"{NUMBERS} @mprotect p 4K PROT_READ; @mprotect p 4K RW; maps p 64K")
    assert lines == ["maps = 0-10000 rw-p 1000" if merged else "maps = 0-1000 rw-p 1000, 1000-10000 rw-p 2000"]


def test_device_memory_is_one_for_all(booted: Booted) -> None:
    script = f"{DEVICE} @store p+4K 7; @fork c; load p+4K; @store p 9; end; @wait c; load p; load p+16K"
    assert booted.calls(script) == ["load = 7", "load = 9", "load = BUS_ADRERR"]
    assert booted.audit() == []


# ---- a debugger's look at huge pages that the process itself must not touch


def test_a_forced_look_at_huge_pages(machine: MakeMachine) -> None:
    booted = machine(hugepages=4)
    map_huge = "@p = mmap 4G 2M RW MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED|MAP_HUGETLB -1 0; @store p+4K 0x3132"
    task = booted.guest("calls", f"{map_huge}; @mprotect p 2M 0; @mark 1; load p+4K; @mprotect p 2M RW; load p+4K")
    booted.run_until_mark(task, 1)
    address = (4 << 30) + 4096
    with pytest.raises(LinuxError):
        read_remote(task.mm, address, 2)
    assert read_remote(task.mm, address, 2, force=True) == b"21"
    with pytest.raises(LinuxError, match="EFAULT"):  # as Linux: no FOLL_FORCE|FOLL_WRITE of hugetlb
        write_remote(task.mm, address, b"43", force=True)
    booted.resume(task)
    booted.finish()
    assert booted.stdout.splitlines() == ["load = SEGV_ACCERR", "load = 12594"]
    assert booted.audit() == []

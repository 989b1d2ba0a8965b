"""The schema of a trace: one row for each kind of event.

The recorder, the lines of JSON, the reader's checks, ``unimmu trace view``, the pytest plugin and docs/tracing.md
(``python -m emu.trace.document docs/tracing.md``) all read it.  A new kind of event is a row here and the place that
tells of it; a kernel module declares its own rows in ``kernel.event_kinds``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from emu.linux.event_kind import Event, EventError, Field, Form, Kind, Type
from emu.trace import sentences
from emu.trace.resolution import RESOLUTIONS
from mmu.events import EventKind
from mmu.registers import Access

FORMAT = "unimmu-trace"
FORMAT_VERSION = 2

#: What every event has, before its own fields.
SEQ = Field("seq", Type.NUMBER, "the number of the event: 0, 1, 2, ...")
CLOCK = Field(
    "clock", Type.NUMBER,
    "what all processes have retired so far",
    "instructions",
)  # fmt: skip
TIME = Field("time", Type.NUMBER, "the machine's time since it was made (docs/time.md)", "ns")
PID = Field("pid", Type.NUMBER, "the process that ran; missing where there is none", optional=True)
TID = Field("tid", Type.NUMBER, "its thread", optional=True)
CPU = Field("cpu", Type.NUMBER, "the vCPU that it ran on, where the header has `cpus`", optional=True)
RIP = Field(
    "rip", Type.HEX, "the instruction that runs, or in a system call the one behind it; 0 where no code has run yet",
    "virtual address",
)  # fmt: skip
EVENT = Field("event", Type.TEXT, "the kind of the event: one of those below")
COMMON = (SEQ, CLOCK, TIME, PID, TID, CPU, RIP, EVENT)


@dataclass(frozen=True)
class HardwareKind(Kind):
    """A kind of event that the MMU writes to its ring (``mmu/events.py``), and how the record's columns are read.

    ``columns`` has the columns of the fields that have other names; in the column of a text is the index of one of its
    choices.  ``decided_by`` is the column that is 0 in events of the second form.
    """

    number: EventKind
    columns: Mapping[str, str]
    decided_by: str


def _hardware(
    number: EventKind, meaning: str, *forms: Form, decided_by: str = "kind", columns: Mapping[str, str] | None = None
) -> HardwareKind:
    return HardwareKind(number.name.lower(), meaning, forms, number, columns or {}, decided_by)


def _vaddr(meaning: str) -> Field:
    return Field("vaddr", Type.HEX, meaning, "virtual address")


def _paddr(meaning: str) -> Field:
    return Field("paddr", Type.HEX, meaning, "physical address")


def _level(meaning: str, most: int = 5) -> Field:
    return Field("level", Type.NUMBER, meaning, choices=tuple(range(1, most + 1)))


_ACCESS = Field("access", Type.TEXT, "what was tried", choices=tuple(access.name.lower() for access in Access))
_RIGHTS = Field(
    "rights",
    Type.TEXT,
    "what the TLB may allow: no `w` before D is set",
    choices=tuple("".join(c if n >> i & 1 else "-" for i, c in enumerate("rwx")) for n in range(8)),
)
_ERROR_CODE = Field("error_code", Type.NUMBER, "the error code that the processor pushes (SDM vol. 3, 4.7)", "bits")
_SIZE = Field("size", Type.NUMBER, "of the operand; missing for a fetch", "bytes", optional=True)
_WALKED = (
    _ACCESS,
    _vaddr("the address that is translated"),
    Field("cpl", Type.NUMBER, "the current privilege level", choices=(0, 1, 2, 3)),
    Field("cr3", Type.HEX, "the register, which says where the top table is", "physical address"),
    Field(
        "cached_level",
        Type.NUMBER,
        "the level of the entry that a paging-structure cache had: the walk began behind it, and read neither it nor "
        "those above. Missing where the walk began at the top",
        choices=(2, 3, 4, 5),
        optional=True,
    ),
    _level("the level of the last entry that was read"),
    Field(
        "entries",
        Type.ENTRIES,
        'the entry that was read at each level ("4" is the PML4E, "5" the PML5E with five levels), as it was before '
        "the walk touched it",
        "page-table entry",
    ),
    Field(
        "shared_level", Type.NUMBER,
        "the level of the highest table that was read and is shared: 1 is a PTE table. Missing where none is",
        choices=(1, 2, 3), optional=True,
    ),
    Field(
        "first_pid", Type.NUMBER,
        "the process that had this page put into the shared table. Missing where that is not known",
        optional=True,
    ),
    Field("cycles", Type.NUMBER, "what the walk cost. Missing without `--tlb-latency`", "cycles", optional=True),
)  # fmt: skip

#: What the MMU tells.
HARDWARE = (
    _hardware(
        EventKind.WALK,
        "a page walk",
        Form((*_WALKED, _paddr("what the address is translated to"), _RIGHTS), sentences.walk, "walks to a page"),
        Form((*_WALKED, _ERROR_CODE), sentences.walk, "walks that end in a fault"),
        decided_by="rights",
    ),
    _hardware(
        EventKind.FAULT,
        "a page fault: the walk before it could not end, or was not allowed to",
        Form(
            (
                _ACCESS,
                _vaddr("the address that faulted"),
                _level("the level at which the walk ended"),
                _ERROR_CODE,
                Field(
                    "resolved",
                    Type.TEXT,
                    "how it was resolved: see [below](#how-faults-are-resolved)",
                    choices=RESOLUTIONS,
                ),
            ),
            sentences.fault,
        ),
    ),
    _hardware(
        EventKind.ACCESSED_DIRTY,
        "the walk set A or D in an entry",
        Form(
            (
                _ACCESS,
                _vaddr("the address that was accessed"),
                _level("the level of the entry"),
                Field("entry_paddr", Type.HEX, "where the entry is", "physical address"),
                Field("before", Type.HEX, "the entry as the walk read it", "page-table entry"),
                Field("after", Type.HEX, "the entry as the walk left it", "page-table entry"),
            ),
            sentences.accessed_dirty,
        ),
        columns={"entry_paddr": "paddr", "before": "old", "after": "new"},
    ),
    _hardware(
        EventKind.FILL,
        "Unicorn asked for a translation and got this one. Unicorn has a cache of its own, so a fill is not a TLB miss",
        Form(
            (
                _ACCESS,
                _vaddr("the address that is translated"),
                _paddr("what the address is translated to"),
                _level("the level of the entry that maps the page: 1 is a page of 4 KiB, 2 of 2 MiB, 3 of 1 GiB", 3),
                _RIGHTS,
            ),
            sentences.fill,
        ),
    ),
    _hardware(
        EventKind.ACCESS,
        "one load, store or fetch (a block of code and page), at its exact address; recorded only with "
        "`--trace-accesses` and a modelled TLB",
        Form(
            (
                _ACCESS,
                _vaddr("the address that was accessed"),
                _SIZE,
                Field("tlb_level", Type.NUMBER, "the TLB whose translation could be used: L1 or L2", choices=(1, 2)),
                _paddr("where that translation leads"),
                Field(
                    "cycles",
                    Type.NUMBER,
                    "what a hit in the L2 TLB cost. Missing without `--tlb-latency`",
                    "cycles",
                    optional=True,
                ),
            ),
            "{access} {vaddr} hits in the L{tlb_level} TLB -> {paddr}",
            "hits",
        ),
        Form(
            (
                _ACCESS,
                _vaddr("the address that was accessed"),
                _SIZE,
                Field("tlb_level", Type.NULL, "no TLB had a translation that could be used: a walk follows"),
            ),
            "{access} {vaddr} misses every TLB",
            "misses",
        ),
        columns={"tlb_level": "level"},
        decided_by="level",
    ),
    _hardware(
        EventKind.FLUSH,
        "translations were invalidated",
        Form(
            (_vaddr("where the range begins"), Field("length", Type.NUMBER, "the length of the range", "bytes")),
            sentences.flush,
            "a range",
        ),
        Form((Field("all", Type.TRUE, "every translation was invalidated"),), "every translation", "everything"),
        decided_by="length",
    ),
    _hardware(
        EventKind.CR3_LOAD,
        "other tables were loaded",
        Form(
            (
                Field("before", Type.HEX, "CR3 before", "physical address"),
                Field("after", Type.HEX, "CR3 after", "physical address"),
            ),
            "{before} -> {after}",
        ),
        columns={"before": "old", "after": "new"},
    ),
)

_CALL = Field("name", Type.TEXT, "the name of the system call")
_SIGNAL = Field("signal", Type.TEXT, "the name of the signal")
_LINK = (
    Field("region", Type.TEXT, "the name of the region or file whose table it is"),
    Field("level", Type.TEXT, "the level of the shared table", choices=("pte", "pmd", "pud")),
    _vaddr("where the slot begins, which is what the table translates for this process"),
    Field("length", Type.NUMBER, "the length of the slot", "bytes"),
    Field(
        "entry_level",
        Type.TEXT,
        "the level of the table that the sharer's entry is in",
        choices=("pmd", "pud", "p4d", "pgd"),
    ),
    Field("entry_paddr", Type.HEX, "where the sharer's entry is", "physical address"),
    Field("before", Type.HEX, "the sharer's entry before", "page-table entry"),
    Field("after", Type.HEX, "the sharer's entry after", "page-table entry"),
    Field(
        "host_entry_paddr",
        Type.HEX,
        "where the entry of the host mm is that was copied; null if none was",
        "physical address",
        nullable=True,
    ),
    Field("host_entry", Type.HEX, "the entry that was copied; null if none was", "page-table entry", nullable=True),
    Field("sharers", Type.NUMBER, "how many address spaces have a window then", "address spaces"),
)

#: What the kernel tells.
KERNEL = (
    Kind.of(
        "syscall_enter",
        "a system call begins",
        Field("number", Type.NUMBER, "the number of the system call"),
        _CALL,
        Field("arguments", Type.HEXES, "its arguments as the registers have them"),
        words="{name}({arguments})",
    ),
    Kind(
        "syscall_exit",
        "a system call has its result",
        (
            Form((_CALL, Field("errno", Type.TEXT, "the name of the error")), "{name} = {errno}", "calls that fail"),
            Form((_CALL, Field("result", Type.HEX, "what the call returns")), "{name} = {result}", "other calls"),
        ),
    ),
    Kind.of(
        "signal",
        "a signal is delivered",
        _SIGNAL,
        Field("code", Type.NUMBER, "si_code: why it was sent"),
        Field("addr", Type.HEX, "si_addr: the address that faulted", "virtual address"),
        Field("from", Type.NUMBER, "si_pid: the process that sent it, or 0"),
        words=sentences.signal,
    ),
    Kind.of(
        "fork",
        "a process or a thread is made; the `syscall_enter` of clone has the flags",
        Field("child", Type.NUMBER, "the number of the child"),
        words="a child: {child}",
    ),
    Kind.of(
        "exec",
        "a process runs another program",
        Field("path", Type.TEXT, "the path of the program"),
        Field("argv", Type.TEXTS, "its arguments"),
        words="{path}: {argv}",
    ),
    Kind.of(
        "mmap",
        "code of a file is mapped, by mmap, mprotect or execve, and may be executed; what had been mapped when a "
        "recording, or that of a process, begins is told then",
        Field("start", Type.HEX, "where", "virtual address"),
        Field("length", Type.NUMBER, "how much", "bytes"),
        Field("offset", Type.NUMBER, "what of the file begins there", "bytes"),
        Field("path", Type.TEXT, "the file, or [vdso]"),
        Field("build_id", Type.TEXT, "its build ID, if it has one", optional=True),
        words=sentences.mapped,
    ),
    Kind(
        "exit",
        "a process or a thread ends",
        (
            Form((_SIGNAL,), "killed by {signal}", "ended by a signal"),
            Form((Field("status", Type.NUMBER, "the exit status"),), "status {status}", "ended by itself"),
        ),
    ),
    Kind.of(
        "switch",
        "a vCPU begins a turn with another thread than the one that it had",
        Field("previous", Type.NUMBER, "that thread; null if there was none", nullable=True),
        words="from {previous}",
    ),
    Kind.of(
        "mark",
        "a guest has written to /sys/kernel/tracing/trace_marker, or come to a mark with a text",
        Field("text", Type.TEXT, "what it says"),
        words="{text}",
    ),
    Kind.of(
        "supersede",
        "a thread that calls execve is about to take the number of its process",
        Field("leader", Type.NUMBER, "that number, which the leader of the thread group had"),
        words="takes the number of its leader, {leader}",
    ),
    Kind.of(
        "link",
        "an entry of a process is made to point at a shared table",
        *_LINK,
        words=sentences.linking("linked", "at"),
    ),
    Kind.of(
        "unlink",
        "an entry of a process ceases to point at a shared table",
        *_LINK,
        words=sentences.linking("unlinked", "from"),
    ),
    Kind.of(
        "shootdown",
        "a vCPU tells others to invalidate translations: see [cpus.md](cpus.md#what-a-shootdown-costs)",
        Field("sender", Type.NUMBER, "the vCPU that changed a table"),
        Field("receivers", Type.NUMBERS, "the vCPUs that are told"),
        Field("not_told", Type.NUMBERS, "the vCPUs that should be told, and are not"),
        Field("mm", Type.TEXT, "the name of the address space that was changed"),
        _vaddr("where the range begins"),
        Field("length", Type.NUMBER, "the length of the range; 0 is everything", "bytes"),
        Field(
            "pages",
            Type.NUMBER,
            "how many pages the receiver with the most to do invalidates; null is everything",
            "pages",
            nullable=True,
        ),
        Field("reason", Type.TEXT, "what was done to the range"),
        Field("policy", Type.TEXT, "the rule by which the receivers were chosen"),
        Field("sender_cycles", Type.NUMBER, "what it costs the sender, as cpus.md estimates", "cycles"),
        Field("cost_cycles", Type.NUMBER, "what it costs all vCPUs together", "cycles"),
        words=sentences.shootdown,
    ),
    Kind.of(
        "end",
        "the last line. Where it is missing the run was stopped, or the file was not written to its end, and "
        "`trace view` says so",
        Field(
            "instructions",
            Type.NUMBER,
            "how many all processes have retired within the region of interest; missing where that was everything",
            "instructions",
            optional=True,
        ),
        words="the recording is complete",
    ),
)

KINDS: tuple[Kind, ...] = (*HARDWARE, *KERNEL)


class Schema:
    """The rows that a machine or a trace has: :data:`KINDS`, and ``more`` that modules have declared.

    With several ``cpus`` each event says on which one it was.
    """

    def __init__(self, more: Iterable[Kind] = (), *, cpus: int = 1) -> None:
        self.more = tuple(more)
        which = (replace(CPU, optional=False),) if cpus > 1 else ()
        common = (SEQ, CLOCK, TIME, PID, TID, *which, RIP, EVENT)
        self.kinds: dict[str, Kind] = {}
        #: The same rows, with the fields that every event has.
        self._whole: dict[str, Kind] = {}
        for kind in (*KINDS, *self.more):
            if kind.name in self.kinds:
                raise EventError(f"the event kind {kind.name} is declared twice")
            self.kinds[kind.name] = kind
            for name in (field.name for form in kind.forms for field in form.fields):
                if any(name == field.name for field in COMMON):
                    raise EventError(f"{kind.name}: {name} is a field of every event, and cannot be declared")
            forms = tuple(Form((*common, *form.fields), form.words, form.when) for form in kind.forms)
            self._whole[kind.name] = Kind(kind.name, kind.meaning, forms)

    def __getitem__(self, name: Any) -> Kind:
        """The row of a kind.  :class:`EventError` if there is none."""
        return self._find(self.kinds, name)

    def decode(self, event: Event) -> dict[str, Any]:
        """The event that JSON has.  :class:`EventError` if it is none that this schema has."""
        return self._find(self._whole, event.get("event")).decode(event)

    def check_filter(self, kind: str | None, fields: Event) -> None:
        """:class:`EventError` if events of the kind (None: of any) do not have these fields, or never such values."""
        kinds = list(self._whole.values()) if kind is None else [self._find(self._whole, kind)]
        forms = [form for row in kinds for form in row.forms]
        for name, value in fields.items():
            declared = [form.by_name[name] for form in forms if name in form.by_name]
            whose = "of an event" if kind is None else f"of a {kind} event"
            if not declared:
                names = sorted({name for form in forms for name in form.by_name})
                raise EventError(f"there is no field {name!r} {whose}; the fields are {', '.join(names)}")
            errors = [error for field in declared if (error := _error(field, value))]
            if len(errors) == len(declared):
                raise EventError(f"{kind or 'event'}: {errors[0]}")

    def _find(self, kinds: Mapping[str, Kind], name: Any) -> Kind:
        found = kinds.get(name) if isinstance(name, str) else None
        if found is None:
            raise EventError(f"event: there is no kind {name!r:.60}; the kinds are {', '.join(sorted(self.kinds))}")
        return found


def _error(field: Field, value: Any) -> EventError | None:
    try:
        field.encode(value)
    except EventError as error:
        return error
    return None

"""The page tables that a stream of another tool goes through: of a snapshot or a dump, or made by a policy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emu.cli.arguments import UsageError, number_from, physical_address
from emu.cli.hostmemory import available_memory
from emu.lab.batch import StreamError
from emu.linux.event_kind import printable

if TYPE_CHECKING:
    from emu.lab.page_policy import PageMapper
    from emu.lab.table_mapper import TableMapper
    from emu.trace.pt.tables import PageTablesSnapshot


#: Room for tables where the host has next to none.
_FEW_TABLES = 1 << 20
#: As emu.lab.page_policy.PagePolicy, which is imported late.
_POLICIES = (
    ("4k", "4 KiB each, in the order in which they are used (the default)"),
    ("thp", "2 MiB each"),
    ("1g", "1 GiB each"),
    ("identity", "4 KiB, where the physical address is the virtual one"),
)


def add_tables(add: Callable[..., Any]) -> None:
    """The options that say how pages are mapped where a stream has no page tables, of which one may be given."""
    add(
        "--pages", choices=[policy for policy, _ in _POLICIES],
        help="how pages are mapped where a stream of another tool has no page tables: "
        + ", ".join(f"{policy}, {meaning}" for policy, meaning in _POLICIES),
    )  # fmt: skip
    add(
        "--v2p", metavar="FILE",
        help="where pages are, and of what size: the v2p.textproto that DynamoRIO writes beside a memtrace",
    )  # fmt: skip
    add(
        "--tables", metavar="FILE",
        help="the page tables of a stream of another tool: those that `unimmu pt --save` wrote, or of a dump of QEMU "
        "(dump-guest-memory); accesses that would fault are left out, and counted",
    )  # fmt: skip


def add_spaces(add: Callable[..., Any]) -> None:
    """Whose tables these are."""
    add(
        "--pid", type=number_from(1), metavar="N",
        help="with --tables: every access goes through those of process N (default: the one that the stream names)",
    )  # fmt: skip
    add(
        "--cr3", type=physical_address, metavar="ADDRESS",
        help="with --tables: every access goes through those with this top table",
    )  # fmt: skip


def check(arguments: argparse.Namespace) -> None:
    """:class:`UsageError` for options that say whose tables are meant, and none are given."""
    for name in ("pid", "cr3"):
        if getattr(arguments, name) is not None and arguments.tables is None:
            raise UsageError(f"--{name}: whose page tables? --tables names the file that has them")
    if arguments.pid is not None and arguments.cr3 is not None:
        raise UsageError("--pid and --cr3 exclude each other: each says whose page tables are meant")


def made_by_policy(arguments: argparse.Namespace, copies: int) -> PageMapper:
    """What makes the tables of a stream that has none, as --pages or --v2p say.  :class:`StreamError`.

    ``copies``: how many models have tables of their own besides; all together are not to use more memory than the host
    has.
    """
    from emu.lab.page_policy import TABLE_BYTES, Frames, PageMapper, PagePolicy
    from mmu.memory import PAGE_SIZE

    frames = None if arguments.v2p is None else Frames.read(arguments.v2p)
    available = available_memory()
    most = TABLE_BYTES if available is None else min(TABLE_BYTES, max(available // (1 + copies), _FEW_TABLES))
    return PageMapper(PagePolicy(arguments.pages or PagePolicy.FOUR_K.value), frames, most // PAGE_SIZE * PAGE_SIZE)


def read_by(arguments: argparse.Namespace) -> dict[str, str]:
    """The files that a command reads, and what they are."""
    read = {arguments.file: "the stream"}
    if arguments.tables is not None:
        read.setdefault(arguments.tables, "what has the page tables")
    return read


def check_stream(arguments: argparse.Namespace, has_tables: bool) -> None:
    """:class:`UsageError` for options that say which tables a stream goes through that has its own."""
    for name in ("pages", "v2p", "tables"):
        if has_tables and (given := getattr(arguments, name, None)) is not None:
            raise UsageError(f"--{name} {given}: {arguments.file} has the page tables of the run that it is of")


def mapper_of(arguments: argparse.Namespace) -> TableMapper:
    """What finds accesses in the tables.  :class:`UsageError` if there are none, or not those that are meant."""
    from emu.lab.table_mapper import TableMapper
    from emu.trace.pt.file import BadSnapshot
    from emu.trace.pt.opened import open_tables

    name: str = arguments.tables
    try:
        snapshot = open_tables(name, () if arguments.cr3 is None else (arguments.cr3,))
    except OSError as error:
        raise UsageError(f"--tables {name}: {error.strerror}") from None
    except BadSnapshot as error:
        raise UsageError(f"--tables {name}: {error}") from None
    return TableMapper(snapshot, _spaces(arguments, snapshot))


def _spaces(arguments: argparse.Namespace, snapshot: PageTablesSnapshot) -> Callable[[int], int | None]:
    """The top table of a process of the stream, whose number is 0 where the stream names none."""
    name, there = printable(arguments.tables), _there(snapshot)
    if arguments.cr3 is not None:
        chosen = snapshot.tables.get(arguments.cr3)
        if chosen is None or chosen.level != snapshot.levels:
            raise UsageError(f"--cr3 {arguments.cr3:#x}: {name} has no top table there ({there})")
        return lambda pid: int(arguments.cr3)
    if arguments.pid is not None:
        space = snapshot.space_of(arguments.pid)
        if space is None:
            raise UsageError(f"--pid {arguments.pid}: {name} has no such process ({there})")
        return lambda pid: space.pgd
    whole = {space.pgd for space in snapshot.processes or snapshot.spaces}

    def cr3_of(pid: int) -> int | None:
        found = snapshot.space_of(pid)
        if found is not None:
            return found.pgd
        if pid and snapshot.processes:
            return None
        if pid:
            raise StreamError(f"the stream is of process {pid}, and {name} names no processes; --cr3 says it ({there})")
        if len(whole) != 1:
            raise StreamError(f"the stream names no process; --pid or --cr3 says whose tables of {name} ({there})")
        return next(iter(whole))

    return cr3_of


def _there(snapshot: PageTablesSnapshot) -> str:
    """Whose tables there are, in words."""
    from emu.trace.pt.sharing import spelled

    pids = sorted(pid for space in snapshot.spaces for pid in space.pids)
    if pids:
        return f"there are processes {spelled(pids)}" if len(pids) > 1 else f"there is process {pids[0]}"
    return f"there is {', '.join(f'{space.name}: {space.pgd:#x}' for space in snapshot.spaces) or 'none'}"


def tell(arguments: argparse.Namespace, mapper: TableMapper | None) -> None:
    """Say what was left out."""
    if mapper is not None and mapper.left_out.accesses:
        print(f"\n left out, by the page tables of {printable(arguments.tables)}: {mapper.left_out.told()}")

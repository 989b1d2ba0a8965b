"""Many processes join and leave one region at random, with a seed; the audit after each step."""

from __future__ import annotations

import random

import pytest

from emu.testing import GuestMachine, assert_same_frame, assert_shares_table
from tests.exhaustive import by_default

TIB = 1 << 40
PAGE = 4096
PAGES = 2048  # 8 MiB: several slots at level pte
PROCESSES = by_default(24, 64)
#: Where windows may lie, in TiB.
PLACES = (2, 3, 5, 8)


class Member:
    """A process that joins, touches pages, perhaps forks, and leaves, in one of several ways.

    Between its steps it stops at a mark.  In each page that it touches it has its own word.
    """

    def __init__(self, machine: GuestMachine, rng: random.Random, number: int, size: int) -> None:
        self.place = rng.choice(PLACES) * TIB
        self.pages = [rng.randrange(PAGES) for _ in range(rng.randrange(1, 5))]
        #: Each step, and what it must print.
        self.steps = [
            (f'@fd = open "/sys/fs/mshare/r" O_RDWR; @w = mmap {self.place} {size} RW MAP_SHARED|MAP_FIXED fd 0', "")
        ]
        for n, page in enumerate(self.pages):
            at = f"w+{page * PAGE + 8 * number}"
            before = number if page in self.pages[:n] else 0
            unlink = f"; @madvise w+{page * PAGE} 4K 4" if rng.random() < 0.3 else ""
            self.steps.append((f"load {at}; store {at} {number}{unlink}", f"load = {before}\nstore = 0\n"))
        if rng.random() < 0.3:
            word = f"w+{self.pages[0] * PAGE + 8 * number}"
            self.steps.append((f"@fork c; load {word}; end; @wait c", f"load = {number}\n"))
        self.steps.append(
            rng.choice((
                (f"@munmap w {size}; load w", "load = SEGV_MAPERR\n"),
                ("@exit 0", ""),
                ("@p = getpid; @kill p 9", ""),
                ('@v = words "calls" "say 1; @mark 1" 0; @execve "/bin/calls" v 0', "say = 1\n"),
            ))
        )  # fmt: skip
        self.done = 1
        self.task = machine.guest("calls", "; @mark 1; ".join(script for script, _ in self.steps))
        self.printed = ""
        machine.run_until_mark(self.task, 1)

    def step(self, machine: GuestMachine) -> bool:
        """Run to the next mark, or the end; returns whether the process is still a member.  No other process runs
        meanwhile.
        """
        printed = len(machine.stdout)
        machine.resume(self.task)
        machine.marks.wait_for(self.task, 1)
        machine.run(lambda: machine.marks.arrived is self.task or not self.task.alive)
        self.printed += machine.stdout[printed:]
        self.done += 1
        if self.done < len(self.steps):
            return True
        expected = "".join(text for _, text in self.steps)
        # the program prints when it ends, becomes another or forks: one that is killed loses what it had not printed
        assert self.printed == expected or (self.task.exit_code == 9 and expected.startswith(self.printed))
        return False


@pytest.mark.unimmu(level=["pte", "pmd", "pud"], abi="v3", memory="24M")
def test_join_and_leave(machine: GuestMachine) -> None:
    rng = random.Random(f"seed for {machine.level}")
    size = max(machine.unit, PAGES * PAGE)
    region = f'@fd = open "/sys/fs/mshare/r" O_RDWR|O_CREAT 0600; @ftruncate fd {size}'
    machine.run_until_mark(machine.guest("calls", f"{region}; @create fd 0 {PAGES * PAGE} RW OBJECT; @mark 1"), 1)
    (host,) = machine.host_mms
    members: list[Member] = []
    touched: set[int] = set()
    most = 0
    for started in range(PROCESSES + 1):
        # one more joins, and then some steps of any; in the end all of them, to the last
        if started < PROCESSES:
            members.append(Member(machine, rng, started + 1, size))
        most = max(most, len(members))
        for _ in range(rng.randrange(5)) if started < PROCESSES else iter(lambda: not members, True):
            if members:
                member = rng.choice(members)
                touched |= {member.pages[member.done - 1]} if 0 < member.done <= len(member.pages) else set()
                if not member.step(machine):
                    members.remove(member)
                assert machine.audit() == []
                assert host.rss_cache == len(touched)
                look_at_pairs(machine, members)
    assert most >= 10
    machine.finish()
    assert machine.host_mms == [host]  # it has a name still, and nobody maps it
    assert machine.kernel.share_counts.items() == []


def look_at_pairs(machine: GuestMachine, members: list[Member]) -> None:
    """Two processes that have a page both see the same frame, through the same table."""
    assert machine.level is not None
    seen: dict[int, Member] = {}
    for member in members:
        for page in member.pages:
            at = member.place + page * PAGE
            if not member.task.mm.tables.pte(at):
                continue
            other = seen.setdefault(page, member)
            if other is not member:
                assert_shares_table(other.task, member.task, other.place + page * PAGE, at, level=machine.level)
                assert_same_frame(other.task, member.task, other.place + page * PAGE, at)

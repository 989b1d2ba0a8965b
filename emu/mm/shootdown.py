"""TLB shootdowns: their IPIs, receivers and modelled cost."""

from __future__ import annotations

from typing import Any, NamedTuple

from mmu.record import record

#: The policy of an address space with tables of its own: the vCPUs that have it loaded (its mm_cpumask).
OWN = "mm"
#: Which vCPUs are told of a change of tables that others link to: every one, which then empties its TLB (the
#: flush_tlb_all of the third series); those that have an address space loaded that shares them (the design of 2026); or
#: only the one that makes the change (the early series, whose other vCPUs then use stale translations).
TLB_POLICIES = ("all", "sharers", "local")


_MHZ = 2_400


def to_ns(cycles: int) -> int:
    """Cycles of the model as time of the machine's clock."""
    return cycles * 1000 // _MHZ


class ShootdownCost(NamedTuple):
    """Cycles of a shootdown, as a linear model of a 2-socket server at 2.4 GHz; docs/cpus.md gives the source of each
    number.
    """

    #: The sender: to send, and to wait for the acknowledgements of the receivers.
    send: int = 5_900
    each_receiver: int = 570
    #: A receiver: to take the interrupt and to return.
    interrupt: int = 1_000
    #: To invalidate one page, or everything.
    invlpg: int = 336
    everything: int = 336

    def invalidation(self, pages: int | None) -> int:
        """Cycles for one CPU to invalidate ``pages`` pages (None: everything)."""
        return self.everything if pages is None else pages * self.invlpg

    def of_sender(self, receivers: int) -> int:
        """Cycles that the sender loses by the IPIs, without its own invalidation, which it owes anyway."""
        return self.send + receivers * self.each_receiver

    def of_receiver(self, pages: int | None) -> int:
        """Cycles that one receiver loses."""
        return self.interrupt + self.invalidation(pages)


@record(eq=False, repr=False)
class PolicyCounters:
    """The figures of one policy: changes that were flushed, those that needed a shootdown, IPIs, and cycles."""

    flushes: int = 0
    sent: int = 0
    ipis: int = 0
    cost_cycles: int = 0


class Shootdowns:
    """The figures of a machine with ``cpus`` vCPUs."""

    def __init__(self, cpus: int, cost: ShootdownCost) -> None:
        self.cost = cost
        self.by_policy = {policy: PolicyCounters() for policy in (OWN, *TLB_POLICIES)}
        self.sent_by = [0] * cpus
        self.received_by = [0] * cpus

    def count(self, policy: str, sender: int, pages_of: dict[int, int | None]) -> tuple[int, int]:
        """Count a shootdown; ``pages_of`` has for each receiver the number of pages that it invalidates (None:
        everything).

        Returns the sender's cycles, and the total.
        """
        counters = self.by_policy[policy]
        of_sender = self.cost.of_sender(len(pages_of))
        total = of_sender + sum(self.cost.of_receiver(pages) for pages in pages_of.values())
        counters.sent += 1
        counters.ipis += len(pages_of)
        counters.cost_cycles += total
        self.sent_by[sender] += 1
        for receiver in pages_of:
            self.received_by[receiver] += 1
        return of_sender, total

    def report(self) -> dict[str, Any]:
        """The figures for ``--json``."""
        each = {policy: vars(counters).copy() for policy, counters in self.by_policy.items()}
        total = {name: sum(one[name] for one in each.values()) for name in ("sent", "ipis", "cost_cycles")}
        return {**total, "by_policy": {policy: one for policy, one in each.items() if one["flushes"]}}

"""How long a machine for tests may run at a time: limits that a test can count on, and one of host time behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.machine import Machine

#: Instructions of all processes together: 1 or 2 seconds, with a modelled TLB about 15.
DEFAULT_INSTRUCTIONS = 500_000_000
#: Seconds of the machine's own clock, which jumps over the time when every process sleeps.
DEFAULT_GUEST_S = 3600.0
#: Seconds of host time, for what the others do not end in time.
DEFAULT_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Limits:
    """What one call that runs the machine may take.  The first two stop it at the same point every time.

    ValueError for a limit that is not above 0.

    >>> Limits().instructions
    500000000
    """

    instructions: int = DEFAULT_INSTRUCTIONS
    guest_s: float = DEFAULT_GUEST_S
    timeout_s: float = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        for name, value in (
            ("max_instructions", self.instructions), ("max_guest_s", self.guest_s), ("timeout_s", self.timeout_s)
        ):  # fmt: skip
            if not value > 0:
                raise ValueError(f"{name} should be above 0, and is {value}")


class Watch:
    """Watches a machine from now on, until a limit is reached."""

    def __init__(self, machine: Machine, limits: Limits) -> None:
        self._clock, self._cpu, self._limits = machine.kernel.clock, machine.kernel.cpu, limits
        self._instructions, self._ns = self._cpu.clock, self._clock.now_ns()

    def reached(self) -> str:
        """Which limit has been reached, as half a sentence; empty if none."""
        limits = self._limits
        if self._cpu.clock - self._instructions >= limits.instructions:
            return f"{limits.instructions:,} instructions were not enough (max_instructions)"
        if self._clock.now_ns() - self._ns >= limits.guest_s * 1e9:
            return f"{limits.guest_s:,g} seconds of its clock were not enough (max_guest_s)"
        return ""

"""What a task has used (struct rusage, task_io_accounting)."""

from __future__ import annotations

from mmu.record import record


@record(eq=False, repr=False)
class Usage:
    """A task's resource usage, named as in getrusage where it has a name; ``hw_faults`` counts #PF exceptions,
    ``link_faults`` faults that linked a shared table.
    """

    min_flt: int = 0
    maj_flt: int = 0
    link_faults: int = 0
    hw_faults: int = 0
    #: Faults on user memory in the middle of the kernel's work.
    kernel_faults: int = 0
    #: Minor faults that were no exceptions: pages that the kernel brought in beforehand.
    populated: int = 0
    instructions: int = 0
    #: The kernel's work, in ns; an instruction is a nanosecond of user time.
    system_ns: int = 0
    #: The cycles that its translations cost, where the TLB model counts them.
    translation_cycles: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0
    #: How often it has come to another vCPU.
    migrations: int = 0
    #: Bytes read and written by calls, and how many calls (/proc/PID/io).
    rchar: int = 0
    wchar: int = 0
    syscr: int = 0
    syscw: int = 0
    #: The most pages that were resident at once, of the processes that have ended or called execve.
    max_rss: int = 0

    @property
    def cpu_ns(self) -> int:
        """CPU time: user time and the kernel's."""
        return self.instructions + self.system_ns

    def add(self, other: Usage) -> None:
        """Add another task's figures (for children that were waited for)."""
        most, figures = max(self.max_rss, other.max_rss), self.__dict__
        for name, figure in other.__dict__.items():
            if figure:
                figures[name] = figures.get(name, 0) + figure
        self.max_rss = most

"""Draws docs/architecture.svg: the floors of the house, from the ground up.

    python docs/draw_architecture.py

FLOORS is the picture; a test holds that it has the floors that imports obey, and that the file is what this draws.
"""

from __future__ import annotations

from pathlib import Path

TARGET = Path(__file__).with_name("architecture.svg")
WIDTH, MARGIN, GAP, HEIGHT = 900, 16, 8, 52

#: From the top down; each floor's rooms: what it is called, what is in it, and how wide it is drawn.
FLOORS: tuple[tuple[tuple[str, str, int], ...], ...] = (
    (("emu/testing", "the pytest plugin: machines as fixtures, assertions", 1),),
    (("emu/cli", "the unimmu command", 1),),
    (("emu/against", "a run held against the same on this Linux, under ptrace", 1),),
    (("emu/bench", "the benchmark suite", 1),),
    (("emu/lab", "streams of accesses, and what TLB models make of them", 1),),
    (("emu/trace", "events and --strace lines, and how they are shown", 1),),
    (("emu/machine.py", "Machine: memory, vCPUs, a kernel; programs are put in and run", 1),),
    (("emu/boot.py", "the list of initcalls: what is there when a machine starts", 1),),
    (
        ("emu/syscalls", "a row a call", 4), ("emu/proc", "/proc and /sys", 3), ("emu/audit", "recounts all", 3),
        ("msharefs", "regions, ABIs", 3), ("sharing", "other designs", 3),
    ),
    (("emu/kernel", "tasks, scheduling, signals, fork, exec, exit, futexes; knows no system call", 1),),
    (
        ("emu/ipc", "System V memory, semaphores, messages", 1),
        ("emu/net", "sockets: AF_UNIX, TCP, UDP, netlink", 1),
        ("emu/tty", "terminals and their line discipline", 1),
    ),
    (
        ("emu/fs", "the VFS, tmpfs, devfs, hugetlbfs, pipes; knows who calls, and no task", 3),
        ("emu/cpu", "a vCPU around one Uc", 2),
    ),
    (("emu/inline", "code that the engine has generated counts its own instructions", 1),),
    (("emu/instructions", "those that the engine does wrong: found in each new block, refused or executed here", 1),),
    (
        ("emu/mm", "frames, page tables, VMAs, address spaces, faults", 4),
        ("emu/engine", "native hooks: time slice, SYSCALL; x87 and SSE", 3),
        ("emu/arithmetic", "what some compute", 2),
    ),
    (
        ("mmu", "the hardware: memory, walk, TLBs, events, Unicorn", 5), ("emu/linux", "words that all speak", 4),
        ("guests", "C programs", 3),
    ),
    (("mmu/record.py", "how records are declared", 1),),
)  # fmt: skip

STYLE = """
  text { font: 15px system-ui, sans-serif; fill: #1f2328; } .what { font-size: 12px; fill: #57606a; }
  rect { fill: #f3f6fa; stroke: #8c9bab; } .ground rect { fill: #e4edf7; } .module rect { fill: #fdf3e1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .what { fill: #9aa7b4; }
    rect { fill: #1c2430; stroke: #5b6b7d; } .ground rect { fill: #1b3047; } .module rect { fill: #3a2f1a; }
  }
"""


def room(name: str, what: str, x: float, y: int, width: float, kind: str) -> str:
    middle = x + width / 2
    return (
        f'<g class="{kind}"><rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{HEIGHT}" rx="4"/>'
        f'<text x="{middle:.0f}" y="{y + 23}" text-anchor="middle">{name}</text>'
        f'<text class="what" x="{middle:.0f}" y="{y + 42}" text-anchor="middle">{what}</text></g>'
    )


def draw() -> str:
    height = len(FLOORS) * (HEIGHT + GAP) - GAP + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t">',
        '<title id="t">The floors of unimmu: imports go down only</title>',
        f"<style>{STYLE}</style>",
    ]
    for number, floor in enumerate(FLOORS):
        y = MARGIN + number * (HEIGHT + GAP)
        unit = (WIDTH - 2 * MARGIN - GAP * (len(floor) - 1)) / sum(share for *_, share in floor)
        x: float = MARGIN
        for name, what, share in floor:
            kind = "module" if name in ("msharefs", "sharing") else "ground" if number == len(FLOORS) - 1 else "floor"
            lines.append(room(name, what, x, y, unit * share, kind))
            x += unit * share + GAP
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    TARGET.write_text(draw(), "utf-8")

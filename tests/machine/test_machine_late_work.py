"""Stacks that are mapped, given rights and unmapped again and again natively: nobody can tell."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from emu.kernel import fastfaults, fastpath, latework
from emu.machine import Machine
from emu.mm import fastentries
from emu.mm.foreseen import Foreseen
from mmu.native import reference_mode
from tests.exhaustive import by_default
from tests.machine.test_machine_fast_path import Ran, run

_MAP, _GIVE, _UNMAP = "@p = mmap 0 140K {} PRIVATE|MAP_ANONYMOUS 0 0", "@mprotect p+8K 132K RW", "@munmap p 140K"
#: With what may be left of others around it.
_ALL = "@munmap p-64K 204K"
_STACK = "\n".join((_MAP.format("PROT_NONE"), _GIVE, "@store p+136K 5"))
_TURN = f"{_STACK}\n{_UNMAP}"


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whatever can be answered natively is, from the first time on; what has been is listed."""
    done: list[str] = []
    for name, value in (("_FEW_UNMAPPED", 0), ("_SOON", 1 << 40)):
        monkeypatch.setattr(fastpath, name, value)
    for name in ("_FEW", "_PATIENCE"):
        monkeypatch.setattr(latework, name, 1)
    monkeypatch.setattr(fastentries, "_FEW", 1)
    for cls, name in (
        (Foreseen, "make"), (latework.Standing, "renew"), (latework.Standing, "remove"),
    ):  # fmt: skip
        _note(monkeypatch, cls, name, done)
    return done


def _note(monkeypatch: pytest.MonkeyPatch, cls: type, name: str, done: list[str]) -> None:
    method = getattr(cls, name)

    def noting(*arguments: Any) -> Any:
        done.append(name)
        return method(*arguments)

    monkeypatch.setattr(cls, name, noting)


def _change_masks(machine: Machine) -> None:
    """Signal masks are changed natively, as if the program had done so often."""
    path = machine.kernel.entry.fast_path
    path.masks, path.ready = 1 << 40, True
    path._made()


def _both(script: str, **kind: Any) -> tuple[Ran, Ran]:
    """The run of a script natively, and by the kernel alone."""
    script = f"@n = mmap 0 4K RW MAP_SHARED|MAP_ANONYMOUS 0 0; store n 1\n{script}"  # tables stay for its sake
    ours = run("calls", standard_input=script, prepare=_change_masks, **kind)
    return ours, run("calls", standard_input=script, watched=True, **kind)


def _some(chance: Random) -> list[str]:
    """What a program may do with such memory, or beside it."""
    at = chance.randrange(35) << 12
    return [
        f"store p+{at} {chance.randrange(1 << 30)}",
        f"load p+{at}",
        "; ".join(f"store p+{page * 4}K {page}; load p+{page * 4 + 4}K" for page in chance.sample(range(35), 9)),
        f"mprotect p+{at} {chance.randrange(1, 9) * 4}K {chance.choice(('PROT_READ', 'RW', 'PROT_NONE'))}",
        f"munmap p+{at} {chance.randrange(1, 9) * 4}K",
        f"madvise p+8K 64K {chance.choice((4, 8, 12, 16))}",
        "mlock p+8K 16K",
        "syscall 237 p+8K 64K 1 0 0 0",  # mbind
        "@q = mmap 0 {} RW ANON 0 0; say p-q; store q 1; munmap q 140K".format(chance.choice(("8K", "140K"))),
        "@q = mmap p-16K 16K RW PRIVATE|MAP_ANONYMOUS 0 0; store q+4K 1",
        "@q = mmap p+140K 4K PROT_NONE PRIVATE|MAP_ANONYMOUS 0 0",
        "fork c; store p+16K 7; load p+20K; munmap p 140K; load p+16K; end; wait c; load p+16K",
        "thread t; store p+24K 3; @getpid; end; join t; load p+24K",
        "minor",
        "maps p 140K",
        "mmap p 140K PROT_NONE PRIVATE|MAP_ANONYMOUS|MAP_FIXED 0 0",
        *(f'field "/proc/self/status" "{name}"' for name in ("VmPeak", "VmHWM", "VmRSS", "VmPTE")),
        '@f = open "/proc/meminfo" 0; @b = bytes 2K; @read f b 2K; text b; @close f',
    ]


def _by_chance(seed: int) -> str:
    """Most results are not printed, since nothing stands any more behind a write(2)."""
    chance, lines = Random(seed), [_TURN]
    for _ in range(60):
        rights = chance.choices(("PROT_NONE", "PROT_READ", "RW"), (6, 1, 1))[0]
        lines.append(_MAP.format(rights))
        lines += chance.choices((_GIVE, "@mprotect p+4K 136K RW", "@mprotect p+8K 16K RW", ""), (9, 1, 1, 1))
        if chance.randrange(4):
            lines.append(f"store p+{chance.randrange(2, 34) * 4}K {chance.randrange(1 << 20)}")
            lines += [f"{what} p+{chance.randrange(35) * 4}K 1" for what in chance.choices(("load", "store"), k=2)]
        if not chance.randrange(6):
            lines += [chance.choice(_some(chance)) for _ in range(chance.randrange(1, 4))]
        lines += chance.choices((_UNMAP, "@munmap p 136K", "munmap p 139K", "", _ALL), (28, 1, 1, 1, 9))
        if not chance.randrange(6):
            lines += [chance.choice(("load p+16K", "store p+40K 1", "maps p 140K", "load p", "say p-0x7fff00000000"))]
    lines = [line.replace(" 1", "") if line.startswith("load") else line for line in lines]
    silent = {line for line in lines if line.startswith(("load", "store", "munmap", "madvise")) and chance.randrange(6)}
    return "\n".join(f"@{line}" if line in silent and ";" not in line else line for line in lines)


@pytest.mark.parametrize("seed", range(by_default(3, 9)))
def test_by_chance(seed: int, eager: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 3:  # nothing that stands is unmapped natively as long as faults may be answered elsewhere
        monkeypatch.setattr(fastfaults, "_FEW", 1 << 40)
    ours, kernels = _both(_by_chance(seed), seed=seed)
    assert ours.seen == kernels.seen
    assert eager.count("make") + eager.count("renew") > 5


def test_the_same_stack_again_and_again(eager: list[str]) -> None:
    pages = f"@load p+132K; {_STACK.replace('@store p+136K 5', '')}; {_UNMAP}"
    ours, kernels = _both(f"repeat 40\n{_TURN}\nend\nrepeat 20\n{_STACK}\n{pages}\nend")
    assert ours.seen == kernels.seen
    assert reference_mode() or eager.count("renew") > 15


@pytest.mark.parametrize(
    "between",
    [
        "munmap p 140K; load p+136K",
        "munmap p 140K; fork c; load p+136K; end; wait c",
        "munmap p 140K; maps p 140K",
        f"syscall 135 0x400000; {_UNMAP}; {_STACK}; maps p 140K; {_UNMAP}; {_STACK}; maps p 140K",  # READ_IMPLIES_EXEC
        f"{_UNMAP}; {_MAP.format('PROT_NONE')}; load p+136K; {_GIVE}; load p+136K",
        f"{_UNMAP}; {_MAP.format('PROT_NONE')}; @mprotect p+12K 8K RW; load p+136K; maps p 140K; munmap p 140K",
        "mprotect p+8K 132K PROT_READ; munmap p 140K; load p+136K",
        "@r = words 0x100000 0x100000; setrlimit 9 r; munmap p 140K; mmap 0 140K PROT_NONE PRIVATE|MAP_ANONYMOUS 0 0",
        f"mlockall 2; munmap p 140K; {_MAP.format('PROT_NONE')}; maps p 140K; load p+8K",
    ],
)
def test_what_comes_between(between: str, eager: list[str]) -> None:
    script = f"repeat 4\n{_TURN}\nend\n{_STACK}\n{between}"
    ours, kernels = _both(script)
    assert ours.seen == kernels.seen
    assert reference_mode() or "renew" in eager


@pytest.mark.parametrize("kind", [{"cpus": 2}, {"tlb": "skylake-sp"}, {"la57": True}, {"engine_fast": False}])
def test_other_machines(kind: dict[str, Any], eager: list[str]) -> None:
    ours, kernels = _both(_by_chance(3), **kind)
    assert ours.seen == kernels.seen


@pytest.mark.parametrize("words", ["costs joins 60", "many threads 40 20", "pthreads", "joins 60 7"])
def test_threads(words: str, eager: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastpath, "_FEW", 1)
    ours, kernels = run(words), run(words, watched=True)
    assert ours.seen == kernels.seen
    assert "joins" not in words or "make" in eager


def test_what_is_unmapped_natively_can_be_a_page_of_code(eager: list[str]) -> None:
    """A frame that had code is another one's afterwards."""
    code = "@q = mmap 0 8K RWX ANON 0 0; store q 0xc3; jump q"
    script = f"repeat 4\n{_TURN}\nend\n{_STACK}\nmunmap p 140K; {code}"
    ours, kernels = _both(script)
    assert ours.seen == kernels.seen

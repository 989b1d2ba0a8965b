"""Tests with fixed input that attack as well, for the table: what, by what, and where."""

from __future__ import annotations

STANDING: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("the end of a run",
     "Ctrl-C and `--timeout` at any moment from the first import on, calls that take long, outputs that nobody reads",
     ("tests/cli/test_cli_stop.py", "tests/machine/test_machine_stop.py", "tests/cli/test_cli_outputs.py")),
    ("what a process may ask for", "more of everything than there is: memory, descriptors, names, locks, pipes, mounts",
     ("tests/machine/test_machine_limits.py", "tests/machine/test_machine_bounds.py")),
    ("the loader", "every word of the headers set to ones; addresses beyond 2^64; segments over each other",
     ("tests/cli/test_cli_bad_input.py", "tests/machine/test_machine_elf.py")),
    ("memory calls", "random sequences, of which each result is compared with that of the host's kernel",
     ("tests/machine/test_machine_native_random.py", "tests/machine/test_machine_hugetlb_random.py")),
    ("the shared tables", "three processes that use a region in any order, held against a model and the share counts",
     ("tests/sharing/test_sharing_random.py",)),
    ("the walk and the TLBs",
     "random trees of tables, accesses and flushes, held against Unicorn's own walker and a second model",
     ("tests/mmu/test_mmu_properties.py", "tests/mmu/test_mmu_exact_random.py", "tests/mmu/test_mmu_slow_tlb.py")),
    ("the cache of object code", "directories of others, links, two starts at once",
     ("tests/mmu/test_mmu_codecache.py",)),
    ("Python threads", "eight machines at once", ("tests/machine/test_machine_python_threads.py",)),
    ("determinism", "a busy host, other hash seeds, one to four vCPUs", ("tests/machine/test_machine_determinism.py",)),
)  # fmt: skip

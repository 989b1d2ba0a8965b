"""Machine: memory, a CPU and a kernel, in which programs are installed and run."""

from __future__ import annotations

import errno
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from emu.boot import boot
from emu.fs.bind import Bind
from emu.fs.console import Console
from emu.fs.hostfile import HostDescriptor
from emu.kernel.kernel import Kernel
from emu.kernel.launch import CwdError as CwdError
from emu.kernel.launch import LaunchError as LaunchError
from emu.kernel.launch import install, launch
from emu.kernel.modules import Modules, find_modules, with_modules
from emu.kernel.report import Processes
from emu.kernel.sched import MAX_CPUS, StopReason
from emu.kernel.signal_state import SiCode, SigInfo
from emu.kernel.task import Task
from emu.linux.caller import Credentials
from emu.linux.clock import CLOCKS
from emu.linux.errors import LinuxError
from emu.linux.namespace import HOST_NAME_MAX
from mmu import PhysicalMemory
from mmu.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from emu.kernel.modules import Init
    from mmu.geometry import Geometry

DEFAULT_MEMORY = 256 << 20
#: The least memory of a machine, in bytes.
MIN_MEMORY = 1 << 20


class ParameterError(ValueError):
    """There can be no machine with a parameter as it is; ``parameter`` is which of :class:`Machine`'s."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class Mount(NamedTuple):
    """A file system to mount: ``TYPE:PATH[:OPTIONS]`` on the command line, as in mount(2).

    >>> Mount("msharefs", "/sys/fs/mshare", "level=pte,tlb=sharers").fstype
    'msharefs'
    """

    fstype: str
    path: str
    options: str = ""


class Machine:
    """A small Linux-like machine: physical memory, vCPUs and a kernel, without any process yet.

    >>> import guests
    >>> printed = bytearray()
    >>> machine = Machine(64 << 20, stdout=printed.extend)
    >>> task = machine.spawn(guests.path("fork_shared"))
    >>> machine.run().name, bytes(printed), machine.audit()
    ('EXITED', b'42\\n', [])

    ``memory`` is in bytes, a multiple of 4096 from 1 MiB on.  ``seed`` determines all random numbers.  ``tlb`` is a
    preset (:func:`mmu.load_preset`) or a :class:`mmu.Geometry`, and "off" means no modelled TLB; ``check_tlb`` compares
    each hit in it with the tables (:meth:`stale_translations`).  ``la57`` means page tables of 5 levels and user
    addresses of 56 bits.  ``cpus`` are vCPUs, at most 64, which take turns of ``turn`` ns (docs/cpus.md; with one
    vCPU, ``turn`` is the time slice of a task); of two numbers the seed chooses one between them each time.
    ``hugepages`` is how many pages of 2 MiB are set aside for MAP_HUGETLB (vm.nr_hugepages).

    ``swap`` is the size in bytes of a device, /dev/ram0, to which pages are swapped from the start.

    ``mounts`` replace or add to what modules mount; ``mount_options`` are options for the latter.  ``modules`` are
    names of installed kernel modules that are to be there besides unimmu's own (:mod:`emu.kernel.modules`); or, by
    name, the init functions of all that are to be there: ``{}`` means none.

    ``root`` is a directory of the host that is seen as ``/``; changes stay in the machine (docs/root.md).  ``binds``
    are more directories of the host, each at a place of its own.  ``hostname`` is what uname(2) says.
    With ``aslr`` the addresses of programs are random, by the seed.

    ``engine_fast``: the code that the engine generates counts its instructions itself, where the machine has proven
    that it can, and most page faults of private memory are resolved natively; False leaves that to a hook and to the
    kernel, which takes longer and counts the same (docs/engine.md, docs/architecture.md).  By default the environment
    variable UNIMMU_ENGINE_FAST says so: ``on``, or ``off``.

    ``stdin`` is a binary file (None: empty).  ``stdout`` and ``stderr`` are called with the bytes that guests write to
    descriptors 1 and 2 (None: the host's own streams).  To the guest these are pipes; a :class:`HostDescriptor` is what
    it is on the host: a file, a pipe, a terminal, or closed (docs/streams.md).

    ``clock`` says what time is to guests: ``virtual``, what they and the kernel do (docs/time.md), or ``real``, the
    host's.

    ``log`` is called with each message for the user, one sentence at a time (None: stderr).

    ParameterError, which is a ValueError, if such a machine cannot be made, or if something cannot be mounted.
    """

    def __init__(
        self,
        memory: int = DEFAULT_MEMORY,
        *,
        mounts: Sequence[Mount] = (),
        mount_options: Mapping[str, str] | None = None,
        seed: int = 0,
        tlb: str | Geometry = "off",
        check_tlb: bool = False,
        la57: bool = False,
        cpus: int = 1,
        turn: int | tuple[int, int] | None = None,
        clock: str = "virtual",
        hugepages: int = 0,
        swap: int = 0,
        modules: Modules | None = None,
        root: str | None = None,
        binds: Sequence[Bind] = (),
        hostname: str = "unimmu",
        aslr: bool = False,
        engine_fast: bool | None = None,
        stdin: BinaryIO | HostDescriptor | None = None,
        stdout: Any = None,
        stderr: Any = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        if memory < MIN_MEMORY:
            raise ParameterError("memory", f"a machine needs at least {MIN_MEMORY} bytes of memory, not {memory}")
        if not 1 <= cpus <= MAX_CPUS:
            raise ParameterError("cpus", f"a machine has from 1 to {MAX_CPUS} vCPUs, not {cpus}")
        shortest, longest = turn if isinstance(turn, tuple) else (turn or 1, turn or 1)
        if turn == 0 or not 1 <= shortest <= longest:
            raise ParameterError("turn", f"the turn of a vCPU is at least 1 ns, not {turn}")
        if clock not in CLOCKS:
            raise ParameterError("clock", f"a machine's clock is one of {', '.join(CLOCKS)}, not {clock!r}")
        if len(_encode(hostname)) > HOST_NAME_MAX:
            long = f"a host name has at most {HOST_NAME_MAX} bytes, not {len(_encode(hostname))}"
            raise ParameterError("hostname", long)
        self.ram = PhysicalMemory(memory)
        found = with_modules({} if isinstance(modules, Mapping) else find_modules(), modules)
        try:
            self.kernel = Kernel(
                self.ram, seed=seed, tlb=tlb, la57=la57, cpus=cpus, turn=turn, real_time=clock == "real",
                hostname=hostname, aslr=aslr, engine_fast=engine_fast, log=log,
            )  # fmt: skip
            self._processes = Processes(self.kernel)
            self._boot(found, root, binds)
        except LinuxError as error:
            raise ParameterError(
                "memory", f"a machine with {memory} bytes of memory cannot start: {error.words}"
            ) from None
        if swap:
            _swap_on(self.kernel, swap)
        self.kernel.huge_pages.resize(hugepages)
        if self.kernel.huge_pages.total < hugepages:
            room = self.kernel.huge_pages.total
            raise ParameterError(
                "hugepages", f"{memory} bytes of memory have room for {room} huge pages, not {hugepages}"
            )
        self.console = Console(
            self.kernel.vfs, stdin, stdout or _to_host(sys.stdout), stderr or _to_host(sys.stderr),
            self.kernel.scheduler.host, self.kernel.ttys.host_stream,
        )  # fmt: skip
        if check_tlb:
            from emu.mm.stale import StaleDetector  # with all that it needs: few runs do

            self.kernel.flusher.watch(StaleDetector())
        self._mount_all(mounts, mount_options or {})

    def _boot(self, modules: Mapping[str, Init], root: str | None, binds: Sequence[Bind]) -> None:
        if root is None and not binds:
            boot(self.kernel, modules)
            return
        from emu.fs.hostroot import HostFiles  # few runs see files of the host

        files = HostFiles(self.kernel.vfs, self.kernel.log_once)
        try:
            boot(self.kernel, modules, None if root is None else lambda kernel: files.mount_root(root))
        except ValueError as error:
            raise ParameterError("root", str(error)) from None
        for bind in binds:
            try:
                files.bind(bind)
            except ValueError as error:
                raise ParameterError("binds", str(error)) from None

    def _mount_all(self, mounts: Sequence[Mount], options: Mapping[str, str]) -> None:
        taken = {mount.path.rstrip("/") for mount in mounts}
        chosen = [f"{name}={value}" for name, value in options.items()]
        defaults = [
            Mount(fstype, path, ",".join(filter(None, (given, *chosen))))
            for fstype, path, given in self.kernel.default_mounts
            if path not in taken
        ]
        said = {word for mount in mounts for word in mount.options.split(",")}
        if not defaults and (lost := [word for word in chosen if word not in said]):
            there = "mounts take the place of every" if self.kernel.default_mounts else "no module mounts a"
            raise ParameterError("mount_options", f"{there} file system that could take {', '.join(lost)}")
        for mount in (*defaults, *mounts):
            if mount.fstype not in self.kernel.vfs.filesystems:
                known = ", ".join(sorted(self.kernel.vfs.filesystems))
                raise ParameterError("mounts", f"there is no file system {mount.fstype!r} (there are: {known})")
            try:
                self.kernel.vfs.mkdir(mount.path)
            except LinuxError as error:
                if error.errno not in (errno.EEXIST, errno.EPERM, errno.EROFS):
                    why = f"cannot make the mount point {mount.path}: {error.words}"
                    raise ParameterError("mounts", why) from None
            try:
                if self.kernel.vfs.is_root(mount.path):
                    raise ParameterError("mounts", f"cannot mount {mount.fstype} on {mount.path}, which is the root")
                self.kernel.vfs.mount(mount.fstype, mount.path, mount.options, source=mount.fstype)
            except LinuxError as error:
                why = f"cannot mount {mount.fstype} on {mount.path} with options {mount.options!r}: {error.words}"
                raise ParameterError("mounts", why) from None

    # -- programs --------------------------------------------------------------------------------------------------

    def install(self, host_path: str | pathlib.Path, guest_path: str | None = None) -> str:
        """Copy a host file into the machine (by default to /bin/NAME, with mode 755), and return its path there.

        LaunchError if the file cannot be read, or does not fit.

        >>> import guests
        >>> Machine(16 << 20, modules={}).install(guests.path("hello"))
        '/bin/hello'
        """
        return install(self.kernel, host_path, guest_path)

    def spawn(
        self,
        program: str | pathlib.Path,
        arguments: Sequence[str | bytes] = (),
        env: Mapping[str, str] | None = None,
        *,
        in_guest: bool = False,
        credentials: Credentials | None = None,
        cwd: str = "/",
        argv0: str | None = None,
    ) -> Task:
        """Start a program: a file of the host, which is installed first, or (``in_guest``) a file in the machine.

        It runs when the machine runs.  argv[0] is the program as given (or ``argv0``), and ``arguments`` follow it;
        ``env`` is the whole environment; ``credentials`` are its rights (None: root's), ``cwd`` its working directory.
        LaunchError if it cannot run, CwdError where that is for ``cwd``.  The task is the process's first thread.

        >>> import guests
        >>> printed = bytearray()
        >>> machine = Machine(16 << 20, modules={}, stdout=printed.extend)
        >>> task = machine.spawn(guests.path("calls"), ["say 42"])
        >>> reason = machine.run()
        >>> bytes(printed), exit_status(task.exit_code)
        (b'say = 42\\n', 0)
        """
        path = str(program) if in_guest else self.install(program)
        argv = [_encode(str(program) if argv0 is None else argv0), *(_encode(a) for a in arguments)]
        envp = [_encode(f"{k}={v}") for k, v in (env or {}).items()]
        return launch(
            self.kernel, self.console.install, path, argv, envp, program=program,
            credentials=credentials or Credentials(), cwd=cwd,
        )  # fmt: skip

    # -- running ---------------------------------------------------------------------------------------------------

    def run(
        self,
        until: Callable[[], bool] | None = None,
        timeout_s: float | None = None,
        *,
        interrupted: Callable[[], bool] | None = None,
    ) -> StopReason:
        """Run until every process has ended, or all of them wait for ever, or ``until()`` holds, or ``timeout_s``
        seconds of host time have passed.  ``until`` is asked once a turn of a vCPU, and the time looked at, or
        ``interrupted()`` asked instead, every few milliseconds at least.

        The result says which of these happened.  Another call continues where this one stopped.

        >>> import guests
        >>> machine = Machine(16 << 20, modules={})
        >>> task = machine.spawn(guests.path("spin"))
        >>> machine.run(until=lambda: task.usage.instructions > 1_000_000).name
        'CONDITION'
        """
        self.kernel.entry.fast_path.run_begins()
        return self.kernel.scheduler.run(self.kernel.entry.run, until, timeout_s, interrupted)

    def stop(self) -> None:
        """Have :meth:`run` return soon, with CONDITION: before the next block of code, and out of a system call that
        works on much memory.  For handlers of signals, and for what is called while the machine runs.
        """
        self.kernel.stop.request()

    def send_signal(self, task: Task, signo: int) -> None:
        """Send a signal to a process as the machine's owner would: from process 0, which may do everything."""
        self.kernel.signals.send_to_process(task, signo, SigInfo(signo, SiCode.USER))

    def kill_all(self) -> None:
        """End every process at once (SIGKILL)."""
        self.kernel.stop.begin(None)  # no run is to end now: what that cut off is done
        for task in list(self.kernel.tasks.values()):
            if task.alive:
                self.kernel.exit(task, 9)
        self.kernel.end_init()

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> list[Task]:
        """Every process that lives, by pid: its leader."""
        leaders = {task.tgid: task.group.leader for task in self.kernel.tasks.values() if task.alive}
        return [leader for _, leader in sorted(leaders.items())]

    @property
    def counters(self) -> dict[str, int]:
        """What the machine has done so far: instructions, context switches, shootdowns, and by the names of
        :class:`mmu.Counters` what its MMU has.

        >>> import guests
        >>> machine = Machine(16 << 20, modules={}, stdout=lambda data: None)
        >>> task, reason = machine.spawn(guests.path("hello")), machine.run()
        >>> machine.counters["page_faults"]
        2
        """
        from dataclasses import asdict  # late: it takes long to import

        kernel = self.kernel
        return {
            "instructions": kernel.cpu.clock,
            "context_switches": kernel.scheduler.switches,
            "shootdowns": sum(policy.sent for policy in kernel.flusher.shootdowns.by_policy.values()),
            **asdict(kernel.cpu.mmu.counters),
        }

    def audit(self, *, tlbs: bool | None = None) -> list[str]:
        """Recount every table, frame, reference and link; each finding is a sentence, and there should be none.

        ``tlbs``: look for translations in the modelled TLBs that the tables do not confirm (default: with
        ``check_tlb``).  It may be called at any time between two runs, and changes nothing.
        """
        from emu.audit import audit  # 6 ms, and few runs ask for it

        return audit(self.kernel, tlbs)

    def stale_translations(self) -> list[str]:
        """With ``check_tlb``: a sentence for each hit in a modelled TLB that the tables no longer confirmed.  It names
        the process that changed the entry, and says what became of the flush that the change owed.
        """
        return self.kernel.flusher.stale_findings()

    def processes(self) -> list[dict[str, Any]]:
        """Figures of every process, ended ones included, by pid: the section ``processes`` of ``--json``.

        Sizes are in bytes; ``exit_status`` is None while the process lives.

        >>> import guests
        >>> machine = Machine(16 << 20, modules={}, stdout=lambda data: None)
        >>> task, reason = machine.spawn(guests.path("hello")), machine.run()
        >>> (hello,) = machine.processes()
        >>> hello["pid"], hello["exit_status"], hello["minor_faults"]
        (100, 0, 2)
        """
        return self._processes.describe()


def exit_status(status: int) -> int:
    """A wait status (wait(2)) as a shell shows it: the exit code, or 128 + the signal.

    >>> exit_status(3 << 8), exit_status(9)
    (3, 137)
    """
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8


def _swap_on(kernel: Kernel, size: int) -> None:
    """Swap to a device of this size.  ParameterError."""
    from emu.fs.ramdisk import add_ramdisk  # few machines have one
    from emu.mm.swapfile import MAX_PAGES
    from emu.mm.swapstore import HostStore, plain_area

    pages = size >> PAGE_SHIFT
    if size % PAGE_SIZE or not 2 <= pages <= MAX_PAGES:
        most = MAX_PAGES << PAGE_SHIFT
        possible = f"from 8192 to {most} bytes, a multiple of 4096"
        raise ParameterError("swap", f"a device for swap has {possible}, not {size}")
    try:
        store = HostStore(kernel.ram, pages)
    except (OSError, OverflowError) as error:
        raise ParameterError(
            "swap", f"the host refuses {size} bytes for swap: {getattr(error, 'strerror', error)}"
        ) from None
    name, inode = add_ramdisk(kernel.vfs)
    kernel.swap_device = plain_area(store, pages, name, inode=inode, partition=True, synchronous=True)
    kernel.mm_context.swap.areas.add(kernel.swap_device)


def _to_host(stream: Any) -> Callable[[bytes], object]:
    """Writes bytes to a text stream of the host at once, so that the output of guest and host keeps its order."""

    def write(data: bytes) -> None:
        stream.buffer.write(data)
        stream.buffer.flush()

    return write


def _encode(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")

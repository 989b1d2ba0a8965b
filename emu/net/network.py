"""What every socket finds in its network: the clock, who calls, the descriptors on their way (struct net)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.fs.fasync import POLL_PRI, URGENT
from emu.fs.file import File
from emu.fs.libfs import PseudoFsType
from emu.net.device import Device, device_ioctl
from emu.net.packet import NOBODY, Identity, identity_of
from emu.net.scm import InFlight
from emu.net.sockfs import SOCKFS_MAGIC

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.vfs import Vfs
    from emu.linux.caller import Caller
    from emu.linux.clock import Clock
    from emu.linux.namespace import UserNamespace

#: net.core.somaxconn, as it starts.
SOMAXCONN = 4096
#: How long a worker takes to begin.
_GC_DELAY_NS = 500_000


class Network:
    """A network, without its sockets' families."""

    def __init__(
        self, vfs: Vfs, clock: Clock, current: Callable[[], Caller[Path] | None], tell: Callable[[str], None], *,
        user: UserNamespace | None = None, up: bool = True,
    ) -> None:  # fmt: skip
        """``current``: who makes the call that runs; ``tell`` says to the user, once, what is missing; ``user``: in
        which capabilities count for it; ``up``: whether lo is.
        """
        self.user, self.device = user, Device(up)
        self.vfs = vfs
        self.tell = tell
        self.mount = vfs.internal_mount(PseudoFsType("sockfs", SOCKFS_MAGIC))
        self.scm = InFlight()
        self.somaxconn = SOMAXCONN
        #: The sockets that are open, in the order of their making.
        self.open: dict[File, None] = {}
        self._clock = clock
        self._last_cookie = 0
        self._collecting = False
        self._current = current

    def new_cookie(self) -> int:
        """A number for one socket that asks for it."""
        self._last_cookie += 1
        return self._last_cookie

    def now(self) -> int:
        """The time of day in nanoseconds."""
        return self._clock.realtime_ns()

    def later(self, ns: int, function: Callable[[], None]) -> None:
        """Call a function in so many nanoseconds."""
        self._clock.add_timer(self._clock.now_ns() + ns, function)

    def collect_later(self) -> None:
        """A socket was closed: a worker looks soon for descriptors that nobody can receive (unix_schedule_gc)."""
        if self.scm.busy and not self._collecting:
            self._collecting = True
            self.later(_GC_DELAY_NS, self._collect)

    def _collect(self) -> None:
        self._collecting = False
        self.scm.collect()

    def who_calls(self) -> Identity:
        """Who makes the call that runs."""
        caller = self._current()
        return NOBODY if caller is None else identity_of(caller)

    def who_sends(self) -> Identity:
        """The same by its real ids, which packets are from that say nothing else (unix_maybe_add_creds)."""
        caller = self._current()
        return NOBODY if caller is None else Identity(caller.tgid, caller.credentials.uid, caller.credentials.gid)

    def send_sigurg(self, socket: File) -> None:
        """An urgent byte has arrived: the socket's owner, if it has one, is told."""
        if socket.owner is not None:
            socket.owner.send(-1, URGENT)
            if socket.fasync is not None:
                socket.fasync.tell(POLL_PRI)

    def device_ioctl(self, caller: Caller[Path], command: int, argument: int, family: int) -> int:
        """The ioctls of all sockets that ask about network devices.  LinuxError(ENOTTY)."""
        return device_ioctl(caller, self.device, self.user, command, argument, family, self.tell)

    def capable(self, capability: int) -> bool:
        """Whether who makes the call has a capability for this network."""
        caller = self._current()
        return caller is None or caller.credentials.capable_in(capability, self.user)

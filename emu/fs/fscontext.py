"""A file system that is being configured before it is mounted, or mounted anew (fs/fs_context.c, fs/fsopen.c)."""

from __future__ import annotations

import errno
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from emu.fs.anon import AnonFile
from emu.linux.errors import LinuxError
from emu.linux.fileflags import PAGE_SIZE, OpenFlags
from emu.mm.kmem import ANON_FILE

if TYPE_CHECKING:
    from emu.fs.dentry import Path
    from emu.fs.mount import VfsMount
    from emu.fs.resources import Resources
    from emu.fs.superblock import FileSystemType, SuperBlock

#: Parameters of every superblock (common_set_sb_flag); others of them have no effect here.
_SB_FLAGS = {"ro": True, "rw": False}
_IGNORED = frozenset({"dirsync", "lazytime", "mand", "sync", "async", "nolazytime", "nomand"})
#: What an option takes on the host, without its text.
_OPTION = 256


class Phase(Enum):
    """What can be done next (fs_context_phase)."""

    CREATE_PARAMS = 0
    AWAITING_MOUNT = 1
    RECONF_PARAMS = 2
    FAILED = 3


class FsContext(AnonFile):
    """The descriptor of fsopen(2) or fspick(2); reading it gives the messages of its file system."""

    #: With its messages and its source.
    struct_size = ANON_FILE + PAGE_SIZE

    def __init__(self, path: Path, kind: FileSystemType, mount: VfsMount | None = None) -> None:
        """``mount``: what is to be mounted anew."""
        super().__init__(path, int(OpenFlags.RDWR))
        self.kind = kind
        self.phase = Phase.CREATE_PARAMS if mount is None else Phase.RECONF_PARAMS
        self.sb: SuperBlock | None = None if mount is None else mount.sb
        self.source: str | None = None
        #: By name: the last of a name counts.
        self._options: dict[str, str] = {}
        self._read_only: bool | None = None
        #: What there was to say, of which the last few are kept (struct fc_log).
        self._log: deque[str] = deque(maxlen=8)
        #: It has made the file system, which exists at least as long.
        self._made = False

    def lseek(self, offset: int, whence: int) -> int:
        raise LinuxError(errno.ESPIPE)

    def read(self, count: int) -> bytes:
        if not self._log:
            raise LinuxError(errno.ENODATA)
        message = self._log[0].encode()
        if len(message) > count:
            raise LinuxError(errno.EMSGSIZE)
        self._log.popleft()
        return message

    def set(self, name: str, value: str | None) -> None:
        """A parameter (vfs_parse_fs_param).  LinuxError(EBUSY, EINVAL)."""
        if self.phase not in (Phase.CREATE_PARAMS, Phase.RECONF_PARAMS):
            raise LinuxError(errno.EBUSY)
        if name in _SB_FLAGS and value is None:
            self._read_only = _SB_FLAGS[name]
        elif name in _IGNORED and value is None:
            return
        elif name == "source":
            if value is None or self.source is not None:
                raise self._refused("Non-string source" if value is None else "Multiple sources")
            self.source = value
        elif self.kind.options is not None and name not in self.kind.options:
            raise self._refused(f"Unknown parameter '{name}'")
        else:
            self._keep_option(name, name if value is None else f"{name}={value}")

    def _keep_option(self, name: str, option: str) -> None:
        try:
            self.kind.check_options(option)
        except LinuxError:
            raise self._refused(f"Bad value for '{name}'") from None
        options = {**self._options, name: option}
        if len(",".join(options.values())) >= PAGE_SIZE:
            raise self._refused("Cumulative options too large")
        self.keep(sum(_OPTION + 2 * len(each) for each in options.values()))
        self._options = options

    def _refused(self, message: str) -> LinuxError:
        self._log.append(f"e {self.kind.name}: {message}\n")
        return LinuxError(errno.EINVAL)

    def create(self, resources: Resources) -> None:
        """FSCONFIG_CMD_CREATE.  LinuxError(EBUSY)."""
        if self.phase is not Phase.CREATE_PARAMS:
            raise LinuxError(errno.EBUSY)
        try:
            self.sb = self.kind.mount(resources, ",".join(self._options.values()))
        except LinuxError:
            self.phase = Phase.FAILED
            raise
        if self._read_only and not self.sb.active:
            self.sb.read_only = True
        self.sb.active += 1
        self._made = True
        self.phase = Phase.AWAITING_MOUNT

    def reconfigure(self) -> tuple[str, bool | None]:
        """FSCONFIG_CMD_RECONFIGURE: the options, and whether it becomes read-only.  LinuxError(EBUSY)."""
        if self.phase is not Phase.RECONF_PARAMS:
            raise LinuxError(errno.EBUSY)
        options, self._options = ",".join(self._options.values()), {}
        read_only, self._read_only = self._read_only, None
        return options, read_only

    def taken(self) -> None:
        """fsmount(2) has made a mount of it."""
        self.phase, self._options, self._read_only = Phase.RECONF_PARAMS, {}, None

    def release(self) -> None:
        if self.sb is not None and self._made:
            self.sb.active -= 1
            if not self.sb.active:
                self.sb.put_super()
                self.sb.drop_all()

"""The namespaces of a task (include/linux/nsproxy.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from emu.linux.namespace import LateNamespace, Namespace, TimeNamespace, UtsNamespace

if TYPE_CHECKING:
    from emu.fs.mount import MountNamespace
    from emu.ipc.namespace import IpcNamespace
    from emu.net.namespace import NetNamespace


class NsProxy(NamedTuple):
    """The namespaces of a task (struct nsproxy); its user namespace is among its credentials."""

    uts: UtsNamespace
    ipc: LateNamespace[IpcNamespace]
    mnt: MountNamespace
    net: LateNamespace[NetNamespace]
    cgroup: Namespace
    time: TimeNamespace
    #: Those of its children.
    pid_for_children: Namespace
    time_for_children: TimeNamespace

    def with_others(self, others: dict[str, Any]) -> NsProxy:
        """The same but for some, by their kinds."""
        return self._replace(**others)

"""The names of processes, as the events tell them."""

from __future__ import annotations

from emu.trace.batch import Note

#: The longest that Linux keeps (TASK_COMM_LEN).
_COMM = 15


#: The events that tell of programs and of their code.
OF_PROGRAMS = frozenset({"exec", "fork", "mmap"})


class Processes:
    """What each process runs, from its exec, or from that of the one that forked it; else from the code that it has."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def told(self, pid: int, note: Note) -> None:
        """An event of process ``pid``."""
        if note.kind == "exec":
            self._names[pid] = _comm(note.fields["path"])
        elif note.kind == "mmap":  # it ran before the recording: its program is mapped below all libraries
            self._names.setdefault(pid, _comm(note.fields["path"]))
        elif note.kind == "fork":
            self._names[note.fields["child"]] = self.name(pid)

    def name(self, pid: int) -> str:
        """The command's name, or a colon and the number where nobody has told it, as perf says it."""
        return self._names.get(pid, f":{pid}")


def _comm(path: str) -> str:
    return path.rpartition("/")[2][:_COMM]

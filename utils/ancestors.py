"""The processes that this one was started by (no TF)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PARENT, _STARTED = 1, 19  # places in /proc/<pid>/stat behind the name, which may hold anything


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from a later one of the same number by when it was started."""

    pid: int
    started: str

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        fields = _fields(self.pid)
        return fields is not None and fields[0] != "Z" and fields[_STARTED] == self.started


def ancestor(program: str, proc_of: str = "self") -> Process | None:
    """The nearest process above this one in whose command line a word names ``program``; None without one.

    None too where the system has no /proc.
    """
    fields = _fields(proc_of)
    while fields is not None and int(fields[_PARENT]) > 1:
        pid = int(fields[_PARENT])
        fields = _fields(pid)
        if fields is not None and program in _words(pid):
            return Process(pid, fields[_STARTED])
    return None


def _fields(pid: int | str) -> list[str] | None:
    try:
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _words(pid: int) -> list[str]:
    try:
        words = (_PROC / str(pid) / "cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []
    return [Path(word).name for word in words[:2]]  # the program, or an interpreter and its script

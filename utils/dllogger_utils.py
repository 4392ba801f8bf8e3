"""The run's log: JSON lines in the format of NVIDIA's DLLogger, and the same records on the console.

A JSON line is ``DLLL `` followed by an object with the keys timestamp, datetime, elapsedtime, type, step and data (or
metric and metadata). A console line is ``DLL <datetime> - <step> <key> : <value> <unit> ...``. Files are appended to,
never truncated, so that the log of a resumed run holds all its launches.

Each line goes to the operating system when it is written, so a killed process loses none. Against a failure of the
machine, ``flush_to_disk`` waits for the disk: once a checkpoint, because once a line would slow steps.
"""

from __future__ import annotations

import json
import math
import os
import stat
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from utils.console.pipes import go_on_without
from utils.console.screen import Rows, Screen, Step, Terminal
from utils.errors import UsageError
from utils.files.atomic_file import flush_to_disk
from utils.files.writable import require_writable
from utils.text import printable

JSON_PREFIX = "DLLL"
CONSOLE_PREFIX = "DLL"
PARAMETER = "PARAMETER"
SUMMARY: tuple[int, ...] = ()

_LATENCIES = ("avg", "p50", "p90", "p95", "p99")
METRICS: dict[str, str | None] = {
    **{f"{kind}_throughput": "images/s" for kind in ("train", "eval", "network")},
    **{f"{kind}_latency_{which}": "ms" for kind in ("train", "eval", "network") for which in _LATENCIES},
    **dict.fromkeys(("top1_accuracy", "top5_accuracy", "images", "loss", "input_wait_share")),
}


class DllScreen(Screen):
    """The screen for programs: records as ``DLL`` lines, and all other output that scripts parse.

    Args:
        stream: The stream to print to.
        bars: As for ``Screen``.
        messages: As for ``Screen``.
    """

    def __init__(self, stream: TextIO, bars: Terminal | None = None, messages: Terminal | None = None) -> None:
        super().__init__(bars, messages)
        self._stream = stream

    def record(self, step: Step, data: Mapping[str, Any], units: Mapping[str, str | None]) -> None:
        fields = (f"{key} : {printable(str(value))} {units.get(key, '')}" for key, value in data.items())
        self.lines(f"{CONSOLE_PREFIX} {_now()} - {step} {' '.join(fields)}")

    def lines(self, text: str) -> None:
        try:
            print(text, file=self._stream, flush=True)
        except OSError as error:  # its reader has ended, its terminal has vanished, or its disk is full
            go_on_without(self._stream, error.strerror)

    def table(self, rows: Rows) -> None:
        self.lines("\n".join(f"{printable(name)}  {printable(text)}" for name, text in rows))


class Logger:
    """Writes records to ``path`` and shows them on a screen; with neither, on ranks other than 0, it does nothing.

    Attributes:
        screen: The screen.
    """

    def __init__(self, path: Path | None, screen: Screen | None) -> None:
        self.screen = Screen() if screen is None else screen
        self._units: dict[str, str | None] = {}
        self._started = time.time()
        self._file: TextIO | None = None
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _require_log(path)
                unfinished = _ends_inside_a_line(path)
                self._file = path.open("a", buffering=1, encoding="utf-8", errors="backslashreplace")
                if unfinished:
                    self._file.write("\n")
                flush_to_disk(path.parent)  # the name of a new log
            except OSError as error:
                raise _unwritable(path, error) from error

    def metadata(self, metric: str, unit: str | None) -> None:
        """Declares a metric's unit, for the console lines that follow and for readers of the file."""
        self._units[metric] = unit
        self._write_json({"type": "METADATA", "metric": metric, "metadata": {"unit": unit}})

    def log(self, step: Step, data: Mapping[str, Any]) -> None:
        """Writes one record.

        Args:
            step: ``PARAMETER``, ``SUMMARY``, (epoch,) or (epoch, step).
            data: Values by key; numbers, strings, and lists and dicts of them.
        """
        plain = {key: _plain(value) for key, value in data.items()}
        self._write_json({"type": "LOG", "step": step, "data": plain})
        self.screen.record(step, plain, self._units)

    def flush_to_disk(self) -> None:
        """Waits until all records so far are on disk; a log that is no regular file, such as a pipe, has none."""
        if self._file is not None and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_json(self, record: dict[str, Any]) -> None:
        if self._file is None:
            return
        now = time.time()
        stamp = {"timestamp": str(now), "datetime": _now(), "elapsedtime": str(now - self._started)}
        self._file.write(f"{JSON_PREFIX} {json.dumps(stamp | record, ensure_ascii=False)}\n")


def open_log(path: Path | None, screen: Screen | None) -> Logger:
    """A logger that has already declared the units of all the project's metrics."""
    logger = Logger(path, screen)
    for metric, unit in METRICS.items():
        logger.metadata(metric, unit)
    return logger


def check_log(path: Path) -> None:
    """Refuses a path that ``Logger`` cannot append to, but writes nothing.

    Raises:
        UsageError: The folder cannot be made or written to, or the file is no log.
    """
    try:
        require_writable(path.parent)
        _require_log(path)
        if path.exists():
            path.open("ab").close()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"--results_dir {path.parent}: cannot be written to: {error.strerror}")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a log file, oldest first; a last line cut off by a kill is left out."""
    return read_records(path)[0]


def read_records(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of a log file, oldest first, and the number of all other lines."""
    records, damaged = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line.removeprefix(f"{JSON_PREFIX} "))
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            damaged += 1
    return records, damaged


def _require_log(path: Path) -> None:
    """Refuses to append to another program's file."""
    if path.is_file():
        with path.open("rb") as file:
            beginning = file.read(len(JSON_PREFIX))
        if beginning and beginning != JSON_PREFIX.encode():
            raise UsageError(f"--log_filename {path.name}: {path} exists and is not a log; nothing was written to it")


def _ends_inside_a_line(path: Path) -> bool:
    """Returns whether a log was cut off, so that the next record would be lost with its last one."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _now() -> str:
    return str(datetime.now())


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: NumPy scalars become Python's, non-finite numbers become strings."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

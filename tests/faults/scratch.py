"""A copy of the clone to put faults into, and test runs in it."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.catalogue import Fault

LONGEST_S, LAST_S = 600.0, 5.0
LIBRARIES = ("pytest", "numpy", "PIL.Image", "tensorflow")
"""Libraries that most tests import; loading takes longer than most tests, so all runs share it."""
_NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "__pycache__", "*.whl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a test run.

    Attributes:
        failed: The failed tests, in order.
        trouble: The reason that the run is inconclusive, such as a failed import; empty if it is conclusive.
        seconds: Duration of the run.
    """

    failed: tuple[str, ...] = ()
    trouble: str = ""
    seconds: float = 0.0


class Scratch:
    """A copy of a clone.

    Each run is a separate process, forked from one with the libraries but nothing of the clone loaded.

    Args:
        clone: The folder to copy.
        place: The folder of the copy, which must not exist yet.
        libraries: Modules to load once for all runs.
    """

    def __init__(self, clone: Path, place: Path, libraries: Sequence[str] = LIBRARIES) -> None:
        self._place = place
        self._environment = {
            "SAMPLE_DATA": str(clone.parent / "shared" / "data"),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            **os.environ,
        }
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the process that loads the libraries inherits it
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(list(libraries))
        shutil.copytree(clone, place, symlinks=True, ignore=_NOT_COPIED)
        if (clone / ".venv").exists():
            (place / ".venv").symlink_to((clone / ".venv").resolve())

    @contextlib.contextmanager
    def spoilt(self, fault: Fault) -> Iterator[None]:
        """Applies a fault for the duration of the block."""
        path = self._place / fault.file
        sound = path.read_text(encoding="utf-8")
        try:
            self._write(path, fault.apply(sound))
            yield
        finally:
            self._write(path, sound)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        """Writes a module and deletes its bytecode, which Python checks only by file size and second."""
        path.write_text(text, encoding="utf-8")
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def run(self, tests: Sequence[str], *, to_the_end: bool = False) -> Outcome:
        """Runs tests until one fails or, if asked, to the end."""
        started = time.monotonic()
        receiver, sender = self._processes.Pipe(duplex=False)
        arguments = (str(self._place), self._environment, [*tests] if to_the_end else ["-x", *tests], sender)
        process = self._processes.Process(target=_run_tests, args=arguments)
        process.start()
        sender.close()
        try:
            longest_s = None if to_the_end else LONGEST_S
            failed, trouble = receiver.recv() if receiver.poll(longest_s) else ((f"no end in {LONGEST_S:.0f} s",), "")
            process.join(LAST_S)  # time for the tests to clean up resources shared with other processes
        except EOFError:
            process.join()
            failed, trouble = (f"the tests' process ended with status {process.exitcode}",), ""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid or 0, signal.SIGKILL)  # with all processes that the tests have started
            process.join()
        return Outcome(failed=failed, trouble=trouble, seconds=time.monotonic() - started)


def _run_tests(place: str, environment: dict[str, str], arguments: list[str], sender: Any) -> None:
    """Runs tests in this process; sends the failed tests, and the reason if the tests could not run."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(place)
    clone = str(Path(__file__).resolve().parents[2])
    sys.path[:] = [place, *(path for path in sys.path if path not in ("", place, clone))]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    seen = _Failures()
    status = pytest.main(["-q", "--tb=no", "-p", "no:cacheprovider", *arguments], plugins=[seen])
    if status == pytest.ExitCode.OK:
        sender.send(((), ""))
    elif status == pytest.ExitCode.TESTS_FAILED and seen.tests:
        sender.send((tuple(seen.tests), ""))
    else:
        sender.send(((), seen.trouble or f"pytest ended with {status!r}"))


class _Failures:
    """Records failed tests and the first collection error."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.trouble = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.tests.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.trouble:
            self.trouble = f"{report.nodeid}: {report.longreprtext.strip().splitlines()[-1]}"

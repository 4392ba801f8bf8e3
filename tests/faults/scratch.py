"""A copy of the clone to spoil, and test runs in it."""

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
"""What most tests import, and what takes longer than most tests: it is loaded once, for all runs."""
_NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "__pycache__", "*.whl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the tests made of a copy.

    Attributes:
        failed: The tests that did, in their order.
        trouble: Why the run says nothing, such as a module that cannot be imported; empty where it does.
        seconds: How long it took.
    """

    failed: tuple[str, ...] = ()
    trouble: str = ""
    seconds: float = 0.0


class Scratch:
    """A copy of a clone.

    Each run is a process of its own, forked from one that has the libraries and nothing of the clone.

    Args:
        clone: The folder.
        place: Where the copy goes; not there yet.
        libraries: What is loaded once for all runs.
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
        """Puts a fault in for the block."""
        path = self._place / fault.file
        sound = path.read_text(encoding="utf-8")
        try:
            self._write(path, fault.apply(sound))
            yield
        finally:
            self._write(path, sound)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        """Writes a module, and forgets its bytecode, which is told from the text by size and second alone."""
        path.write_text(text, encoding="utf-8")
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def run(self, tests: Sequence[str], *, to_the_end: bool = False) -> Outcome:
        """Runs tests until one fails, or to the end whatever fails."""
        started = time.monotonic()
        receiver, sender = self._processes.Pipe(duplex=False)
        arguments = (str(self._place), self._environment, [*tests] if to_the_end else ["-x", *tests], sender)
        process = self._processes.Process(target=_run_tests, args=arguments)
        process.start()
        sender.close()
        try:
            longest_s = None if to_the_end else LONGEST_S
            failed, trouble = receiver.recv() if receiver.poll(longest_s) else ((f"no end in {LONGEST_S:.0f} s",), "")
            process.join(LAST_S)  # time to put away what the tests have shared with other processes
        except EOFError:
            process.join()
            failed, trouble = (f"the tests' process ended with status {process.exitcode}",), ""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid or 0, signal.SIGKILL)  # with whatever the tests have started
            process.join()
        return Outcome(failed=failed, trouble=trouble, seconds=time.monotonic() - started)


def _run_tests(place: str, environment: dict[str, str], arguments: list[str], sender: Any) -> None:
    """Runs in a process of its own: tells which tests failed, and why the tests could not run."""
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
    """Notes what fails."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.trouble = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.tests.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.trouble:
            self.trouble = f"{report.nodeid}: {report.longreprtext.strip().splitlines()[-1]}"

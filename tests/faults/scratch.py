"""A copy of the clone to put faults into, and test runs in it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.children import Children, last_line
from tests.faults.catalogue import AREAS, Fault

LONGEST_S = 600.0
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
        self._children = Children(libraries)
        shutil.copytree(clone, place, symlinks=True, ignore=_NOT_COPIED)
        for action in (["init", "--quiet"], ["add", "--all"]):  # tests ask git for the project's files
            subprocess.run(["git", *action], cwd=place, check=True)
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
        arguments = [*tests] if to_the_end else ["-x", *tests]
        longest = None if to_the_end else LONGEST_S
        ended = self._children.run(_run_tests, str(self._place), self._environment, arguments, longest=longest)
        if ended.value is not None:
            failed, trouble = ended.value
        elif ended.hung:
            failed, trouble = (f"no end in {LONGEST_S:.0f} s",), ""
        else:
            failed, trouble = (f"the tests' process {last_line(ended.error) or 'was killed'}",), ""
        return Outcome(failed=failed, trouble=trouble, seconds=ended.seconds)


def _run_tests(place: str, environment: dict[str, str], arguments: list[str]) -> tuple[tuple[str, ...], str]:
    """Runs tests in this process; returns the failed tests, and the reason if the tests could not run."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(place)
    clone = str(Path(__file__).resolve().parents[2])
    sys.path[:] = [place, *(path for path in sys.path if path not in ("", place, clone))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("main", "tests", *AREAS)]:
        del sys.modules[name]  # another user of the process that this one was forked from may have loaded it
    seen = _Failures()
    status = pytest.main(["-q", "--tb=no", "-p", "no:cacheprovider", *arguments], plugins=[seen])
    if status == pytest.ExitCode.OK:
        return (), ""
    if status == pytest.ExitCode.TESTS_FAILED and seen.tests:
        return tuple(seen.tests), ""
    return (), seen.trouble or f"pytest ended with {status!r}"


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

"""Writes the report of a run to its results folder at the end of the run (no TF)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from utils.config import RunConfig
from utils.errors import RunError
from utils.flags.table import WITH_REPORT
from utils.hooks.preemption import PreemptionHook
from utils.reporting.run_page import REPORT_NAME, write_run_report

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def report_at_end(run: RunConfig, log: Path | None, preemption: PreemptionHook) -> Iterator[None]:
    """Writes the report after the block has ended normally or with a ``RunError``; a failure here never ends the run.

    A block that fails before it logs anything gets no report.

    A launch stopped by a signal has no time for a report; the run continues later.

    Args:
        run: Configuration of the launch.
        log: Path of the log, which is closed by then; None on all ranks but 0.
        preemption: Knows whether a signal was received.
    """
    wanted = log if run.report and run.mode in WITH_REPORT else None
    before = _size(wanted)
    try:
        yield
    except RunError:
        if wanted is not None and _size(wanted) != before:
            _write(wanted, Path(run.results_dir))
        raise
    if wanted is not None and not preemption.received:
        _write(wanted, Path(run.results_dir))


def _size(log: Path | None) -> int | None:
    return log.stat().st_size if log is not None and log.is_file() else None


def _write(log: Path, results: Path) -> None:
    try:
        write_run_report(log, results)
    except Exception as error:  # the report is optional: the run itself is complete
        _log.warning("%s: the report cannot be written (%s); everything else is done", results / REPORT_NAME, error)

"""Leaves the report of a run beside its results once the run has ended (no TF)."""

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
    """Writes the report when what is inside has ended, well or by a ``RunError``; nothing that happens here ends a run.

    A launch that was stopped by a signal has no time for it, and goes on later.

    Args:
        run: What the launch does.
        log: The log, closed by then; None on all ranks but 0.
        preemption: Knows of signals.
    """
    wanted = log if run.report and run.mode in WITH_REPORT else None
    try:
        yield
    except RunError:
        if wanted is not None:
            _write(wanted, Path(run.results_dir))
        raise
    if wanted is not None and not preemption.received:
        _write(wanted, Path(run.results_dir))


def _write(log: Path, results: Path) -> None:
    try:
        write_run_report(log, results)
    except Exception as error:  # nobody asked for the report alone: the run has done what it was started for
        _log.warning("%s: the report cannot be written (%s); all else is done", results / REPORT_NAME, error)

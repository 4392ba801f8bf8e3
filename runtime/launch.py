"""One launch from parsed command to exit status."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path

from runtime.runner import Runner
from runtime.setup import set_up
from utils.checkpoints import wait_for_checkpoint
from utils.cmdline_helper import Command, to_flags
from utils.dllogger_utils import PARAMETER, open_log
from utils.errors import EXIT_FAILED, EXIT_PREEMPTED, EXIT_USAGE, RunError, UsageError
from utils.hooks.preemption import PreemptionHook
from utils.hooks.progress import console
from utils.hvd_utils import communicator
from utils.versions import versions

_log = logging.getLogger("main")


def launch(command: Command, preemption: PreemptionHook) -> int:
    """Runs the command, to its end or until a signal; returns the exit status, after a sentence where it is not 0."""
    config = command.config
    logging.basicConfig(
        level=config.run.log_level.upper(), stream=console(sys.stderr), format="%(levelname)s: %(message)s", force=True
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: _spell(record, command))
    logging.getLogger("tensorflow").setLevel(logging.WARNING)  # it tells of each restored file, as we do
    for note in command.notes:
        _log.warning("%s", note)
    try:
        return _launch(command, preemption)
    except UsageError as error:
        _log.critical("%s", error)
        return EXIT_USAGE
    except RunError as error:
        _log.critical("%s", error)
        return EXIT_FAILED
    except OSError as error:  # the disk or the folders under a run's feet
        _log.critical("%s: %s", error.filename or config.run.results_dir, error.strerror)
        return EXIT_FAILED


def _spell(record: logging.LogRecord, command: Command) -> bool:
    """Puts a message into the words of the command line, and lets it pass."""
    record.msg, record.args = command.spelled(record.getMessage()), None
    return True


def _launch(command: Command, preemption: PreemptionHook) -> int:
    run = command.config.run
    processes = communicator(os.environ)
    if run.watch_checkpoints and not wait_for_checkpoint(Path(run.checkpoint_dir), preemption):
        return EXIT_PREEMPTED
    report = Path(run.report_file) if run.report_file else Path(run.results_dir) / run.log_filename
    log_path = report if processes.rank == 0 else None
    with contextlib.closing(open_log(log_path, console() if processes.rank == 0 else None)) as logger:
        setup = set_up(command.config, processes)
        facts = {"precision": setup.precision.name, **versions()}
        logger.log(PARAMETER, {**to_flags(setup.config), **facts, "seed": setup.seed})
        return Runner(setup, processes, logger, preemption).run()

"""One launch from parsed command to exit status."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import tensorflow as tf

from runtime.device_errors import device_failure
from runtime.dry_run import dry_run
from runtime.outputs import written_files
from runtime.run_report import report_at_end
from runtime.runner import Runner
from runtime.session import gpu_names
from runtime.setup import set_up
from runtime.stopping import Stopping
from utils.checkpoints import wait_for_checkpoint
from utils.cmdline_helper import Command, to_flags
from utils.console.opening import open_screen
from utils.console.screen import Screen
from utils.dllogger_utils import PARAMETER, check_log, open_log
from utils.errors import EXIT_FAILED, EXIT_PREEMPTED, EXIT_USAGE, RunError, UsageError
from utils.flags.table import BY_NAME
from utils.hooks.preemption import PreemptionHook
from utils.hvd_utils import communicator
from utils.system.machine import machine_facts
from utils.system.versions import versions
from utils.system.watchdog import Pulse, Watchdog
from utils.text import printable

Work = Callable[[Command, PreemptionHook], int]
_log = logging.getLogger("main")


def launch(command: Command, preemption: PreemptionHook, work: Work | None = None, screen: Screen | None = None) -> int:
    """Runs the command to its end or until a signal; prints a sentence if it fails, and returns the exit status.

    Args:
        command: The parsed command line.
        preemption: Hook that receives signals.
        work: Function to call instead of the run or the dry run.
        screen: Screen to show the run on; None for the one that ``--console`` selects.
    """
    config = command.config
    screen = open_screen(config.run.console, os.environ) if screen is None else screen
    handler = screen.handler()
    handler.addFilter(lambda record: _spell(record, command))
    logging.basicConfig(level=config.run.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("tensorflow").setLevel(logging.WARNING)  # it logs each restored file, as this project does
    for note in command.notes:
        _log.warning("%s", note)
    try:
        if work is not None:
            return work(command, preemption)
        return (dry_run if command.dry_run else _launch)(command, preemption, screen)
    except UsageError as error:
        _log.critical("%s", error)
        return EXIT_USAGE
    except RunError as error:
        _log.critical("%s", error)
        return EXIT_FAILED
    except tf.errors.OpError as error:  # outside of a run's steps, whose errors name the step
        failure = device_failure(error)
        if failure is None:
            raise
        _log.critical("%s", failure)
        return EXIT_FAILED
    except OSError as error:  # a full disk, or folders that vanished
        _log.critical("%s", RunError(f"{error.filename or config.run.results_dir}: {error.strerror}"))
        return EXIT_FAILED


def _spell(record: logging.LogRecord, command: Command) -> bool:
    """Rewrites a message with the flag names of the command line, and with escapes in its paths.

    As a log filter, it passes every record.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(printable(str(value)) if isinstance(value, Path) else value for value in record.args)
    record.msg, record.args = command.spelled(record.getMessage()), None
    return True


def _sign(who: str, record: logging.LogRecord) -> bool:
    """Puts the process before a message that does not begin with one; as a log filter, it passes every record."""
    text = record.getMessage()
    record.msg, record.args = text if text.startswith("rank ") else f"{who}: {text}", None
    return True


def _launch(command: Command, preemption: PreemptionHook, screen: Screen) -> int:
    run = command.config.run
    processes = communicator(os.environ, fp16_compression=command.config.distributed.fp16_compression)
    leads = processes.rank == 0
    if not leads:
        for handler in logging.getLogger().handlers:  # rank 0 speaks for all
            handler.setLevel(logging.CRITICAL)
            handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
            handler.addFilter(partial(_sign, f"rank {processes.rank} on {socket.gethostname()}"))
        screen = Screen()
    stopping = Stopping(preemption, processes)
    if run.watch_checkpoints:
        found = wait_for_checkpoint(Path(run.checkpoint_dir), preemption) if leads else None
        if not processes.broadcast(found):
            return EXIT_PREEMPTED
    watchdog = Watchdog(
        processes,
        command.config.distributed.stall_timeout_s,
        lambda: Pulse(step=stopping.step, stop=preemption.received.name if preemption.received else None),
        preemption.pass_on,
    )
    log = run.log_path if leads else None
    with contextlib.ExitStack() as opened:
        opened.enter_context(report_at_end(run, log, preemption))
        opened.enter_context(watchdog)
        if log is not None:
            check_log(log)
        setup = set_up(command.config, processes)
        logger = opened.enter_context(contextlib.closing(open_log(log, screen)))  # a refused run leaves no trace in it
        machine = {**machine_facts(run.log_path.parent, os.environ), "gpus": [] if run.cpu else gpu_names()}
        facts = {"precision": setup.precision.name, "processes": processes.size, **versions(), **machine}
        flags = {name: value for name, value in to_flags(setup.config).items() if BY_NAME[name].recorded}
        logger.log(PARAMETER, {**flags, **facts, "seed": setup.seed})
        status = Runner(setup, processes, logger, stopping).run()
    if status != EXIT_PREEMPTED:
        screen.footer(written_files(setup.config, processes.size))
    return status

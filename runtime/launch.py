"""One launch from parsed command to exit status."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from runtime.batch_size.auto_batch import set_up_with_batch
from runtime.devices.errors import device_failure
from runtime.dry_run import dry_run
from runtime.messages import leave_to_rank_0
from runtime.reporting.outputs import written_files
from runtime.reporting.run_report import report_at_end
from runtime.runner import Runner
from runtime.session import gpu_names
from runtime.stopping import Stopping
from runtime.task import Setup
from utils.checkpoints import wait_for_checkpoint
from utils.cmdline_helper import Command, to_flags
from utils.console.pipes import discard_output
from utils.console.screen import Screen
from utils.dllogger_utils import PARAMETER, check_log, open_log
from utils.errors import EXIT_FAILED, EXIT_PREEMPTED, EXIT_USAGE, CheckpointError, RunError, UsageError
from utils.flags.table import BY_NAME
from utils.hooks.preemption import PreemptionHook
from utils.hvd_utils import communicator
from utils.system.machine import machine_facts
from utils.system.versions import versions
from utils.system.watchdog import Watchdog

Work = Callable[[Command, PreemptionHook], int]
_log = logging.getLogger("main")


def launch(
    command: Command, preemption: PreemptionHook, screen: Screen, watchdog: Watchdog, work: Work | None = None
) -> int:
    """Runs the command to its end or until a signal; prints a sentence if it fails, and returns the exit status.

    Args:
        command: The parsed command line.
        preemption: Hook that receives signals.
        screen: Screen to show the run on.
        watchdog: Watches the other processes.
        work: Function to call instead of the run or the dry run.
    """
    for note in command.notes:
        _log.warning("%s", note)
    try:
        if work is not None:
            return work(command, preemption)
        if command.dry_run:
            return dry_run(command, preemption, screen)
        return _launch(command, preemption, screen, watchdog)
    except UsageError as error:
        _log.critical("%s", error)
        return EXIT_USAGE
    except CheckpointError as error:
        _log.critical("%s (--model_dir, --finetune_checkpoint)", error)
        return EXIT_FAILED
    except RunError as error:
        _log.critical("%s", error)
        return EXIT_FAILED
    except tf.errors.OpError as error:  # outside of a run's steps, whose errors name the step
        failure = device_failure(error)
        if failure is None:
            raise
        _log.critical("%s", failure)
        return EXIT_FAILED
    except BrokenPipeError:  # nobody reads the output of a dry run or of a tool
        discard_output()
        return EXIT_FAILED
    except OSError as error:  # a full disk, or folders that vanished
        _log.critical("%s", RunError(f"{error.filename or command.config.run.results_dir}: {error.strerror}"))
        return EXIT_FAILED


def _launch(command: Command, preemption: PreemptionHook, screen: Screen, watchdog: Watchdog) -> int:
    run = command.config.run
    processes = communicator(os.environ, fp16_compression=command.config.distributed.fp16_compression)
    leads = processes.rank == 0
    if not leads:
        leave_to_rank_0(processes.rank)
        screen = Screen()
    stopping = Stopping(preemption, processes)
    watchdog.join(processes, lambda: stopping.step, lambda: stopping.seconds_in_step)
    if stopping.ends_run():  # while TensorFlow was loaded
        return EXIT_PREEMPTED
    if run.watch_checkpoints:
        found = wait_for_checkpoint(Path(run.checkpoint_dir), preemption) if leads else None
        if not processes.broadcast(found):
            return EXIT_PREEMPTED
    log = run.log_path if leads else None
    with contextlib.ExitStack() as opened:
        opened.enter_context(report_at_end(run, log, preemption))
        if log is not None:
            check_log(log)
        setup = set_up_with_batch(command.config, processes, stopping.asked_here)
        if setup is None:
            stopping.ends_run()
            return EXIT_PREEMPTED
        logger = opened.enter_context(contextlib.closing(open_log(log, screen)))  # a refused run leaves no trace in it
        logger.log(PARAMETER, _parameters(setup, processes.size))
        status = Runner(setup, processes, logger, stopping).run()
    processes.barrier()  # rank 0 may still be writing, and a launcher ends all processes when one ends
    if status != EXIT_PREEMPTED:
        screen.footer(written_files(setup.config, processes.size))
    return status


def _parameters(setup: Setup, processes: int) -> dict[str, Any]:
    """The flags of a run, and facts that are needed to interpret its results."""
    run = setup.config.run
    machine = {**machine_facts(run.log_path.parent, os.environ), "gpus": [] if run.cpu else gpu_names()}
    computed: dict[str, Any] = {"precision": setup.precision.name, "convolutions": setup.convolutions.origin}
    if weights := setup.config.optimizer.weight_of_class:
        computed["weight_of_class"] = [*weights]
    if setup.auto_batch:
        computed["batch_size_auto"] = setup.auto_batch.told
    flags = {name: value for name, value in to_flags(setup.config).items() if BY_NAME[name].recorded}
    return {**flags, **computed, "processes": processes, **versions(), **machine, "seed": setup.seed}

"""Entry point of every program that needs TensorFlow: command line, environment, signals, then TensorFlow (no TF)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from runtime.environment import environment_for
from runtime.tensorflow_import import load_tensorflow
from utils.errors import EXIT_USAGE, UsageError
from utils.hooks.preemption import PreemptionHook
from utils.local_communicator import place_in
from utils.system.watchdog import Watchdog, Watched

if TYPE_CHECKING:
    from utils.cmdline_helper import Command
    from utils.console.screen import Screen


def run(name: str, parse: Callable[[Sequence[str], Mapping[str, str]], Command], arguments: Sequence[str]) -> int:
    """Runs one launch and returns its exit status; prints an invalid command line as an error of ``name``."""
    try:
        command = parse(arguments, os.environ)
    except UsageError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    return start(command)


def start(
    command: Command,
    work: Callable[[Command, PreemptionHook], int] | None = None,
    screen: Screen | None = None,
) -> int:
    """Runs a parsed launch, or ``work`` instead, and returns its exit status; ``screen`` replaces that of its flags."""
    from runtime.messages import leave_to_rank_0, show_messages  # Rich takes time, which a wrong flag need not cost

    place = place_in(os.environ) if work is None and not command.dry_run else None
    with PreemptionHook() as preemption:
        screen = show_messages(command, screen)
        if place is not None and place.rank != 0:
            leave_to_rank_0(place.rank)
        watched = Watched(lambda: preemption.received.name if preemption.received else None, preemption.pass_on)
        with Watchdog(place, command.config.distributed.stall_timeout_s, watched) as watchdog:
            load_tensorflow(environment_for(command.config, os.environ))
            from runtime.launch import launch  # imports TensorFlow

            status = launch(command, preemption, screen, watchdog, work)
            watchdog.leave(status)
    return status

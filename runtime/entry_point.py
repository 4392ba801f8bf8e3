"""Entry point of every program that needs TensorFlow: command line, environment, signals, then TensorFlow (no TF)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from runtime.environment import environment_for, environment_of_tool, native_log_level
from utils.errors import EXIT_USAGE, UsageError
from utils.hooks.preemption import PreemptionHook
from utils.local_communicator import place_in
from utils.program import interrupts_kill
from utils.system.native_messages import without_chatter
from utils.system.watchdog import Watchdog, Watched

if TYPE_CHECKING:
    from utils.cmdline_helper import Command
    from utils.console.screen import Screen

_KERAS_VARIABLE = "TF_USE_LEGACY_KERAS"


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


def load_tensorflow(settings: Mapping[str, str] | None = None) -> None:
    """Imports TensorFlow without its start-up messages and Keras, after setting the environment, which it reads once.

    Nothing is under way yet, so Ctrl-C ends the program at once.

    Args:
        settings: Environment variables to set; None for those of a tool without a run of its own.
    """
    os.environ.update(environment_of_tool(os.environ) if settings is None else settings)
    with interrupts_kill(), without_chatter(native_log_level(os.environ)), _without_keras():
        import tensorflow  # noqa: F401  (loaded for the modules that use it)


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Has TensorFlow look for Keras 2, which is absent, instead of importing Keras 3 and the packages that it uses.

    Nothing here uses Keras. Libraries that do, such as Horovod, can import it afterwards.
    """
    if _KERAS_VARIABLE in os.environ:
        yield
        return
    os.environ[_KERAS_VARIABLE] = "1"
    try:
        yield
    finally:
        del os.environ[_KERAS_VARIABLE]

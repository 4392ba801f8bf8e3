"""Entry point of every program that needs TensorFlow: command line, environment, signals, then TensorFlow (no TF)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from runtime.environment import environment_for, environment_of_tool, native_log_level
from utils.errors import EXIT_USAGE, UsageError
from utils.hooks.preemption import PreemptionHook
from utils.system.native_messages import without_chatter

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
    with PreemptionHook() as preemption:
        load_tensorflow(environment_for(command.config, os.environ))
        from runtime.launch import launch  # imports TensorFlow

        return launch(command, preemption, work, screen)


def load_tensorflow(settings: Mapping[str, str] | None = None) -> None:
    """Imports TensorFlow without its start-up messages, after setting the environment, which it reads once.

    Args:
        settings: Environment variables to set; None for those of a tool without a run of its own.
    """
    os.environ.update(environment_of_tool(os.environ) if settings is None else settings)
    with without_chatter(native_log_level(os.environ)):
        import tensorflow  # noqa: F401  (loaded for the modules that use it)


def escape_unencodable_text() -> None:
    """Makes the console print characters outside its encoding, as in file names, as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # both are text files in a program

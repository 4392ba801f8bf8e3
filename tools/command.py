"""Parses the flags of a command, runs it, and turns its errors into a message and an exit status (no TF)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from utils.console.pipes import discard_output, show_page
from utils.errors import EXIT_FAILED, EXIT_PREEMPTED, EXIT_USAGE, RunError, UsageError
from utils.flags.help_format import HelpFormatter
from utils.program import interrupts_raise
from utils.suggestions import hint
from utils.text import printable


class CommandParser(argparse.ArgumentParser):
    """Reads a command line; suggests the nearest flag or choice if one is mistyped."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Reads what argparse reads, but reports an unknown flag before all else that is wrong."""
        arguments: Sequence[str] = sys.argv[1:] if args is None else args
        for argument in arguments[: arguments.index("--") if "--" in arguments else None]:
            name = argument.partition("=")[0]
            if name.startswith("--") and " " not in name and not self._is_flag(name):
                self.error(f"unrecognized arguments: {argument}{hint(name, self._option_string_actions)}")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends the program with a message on one line."""
        super().error(printable(message))

    def print_help(self, file: Any = None) -> None:
        """Prints the help, or as much of it as is read."""
        if file is None:
            show_page(self.format_help())
        else:
            super().print_help(file)

    def _is_flag(self, name: str) -> bool:
        flags = self._option_string_actions
        return name in flags or (self.allow_abbrev and any(flag.startswith(name) for flag in flags))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            choices = map(str, action.choices or ())
            raise argparse.ArgumentError(action, f"{error.message}{hint(str(value), choices)}") from None


def require_no_input(flag: str, output: Path | None, inputs: Iterable[Path]) -> None:
    """Refuses to write over a file that the command reads.

    Raises:
        UsageError: The output is one of the inputs.
    """
    if output is not None and output.exists():
        for path in inputs:
            if path.exists() and output.samefile(path):
                raise UsageError(f"{flag} {output}: is {path}, which the command reads; name another file")


def run_command(action: Callable[[], int], *, interrupted: str = "nothing was finished") -> int:
    """Runs the action of a command and returns the exit status.

    Args:
        action: The work of the command; returns the exit status if nothing fails.
        interrupted: The text to print after "interrupted: " when the user stops the command.
    """
    with interrupts_raise():
        return _status(action, interrupted)


def _status(action: Callable[[], int], interrupted: str) -> int:
    try:
        status = action()
        sys.stdout.flush()  # here, where an error is told
        return status
    except UsageError as error:
        return _say(error, EXIT_USAGE)
    except RunError as error:
        return _say(error, EXIT_FAILED)
    except BrokenPipeError:  # nobody reads on
        discard_output()
        return EXIT_FAILED
    except OSError as error:
        return _say(RunError(f"{error.filename}: {error.strerror}" if error.filename else error), EXIT_FAILED)
    except KeyboardInterrupt:
        print(f"interrupted: {interrupted}", file=sys.stderr)
        return EXIT_PREEMPTED


def _say(what: object, status: int) -> int:
    print(f"error: {what}", file=sys.stderr)
    return status

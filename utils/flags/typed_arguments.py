"""Normalization of typed arguments: abbreviated flags to full names, values to their types. Imports no TensorFlow."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from utils.config import AUTO, MODES
from utils.errors import UsageError, require
from utils.flags import recipes
from utils.flags.table import BY_NAME, FLAGS, INTEGER, INTEGER_OR_AUTO, NUMBER, PATH, SIZE, Flag
from utils.image_sizes import size_of_text
from utils.suggestions import did_you_mean, hint, nearest


def read_value(flag: Flag, text: str) -> Any:
    """Converts the text after a flag to the flag's type."""
    if isinstance(flag.kind, tuple):
        allowed = f"one of {', '.join(flag.kind)}{hint(text, flag.kind)}"
        require(text in flag.kind, flag.name, text or "''", allowed)
    elif flag.kind == PATH:
        require(bool(text) or flag.name == "data_dir", flag.name, "''", "a path")
    elif flag.kind == INTEGER or (flag.kind == INTEGER_OR_AUTO and text != AUTO):
        require(re.fullmatch(r"[+-]?\d+", text) is not None, flag.name, text or "''", f"an {flag.kind}")
        return int(text)
    elif flag.kind == SIZE:
        return size_of_text(flag.name, text)
    elif flag.kind == NUMBER:
        return _number(flag.name, text)
    return text


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    require(math.isfinite(number), name, text or "''", "a number")
    return number


def complete(arguments: Sequence[str]) -> list[str]:
    """Gives each flag its full name and joins its value, ``--name=value``; keeps recipe origins."""
    completed: list[str] = []
    waiting = list(reversed(arguments))
    while waiting:
        argument = waiting.pop()
        origin = recipes.origin_of(argument)
        try:
            text = _complete_one(argument, waiting)
        except UsageError as error:
            raise UsageError(f"{error} ({origin})" if origin else str(error)) from None
        completed.append(recipes.RecipeArgument(text, origin) if origin else text)
    return completed


def _complete_one(argument: str, waiting: list[str]) -> str:
    """Completes one argument; pops its value off ``waiting`` if that is the next argument."""
    written, equals, value = argument.partition("=")
    name = _full_name(argument, written)
    if BY_NAME[name].is_switch:
        if equals:
            raise UsageError(f"{argument}: --{name} is a switch and takes no value")
        return f"--{name}"
    if not equals:
        if not waiting or waiting[-1].startswith("--"):
            raise UsageError(f"--{name}: needs a value")
        value = waiting.pop()
    return f"--{name}={value}"


def _full_name(argument: str, written: str) -> str:
    if not written.startswith("-") or written in ("-", "--"):
        question = did_you_mean(f"--mode={mode}" for mode in nearest(argument, MODES))
        raise UsageError(
            f"{argument}: belongs to no flag; {question or 'every argument is a flag, its value or an @recipe file'}"
        )
    name = written.lstrip("-")
    spellings = {spelling: flag.name for flag in FLAGS for spelling in flag.spellings}
    if not written.startswith("--"):
        name = ""
    if name in spellings:
        return spellings[name]
    candidates = {full for spelling, full in spellings.items() if name and spelling.startswith(name)}
    matches = {full for full in candidates if not BY_NAME[full].ours} or candidates
    if len(matches) == 1:
        return matches.pop()
    if matches:
        raise UsageError(f"{written}: could be {' or '.join(f'--{match}' for match in sorted(matches))}")
    near = nearest(written.lstrip("-"), ["help", *spellings])
    question = did_you_mean(dict.fromkeys(f"--{spellings.get(spelling, spelling)}" for spelling in near))
    raise UsageError(f"{written}: unknown flag; {question or '--help all lists all flags'}")


def with_origin(message: str, arguments: Sequence[str]) -> str:
    """Adds file and line to a message about a flag from a recipe."""
    subject = re.match(r"--\w+", message)
    if subject is None:
        return message
    given = [argument for argument in arguments if argument.partition("=")[0] == subject.group()]
    origin = recipes.origin_of(given[-1]) if given else None
    return f"{message} ({origin})" if origin else message

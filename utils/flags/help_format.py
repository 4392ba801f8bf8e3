"""Layout of ``--help``: docstrings and sentences wrapped to the terminal. Imports no TensorFlow."""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path

_PLACEHOLDERS: dict[object, str] = {int: "N", float: "X", Path: "PATH"}


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs and lists, keeps indented examples, and drops the double backticks of docstrings.

    A line never ends within a name such as ``se-resnext101-32x4d``. A flag without a placeholder gets that of its type.
    """

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return _PLACEHOLDERS.get(action.type, action.dest.upper())

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = re.split(r"\n\s*\n", text.strip("\n").replace("``", ""))
        return "\n\n".join(block if block[:1] == " " else _fill(block, width, indent) for block in blocks)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.replace("``", "").split()), width, break_on_hyphens=False)


def _fill(block: str, width: int, indent: str) -> str:
    """Fills a paragraph, or each item of a list with dashes."""
    return "\n".join(
        textwrap.fill(
            " ".join(item.split()),
            width,
            initial_indent=indent,
            subsequent_indent=indent + ("  " if item.startswith("- ") else ""),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in re.split(r"\n(?=- )", block)
    )

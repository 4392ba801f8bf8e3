"""Terminals for the tests of the console: streams that claim to be terminals, and an emulated screen."""

import io
import re

from utils.console.readable import ReadableScreen
from utils.console.terminal import PlainConsole, RichTerminal

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """Text written to a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


def recorder(width=80, *, is_terminal=False, **options):
    """A console of a given width; its output stays in its ``file``."""
    plain = {"highlight": False, "markup": False, "emoji": False, "color_system": None}
    return PlainConsole(file=Terminal(), width=width, force_terminal=is_terminal, **plain | options)


def readable(width=80):
    """A readable screen of a width, and a function that gives the lines on it."""
    console = recorder(width)
    screen = ReadableScreen(RichTerminal(console))
    return screen, lambda: [line.rstrip() for line in console.file.getvalue().splitlines()]


def seen(written):
    """The lines on a terminal after output that moves up and erases whole lines."""
    rows, row = [""], 0
    for part in re.split(rf"({CONTROL.pattern}|[\r\n])", written):
        if part == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif part == "\x1b[2K":
            rows[row] = ""
        elif re.fullmatch(r"\x1b\[\d*A", part):
            row -= int(part[2:-1] or 1)
        elif part != "\r" and not CONTROL.fullmatch(part):
            rows[row] += part
    return rows

"""Lists the tools, or runs one of them: ``python -m tools [NAME ...]`` (no TF)."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import sys
import textwrap
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # also where it is started by its path
    from utils.program import begin

    begin()

from tools.command import run_command
from utils.console.pipes import show_page
from utils.errors import EXIT_DONE, UsageError
from utils.suggestions import hint

FOLDER = Path(__file__).resolve().parent
USAGE = """\
usage: python -m tools NAME [ARGUMENT ...]
       python -m tools NAME --help

"""
_STARTED = '\nif __name__ == "__main__":'
_COMMAND = re.compile(r":? (``)?python -m .*")


def tools() -> dict[str, str]:
    """The first sentence of each tool's docstring, by the name of the tool."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        name = ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__main__")
        text = path.read_text(encoding="utf-8")
        if name != "__main__" and _STARTED in text:
            found[name] = _first_sentence(ast.get_docstring(ast.parse(text)) or "")
    return found


def _first_sentence(docstring: str) -> str:
    sentence = re.split(r"(?<=\.)\s", " ".join(docstring.split()))[0]
    return _COMMAND.sub("", sentence).rstrip(".")


def listing(width: int | None) -> str:
    """The list of the tools, one line each, wrapped to ``width`` columns if there is a limit."""
    found = tools()
    longest = max(map(len, found))
    lines = [f"  {name:{longest}}  {sentence}" for name, sentence in found.items()]
    if width is not None:
        indent = " " * min(longest + 4, width // 2)
        lines = [textwrap.fill(line, width, subsequent_indent=indent, break_on_hyphens=False) for line in lines]
    return USAGE + "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Runs the command and returns its exit status."""
    if arguments and arguments[0] not in ("-h", "--help"):
        return run_command(lambda: _run(arguments[0].removeprefix("tools."), arguments[1:]))
    show_page(listing(shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    return EXIT_DONE


def _run(name: str, arguments: list[str]) -> int:
    """Runs a tool as ``python -m tools.NAME`` does, which ends the process.

    Raises:
        UsageError: There is no such tool.
    """
    known = tools()
    if name not in known:
        raise UsageError(f"{name}: no such tool; it must be one of {', '.join(known)}{hint(name, known)}")
    sys.argv[1:] = arguments
    runpy.run_module(f"tools.{name}", run_name="__main__", alter_sys=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

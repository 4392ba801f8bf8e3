"""The README as tests read it: its sections, its commands, its tables, its links."""

import re
import shlex

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```bash\n(.*?)```", flags=re.DOTALL)
FENCE = re.compile(r"^```\w*\n.*?^```$", flags=re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
"""The README without its blocks of commands."""
HOW_TO = (
    "Your own images: classification",
    "Your own boxes: detection",
    "Several GPUs",
    "Resuming",
    "Fine-tuning",
    "Deploying",
    "Benchmarking",
)
TROUBLE = "When something is wrong"


def commands_in(text):
    """Each command of a text's shell blocks as words, comments and continued lines resolved, with its variables."""
    lines = "\n".join(BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def without_variables(words):
    """A command without the ``NAME=value`` words before it."""
    first = next(number for number, word in enumerate(words) if not re.match(r"[A-Z_]+=", word))
    return words[first:]


COMMANDS = [without_variables(words) for words in commands_in(README)]


def section(title):
    """What stands between a heading and the next one."""
    found = re.split(rf"^## {re.escape(title)}\n", README, flags=re.MULTILINE)
    assert len(found) == 2, title
    return re.split(r"^## ", found[1], maxsplit=1, flags=re.MULTILINE)[0]


def tables(text):
    """Each table of a text as rows of cells, the head first, without the line of dashes."""
    found = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    return [[cells(line) for number, line in enumerate(table.splitlines()) if number != 1] for table in found]


def cells(line):
    """The cells of a table's row; a pipe in code ends a cell too, unless a backslash stands before it."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def code_in(text):
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", text)

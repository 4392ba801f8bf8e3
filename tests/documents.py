"""The documents as tests read them: their sections, commands, tables and links."""

import re
import shlex
import subprocess
from dataclasses import dataclass

from tests.conftest import ROOT

BLOCK = re.compile(r"```bash\n(.*?)```", flags=re.DOTALL)
FENCE = re.compile(r"^```\w*\n.*?^```$", flags=re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ (.*)$", flags=re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """A Markdown file, by its path from the root."""

    path: str
    text: str

    @property
    def prose(self):
        """The text without its blocks of commands and code."""
        return FENCE.sub("", self.text)

    @property
    def anchors(self):
        """The anchors of the headings, in their order."""
        return [slug(heading) for heading in HEADING.findall(self.prose)]

    @property
    def commands(self):
        return commands_in(self.text)

    @property
    def links(self):
        return re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]*)\)", self.prose)

    @property
    def pictures(self):
        """The alternative text and the path of each picture."""
        return re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", self.prose)

    def section(self, title):
        """The text between a heading of the second level and the next one."""
        found = re.split(rf"^## {re.escape(title)}\n", self.text, flags=re.MULTILINE)
        assert len(found) == 2, f"{self.path}: {title}"
        return re.split(r"^## ", found[1], maxsplit=1, flags=re.MULTILINE)[0]

    def target(self, link):
        """The path from the root that a link leads to, and its anchor; either may be empty."""
        path, _, anchor = link.partition("#")
        folder = (ROOT / self.path).parent
        return (str((folder / path).resolve().relative_to(ROOT)) if path else self.path), anchor


def git_files(*patterns):
    """The files that git tracks."""
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def commands_in(text):
    """The commands of a text's shell blocks as words, without comments, continued lines joined."""
    lines = "\n".join(BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def without_variables(words):
    """A command without the ``NAME=value`` words before it."""
    first = next(number for number, word in enumerate(words) if not re.match(r"[A-Z_]+=", word))
    return words[first:]


def slug(heading):
    """The anchor of a heading: small letters, no punctuation, hyphens for blanks."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def tables(text):
    """Each table of a text as rows of cells, the head first, without the line of dashes."""
    found = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    return [[cells(line) for number, line in enumerate(table.splitlines()) if number != 1] for table in found]


def cells(line):
    """The cells of a table's row; a pipe in code ends a cell too, unless a backslash stands before it."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def code_in(text):
    """The text between backticks."""
    return re.findall(r"`([^`\n]+)`", text)


DOCUMENTS = {path: Document(path, (ROOT / path).read_text(encoding="utf-8")) for path in sorted(git_files("*.md"))}
README = DOCUMENTS["README.md"]
PAGES = {path: document for path, document in DOCUMENTS.items() if path.startswith("docs/")}
HOW_TOS = (
    "Train on your own images",
    "Train on your own boxes",
    "Train on several GPUs or processes",
    "Fine-tune a network",
    "Deploy",
)
"""The sections of the README that end in commands, ten lines at most each."""

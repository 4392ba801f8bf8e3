"""The Dockerfile as tests read it: its instructions in their order."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
STEPS = [tuple(line.split(maxsplit=1)) for line in LINES if line.strip()]


def of(instruction):
    """The words of each instruction of a kind."""
    return [words for name, words in STEPS if name == instruction]

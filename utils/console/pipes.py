"""Standard output whose reader ends early, as ``head`` does (no TF)."""

from __future__ import annotations

import os


def show_page(text: str) -> None:
    """Prints a page to its end, or as much of it as is read."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Discards what is printed from now on, and what Python would still print at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)

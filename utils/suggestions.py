"""Suggestions for mistyped flags, values, commands, files and folders (no TF)."""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from utils.text import one_line

SIMILAR = 0.7
"""The least similarity of a suggestion; equal words have 1, and short ones with one mistake have this."""
_FEWEST_LETTERS, _FEWEST_BEGUN = 3, 2
"""Letters that a name must have to tolerate a mistake, and that must be typed to match its beginning."""
MOST_SUGGESTED = 3
_MOST_ENTRIES = 2000
"""Entries of a folder that are compared with a name: enough for what people type, and done in an instant."""


def nearest(written: str, known: Iterable[str]) -> list[str]:
    """The known names that are most similar to ``written``, or that begin like it; empty if none is close."""
    scores = {name: _similarity(_plain(written), _plain(name)) for name in known}
    best = max(scores.values(), default=(0.0, 0.0))
    return [name for name, score in scores.items() if score == best and best[0] >= SIMILAR][:MOST_SUGGESTED]


def did_you_mean(names: Iterable[str]) -> str:
    """The question "did you mean A or B?", or empty without a name."""
    *first, last = [*names] or [""]
    return f"did you mean {', '.join(first)}{' or ' if first else ''}{last}?" if last else ""


def hint(written: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: "; did you mean A?", or empty if nothing is close."""
    return _ending(nearest(written, known))


def path_hint(path: str | os.PathLike[str], *, folder: bool = False) -> str:
    """The end of a message about a path that does not exist, which suggests the nearest one that does.

    Args:
        path: The path. Its first component that does not exist is compared with what lies beside it.
        folder: Suggest folders only.
    """
    wanted = Path(path)
    try:
        missing = next((place for place in (*reversed(wanted.parents), wanted) if not place.exists()), None)
        if missing is None:
            return ""
        only_folders = folder or missing != wanted
        with os.scandir(missing.parent) as entries:
            beside = itertools.islice(entries, _MOST_ENTRIES)
            names = sorted(entry.name for entry in beside if entry.is_dir() or not only_folders)
    except OSError:  # a name that is too long, or a folder that cannot be read
        return ""
    return _ending([one_line(str(missing.parent / name)) for name in nearest(missing.name, names)])


def absence(path: Path, wanted: str = "checkpoint") -> str:
    """The reason why nothing of a kind was found under a path; ``path_hint`` may follow."""
    return f"holds no {wanted}" if path.exists() else "no such file or folder"


def _ending(names: list[str]) -> str:
    return f"; {did_you_mean(names)}" if names else ""


def _similarity(written: str, name: str) -> tuple[float, float]:
    """The similarity to a name or, where that is more, to its beginning; and the similarity to the whole name.

    Names that begin with all that was written are equally near.
    """
    if len(written) >= _FEWEST_BEGUN and name.startswith(written) and name != written:
        return 1.0, 0.0
    whole, beginning = (
        difflib.SequenceMatcher(None, written, part).ratio() for part in (name, name[: len(written) + 1])
    )
    if len(written) >= _FEWEST_LETTERS and _one_mistake(written, name):
        whole = max(whole, SIMILAR)
    return max(whole, beginning), whole


def _one_mistake(written: str, name: str) -> bool:
    """Returns whether one letter is missing, added or wrong, or two neighbors have changed places."""
    longest = min(len(written), len(name))
    same = next((i for i in range(longest) if written[i] != name[i]), longest)
    one, other = written[same:], name[same:]
    swapped = one[1::-1] == other[:2] and one[2:] == other[2:]
    return one != other and (one[1:] == other or one == other[1:] or one[1:] == other[1:] or swapped)


def _plain(name: str) -> str:
    return name.replace("-", "_").lower()

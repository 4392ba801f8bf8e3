"""Confusion matrices of any size as charts and as tables (no TF)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.reporting import charts
from utils.reporting.findings import confused_pairs
from utils.reporting.names import quoted_class
from utils.reporting.page import grid, table

_PAIRS = 20
_DETAILED = 25
"""So many of the most confused classes are shown with their names where all are too many."""
_FINEST = 240
"""More rows than this are drawn in groups, of which the darkest cell counts."""
Matrix = tuple[np.ndarray, Sequence[int], Sequence[int]]
"""Shares [r, c] of each row's class by answer, and the numbers of the classes of rows and of columns."""


def confusion_part(matrix: Matrix, evaluation: Mapping[str, Any], names: Mapping[int, str], what: str) -> str:
    """The matrix and the pairs that are confused most.

    Of a matrix with too many classes for names, the part with the most confusion is shown besides.

    Args:
        matrix: What is drawn.
        evaluation: What the pairs are counted in.
        names: Of the classes by number.
        what: What is counted, "examples" or "objects".
    """
    shares, rows, columns = matrix
    pairs = pair_table(evaluation, names, what)
    if not len(rows):
        return pairs
    if len(rows) <= _DETAILED:
        return grid(_chart("Answers in percent of each class", shares, rows, columns, names), pairs)
    blocks = max(1, -(-len(rows) // _FINEST))
    grouped = f", groups of {blocks} as one" if blocks > 1 else ""
    whole = charts.heat_map(f"All {len(rows)} classes{grouped}", _darkest(shares, blocks), None)
    off = np.where(np.equal.outer(rows, columns), 0.0, shares)
    some_rows, some_columns = (np.sort(np.argsort(-off.max(axis=axis), kind="stable")[:_DETAILED]) for axis in (1, 0))
    part = _chart(
        f"The {len(some_rows)} most confused classes, in percent",
        shares[np.ix_(some_rows, some_columns)],
        [rows[row] for row in some_rows],
        [columns[column] for column in some_columns],
        names,
    )
    return grid(whole, part) + pairs


def _chart(
    title: str, shares: np.ndarray, rows: Sequence[int], columns: Sequence[int], names: Mapping[int, str]
) -> str:
    return charts.heat_map(title, shares, ([_name(names, n) for n in rows], [_name(names, n) for n in columns]))


def _name(names: Mapping[int, str], number: int) -> str:
    return names.get(number, "nothing")


def _darkest(shares: np.ndarray, blocks: int) -> np.ndarray:
    """The largest share of each square of so many rows and columns."""
    height, width = (-(-side // blocks) * blocks for side in shares.shape)
    padded = np.zeros([height, width])
    padded[: shares.shape[0], : shares.shape[1]] = shares
    darkest: np.ndarray = padded.reshape(height // blocks, blocks, width // blocks, blocks).max(axis=(1, 3))
    return darkest


def pair_table(evaluation: Mapping[str, Any], names: Mapping[int, str], what: str) -> str:
    """The pairs that are confused most, with counts and shares."""
    pairs = confused_pairs(evaluation)[:_PAIRS]
    rows = [
        [quoted_class(names, of), quoted_class(names, answer), count, f"{share:.1%}"]
        for of, answer, count, share in pairs
    ]
    found = table(["class", "taken for", what, "of the class"], rows)
    return f"<div><h3>The pairs that are confused most</h3>{found}</div>" if found else ""

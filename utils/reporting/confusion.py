"""Confusion matrices of any size as charts and tables (no TF)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.reporting import charts
from utils.reporting.findings import confused_pairs
from utils.reporting.names import quoted_class
from utils.reporting.page import grid, table
from utils.text import percent

_PAIRS = 20
_DETAILED = 25
"""Number of the most confused classes shown with names if there are too many classes to show all."""
_FINEST = 240
"""A matrix with more rows is drawn in blocks, each in the color of its darkest cell."""
Matrix = tuple[np.ndarray, Sequence[int], Sequence[int]]
"""The fraction [r, c] of each class per prediction, and the class numbers of rows and columns."""


def confusion_part(matrix: Matrix, evaluation: Mapping[str, Any], names: Mapping[int, str], what: str) -> str:
    """The matrix and the most confused pairs.

    If a matrix has too many classes for names, the part with the most confusion is shown too.

    Args:
        matrix: The matrix to draw.
        evaluation: The evaluation with the counts of the pairs.
        names: Class names by number.
        what: Noun for the counts, "examples" or "objects".
    """
    shares, rows, columns = matrix
    pairs = pair_table(evaluation, names, what)
    if not len(rows):
        return pairs
    if len(rows) <= _DETAILED:
        return grid(_chart("Predictions in percent of each class", shares, rows, columns, names), pairs)
    blocks = max(1, -(-len(rows) // _FINEST))
    grouped = f", in groups of {blocks}" if blocks > 1 else ""
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
    """The largest value of each square block."""
    height, width = (-(-side // blocks) * blocks for side in shares.shape)
    padded = np.zeros([height, width])
    padded[: shares.shape[0], : shares.shape[1]] = shares
    darkest: np.ndarray = padded.reshape(height // blocks, blocks, width // blocks, blocks).max(axis=(1, 3))
    return darkest


def pair_table(evaluation: Mapping[str, Any], names: Mapping[int, str], what: str) -> str:
    """The most confused pairs, with counts and fractions."""
    pairs = confused_pairs(evaluation)[:_PAIRS]
    rows = [
        [quoted_class(names, of), quoted_class(names, answer), count, percent(share)]
        for of, answer, count, share in pairs
    ]
    found = table(["class", "predicted as", what, "of the class"], rows)
    return f"<div><h3>The most confused pairs</h3>{found}</div>" if found else ""

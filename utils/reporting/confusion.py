"""Confusion matrices of any size as charts and tables (no TF).

Only the pairs that occur are held: a matrix of 20,000 classes has 400 million cells, nearly all of them 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusions:
    """The pairs of classes and predictions that occur, ``[n]`` each.

    Attributes:
        numbers: The class numbers, in the order of rows and columns.
        rows: The row of each pair's class.
        columns: The column of its prediction.
        shares: The fraction of the class, in [0, 1].
    """

    numbers: Sequence[int]
    rows: np.ndarray
    columns: np.ndarray
    shares: np.ndarray

    def part(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Returns the fractions ``[r, c]`` in some rows and columns, which are ascending."""
        inside = np.isin(self.rows, rows) & np.isin(self.columns, columns)
        shares = np.zeros([len(rows), len(columns)])
        place = np.searchsorted(rows, self.rows[inside]), np.searchsorted(columns, self.columns[inside])
        shares[place] = self.shares[inside]
        return shares

    def darkest(self, block: int) -> np.ndarray:
        """Returns the largest fraction in each square of ``block`` rows and columns."""
        side = -(-len(self.numbers) // block)
        shares = np.zeros([side, side])
        np.maximum.at(shares, (self.rows // block, self.columns // block), self.shares)
        return shares

    def most_confused(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows and the columns with the largest fractions off the diagonal, ascending."""
        off = self.rows != self.columns
        chosen = []
        for places in (self.rows, self.columns):
            largest = np.zeros(len(self.numbers))
            np.maximum.at(largest, places[off], self.shares[off])
            chosen.append(np.sort(np.argsort(-largest, kind="stable")[:count]))
        return chosen[0], chosen[1]


def confusions(numbers: Sequence[int], pairs: Iterable[Sequence[int]]) -> Confusions:
    """Builds the confusions of some classes from triples of class, prediction and count; leaves out other classes."""
    place = {number: row for row, number in enumerate(numbers)}
    known = [(place[of], place[answer], count) for of, answer, count in pairs if of in place and answer in place]
    rows, columns, counts = np.array(known, np.int64).reshape(-1, 3).T
    totals = np.bincount(rows, weights=counts, minlength=len(numbers))
    return Confusions(numbers=numbers, rows=rows, columns=columns, shares=counts / np.maximum(1, totals[rows]))


def confusion_part(found: Confusions, evaluation: Mapping[str, Any], names: Mapping[int, str], what: str) -> str:
    """The matrix and the most confused pairs.

    If a matrix has too many classes for names, the part with the most confusion is shown too.

    Args:
        found: The confusions to draw.
        evaluation: The evaluation with the counts of the pairs.
        names: Class names by number.
        what: Noun for the counts, "examples" or "objects".
    """
    pairs = pair_table(evaluation, names, what)
    size = len(found.numbers)
    if not size:
        return pairs
    if size <= _DETAILED:
        everything = np.arange(size), np.arange(size)
        return grid(_chart("Predictions in percent of each class", found, everything, names), pairs)
    block = max(1, -(-size // _FINEST))
    grouped = f", in groups of {block}" if block > 1 else ""
    whole = charts.heat_map(f"All {size} classes{grouped}", found.darkest(block), None)
    some = found.most_confused(_DETAILED)
    part = _chart(f"The {len(some[0])} most confused classes, in percent", found, some, names)
    return grid(whole, part) + pairs


def _chart(title: str, found: Confusions, places: tuple[np.ndarray, np.ndarray], names: Mapping[int, str]) -> str:
    rows, columns = ([names.get(found.numbers[place], "nothing") for place in some.tolist()] for some in places)
    return charts.heat_map(title, found.part(*places), (rows, columns))


def pair_table(evaluation: Mapping[str, Any], names: Mapping[int, str], what: str) -> str:
    """The most confused pairs, with counts and fractions."""
    pairs = confused_pairs(evaluation)[:_PAIRS]
    rows = [
        [quoted_class(names, of), quoted_class(names, answer), count, percent(share)]
        for of, answer, count, share in pairs
    ]
    found = table(["class", "predicted as", what, "of the class"], rows)
    return f"<div><h3>The most confused pairs</h3>{found}</div>" if found else ""

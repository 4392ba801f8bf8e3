import tracemalloc

import numpy as np
import pytest

from utils.reporting import charts, confusion
from utils.reporting.confusion import confusion_part, confusions


def dense(numbers, pairs):
    """The same fractions by the definition, as a whole matrix."""
    counts = np.zeros([len(numbers)] * 2)
    for of, answer, count in pairs:
        if of in numbers and answer in numbers:
            counts[numbers.index(of), numbers.index(answer)] = count
    return counts / np.maximum(1, counts.sum(axis=1, keepdims=True))


def drawn_pairs(classes, seed=0):
    """Class numbers with gaps, and the counts of some pairs, a few of classes that are not among the numbers."""
    random = np.random.default_rng(seed)
    pairs = random.integers(0, 2 * classes + 4, (4 * classes, 2))
    pairs = np.unique(np.concatenate([pairs, np.repeat(pairs[:, :1], 2, axis=1)]), axis=0)
    counts = random.integers(1, 30, len(pairs))
    return list(range(1, 2 * classes, 2)), np.column_stack([pairs, counts]).tolist()


@pytest.fixture
def drawn(monkeypatch):
    """The tables of the heat maps that are drawn, in place of the drawing."""
    tables = []
    monkeypatch.setattr(charts, "heat_map", lambda title, table, names: tables.append((title, table, names)) or title)
    return tables


@pytest.mark.parametrize(("classes", "block"), [(1, 1), (3, 1), (25, 1), (26, 1), (60, 7), (100, 2)])
def test_the_fractions_are_those_of_the_whole_matrix(drawn, monkeypatch, classes, block):
    monkeypatch.setattr(confusion, "_FINEST", -(-classes // block))
    numbers, pairs = drawn_pairs(classes)
    found, shares = confusions(numbers, pairs), dense(numbers, pairs)
    evaluation = {"task": "classification", "classes": [[1, 1, 1]] * (2 * classes + 4), "confusion": pairs}
    confusion_part(found, evaluation, {number: f"class {number}" for number in numbers}, "examples")
    if classes <= 25:
        ((_, table, names),) = drawn
        np.testing.assert_array_equal(table, shares)
        assert names == ([f"class {number}" for number in numbers],) * 2
        return
    (_, whole, _), (_, part, names) = drawn
    side = -(-classes // block) * block
    padded = np.pad(shares, (0, side - classes)).reshape(side // block, block, side // block, block)
    np.testing.assert_array_equal(whole, padded.max(axis=(1, 3)))
    off = np.where(np.eye(classes, dtype=bool), 0, shares)
    rows, columns = (np.sort(np.argsort(-off.max(axis=axis), kind="stable")[:25]) for axis in (1, 0))
    np.testing.assert_array_equal(part, shares[np.ix_(rows, columns)])
    assert names == tuple([f"class {numbers[place]}" for place in some] for some in (rows, columns))


def test_20_000_classes_take_little_memory(drawn):
    numbers = list(range(20_000))
    pairs = [[n, m, 1] for n in numbers for m in (n, (7 * n + 1) % 20_000)]
    evaluation = {"task": "classification", "classes": [[2, 2, 1]] * len(numbers), "confusion": pairs}
    tracemalloc.start()
    try:
        confusion_part(confusions(numbers, pairs), evaluation, {}, "examples")
        assert tracemalloc.get_traced_memory()[1] < 100e6  # the matrix would take 3.2 GB
    finally:
        tracemalloc.stop()
    assert drawn[0][1].max() == pytest.approx(0.5)

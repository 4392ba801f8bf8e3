"""Metrics of images with several labels against a second implementation of scikit-learn's formulas."""

import numpy as np
import pytest

from utils.statistics.several_labels import (
    average_intervals,
    class_averages,
    mean_rankings,
    ranking_intervals,
    rankings,
)

IMAGES, CLASSES = 60, 5


def data(seed=0):
    """Scores with ties, and labels of which those of class 3 are on all images and those of class 4 on none."""
    rng = np.random.default_rng(seed)
    truth = rng.random((IMAGES, CLASSES)) < np.array([0.5, 0.2, 0.05, 1.1, -1])
    truth[0, 2] = True
    return np.round(rng.normal(size=truth.shape) + truth, 1), truth


def average_precision_score(truth, scores):
    """The sum over the distinct thresholds of the gain in recall times the precision."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        named = scores >= threshold
        recall = (named & truth).sum() / truth.sum()
        total += (recall - before) * (named & truth).sum() / named.sum()
        before = recall
    return total


def roc_auc_score(truth, scores):
    pairs = scores[truth][:, None] - scores[~truth][None, :]
    return (pairs > 0).mean() + (pairs == 0).mean() / 2


def f1_score(truth, answers):
    """2TP / (2TP + FP + FN), and 0 where nothing is there and nothing is named."""
    tp, fp, fn = (truth & answers).sum(), (~truth & answers).sum(), (truth & ~answers).sum()
    return 2 * tp / max(1, 2 * tp + fp + fn)


def test_average_precision_and_roc_auc_are_those_of_their_formulas():
    scores, truth = data()
    once = np.ones([1, IMAGES])
    areas, precisions = np.concatenate([*rankings(scores, truth, once)], axis=1)
    expected = [average_precision_score(truth[:, k], scores[:, k]) for k in range(4)]
    np.testing.assert_allclose(precisions[:4], expected, rtol=1e-12)
    assert (precisions[3], np.isnan(precisions[4])) == (1.0, True)
    np.testing.assert_allclose(areas[:3], [roc_auc_score(truth[:, k], scores[:, k]) for k in range(3)], rtol=1e-12)
    assert np.isnan(areas[3:]).all()
    np.testing.assert_allclose(mean_rankings(scores, truth, once)[:, 0], [areas[:3].mean(), np.mean(expected)])


def test_f1_precision_and_recall_are_those_of_their_formulas():
    scores, truth = data(1)
    answers = scores >= 0.5
    found = {name: value[0] for name, value in class_averages(truth, answers, np.ones([1, IMAGES])).items()}
    hits, named, there = ((truth & answers).sum(axis=0), answers.sum(axis=0), truth.sum(axis=0))
    assert found["macro_f1"] == pytest.approx(np.mean([f1_score(truth[:, k], answers[:, k]) for k in range(4)]))
    assert found["micro_f1"] == pytest.approx(f1_score(truth.ravel(), answers.ravel()))
    assert found["macro_precision"] == pytest.approx(np.mean(hits[:4] / named[:4]))
    assert found["macro_recall"] == pytest.approx(np.mean(hits[:4] / there[:4]))
    assert found["micro_precision"] == pytest.approx(hits.sum() / named.sum())
    assert found["micro_recall"] == pytest.approx(hits.sum() / there.sum())


def test_a_resample_is_scored_as_the_images_that_were_drawn():
    scores, truth = data(2)
    weights = np.random.default_rng(3).integers(0, 3, (4, IMAGES))
    drawn = [np.repeat(np.arange(IMAGES), row) for row in weights]
    once = [np.ones([1, len(rows)]) for rows in drawn]
    expected = [mean_rankings(scores[rows], truth[rows], one) for rows, one in zip(drawn, once, strict=True)]
    found = mean_rankings(scores, truth, weights.astype(float))
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-12)
    averages = class_averages(truth, scores > 0, weights.astype(float))
    for row, (rows, one) in enumerate(zip(drawn, once, strict=True)):
        each = class_averages(truth[rows], scores[rows] > 0, one)
        assert {name: values[row] for name, values in averages.items()} == pytest.approx(
            {name: values[0] for name, values in each.items()}
        )


def test_intervals_hold_the_metrics_and_nothing_is_no_number():
    scores, truth = data(4)
    once = np.ones([1, IMAGES])
    losses = np.random.default_rng(5).random(IMAGES)
    intervals = {**ranking_intervals(scores, truth), **average_intervals(truth, scores > 0, losses)}
    values = dict(zip(("macro_roc_auc", "macro_average_precision"), mean_rankings(scores, truth, once), strict=True))
    values |= {**class_averages(truth, scores > 0, once), "loss": [losses.mean()]}
    assert set(intervals) == set(values)
    assert [name for name, (low, high) in intervals.items() if not low < values[name][0] < high] == []
    assert ranking_intervals(scores, np.zeros_like(truth)) == {}

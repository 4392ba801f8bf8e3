"""Metrics of a classifier, by hand and against loops."""

import time

import numpy as np
import pytest

from utils.statistics.class_metrics import (
    AnswerTable,
    bootstrap_intervals,
    by_class,
    class_metrics,
    metrics_of,
    ranking_intervals,
    ranking_metrics,
)
from utils.statistics.one_against_all import one_against_all, resampled_means


def table(labels, answers, confidences=None, classes=4):
    confidences = np.ones(len(labels)) if confidences is None else np.array(confidences)
    given = {"labels": np.array(labels), "answers": np.array(answers), "confidences": confidences}
    return AnswerTable(**given, losses=confidences, num_classes=classes)


# class 0: 2 of 3 found, 2 of 3 predictions right; class 1: 1 of 1 found, 1 of 2 right; class 2: never; class 3: absent
WORKED = table([0, 0, 0, 1, 2], [0, 0, 1, 1, 0], [0.9, 0.75, 0.5, 0.95, 0.55])


def test_precision_recall_and_f1_by_class_are_those_worked_by_hand():
    precision, recall, f1 = (values[0] for values in by_class(WORKED, np.ones([1, 5])))
    assert precision.tolist() == pytest.approx([2 / 3, 1 / 2, 0, 0])
    assert recall.tolist() == pytest.approx([2 / 3, 1, 0, np.nan], nan_ok=True)
    assert f1.tolist() == pytest.approx([4 / 6, 2 / 3, 0, 0])


def test_macro_averages_leave_out_classes_without_examples_and_tenths_give_the_calibration_error():
    found = metrics_of(WORKED)
    assert found["macro_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["macro_precision"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    # 0.5 to 0.6: two wrong, 1.05 too sure; 0.7 to 0.8: one right, 0.25 short; from 0.9 on: two right, 0.15 short
    assert found["calibration_error"] == pytest.approx((1.05 + 0.25 + 0.15) / 5)


def test_an_image_that_counts_twice_counts_as_two():
    twice = table([0, 0, 0, 0, 2], [0, 0, 0, 1, 0], [0.9, 0.9, 0.75, 0.5, 0.55])
    weighted = class_metrics(WORKED, np.array([[2.0, 1, 1, 0, 1]]))
    assert {name: values[0] for name, values in weighted.items()} == pytest.approx(metrics_of(twice))


def test_roc_auc_and_average_precision_are_those_worked_by_hand():
    # class 0 at ranks 1 and 3 of 4, class 1 tied with another image
    scores = np.array([[0.9, 0.1], [0.8, 0.5], [0.7, 0.5], [0.1, 0.9]])
    auc, precision = one_against_all(scores, np.array([0, 1, 0, 1]))
    assert auc.tolist() == [3 / 4, (1.5 + 2) / 4]  # of four pairs; the tie counts as half
    assert precision.tolist() == pytest.approx([(1 + 2 / 3) / 2, (1 + 2 / 3) / 2])
    assert np.isnan(one_against_all(scores, np.array([0, 0, 0, 0]))).all()
    assert ranking_metrics(scores, np.zeros(4, int))[0] == {}


def test_roc_auc_of_resamples_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(5)
    scores, labels = np.round(rng.normal(size=(40, 3)), 1), rng.integers(0, 3, 40)
    weights = rng.integers(0, 3, (4, 40)).astype(float)
    for row, found in zip(weights.astype(int), resampled_means(scores, labels, weights)[0], strict=True):
        drawn = np.repeat(np.arange(40), row)
        shares = []
        for k in range(3):
            of = scores[drawn[labels[drawn] == k], k][:, None]
            others = scores[drawn[labels[drawn] != k], k]
            shares.append(((of > others) + (of == others) / 2).mean())
        assert found == pytest.approx(np.mean(shares))


def test_intervals_hold_the_metrics_and_50000_images_take_seconds():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 100, 50_000)
    answers = np.where(rng.uniform(size=50_000) < 0.75, labels, rng.integers(0, 100, 50_000))
    many = table(labels, answers, rng.uniform(0.5, 1, 50_000), classes=100)
    began = time.process_time()
    found = bootstrap_intervals(many)
    assert time.process_time() - began < 10
    for name, value in {**metrics_of(many), "loss": many.losses.mean()}.items():
        low, high = found[name]
        assert low < value < high < low + 0.02
    scores = rng.normal(size=(200, 3))
    low, high = ranking_intervals(scores, labels[:200] % 3)["macro_roc_auc"]
    assert low < 0.5 < high

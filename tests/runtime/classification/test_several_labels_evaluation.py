"""The evaluation of images with several labels: sums of parts, details, limits."""

import numpy as np
import pytest

from runtime.classification.evaluation import Effort
from runtime.classification.several_labels_evaluation import SeveralLabelsEvaluator
from tests.utils.statistics.test_several_labels import average_precision_score, f1_score
from utils.errors import RunError
from utils.reporting.per_image import scores_of

RNG = np.random.default_rng(0)
TRUTH = RNG.random((40, 3)) < 0.4
LOGITS = (RNG.normal(size=TRUTH.shape) + TRUTH - 0.5).astype(np.float32)


def evaluated(*parts, effort=None):
    evaluator = SeveralLabelsEvaluator(effort) if effort else SeveralLabelsEvaluator()
    for rows in parts:
        evaluator.update({"logits": LOGITS[rows], "labels": TRUTH[rows].astype(np.float32), "index": np.array(rows)})
    return evaluator


WHOLE = evaluated(range(40))


def test_results_are_those_of_the_formulas():
    result = WHOLE.result()
    assert set(result) == {"macro_average_precision", "macro_f1", "micro_f1", "loss", "images"}
    expected = np.mean([average_precision_score(TRUTH[:, k], LOGITS[:, k]) for k in range(3)])
    assert result["macro_average_precision"] == pytest.approx(expected)
    assert result["micro_f1"] == pytest.approx(f1_score(TRUTH.ravel(), (LOGITS >= 0).ravel()))
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    assert result["loss"] == pytest.approx(-np.where(TRUTH, np.log(p), np.log(1 - p)).mean())
    assert result["images"] == 40


def test_evaluators_of_parts_add_up_to_the_whole_bit_for_bit():
    first, second = evaluated(range(1, 40, 2)), evaluated(range(0, 20, 2), range(20, 40, 2))
    first.merge(second)
    assert first.result() == WHOLE.result()
    assert first.statistics() == WHOLE.statistics()
    assert first.details() == WHOLE.details()


def test_statistics_hold_intervals_unless_they_would_take_long():
    found = WHOLE.statistics()
    assert {"macro_precision", "micro_recall", "macro_roc_auc"} <= found.keys()
    low, high = found["intervals"]["macro_average_precision"]
    assert low < WHOLE.result()["macro_average_precision"] < high
    quick = evaluated(range(40), effort=Effort(scores=1, resampled_scores=29, resampled_images=1)).statistics()
    assert {"macro_f1", "micro_f1", "loss"} <= quick["intervals"].keys()
    assert "macro_average_precision" not in quick["intervals"]
    none = evaluated(range(40), effort=Effort(scores=1, resampled_scores=1, resampled_images=1)).statistics()
    assert none["intervals"] == {}


def test_details_name_the_worst_mistakes_and_keep_the_scores():
    details = WHOLE.details()
    named = LOGITS >= 0
    assert details["classes"] == np.stack([TRUTH.sum(0), named.sum(0), (TRUTH & named).sum(0)], axis=1).tolist()
    mistakes = np.where(TRUTH, -LOGITS, LOGITS).max(axis=1)
    worst = details["pictures"][0]
    assert worst["index"] == mistakes.argmax()
    number, probability, there = worst["classes"][0]
    assert (probability >= 0.5) != bool(there)
    assert bool(there) == TRUTH[worst["index"], number]
    assert all(mistakes[entry["index"]] >= 0 for entry in details["pictures"])
    index, scores, truth = scores_of(details)
    np.testing.assert_array_equal(index, np.arange(40))
    np.testing.assert_array_equal(scores, LOGITS)
    np.testing.assert_array_equal(truth, TRUTH)


def test_an_evaluation_of_nothing_or_of_broken_weights_is_an_error():
    with pytest.raises(RunError, match="no image could be evaluated"):
        SeveralLabelsEvaluator().result()
    with pytest.raises(RunError, match="logits are not finite"):
        SeveralLabelsEvaluator().update({"logits": np.array([[np.nan]]), "labels": np.array([[1.0]])})


def test_images_without_any_label_have_an_average_precision_of_0():
    evaluator = SeveralLabelsEvaluator()
    evaluator.update({"logits": LOGITS, "labels": np.zeros_like(LOGITS)})
    assert evaluator.result()["macro_average_precision"] == 0
    assert "macro_roc_auc" not in evaluator.statistics()
    assert evaluator.details()["class_metrics"][0][1] is None

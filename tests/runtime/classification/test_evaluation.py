"""Accuracies and loss of an evaluation against sorting in NumPy."""

import numpy as np
import pytest

from runtime.classification.evaluation import THOROUGH, ClassificationEvaluator, Effort
from tests.runtime.tiny_classifier import softmax_cross_entropy
from utils.errors import RunError
from utils.reporting.per_image import answers_of
from utils.statistics.intervals import wilson


def evaluated(logits, labels, top_k=5):
    evaluator = ClassificationEvaluator(top_k)
    evaluator.update({"logits": np.asarray(logits), "labels": np.asarray(labels)})
    return evaluator.result()


def test_accuracies_and_loss_equal_a_sorting_oracle():
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(200, 12)), rng.integers(0, 12, 200)
    order = np.argsort(-logits, axis=1)
    result = evaluated(logits, labels, top_k=3)
    assert set(result) == {"top1_accuracy", "top3_accuracy", "top5_accuracy", "loss", "images"}
    for k in (1, 3, 5):
        assert result[f"top{k}_accuracy"] == (order[:, :k] == labels[:, None]).any(axis=1).mean()
    assert result["loss"] == pytest.approx(softmax_cross_entropy(logits, np.eye(12)[labels]).mean())
    assert result["images"] == 200


@pytest.mark.parametrize(("label", "rank"), [(0, 0), (1, 1), (2, 2)])
def test_of_equal_logits_the_first_class_comes_first_as_argmax_has_it(label, rank):
    result = evaluated([[1.0, 1.0, 1.0, 0.0]], [label], top_k=2)
    assert result["top1_accuracy"] == (rank < 1)
    assert result["top2_accuracy"] == (rank < 2)


def test_a_k_beyond_the_class_count_counts_every_image():
    result = evaluated([[3.0, 2.0, 1.0]] * 2, [2, 0], top_k=50)
    assert (result["top1_accuracy"], result["top5_accuracy"], result["top50_accuracy"]) == (0.5, 1.0, 1.0)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_an_error_and_not_a_hit(broken):
    with pytest.raises(RunError, match="logits are not finite"):
        evaluated([[0.0, 1.0], [broken, 0.0]], [0, 0])


def test_an_evaluation_of_nothing_is_an_error():
    with pytest.raises(RunError, match="no image could be evaluated"):
        ClassificationEvaluator(5).result()
    empty = ClassificationEvaluator(5)
    empty.update({"logits": np.zeros((0, 3)), "labels": np.zeros(0, int)})
    with pytest.raises(RunError, match="no image could be evaluated"):
        empty.result()


def test_evaluators_of_parts_add_up_to_the_whole():
    rng = np.random.default_rng(4)
    logits, labels = rng.normal(size=(30, 8)), rng.integers(0, 8, 30)
    whole = ClassificationEvaluator(5)
    whole.update({"logits": logits, "labels": labels})
    parts = [ClassificationEvaluator(5) for _ in range(3)]
    for part, start, end in zip(parts, (0, 7, 7), (7, 7, 30), strict=True):
        part.update({"logits": logits[start:end], "labels": labels[start:end]})
    for part in parts[1:]:
        parts[0].merge(part)
    assert {**parts[0].result(), "loss": 0} == {**whole.result(), "loss": 0}
    assert parts[0].result()["loss"] == pytest.approx(whole.result()["loss"], rel=1e-12)


def test_logits_far_from_zero_lose_no_digits():
    assert evaluated([[1e4, 1e4 - 1.0]], [1])["loss"] == pytest.approx(1 + np.log1p(np.exp(-1.0)))


def drawn(rows=slice(None)):
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 4, 60)
    logits = rng.normal(size=(60, 4)) + 2 * np.eye(4)[labels]
    return {"logits": logits[rows], "labels": labels[rows], "index": np.arange(60)[rows]}


def evaluator_of(*stretches, effort=THOROUGH):
    parts = []
    for rows in stretches:
        parts.append(ClassificationEvaluator(3, effort))
        parts[-1].update(drawn(rows))
    for part in parts[1:]:
        parts[0].merge(part)
    return parts[0]


def test_every_metric_has_an_interval_that_holds_it():
    evaluator = evaluator_of(slice(None))
    found = evaluator.statistics()
    intervals = found.pop("intervals")
    assert set(intervals) == {*found, "loss", "top1_accuracy", "top3_accuracy", "top5_accuracy"}
    for name, (low, high) in intervals.items():
        assert low <= {**evaluator.result(), **found}[name] <= high
    assert intervals["top1_accuracy"] == wilson(round(60 * evaluator.result()["top1_accuracy"]), 60)


def test_intervals_depend_neither_on_the_order_of_images_nor_on_processes():
    assert evaluator_of(slice(40, 60), slice(0, 1), slice(1, 40)).statistics() == evaluator_of(slice(None)).statistics()


def test_what_takes_too_long_is_left_out():
    few = Effort(scores=240, resampled_scores=239, resampled_images=60)
    found = evaluator_of(slice(None), effort=few).statistics()
    assert "macro_roc_auc" in found
    assert "macro_roc_auc" not in found["intervals"]
    none = evaluator_of(slice(0, 30), slice(30, 60), effort=Effort(scores=239, resampled_scores=0, resampled_images=59))
    assert "macro_roc_auc" not in none.statistics()
    assert set(none.statistics()["intervals"]) == {f"top{k}_accuracy" for k in (1, 3, 5)}
    assert all(row[3:] == [None, None] for row in none.details()["class_metrics"])


def test_details_hold_the_metrics_of_each_class_and_the_answer_to_each_image():
    details, example = evaluator_of(slice(None)).details(), drawn()
    answers = example["logits"].argmax(axis=1)
    for k, (precision, recall, f1, *_) in enumerate(details["class_metrics"]):
        hits = np.sum((answers == k) & (example["labels"] == k))
        assert precision == pytest.approx(hits / np.sum(answers == k), abs=1e-6)
        assert recall == pytest.approx(hits / np.sum(example["labels"] == k), abs=1e-6)
        assert f1 == pytest.approx(2 / (1 / precision + 1 / recall), abs=1e-5)
    stored = answers_of(details)
    assert stored["answer"].tolist() == answers.tolist()
    assert stored["index"].tolist() == [*range(60)]

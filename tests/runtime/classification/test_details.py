"""The details of an evaluation about classes and mistakes, against a plain count."""

from collections import Counter

import numpy as np
import pytest

from runtime.classification.details import PICTURES
from runtime.classification.evaluation import ClassificationEvaluator


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def example():
    rng = np.random.default_rng(7)
    return {"logits": rng.normal(size=(90, 5)) * 2, "labels": rng.integers(0, 4, 90), "index": rng.permutation(90)}


def evaluated(example, *stretches):
    parts = []
    for rows in stretches or (slice(None),):
        part = ClassificationEvaluator(5)
        part.update({name: values[rows] for name, values in example.items()})
        parts.append(part)
    for part in parts[1:]:
        parts[0].merge(part)
    return parts[0]


def test_counts_and_confusions_equal_those_of_a_loop(example):
    found = evaluated(example).details()
    chosen = example["logits"].argmax(axis=1)
    pairs = Counter(zip(example["labels"].tolist(), chosen.tolist(), strict=True))
    assert {(of, answer): count for of, answer, count in found["confusion"]} == pairs
    for k, (examples, answers, right) in enumerate(found["classes"]):
        assert (examples, answers, right) == (sum(example["labels"] == k), sum(chosen == k), pairs[k, k])


def test_the_right_ones_are_those_that_top_1_counts(example):
    evaluator = evaluated(example)
    right = sum(row[2] for row in evaluator.details()["classes"])
    assert right / 90 == evaluator.result()["top1_accuracy"]


def test_calibration_has_the_mean_confidence_and_accuracy_of_each_tenth(example):
    probabilities = softmax(example["logits"])
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == example["labels"]
    for tenth, (count, mean, accuracy) in enumerate(evaluated(example).details()["calibration"]):
        there = (confidence >= tenth / 10) & (confidence < (tenth + 1) / 10)
        assert count == there.sum()
        if count:
            assert mean == pytest.approx(confidence[there].mean())
            assert accuracy == pytest.approx(right[there].mean())
        else:
            assert (mean, accuracy) == (None, None)


def test_mistakes_are_the_most_confident_ones_with_their_place_in_the_split(example):
    probabilities = softmax(example["logits"])
    chosen = probabilities.argmax(axis=1)
    wrong = [row for row in np.argsort(-probabilities.max(axis=1)) if chosen[row] != example["labels"][row]]
    found = evaluated(example).details()["pictures"]
    assert [entry["index"] for entry in found] == example["index"][wrong[:PICTURES]].tolist()
    first = wrong[0]
    assert found[0]["confidence"] == pytest.approx(probabilities[first, chosen[first]], abs=1e-6)
    assert found[0]["of_label"] == pytest.approx(probabilities[first, example["labels"][first]], abs=1e-6)


def test_parts_of_several_processes_tell_the_same_as_the_whole(example):
    whole, parts = evaluated(example), evaluated(example, slice(60, 90), slice(0, 1), slice(1, 60))
    assert parts.details() == whole.details()


def test_examples_of_no_split_have_no_place():
    evaluator = ClassificationEvaluator(1)
    evaluator.update({"logits": np.array([[0.0, 1.0]]), "labels": np.array([0])})
    assert evaluator.details()["pictures"][0]["index"] == -1


def test_examples_are_spread_over_the_split_whatever_became_of_them(example):
    found = evaluated(example).details()["examples"]
    assert [entry["index"] for entry in found] == [0, 13, 25, 38, 51, 64, 76, 89]
    row = example["index"].tolist().index(13)
    assert (found[1]["label"], found[1]["answer"]) == (example["labels"][row], example["logits"][row].argmax())
    few = {name: values[:3] for name, values in example.items()}
    assert [entry["index"] for entry in evaluated(few).details()["examples"]] == sorted(few["index"])

"""Tests between made-up runs, in words."""

import dataclasses
import json
import re

import numpy as np
import pytest

from tests.utils.reporting.made_runs import comparison, write_boxes, write_classes, write_log, write_several
from tools.report import main
from utils.files.packed_arrays import packed
from utils.reporting.evaluation_file import EVALUATION_NAME
from utils.reporting.paired_tests import paired_tests, rounded, sentence, shown
from utils.reporting.per_image import answers_of
from utils.reporting.run_log import read_run
from utils.statistics.intervals import resamples
from utils.statistics.paired import holm, mcnemar


def classifier(folder, **options):
    return write_log(folder), write_classes(folder, 4, **options)


def answering(folder, right):
    """A run whose evaluation says which images are right, in a copy of another run's evaluation."""
    write_log(folder)
    content = write_classes(folder, 2, len(right))
    labels = np.zeros(len(right), int)
    content["per_image"] = packed({"index": np.arange(len(right)), "label": labels, "answer": 1 - np.array(right)})
    return edit(folder, **content)


def edit(folder, **entries):
    path = folder / EVALUATION_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return folder


def outcome(*folders):
    return paired_tests([read_run(folder) for folder in folders])


def said(*folders):
    pairs = outcome(*folders).pairs
    return "\n".join(sentence(pair, len(pairs)) for pair in pairs)


def report(tmp_path, capsys, *folders):
    status = main([*map(str, folders), f"--output={tmp_path / 'page.html'}"])
    said = capsys.readouterr()
    return status, said.out, said.err, (tmp_path / "page.html").read_text()


def test_two_runs_are_told_apart_or_not_in_words(tmp_path, capsys):
    # of 100 images, 8 only the first gets right and 2 only the second: p = 0.109375, as worked in test_paired
    first = answering(tmp_path / "a", [1] * 80 + [1] * 8 + [0] * 2 + [0] * 10)
    second = answering(tmp_path / "b", [1] * 80 + [0] * 8 + [1] * 2 + [0] * 10)
    status, out, err, page = report(tmp_path, capsys, first, second)
    assert (status, err) == (0, "")
    assert "100 images: top-1 accuracy 0.8800 and 0.8200, difference 0.0600" in out
    assert "McNemar's test, exact binomial (8 and 2 images that only one of them gets right): p = 0.109. " in out
    # (1.959964 sqrt(0.1) + 0.841621 sqrt(0.1 - 0.0036))^2 / 0.06^2 = (0.619795 + 0.261308)^2 / 0.0036 = 215.7
    assert "is not larger than chance would make it; about 220 images are needed to tell a difference of this" in out
    assert "<h2>Larger than chance?</h2>" in page
    assert "is not larger than chance would make it" in page
    far = answering(tmp_path / "c", [1] * 40 + [0] * 60)
    assert "The difference is larger than chance would make it; about " in said(first, far)
    equal = answering(tmp_path / "d", [1] * 80 + [1] * 8 + [0] * 2 + [0] * 10)
    assert "no number of images tells networks that are equally good apart" in said(first, equal)


def test_several_comparisons_are_corrected_for_their_number(tmp_path):
    runs = [answering(tmp_path / str(n), [1] * n + [0] * (60 - n)) for n in (40, 34, 22)]
    pairs = outcome(*runs).pairs
    expected = [mcnemar(only, 0)[0] for only in (6, 18, 12)]
    assert [pair.p for pair in pairs] == expected
    assert [pair.corrected for pair in pairs] == holm(expected)
    assert [pair.corrected for pair in pairs] != expected


def test_of_many_runs_the_best_is_compared_with_each_of_the_others(tmp_path):
    runs = [answering(tmp_path / str(n), [1] * n + [0] * (30 - n)) for n in range(20, 12, -1)]
    pairs = outcome(*runs).pairs
    assert {pair.names[0] for pair in pairs} == {str(runs[0])}
    assert len(pairs) == 7


def test_detectors_are_compared_by_a_paired_bootstrap(tmp_path):
    same, worse = tmp_path / "same", tmp_path / "worse"
    tables = comparison(40)
    for folder in (same, worse):
        write_log(folder)
    metric = write_boxes(same, tables)["metrics"]["Precision/mAP"]
    shifted = dataclasses.replace(tables.results, boxes_px=tables.results.boxes_px + 5.0)
    lower = write_boxes(worse, dataclasses.replace(tables, results=shifted))["metrics"]["Precision/mAP"]
    (pair,) = outcome(same, worse).pairs
    assert pair.values == pytest.approx((metric, lower), abs=1e-6)
    assert pair.interval[0] > 0
    assert pair.tells
    assert pair.p == 2 / 1001
    assert "paired bootstrap, 1,000 resamples: p = 0.002. The difference is larger" in said(same, worse)


def test_a_paired_bootstrap_draws_the_same_images_for_both(tmp_path):
    one, two = answering(tmp_path / "a", [1, 0] * 20), answering(tmp_path / "b", [1, 0, 0, 0] * 10)
    (pair,) = outcome(one, two).pairs
    difference = np.array([0, 0, 1, 0] * 10)
    shares = np.concatenate([weights @ difference for weights in resamples(40)]) / 40
    assert pair.interval == pytest.approx(np.percentile(shares, [2.5, 97.5]).tolist())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"split": "other records"}, "the records of their validation images differ"),
        ({"index": 1}, "different images (100 images and 100, 99 of which have the same number)"),
        ({"label": 1}, "the labels of their validation images differ"),
    ],
)
def test_other_validation_images_are_refused_with_the_reason(tmp_path, change, reason):
    run, content = classifier(tmp_path / "run", examples=100)
    other, _ = classifier(tmp_path / "other", examples=100)
    if "split" in change:
        edit(other, **change)
    else:
        arrays = answers_of(content)
        shifted = {name: values.astype(int) + change.get(name, 0) for name, values in arrays.items()}
        edit(other, per_image=packed(shifted))
    found = outcome(run, other)
    assert found.pairs == []
    (told,) = found.refused
    assert told.startswith(f"{run} and {other}: not compared, because ")
    assert reason in told


def test_a_classifier_and_a_detector_are_not_compared(tmp_path, capsys):
    run, _ = classifier(tmp_path / "run")
    write_boxes(write_log(tmp_path / "boxes"), comparison())
    status, out, err, page = report(tmp_path, capsys, run, tmp_path / "boxes")
    assert status == 3
    assert "p = " not in out
    reason = re.search(r"not compared, because one is for (classification|detection) and the other for \w+", err)
    assert reason[0] in page


@pytest.mark.parametrize("damage", [{"per_image": None}, {"per_image": {"index": 3}}])
def test_evaluations_of_older_versions_and_damaged_ones_are_named(tmp_path, damage):
    run, _ = classifier(tmp_path / "run")
    other, _ = classifier(tmp_path / "other")
    edit(other, **damage)
    found = outcome(run, other)
    assert (found.pairs, found.refused, found.lacking) == ([], [], [str(other)])
    assert found.without_results()[0].startswith(f"Not tested: {other}, whose evaluation.json is missing or lacks")


def test_numbers_are_rounded_for_people():
    assert [rounded(n) for n in (7, 43, 216, 12_301)] == ["about 7", "about 43", "about 220", "about 13,000"]
    assert [shown(p) for p in (0.109375, 0.00012)] == ["0.109", "1.2e-04"]


def several(folder, **options):
    write_log(folder)
    write_several(folder, **options)
    return folder


def test_networks_of_several_labels_are_compared_by_mean_average_precision_on_the_same_images(tmp_path):
    good, bad, same = (several(tmp_path / name, noise=noise) for name, noise in (("a", 1.0), ("b", 4.0), ("c", 1.0)))
    (pair,) = outcome(good, bad).pairs
    evaluations = [read_run(folder).evaluation["metrics"]["macro_average_precision"] for folder in (good, bad)]
    assert pair.values == pytest.approx(tuple(evaluations))
    assert pair.tells
    assert pair.interval[0] > 0
    text = said(good, bad)
    assert "60 images: mean average precision" in text
    assert "paired bootstrap, 1,000 resamples" in text
    assert not outcome(good, same).pairs[0].tells


def test_networks_of_several_labels_on_other_labels_or_without_scores_are_not_compared(tmp_path):
    first, other = several(tmp_path / "a"), several(tmp_path / "b", seed=1)
    assert "the labels of their validation images differ" in outcome(first, other).refused[0]
    one_label, _ = classifier(tmp_path / "c")
    assert "because one is for" in outcome(first, one_label).refused[0]
    content = json.loads((first / EVALUATION_NAME).read_text())
    edit(first, per_image=content["per_image"] | {"scores": packed({"s": np.zeros(5)})["s"]})
    assert outcome(first, other).lacking == ["a"] or len(outcome(first, other).lacking) == 1
    assert len(outcome(edit(other, per_image=None), several(tmp_path / "d")).lacking) == 1

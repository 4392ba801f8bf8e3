"""Average precision of resamples against scoring the drawn images anew."""

import time

import numpy as np
import pytest

from object_detection.coco.intervals import intervals, judged_detections
from object_detection.coco.metrics import METRICS, SIZES, Groundtruth, Results, score_arrays
from object_detection.coco.tables import Comparison
from utils.statistics.detection_metrics import mean_over_categories


def scene(images, categories, seed=0, per_image=7, detections=20):
    """Objects of all sizes, of which 70 % are detected, and false alarms; a few crowds."""
    rng = np.random.default_rng(seed)
    count = images * per_image
    boxes = np.concatenate([rng.uniform(0, 400, (count, 2)), rng.uniform(5, 150, (count, 2))], axis=1)
    of = {"image_ids": rng.integers(0, images, count), "category_ids": rng.integers(0, categories, count)}
    groundtruth = Groundtruth(
        **of, boxes_px=boxes, areas_px=boxes[:, 2] * boxes[:, 3], crowds=rng.uniform(size=count) < 0.05
    )
    found = rng.uniform(size=count) < 0.7
    alarms = images * detections - found.sum()
    other = np.concatenate([rng.uniform(0, 400, (alarms, 2)), rng.uniform(5, 150, (alarms, 2))], axis=1)
    near = boxes[found] * rng.normal(1, 0.06, (found.sum(), 4))
    results = Results(
        image_ids=np.concatenate([of["image_ids"][found], rng.integers(0, images, alarms)]),
        category_ids=np.concatenate([of["category_ids"][found], rng.integers(0, categories, alarms)]),
        boxes_px=np.concatenate([near, other]),
        scores=np.concatenate([rng.beta(3, 2, found.sum()), rng.beta(1, 3, alarms)]),
    )
    return Comparison(
        image_ids=np.arange(images),
        sizes_px=np.full((images, 2), 600.0),
        categories={k: f"thing {k}" for k in range(categories)},
        groundtruth=groundtruth,
        results=results,
    )


def scored(comparison):
    return score_arrays(comparison.groundtruth, comparison.results, [*comparison.categories])


def test_weights_of_one_give_cocos_own_numbers():
    comparison = scene(40, 5)
    summary, once = scored(comparison), np.ones([1, 40])
    for size, name in enumerate(("mAP", *(f"mAP ({size})" for size in SIZES[1:]))):
        table = judged_detections(comparison, summary, size)
        precision = table.average_precision(once)
        assert mean_over_categories(precision.mean(axis=2))[0] == pytest.approx(
            summary.metrics[f"Precision/{name}"], abs=1e-6
        )
        if size == 0:
            assert precision[0, :, 0].mean() == pytest.approx(summary.metrics["Precision/mAP@.50IOU"], abs=1e-6)
            assert precision[0].mean(axis=1) == pytest.approx([*summary.by_category.values()], abs=1e-6)
            early = table.recall(once, summary.judged.places < 1)
            assert mean_over_categories(early)[0] == pytest.approx(summary.metrics["Recall/AR@1"])


def test_a_resample_is_scored_as_the_images_that_were_drawn():
    comparison = scene(30, 3, seed=1)
    table = judged_detections(comparison, scored(comparison))
    weights = np.random.default_rng(3).integers(0, 2, (5, 30)).astype(float)
    for row, found in zip(weights, table.average_precision(weights), strict=True):
        drawn = np.flatnonzero(row)
        tables = (comparison.groundtruth, comparison.results)
        alone = score_arrays(*(one.take(np.isin(one.image_ids, drawn)) for one in tables), [*comparison.categories])
        assert found.mean() == pytest.approx(alone.metrics["Precision/mAP"], abs=1e-6)


def test_two_copies_of_all_images_score_like_one_and_no_objects_are_no_number():
    comparison = scene(10, 2, seed=2)
    table = judged_detections(comparison, scored(comparison))
    once, twice = table.average_precision(np.array([[1.0], [2.0]]).repeat(10, axis=1))
    assert twice == pytest.approx(once, abs=1e-6)
    assert np.isnan(table.average_precision(np.zeros([1, 10]))).all()


def test_100_images_with_80_classes_have_their_intervals_in_seconds():
    comparison = scene(100, 80, detections=100)
    summary = scored(comparison)
    began = time.process_time()
    found, by_category = intervals(comparison, summary)
    assert time.process_time() - began < 10
    assert set(found) == set(METRICS)
    for name in ("Precision/mAP", "Precision/mAP@.50IOU", "Recall/AR@100"):
        low, high = found[name]
        assert low < summary.metrics[name] < high < low + 0.2
    assert len(by_category) == 80

import json

import numpy as np
import pytest

from object_detection.coco.metrics import METRICS, Groundtruth, Results, score_arrays
from object_detection.coco.tables import from_json
from tests.object_detection.coco_problems import plain_pycocotools, problem


def score(groundtruth, results):
    tables = from_json(groundtruth, results)
    return score_arrays(tables.groundtruth, tables.results, list(tables.categories))


def numbers(summary):
    assert tuple(summary.metrics) == METRICS
    return list(summary.metrics.values())


@pytest.fixture
def pairs(sample_data):
    folder = sample_data / "coco_metric_pairs"
    if not folder.is_dir():
        pytest.skip(f"no coco_metric_pairs in {sample_data} (SAMPLE_DATA)")
    return lambda name: json.loads((folder / name).read_text())


@pytest.mark.parametrize(
    ("groundtruth", "results", "expected", "tolerance"),
    [
        (
            "cocoapi_val2014_100/gt_instances_val2014_100.json",
            "cocoapi_val2014_100/instances_val2014_fakebbox100_results.json",
            "cocoapi_val2014_100/expected_bbox.json",
            1e-9,
        ),
        (
            "rodm_bbox_area/sampled_gts_bbox_area.json",
            "rodm_bbox_area/sampled_bbox_results.json",
            "rodm_bbox_area/expected_bbox.json",
            5.1e-7,
        ),
        ("torchmetrics_doc/gt.json", "torchmetrics_doc/dt.json", "torchmetrics_doc/expected_bbox.json", 1e-9),
    ],
)
def test_published_values_are_found(pairs, groundtruth, results, expected, tolerance):
    groundtruth, results, expected = pairs(groundtruth), pairs(results), pairs(expected)
    if isinstance(results, dict):  # one of the files is like an annotation file
        results = results["annotations"]
    published = [values for values in expected.values() if isinstance(values, dict)]
    found = score(groundtruth, results)
    np.testing.assert_allclose(numbers(found), list(published[0].values()), rtol=0, atol=tolerance)
    for rounded in published[1:]:
        np.testing.assert_allclose(np.round(numbers(found), 3), list(rounded.values()), rtol=0, atol=1e-12)
    evaluation, _ = plain_pycocotools(groundtruth, results)
    np.testing.assert_allclose(numbers(found), evaluation.stats, rtol=0, atol=1e-9)


PROBLEMS = {
    "a few images": {"images": 12},
    "one category": {"images": 10, "categories": 1, "objects": 12, "detections": 60},
    "more than a hundred detections of a category": {"images": 3, "categories": 1, "objects": 30, "detections": 150},
    "crowds everywhere": {"images": 15, "categories": 2, "crowds": 0.5, "objects": 8},
    "only crowds": {"images": 5, "crowds": 1.0},
    "hardly any objects": {"images": 8, "objects": 0.3, "categories": 20},
    "no detection": {"images": 4, "detections": 0},
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("sizes", PROBLEMS.values(), ids=PROBLEMS)
def test_random_problems_give_what_pycocotools_gives(sizes, seed):
    groundtruth, results = problem(**sizes, seed=seed)
    found = score(groundtruth, results)
    if not results:  # pycocotools stops at an empty list
        assert {0.0, -1.0} >= set(numbers(found))
        assert found.metrics["Precision/mAP"] == 0
        return
    evaluation, _ = plain_pycocotools(groundtruth, results)
    np.testing.assert_allclose(numbers(found), evaluation.stats, rtol=0, atol=1e-9)
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    for column, category in enumerate(evaluation.params.catIds):
        known = precision[:, :, column][precision[:, :, column] > -1]
        expected = known.mean() if known.size else -1
        assert found.by_category[category] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_random_problems_give_what_another_implementation_gives(seed):
    library = pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    groundtruth, results = problem(12, seed=seed, crowds=0.25, categories=3, objects=8)
    truth = library.COCO(groundtruth)
    evaluation = library.COCOeval_faster(truth, truth.loadRes([dict(r) for r in results]), "bbox", print_function=str)
    evaluation.run()
    np.testing.assert_allclose(numbers(score(groundtruth, results)), evaluation.stats[:12], rtol=0, atol=1e-9)


def tables(objects, detections):
    """Builds tables from rows (image, category, box, area, crowd) and (image, category, box, score)."""
    columns = list(zip(*objects, strict=True)) or [[]] * 5
    kinds = (np.int64, np.int64, np.float64, np.float64, bool)
    truth = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    columns = list(zip(*detections, strict=True)) or [[]] * 4
    found = [np.array(c, kind) for c, kind in zip(columns, (np.int64, np.int64, np.float64, np.float64), strict=True)]
    truth[2], found[2] = truth[2].reshape(-1, 4), found[2].reshape(-1, 4)
    return (
        Groundtruth(**dict(zip(Groundtruth.__slots__, truth, strict=True))),
        Results(**dict(zip(Results.__slots__, found, strict=True))),
    )


BOXES = [(100, 100, 100, 100), (50, 50, 50, 50), (25, 25, 25, 25)]


@pytest.mark.parametrize("categories", [(1, 1, 1), (1, 2, 3)])
def test_perfect_detections_are_worth_one(categories):
    rows = [(n, c, box) for n, (c, box) in enumerate(zip(categories, BOXES, strict=True))]
    groundtruth, results = tables([(*row, row[2][2] ** 2, False) for row in rows], [(*row, 0.8) for row in rows])
    assert numbers(score_arrays(groundtruth, results, sorted(set(categories)))) == pytest.approx([1.0] * 12)


def test_a_crowd_that_nothing_finds_costs_nothing():
    crowd = (1, 2, (99, 99, 101, 101), 1e4, True)
    groundtruth, results = tables([(1, 1, BOXES[0], 1e4, False), crowd], [(1, 1, BOXES[0], 0.8)])
    found = score_arrays(groundtruth, results, [1, 2])
    assert found.metrics["Precision/mAP"] == pytest.approx(1)
    assert found.by_category == {1: pytest.approx(1), 2: -1}


def test_any_number_of_detections_in_a_crowd_is_neither_right_nor_wrong():
    crowd = (1, 1, (0, 0, 100, 100), 1e4, True)
    inside = [(1, 1, (10 * n, 0, 10, 10), 0.9) for n in range(5)]
    groundtruth, results = tables(
        [(1, 1, (200, 200, 50, 50), 2500, False), crowd], [*inside, (1, 1, (200, 200, 50, 50), 0.1)]
    )
    assert score_arrays(groundtruth, results, [1]).metrics["Precision/mAP"] == pytest.approx(1)


def test_half_of_the_objects_with_one_wrong_detection_before_by_hand():
    objects = [(1, 1, (0, 0, 40, 40), 1600, False), (1, 1, (100, 100, 40, 40), 1600, False)]
    detections = [(1, 1, (200, 200, 40, 40), 0.9), (1, 1, (0, 0, 40, 40), 0.8), (1, 1, (0, 0, 40, 39), 0.7)]
    metrics = score_arrays(*tables(objects, detections), [1]).metrics
    # One of two found, at a precision of 1 / 2: 51 of 101 recall levels are reached.
    assert metrics["Precision/mAP"] == pytest.approx(0.5 * 51 / 101)
    assert metrics["Precision/mAP (medium)"] == pytest.approx(0.5 * 51 / 101)
    assert metrics["Precision/mAP (small)"] == metrics["Precision/mAP (large)"] == -1
    assert (metrics["Recall/AR@1"], metrics["Recall/AR@10"]) == (0, pytest.approx(0.5))


def test_of_two_objects_that_are_overlapped_equally_the_later_one_is_matched():
    objects = [(1, 1, (0, 0, 20, 20), 400, False), (1, 1, (10, 0, 20, 20), 400, False)]
    detections = [(1, 1, (5, 0, 20, 20), 0.9), (1, 1, (12, 0, 20, 20), 0.8)]  # the second is near only the later one
    assert score_arrays(*tables(objects, detections), [1]).metrics["Precision/mAP@.50IOU"] == pytest.approx(51 / 101)
    found = score_arrays(*tables(objects[::-1], detections), [1]).metrics
    assert found["Precision/mAP@.50IOU"] == pytest.approx(1)


def test_an_overlap_of_the_very_threshold_counts():
    metrics = score_arrays(*tables([(1, 1, (0, 0, 10, 10), 100, False)], [(1, 1, (0, 0, 10, 5), 0.9)]), [1]).metrics
    assert (metrics["Precision/mAP@.50IOU"], metrics["Precision/mAP@.75IOU"]) == (pytest.approx(1), 0)


def test_an_area_at_a_limit_is_of_both_sizes():
    metrics = score_arrays(*tables([(1, 1, (0, 0, 32, 32), 1024, False)], [(1, 1, (0, 0, 32, 32), 0.9)]), [1]).metrics
    assert metrics["Precision/mAP (small)"] == metrics["Precision/mAP (medium)"] == pytest.approx(1)


def test_the_order_of_images_does_not_matter():
    groundtruth, results = problem(10, seed=5)
    expected = score(groundtruth, results)
    order = np.random.default_rng(0).permutation(10)
    ids = [groundtruth["images"][n]["id"] for n in order]
    shuffled = {**groundtruth, "images": [groundtruth["images"][n] for n in order]}
    shuffled["annotations"] = [a for i in ids for a in groundtruth["annotations"] if a["image_id"] == i]
    assert score(shuffled, [r for i in ids for r in results if r["image_id"] == i]) == expected


def test_other_categories_are_left_out():
    groundtruth, results = tables(
        [(1, 1, BOXES[0], 1e4, False), (1, 7, BOXES[1], 1e4, False)], [(1, 1, BOXES[0], 0.5), (1, 8, BOXES[0], 0.9)]
    )
    assert score_arrays(groundtruth, results, [1]).by_category == {1: pytest.approx(1)}


def test_nothing_at_all_is_no_error():
    assert set(numbers(score_arrays(*tables([], []), [1, 2]))) == {-1.0}
    assert numbers(score_arrays(*tables([], [(1, 1, BOXES[0], 0.5)]), [1, 2])) == [-1.0] * 12
    assert score_arrays(*tables([(1, 1, BOXES[0], 1e4, False)], []), [1]).metrics["Precision/mAP"] == 0

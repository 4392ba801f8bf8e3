"""Details of a box evaluation beyond the metrics, checked by hand and by counting."""

import numpy as np
import pytest

from object_detection.coco.details import details, operating_score
from object_detection.coco.metrics import score_arrays
from object_detection.coco.tables import from_json


def compared(objects, results, images=(1, 2)):
    """Returns tables, metrics and details of objects and results given as (image, category, box[, score])."""
    content = {
        "images": [{"id": image, "width": 100, "height": 50} for image in images],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": box, "iscrowd": int(bool(crowd))}
            for n, (image, category, box, *crowd) in enumerate(objects, 1)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
    }
    found = [{"image_id": i, "category_id": c, "bbox": box, "score": score} for i, c, box, score in results]
    tables = from_json(content, found)
    summary = score_arrays(tables.groundtruth, tables.results, [1, 3])
    return summary, details(tables, summary, {image: 10 * image for image in images})


HERE, THERE = [10, 10, 20, 20], [60, 10, 20, 20]


@pytest.fixture(scope="module")
def scene():
    """Two images: a cat found, a dog mistaken for a cat, a dog missed, and a false alarm for a cat."""
    objects = [(1, 1, HERE), (1, 3, THERE), (2, 3, HERE)]
    return compared(objects, [(1, 1, HERE, 0.9), (1, 1, THERE, 0.8), (2, 1, THERE, 0.7), (2, 3, HERE, 0.2)])


def test_the_operating_score_has_the_highest_harmonic_mean(scene):
    # right, wrong, wrong, right: F = 2/(1+3), 2/(2+3), 2/(3+3), 4/(4+3)
    assert operating_score(scene[0].matches) == 0.2
    assert scene[1]["operating_score"] == 0.2


def test_each_category_has_its_counts(scene):
    cat, dog = scene[1]["classes"]
    assert {key: cat[key] for key in ("objects", "detections", "right", "wrong", "missed")} == {
        "objects": 1,
        "detections": 3,
        "right": 1,
        "wrong": 2,
        "missed": 0,
    }
    assert (dog["right"], dog["wrong"], dog["missed"]) == (1, 0, 1)
    assert [row["average_precision"] for row in scene[1]["classes"]] == [*scene[0].by_category.values()]


def test_confusions_count_what_an_object_was_found_as(scene):
    assert scene[1]["confusion"] == [[1, 1, 1], [3, 1, 1], [3, 3, 1], [None, 1, 1]]


def test_pictures_hold_the_boxes_where_they_are(scene):
    first, second = scene[1]["pictures"]
    assert (first["image_id"], first["index"], first["width"], first["height"]) == (1, 10, 100, 50)
    boxes = {(box["kind"], box["category"]): (box["score"], box["box"]) for box in first["boxes"]}
    assert boxes == {
        ("missed", 3): (None, [0.2, 0.6, 0.6, 0.8]),
        ("wrong", 1): (0.8, [0.2, 0.6, 0.6, 0.8]),
        ("right", 1): (0.9, [0.2, 0.1, 0.6, 0.3]),
    }
    assert [box["kind"] for box in second["boxes"]] == ["wrong", "right"]


def test_the_mean_of_a_curve_is_the_average_precision_at_half():
    rng = np.random.default_rng(5)
    objects = [(i, 1, [int(x), 5, 12, 12]) for i in (1, 2) for x in range(0, 80, 20)]
    results = [(i, 1, [x + float(rng.uniform(-5, 5)), 5, 12, 12], float(rng.uniform())) for i, _, (x, *_) in objects]
    summary, found = compared(objects, results)
    (curve,) = found["curves"]
    assert len(curve["precision"]) == 101
    assert 0 < summary.metrics["Precision/mAP@.50IOU"] < 1
    assert np.mean(curve["precision"]) == pytest.approx(summary.metrics["Precision/mAP@.50IOU"], abs=1e-6)


def test_matches_name_the_object_that_each_detection_was_given():
    summary, _ = compared([(1, 1, HERE), (1, 1, THERE)], [(1, 1, THERE, 0.5), (1, 1, HERE, 0.4), (2, 1, HERE, 0.3)])
    matches = summary.matches
    given = [None if row < 0 else matches.groundtruth.boxes_px[row].tolist() for row in matches.objects]
    assert given == [THERE, HERE, None]
    assert matches.right.tolist() == [True, True, False]
    assert matches.wrong.tolist() == [False, False, True]


def test_crowds_are_neither_missed_nor_confused():
    _, found = compared([(1, 1, [0, 0, 90, 50], True)], [(1, 3, HERE, 0.9), (1, 1, HERE, 0.8)])
    assert found["confusion"] == []
    assert found["classes"][0]["missed"] == 0
    assert all(box["kind"] != "missed" for picture in found["pictures"] for box in picture["boxes"])


@pytest.mark.parametrize(("objects", "results"), [([], []), ([(1, 1, HERE)], []), ([], [(1, 1, HERE, 0.5)])])
def test_nothing_to_find_and_nothing_found_are_told_all_the_same(objects, results):
    _, found = compared(objects, results)
    assert found["operating_score"] == 0.0
    assert sum(len(picture["boxes"]) for picture in found["pictures"]) == len(objects) + len(results)


def test_examples_are_spread_over_the_split_and_have_their_boxes(scene):
    assert [entry["index"] for entry in scene[1]["examples"]] == [10, 20]
    assert scene[1]["examples"] == scene[1]["pictures"]
    _, found = compared([(1, 1, HERE)], [], images=tuple(range(1, 30)))
    assert [entry["image_id"] for entry in found["examples"]] == [1, 5, 9, 13, 17, 21, 25, 29]
    assert [box["kind"] for box in found["examples"][0]["boxes"]] == ["missed"]
    assert found["examples"][1]["boxes"] == []

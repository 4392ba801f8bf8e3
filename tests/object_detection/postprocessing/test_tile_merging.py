"""Detections of tiles become those of the picture, by the suppression of the network itself."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection.postprocessing.non_maximum_suppression import postprocess
from object_detection.postprocessing.tile_merging import merge_tiles
from tests.object_detection.evaluate import evaluate
from utils.detection_config import SUPPRESSIONS, PostProcessingSpec
from utils.images.tiles import Tile

PICTURE = Tile(0, 0, 100, 200)
LEFT, RIGHT = Tile(0, 0, 100, 120), Tile(0, 80, 100, 120)


def found(*rows, rows_of_padding=2):
    """The detections of a tile from (box, score, class), with rows after the last as the network has them."""
    zeros = [((0, 0, 0, 0), 0, 0)] * rows_of_padding
    boxes, scores, classes = (np.array(column, np.float32) for column in zip(*rows, *zeros, strict=True))
    return {
        "detection_boxes": boxes,
        "detection_scores": scores,
        "detection_classes": classes,
        "num_detections": np.float32(len(rows)),
    }


def in_tile(tile, top, left, bottom, right):
    """A box in pixels of the picture, relative to a tile."""
    return (
        (top - tile.top) / tile.height,
        (left - tile.left) / tile.width,
        (bottom - tile.top) / tile.height,
        (right - tile.left) / tile.width,
    )


def merged(parts, tiles, min_score=0.0, **rules):
    arrays = merge_tiles(parts, tiles, PostProcessingSpec(**rules), min_score)
    assert arrays["num_detections"] == len(arrays["detection_scores"])
    return arrays


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("suppression", SUPPRESSIONS)
def test_suppression_is_that_of_the_network(suppression, class_agnostic):
    """Each box is the only one of its tile, and each tile is the whole picture."""
    rng = np.random.default_rng(4)
    corners, sides = rng.uniform(0, 0.6, (80, 2)), rng.uniform(0.1, 0.4, (80, 2))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    classes, logits = rng.integers(0, 2, 80), np.sort(rng.normal(0, 2, 80))[::-1].astype(np.float32)
    by_class = np.where(classes[:, np.newaxis] == [0, 1], logits[:, np.newaxis], -40).astype(np.float32)
    rules = {"suppression": suppression, "class_agnostic": class_agnostic, "iou_threshold": 0.3}
    rules["max_total_detections"] = 30
    expected = evaluate(
        lambda: postprocess(
            tf.constant(boxes[np.newaxis]), tf.constant(by_class[np.newaxis]), PostProcessingSpec(**rules)
        )
    )
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    parts = [found((box, score, label)) for box, score, label in zip(boxes, scores, classes, strict=True)]
    ours = merged(parts, [Tile(0, 0, 1000, 1000)] * 80, **rules)
    count = int(expected[3][0])
    assert ours["num_detections"] == count
    assert count < 80 or suppression in ("soft", "matrix")
    np.testing.assert_allclose(ours["detection_scores"], expected[1][0, :count], rtol=1e-4)
    np.testing.assert_allclose(ours["detection_boxes"], expected[0][0, :count], atol=1e-6)
    assert ours["detection_classes"].tolist() == expected[2][0, :count].tolist()


@pytest.mark.parametrize("suppression", SUPPRESSIONS)
def test_one_tile_keeps_every_bit(suppression):
    rng = np.random.default_rng(5)
    boxes = np.sort(rng.uniform(0, 1, (50, 2, 2)), axis=1).reshape(50, 4)
    scores = np.sort(rng.uniform(0.01, 1, 50))[::-1]
    part = found(*zip(boxes, scores, np.ones(50), strict=True))
    ours = merged([part], [Tile(0, 0, 37, 91)], suppression=suppression)
    for name in ("boxes", "scores", "classes"):
        assert ours[f"detection_{name}"].tobytes() == part[f"detection_{name}"][:50].tobytes()


def test_boxes_move_to_the_picture_best_first():
    parts = [found((in_tile(LEFT, 10, 20, 30, 60), 0.5, 3)), found((in_tile(RIGHT, 40, 150, 60, 190), 0.75, 7))]
    ours = merged(parts, [LEFT, RIGHT])
    np.testing.assert_allclose(ours["detection_boxes"], [(0.4, 0.75, 0.6, 0.95), (0.1, 0.1, 0.3, 0.3)], atol=1e-6)
    assert ours["detection_scores"].tolist() == [0.75, 0.5]
    assert ours["detection_classes"].tolist() == [7, 3]


def test_an_object_that_an_edge_cuts_is_found_once():
    """The left tile shows 30 of 80 columns of it: an overlap of 0.375, but of 1 in the area that both tiles show."""
    cut, whole = in_tile(LEFT, 20, 90, 60, 120), in_tile(RIGHT, 20, 90, 60, 170)
    for rules in ({}, {"suppression": "diou", "iou_threshold": 0.5}):
        ours = merged([found((cut, 0.6, 1)), found((whole, 0.9, 1))], [LEFT, RIGHT], **rules)
        np.testing.assert_allclose(ours["detection_boxes"], [(0.2, 0.45, 0.6, 0.85)], atol=1e-6)
    other_class = merged([found((cut, 0.6, 1)), found((whole, 0.9, 2))], [LEFT, RIGHT])
    assert other_class["num_detections"] == 2
    agnostic = merged([found((cut, 0.6, 1)), found((whole, 0.9, 2))], [LEFT, RIGHT], class_agnostic=True)
    assert agnostic["num_detections"] == 1


def test_boxes_of_one_tile_do_not_suppress_each_other_again():
    twins = found((in_tile(LEFT, 20, 10, 60, 50), 0.9, 1), (in_tile(LEFT, 20, 12, 60, 50), 0.8, 1))
    assert merged([twins, found((in_tile(RIGHT, 0, 150, 10, 160), 0.7, 1))], [LEFT, RIGHT])["num_detections"] == 3


def test_the_best_are_kept_above_the_lowest_score_that_is_listed():
    parts = [found(*(((0, 0.1 * n, 0.1, 0.1 * n + 0.1), 0.9 - 0.1 * n, 1) for n in range(8))), found()]
    best = merged(parts, [LEFT, RIGHT], max_total_detections=3)
    np.testing.assert_allclose(best["detection_scores"], [0.9, 0.8, 0.7], rtol=1e-6)
    assert merged(parts, [LEFT, RIGHT], min_score=0.55)["num_detections"] == 4


def test_numbers_that_are_not_finite_stay_to_be_told():
    parts = [found(((0, 0, 1, 1), np.nan, 1)), found(((0, 0, 1, 1), 0.5, 1))]
    assert np.isnan(merged(parts, [LEFT, RIGHT])["detection_scores"]).any()

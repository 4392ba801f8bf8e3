"""The adaptive matcher against a second implementation, which goes through boxes and levels one by one."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection.boxes.anchors import cells_of_levels, pyramid_anchors
from object_detection.matching.atss import NEAREST, match_adaptively
from object_detection.matching.matcher import UNMATCHED
from tests.object_detection.evaluate import evaluate
from utils.detection_config import AnchorSpec
from utils.image_sizes import Sides, aspect_of, sides_of

CASES = 100
ROWS = 6


def match(boxes, valid, spec, size):
    def build():
        anchors, cells = tf.constant(pyramid_anchors(*sides_of(size), spec)), cells_of_levels(*sides_of(size), spec)
        return match_adaptively(tf.constant(boxes, tf.float32), tf.constant(valid), anchors, cells, aspect_of(size))

    return evaluate(build)


def overlap(box, anchors):
    shared = np.minimum(box[2:], anchors[:, 2:]) - np.maximum(box[:2], anchors[:, :2])
    inside = np.prod(np.maximum(shared, 0), axis=1)
    return inside / (np.prod(box[2:] - box[:2]) + np.prod(anchors[:, 2:] - anchors[:, :2], axis=1) - inside)


def second_implementation(boxes, valid, spec, size):
    """Algorithm 1 of the paper, for one image, with distances in pixels."""
    sides = sides_of(size)
    anchors, cells = pyramid_anchors(*sides, spec).astype(np.float64), cells_of_levels(*sides, spec)
    centers, first, per_cell = (anchors[:, :2] + anchors[:, 2:]) / 2, 0, spec.per_cell
    levels = []
    for count in cells:
        levels.append(np.arange(first, first + count))
        first += count
    best = np.full(len(anchors), -1.0)
    matches = np.full(len(anchors), UNMATCHED)
    for number, box in enumerate(boxes):
        if not valid[number]:
            continue
        distance = np.linalg.norm((centers[::per_cell] - (box[:2] + box[2:]) / 2) * sides, axis=1)
        near = [level[np.argsort(distance[level], kind="stable")[:NEAREST]] for level in levels]
        candidates = [cell * per_cell + i for cell in np.concatenate(near) for i in range(per_cell)]
        overlaps = overlap(box, anchors)
        threshold = overlaps[candidates].mean() + overlaps[candidates].std(ddof=1)
        for anchor in candidates:
            inside = (centers[anchor] > box[:2]).all() and (centers[anchor] < box[2:]).all()
            if inside and overlaps[anchor] >= threshold and overlaps[anchor] > best[anchor]:
                best[anchor], matches[anchor] = overlaps[anchor], number
    return matches


@pytest.mark.parametrize(
    ("single", "size"), [(True, 128), (False, 128), (True, 96), (True, Sides(64, 192)), (False, Sides(160, 96))]
)
def test_a_hundred_images_match_as_in_the_paper(single, size):
    random = np.random.default_rng(3)
    corners = random.uniform(0, 0.9, [CASES, ROWS, 2])
    boxes = np.concatenate([corners, corners + random.uniform(0.04, 0.7, corners.shape)], axis=2).astype(np.float32)
    valid = random.uniform(size=[CASES, ROWS]) < 0.8
    spec = AnchorSpec(single=single)
    found = match(boxes, valid, spec, size)
    for image in range(CASES):
        expected = second_implementation(boxes[image], valid[image], spec, size)
        np.testing.assert_array_equal(found[image], expected)
    assert (found >= 0).sum() > 2 * CASES


def test_without_boxes_all_is_background():
    spec = AnchorSpec(single=True)
    assert (match(np.zeros([1, 2, 4]), [[False, False]], spec, 64) == UNMATCHED).all()
    assert (match(np.zeros([1, 0, 4]), np.zeros([1, 0], bool), spec, 64) == UNMATCHED).all()


def test_of_two_boxes_an_anchor_gets_the_one_that_it_overlaps_most_and_of_equal_ones_the_first():
    large, small = (0.25, 0.25, 0.75, 0.75), (0.3, 0.3, 0.7, 0.7)
    found = match([[small, large, large]], [[True] * 3], AnchorSpec(single=True), 64)
    assert set(found[0]) >= {1, UNMATCHED}
    assert 2 not in found[0]


def test_one_anchor_on_a_cell_is_a_square_of_eight_cells():
    anchors = pyramid_anchors(64, 64, AnchorSpec(single=True))
    assert len(anchors) == 8 * 8 + 4 * 4 + 2 * 2 + 1 + 1
    sides = anchors[:, 2:] - anchors[:, :2]
    np.testing.assert_allclose(sides[0], 1.0)  # 8 cells of 8 pixels in an image of 64
    np.testing.assert_allclose(sides[-1], 16.0)

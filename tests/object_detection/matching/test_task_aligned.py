"""The task-aligned matcher against a second implementation, which goes through objects and anchors one by one."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection.boxes.anchors import pyramid_anchors
from object_detection.matching.matcher import UNMATCHED
from object_detection.matching.task_aligned import MOST, Objects, align
from tests.object_detection.evaluate import evaluate
from tests.object_detection.matching.test_atss import overlap
from utils.detection_config import AnchorSpec

CASES, ROWS, CLASSES = 100, 6, 4


def match(boxes, slots, valid, anchors, predicted, logits):
    def build():
        objects = Objects(tf.constant(boxes, tf.float32), tf.constant(slots, tf.int32), tf.constant(valid))
        return align(objects, anchors, tf.constant(predicted, tf.float32), tf.constant(logits, tf.float32))

    return evaluate(build)


def problem(anchors, seed=4):
    """Objects, and predictions around them and elsewhere."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 0.9, [CASES, ROWS, 2])
    boxes = np.concatenate([corners, corners + random.uniform(0.04, 0.7, corners.shape)], axis=2).astype(np.float32)
    chosen = boxes[np.arange(CASES)[:, np.newaxis], random.integers(0, ROWS, [CASES, len(anchors)])]
    near = random.uniform(size=[CASES, len(anchors), 1]) < 0.8
    predicted = np.where(near, chosen, anchors) + random.normal(0, 0.05, [CASES, len(anchors), 4])
    predicted[..., 2:] = np.maximum(predicted[..., 2:], predicted[..., :2] + 0.01)
    logits = random.normal(-2, 2, [CASES, len(anchors), CLASSES])
    slots = random.integers(-1, CLASSES, [CASES, ROWS])
    return boxes, slots, random.uniform(size=[CASES, ROWS]) < 0.8, anchors, predicted.astype(np.float32), logits


def second_implementation(boxes, slots, valid, anchors, predicted, logits):
    """Section 3 of the paper, for one image."""
    centers, scores = (anchors[:, :2] + anchors[:, 2:]) / 2, 1 / (1 + np.exp(-logits))
    matches, best = np.full(len(anchors), UNMATCHED), np.full(len(anchors), -1.0)
    overlaps, alignments = [], []
    for number, box in enumerate(boxes.astype(np.float64)):
        overlaps.append(overlap(box, predicted.astype(np.float64)))
        score = scores[:, slots[number]] if slots[number] >= 0 else 1.0
        alignments.append(score * overlaps[-1] ** 6)
        inside = (centers > box[:2]).all(axis=1) & (centers < box[2:]).all(axis=1)
        ranked = [a for a in np.argsort(-alignments[-1]) if inside[a] and alignments[-1][a] > 0 and valid[number]]
        for anchor in ranked[:13]:
            if overlaps[-1][anchor] > best[anchor]:
                best[anchor], matches[anchor] = overlaps[-1][anchor], number
    quality = np.zeros(len(anchors))
    for number in range(len(boxes)):
        (own,) = np.nonzero(matches == number)
        if len(own):
            quality[own] = alignments[number][own] / alignments[number][own].max() * overlaps[number][own].max()
    return matches, quality


@pytest.mark.parametrize(("single", "side"), [(True, 96), (False, 64)])
def test_a_hundred_images_match_as_in_the_paper(single, side):
    given = problem(pyramid_anchors(side, side, AnchorSpec(single=single)))
    found = match(*given)
    boxes, slots, valid, anchors, *predictions = given
    for image in range(CASES):
        outputs = (values[image] for values in predictions)
        matches, quality = second_implementation(boxes[image], slots[image], valid[image], anchors, *outputs)
        np.testing.assert_array_equal(found.matches[image], matches)
        np.testing.assert_allclose(found.quality[image], quality, rtol=1e-3, atol=1e-6)
    counts = [(found.matches[image] == row).sum() for image in range(CASES) for row in range(ROWS)]
    assert max(counts) == MOST
    assert (found.matches >= 0).sum() > 20 * CASES


def test_an_object_gets_at_most_thirteen_of_equal_anchors_the_first_and_none_outside():
    anchors = pyramid_anchors(64, 64, AnchorSpec(single=True))
    box = (0.0, 0.0, 1.0, 0.5)
    predicted, logits = np.tile(np.float32(box), (1, len(anchors), 1)), np.zeros([1, len(anchors), 1])
    found = match([[box]], [[0]], [[True]], anchors, predicted, logits)
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    inside = np.flatnonzero(centers[:, 1] < 0.5)
    np.testing.assert_array_equal(np.flatnonzero(found.matches[0] == 0), inside[:MOST])
    np.testing.assert_allclose(found.quality[0, inside[:MOST]], 1.0, rtol=1e-6)


def test_alignments_that_float32_cannot_hold_still_have_an_order():
    anchors = pyramid_anchors(64, 64, AnchorSpec(single=True))
    predicted = np.tile(np.float32([0.0, 0.0, 1e-4, 1e-4]), (1, len(anchors), 1))  # overlaps of 1e-8
    predicted[0, 20] = (0.0, 0.0, 2e-4, 2e-4)
    found = match([[(0.0, 0.0, 1.0, 1.0)]], [[0]], [[True]], anchors, predicted, np.full([1, len(anchors), 1], -30.0))
    assert found.quality[0, 20] == pytest.approx(4e-8, rel=1e-3)
    assert found.quality[0, 0] == pytest.approx(4e-8 / 4**6, rel=1e-2)


def test_without_objects_or_overlaps_all_is_background():
    anchors = pyramid_anchors(64, 64, AnchorSpec(single=True))
    logits, apart = np.zeros([1, len(anchors), 2]), np.tile(np.float32([2, 2, 3, 3]), (1, len(anchors), 1))
    for boxes, valid in (([[(0, 0, 1, 1)]], [[True]]), ([[(0, 0, 1, 1)]], [[False]]), (np.zeros([1, 0, 4]), [[]])):
        slots = np.zeros(np.shape(boxes)[:2])
        found = match(boxes, slots, np.array(valid, bool), anchors, apart, logits)
        assert (found.matches == UNMATCHED).all()
        assert not found.quality.any()

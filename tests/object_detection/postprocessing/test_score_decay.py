"""Other ways of suppression, against loops over one image in NumPy."""

from dataclasses import replace

import numpy as np
import pytest

from tests.object_detection.postprocessing.test_non_maximum_suppression import logits_of, run
from utils.detection_config import PostProcessingSpec

IMAGES, ANCHORS, CLASSES = 3, 40, 3


def problem(seed=0):
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 0.6, [IMAGES, ANCHORS, 2])
    boxes = np.concatenate([corners, corners + random.uniform(0.1, 0.4, corners.shape)], axis=2)
    return boxes.astype(np.float32), random.uniform(0.01, 0.99, [IMAGES, ANCHORS, CLASSES])


def compare(box, other):
    """Overlap of two boxes, and the squared distance of their centers over the hull's squared diagonal."""
    box, other = box.astype(np.float64), other.astype(np.float64)
    shared = np.prod(np.maximum(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0))
    union = np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - shared
    diagonal = np.sum((np.maximum(box[2:], other[2:]) - np.minimum(box[:2], other[:2])) ** 2)
    return shared / union, np.sum((box[:2] + box[2:] - other[:2] - other[2:]) ** 2) / 4 / diagonal


def expected(boxes, scores, spec):
    """Scores, anchors and classes of one image's detections, best first."""
    pairs = [(scores[a, c], a, c) for a in range(ANCHORS) for c in range(CLASSES)]
    left = sorted(pairs, reverse=True)[: spec.candidates]

    def affects(one, other):
        return spec.class_agnostic or one[2] == other[2]

    if spec.suppression == "matrix":
        return sorted((lowered(left, i, boxes, affects) for i in range(len(left))), reverse=True)
    found = []
    while left and len(found) < spec.max_total_detections:
        best = max(left)
        left.remove(best)
        found.append(best)
        after = []
        for pair in left:
            overlap, distance = compare(boxes[best[1]], boxes[pair[1]]) if affects(best, pair) else (0.0, 0.0)
            if spec.suppression == "soft":
                after.append((pair[0] * np.exp(-(overlap**2) / spec.soft_sigma), *pair[1:]))
            elif overlap - (distance if spec.suppression == "diou" else 0.0) <= spec.iou_threshold:
                after.append(pair)
        left = after
    return found


def lowered(pairs, number, boxes, affects):
    """Equation 4 of SOLOv2 with the Gaussian function."""
    overlaps = {
        (i, j): compare(boxes[pairs[i][1]], boxes[pairs[j][1]])[0] if affects(pairs[i], pairs[j]) else 0.0
        for j in range(number + 1)
        for i in range(j)
    }
    largest = [max((overlaps[i, j] for i in range(j)), default=0.0) for j in range(number)]
    ratios = [np.exp(-(overlaps[i, number] ** 2 - largest[i] ** 2) / 0.5) for i in range(number)]
    return (pairs[number][0] * min([1.0, *ratios]), *pairs[number][1:])


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("suppression", ["hard", "soft", "diou", "matrix"])
def test_detections_are_those_of_a_loop(suppression, class_agnostic):
    spec = PostProcessingSpec(
        suppression=suppression,
        class_agnostic=class_agnostic,
        iou_threshold=0.4,
        max_total_detections=25,
        candidates=60,
    )
    boxes, scores = problem()
    found = run(boxes, logits_of(scores), spec)
    for image in range(IMAGES):
        wanted = expected(boxes[image], scores[image], spec)[:25]
        count = found.count[image]
        assert count == len(wanted)
        np.testing.assert_allclose(found.scores[image, :count], [score for score, _, _ in wanted], rtol=2e-5)
        assert found.classes[image, :count].tolist() == [label for _, _, label in wanted]
        np.testing.assert_allclose(found.boxes[image, :count], [boxes[image, a] for _, a, _ in wanted], atol=1e-6)


def test_distances_are_those_of_the_picture_that_is_not_square():
    spec = PostProcessingSpec(suppression="diou", iou_threshold=0.3, candidates=60, max_total_detections=60, aspect=3.0)
    boxes, scores = problem(seed=2)
    found = run(boxes, logits_of(scores), spec)
    differs = run(boxes, logits_of(scores), replace(spec, aspect=1.0)).count != found.count
    for image in range(IMAGES):
        wanted = expected(boxes[image] * np.float32([1, 3, 1, 3]), scores[image], spec)
        assert found.count[image] == len(wanted)
        expected_boxes = [boxes[image, a] for _, a, _ in wanted]
        np.testing.assert_allclose(found.boxes[image, : len(wanted)], expected_boxes, atol=1e-6)
    assert differs.any()


@pytest.mark.parametrize("suppression", ["hard", "diou"])
def test_a_thing_under_two_names_keeps_the_better_one(suppression):
    boxes = np.array([[(0.1, 0.1, 0.5, 0.5), (0.1, 0.1, 0.51, 0.5)]], np.float32)
    scores = logits_of(np.array([[(0.9, 0.8), (0.3, 0.85)]]))
    both = run(boxes, scores, PostProcessingSpec(suppression=suppression))
    one = run(boxes, scores, PostProcessingSpec(suppression=suppression, class_agnostic=True))
    assert (both.count.tolist(), one.count.tolist()) == ([2], [1])
    assert one.classes[0, 0] == 0


@pytest.mark.parametrize("suppression", ["soft", "matrix"])
def test_a_lowered_score_below_the_threshold_is_no_detection(suppression):
    boxes = np.array([[(0.1, 0.1, 0.5, 0.5), (0.1, 0.1, 0.5, 0.5), (0.6, 0.6, 0.9, 0.9)]], np.float32)
    scores = logits_of(np.array([[(0.9,), (0.8,), (0.7,)]]))
    found = run(boxes, scores, PostProcessingSpec(suppression=suppression, score_threshold=0.5))
    np.testing.assert_allclose(found.scores[0, : found.count[0]], [0.9, 0.7], rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"suppression": "soft", "max_detections_per_class": 3}, "max_detections_per_class 3: soft suppression"),
        ({"suppression": "matrix", "candidates": None}, "candidates none: only with hard suppression"),
        ({"soft_sigma": 0.0}, "soft_sigma 0.0: must be positive"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PostProcessingSpec(**settings)

"""The losses at full size: 320 pixels and COCO ids up to 90."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection.boxes.box_coder import decode
from tests.object_detection.matching.test_target_assigner import IMAGES
from tests.object_detection.padding import padded
from tests.runtime.tiny_detector import task
from tests.utils.input_records import run_graph
from utils.detection_config import AnchorSpec, DetectionConfig, LossSpec, MatcherSpec
from utils.image_sizes import Sides
from utils.input.batching import STATUS_BAD_LABEL, STATUS_OK, STATUS_PADDING, STATUS_UNDECODABLE, Batch

COCO = {"image_size": 320, "num_classes": 90, "category_ids": (1, 3, 17, 62, 90), "class_names": tuple("abcde")}
ALL_ANCHORS = 12804


def batch_of(images, status=None):
    """A full-size batch in which only the objects matter."""
    groundtruth = padded(images)
    targets = dict(zip(("boxes", "slots", "weights", "ignored"), map(tf.constant, groundtruth), strict=True))
    count = len(images)
    return Batch(
        tf.zeros([count, 320, 320, 3]),
        {f"groundtruth_{name}": values for name, values in targets.items()},
        tf.constant([STATUS_OK] * count if status is None else status, tf.int32),
        tf.range(count, dtype=tf.int64),
    )


def losses_of(images, codes, logits, status=None, detection=None):
    """Localization and classification loss of network outputs, computed by the task."""

    def build():
        detector = task(detection=detection, **COCO)
        batch = batch_of(images, status)
        _, targets = detector.training.prepare(batch.images, batch, tf.constant(0, tf.int64))
        endpoints = {"box_codes": tf.constant(codes, tf.float32), "class_logits": tf.constant(logits, tf.float32)}
        return detector.training.losses(endpoints, targets, batch.mask)

    found = run_graph(build)
    assert set(found) == {"localization_loss", "classification_loss"}
    return found["localization_loss"], found["classification_loss"]


def constant_outputs(count):
    return np.zeros((count, ALL_ANCHORS, 4)), np.full((count, ALL_ANCHORS, 91), -4.6)


def waving_outputs():
    i = np.arange(ALL_ANCHORS)[:, np.newaxis]
    codes = 0.3 * np.sin(0.37 * i + np.arange(4))
    logits = -4.6 + 1.5 * np.sin(0.11 * i + 0.53 * np.arange(91))
    return np.stack([codes, codes / 2]), np.stack([logits, logits - 0.25])


def test_the_losses_of_a_whole_problem():
    np.testing.assert_allclose(losses_of(IMAGES, *constant_outputs(2)), (0.7543801, 1.1642940), rtol=5e-6)
    np.testing.assert_allclose(losses_of(IMAGES, *waving_outputs()), (0.7577582, 1.6383316), rtol=5e-6)


def test_rows_that_do_not_count_have_no_loss():
    codes, logits = waving_outputs()
    alone = losses_of(IMAGES[:1], codes[:1], logits[:1])
    for status in (STATUS_PADDING, STATUS_BAD_LABEL, STATUS_UNDECODABLE):
        np.testing.assert_allclose(losses_of(IMAGES, codes, logits, [STATUS_OK, status]), alone, rtol=1e-6)
    assert losses_of(IMAGES, codes, logits, [STATUS_PADDING] * 2) == (0, 0)


def test_without_objects_all_is_background_and_divided_by_one():
    codes, logits = constant_outputs(1)
    localization, classification = losses_of([[]], codes, logits)
    assert localization == 0
    assert classification == pytest.approx(ALL_ANCHORS * 91 * 7.429147e-7, rel=1e-4)


def test_weights_and_constants_of_the_losses_are_those_of_the_configuration():
    codes, logits = constant_outputs(2)
    spec = LossSpec(classification_weight=2.0, localization_weight=0.5)
    found = losses_of(IMAGES, codes, logits, detection=DetectionConfig(losses=spec))
    np.testing.assert_allclose(found, (0.5 * 0.7543801, 2 * 1.1642940), rtol=5e-6)
    other = losses_of(IMAGES, codes, logits, detection=DetectionConfig(losses=LossSpec(huber_delta=0.5)))
    assert other[0] < 0.7
    plain = losses_of(
        IMAGES, codes, logits, detection=DetectionConfig(losses=LossSpec(focal_alpha=None, focal_gamma=0.0))
    )
    # 54 anchors are positive, 7 of them with half the weight: -4.6 costs 4.61 if positive, 0.01 if negative.
    off, on = np.log1p(np.exp(-4.6)), np.log1p(np.exp(4.6))
    elements = 1_165_164 + 1_164_800
    assert plain[1] == pytest.approx((elements * off + 50 * (on - off)) / 50, rel=1e-3)


def test_boxes_at_their_targets_cost_nothing_and_their_classes_are_trained_to_be_sure():
    detection = DetectionConfig(losses=LossSpec(box_loss="giou", class_loss="quality_focal"))

    def build():
        detector = task(detection=detection, **COCO)
        batch = batch_of(IMAGES)
        _, targets = detector.training.prepare(batch.images, batch, tf.constant(0, tf.int64))
        sure = 40.0 * tf.one_hot(targets["labels"], 91) - 20.0
        unsure = tf.zeros_like(sure) - 20.0
        found = [
            detector.training.losses({"box_codes": targets["codes"], "class_logits": logits}, targets, batch.mask)
            for logits in (sure, unsure)
        ]
        count = tf.reduce_sum(targets["code_weights"])
        positive = tf.cast(targets["labels"] >= 0, tf.float32)
        return found, tf.reduce_sum(targets["label_weights"] * positive), count

    (sure, unsure), weight, count = run_graph(build)
    assert sure["localization_loss"] == pytest.approx(0, abs=1e-5)
    assert sure["classification_loss"] == pytest.approx(0, abs=1e-5)
    assert unsure["classification_loss"] == pytest.approx(20.0 * weight / count, rel=1e-4)


def test_losses_of_boxes_measure_distances_in_the_proportions_of_the_image():
    random = np.random.default_rng(4)
    codes, wanted = random.uniform(-3, 3, [2, 1, 4]).astype(np.float32)
    given = {"codes": wanted, "found": codes}

    def build():
        detector = task(detection=DetectionConfig(losses=LossSpec(box_loss="diou")), image_size=Sides(64, 192))
        count = len(detector.training.anchors)
        here = tf.one_hot([100], count)
        everywhere = {name: tf.tile(tf.constant(each)[tf.newaxis], [1, count, 1]) for name, each in given.items()}
        targets = {"codes": everywhere["codes"], "code_weights": here, "label_weights": here * 0}
        targets["labels"] = tf.fill([1, count], -1)
        endpoints = {"box_codes": everywhere["found"], "class_logits": tf.zeros([1, count, 8])}
        losses = detector.training.losses(endpoints, targets, tf.ones([1]))
        coder, anchor = detector.training.detection.coder, tf.constant(detector.training.anchors[100:101])
        boxes = [decode(tf.constant(each)[tf.newaxis], anchor, coder) for each in (codes, wanted)]
        return losses["localization_loss"], *boxes

    loss, *boxes = run_graph(build)
    one, other = (box.reshape(4) * (64, 192, 64, 192) for box in boxes)
    low, high = np.minimum(one, other), np.maximum(one, other)
    shared = np.prod(np.maximum(low[2:] - high[:2], 0))
    union = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared
    distance = np.sum((one[:2] + one[2:] - other[:2] - other[2:]) ** 2) / 4
    assert loss == pytest.approx(1 - shared / union + distance / np.sum((high[2:] - low[:2]) ** 2), rel=1e-4)


@pytest.mark.parametrize("single", [False, True])
def test_adaptive_matching_leaves_no_object_of_a_whole_problem_without_anchors(single):
    detection = DetectionConfig(anchors=AnchorSpec(single=single), matcher=MatcherSpec(kind="atss"))

    def build():
        detector = task(detection=detection, **COCO)
        batch = batch_of(IMAGES)
        return detector.training.prepare(batch.images, batch, tf.constant(0, tf.int64))[1]

    targets = run_graph(build)
    matches = targets["matches"]
    assert matches.shape[1] == (ALL_ANCHORS // 6 if single else ALL_ANCHORS)
    assert [set(row) - {-1} for row in matches] == [{0, 1, 2}, {0, 1}]
    np.testing.assert_array_equal(targets["labels"] >= 0, matches >= 0)

"""Detectors with distributions of sides and centerness, and matching by predictions, as the task has them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from object_detection.boxes.box_distribution import cell_sides
from runtime.detection.resolve_detector import resolve_detector, stored_categories
from runtime.planning.plan import plan_training
from runtime.reporting.run_facts import facts_of_training
from tests.object_detection.padding import padded
from tests.runtime.tiny_detector import IDS, SIZE, config, task, tiny_detectors
from tests.utils.input_records import run_graph
from utils.config import Duration, ModelConfig
from utils.detection_config import AnchorSpec, DetectionConfig, HeadSpec, LossSpec, MatcherSpec
from utils.input.batching import STATUS_OK, Batch, Position, Shard

tf1 = tf.compat.v1
SINGLE = AnchorSpec(single=True)
ANCHORS = 8 * 8 + 4 * 4 + 2 * 2 + 1 + 1
HEADS = DetectionConfig(anchors=SINGLE, heads=HeadSpec(distribution=True, centerness=True))
GFL = replace(HEADS, losses=LossSpec(box_loss="giou", class_loss="quality_focal"), matcher=MatcherSpec(kind="atss"))
ALIGNED = replace(GFL, heads=HeadSpec(), matcher=MatcherSpec(kind="task_aligned", aligned_after=0.5))
OBJECTS = [[((0.1, 0.1, 0.6, 0.7), 1, 1.0), ((0.5, 0.55, 0.9, 0.8), 3, 1.0)], [((0.3, 0.2, 0.8, 0.9), 7, 0.5)]]
PREDICTOR = "WeightSharedConvolutionalBoxPredictor"


def batch():
    targets = dict(zip(("boxes", "slots", "weights", "ignored"), map(tf.constant, padded(OBJECTS, 16)), strict=True))
    targets = {f"groundtruth_{name}": values for name, values in targets.items()}
    return Batch(tf.zeros([2, SIZE, SIZE, 3]), targets, tf.constant([STATUS_OK] * 2), tf.range(2, dtype=tf.int64))


def losses(detector, endpoints, step=0):
    given = batch()
    _, targets = detector.training.prepare(given.images, given, tf.constant(step, tf.int64))
    return detector.training.losses(endpoints, targets, given.mask)


def variables(detector):
    detector.network.forward(tf.zeros([1, SIZE, SIZE, 3]), training=True)
    return {v.op.name: v.shape.as_list() for v in tf1.global_variables()}


def test_without_the_flags_nothing_of_them_is_in_a_graph():
    with tf.Graph().as_default() as graph, tiny_detectors():
        detector = task()
        endpoints = detector.network.forward(tf.zeros([2, SIZE, SIZE, 3]), training=True)
        found = losses(detector, endpoints)
        assert list(found) == ["classification_loss", "localization_loss"]
        assert [name for name in endpoints if name.endswith(("codes", "logits"))] == ["box_codes", "class_logits"]
        kinds = {operation.type for operation in graph.get_operations()}
        assert not kinds & {"Softmax", "SoftmaxCrossEntropyWithLogits", "OneHot", "Expm1", "TopKV2"}
        heads = {name.split("/")[1] for name in (v.op.name for v in tf1.global_variables()) if PREDICTOR in name}
        assert heads == {"BoxPredictionTower", "BoxPredictor", "ClassPredictionTower", "ClassPredictor"}
    assert task().post_processing.ends == ("box_codes", "class_logits")


def test_every_variable_of_the_heads_is_trained():
    with tf.Graph().as_default(), tiny_detectors(), tf1.Session() as session:
        detector = task(detection=GFL)
        data = detector.data.input("train", Shard(), Position())
        images = detector.network.normalize(data.batch.images)
        images, targets = detector.training.prepare(images, data.batch, tf.constant(0, tf.int64))
        endpoints = detector.network.forward(images, training=True)
        assert endpoints["box_logits"].shape.as_list() == [2, ANCHORS, 68]
        assert endpoints["box_codes"].shape.as_list() == [2, ANCHORS, 4]
        assert endpoints["centerness_logits"].shape.as_list() == [2, ANCHORS, 1]
        found = detector.training.losses(endpoints, targets, data.batch.mask)
        assert set(found) == {
            f"{kind}_loss" for kind in ("classification", "localization", "distribution", "centerness")
        }
        new = [v for v in tf1.trainable_variables() if "Distribution" in v.op.name or "Centerness" in v.op.name]
        assert len(new) == 4
        gradients = tf.gradients(tf.add_n([*found.values()]), new)
        session.run([tf1.global_variables_initializer(), data.initializer])
        values = session.run(gradients)
    assert all(np.isfinite(gradient).all() and gradient.any() for gradient in values)


def outputs(seed=8):
    random = np.random.default_rng(seed)
    shapes = {"box_logits": 68, "centerness_logits": 1, "class_logits": 8}
    return {name: random.normal(size=[2, ANCHORS, size]).astype(np.float32) for name, size in shapes.items()}


def test_the_gradients_of_the_losses_of_the_heads_are_their_slopes():
    """Along random directions, of all anchors at once."""
    given, random, step = outputs(), np.random.default_rng(2), 3e-3
    names = ("box_logits", "centerness_logits")
    directions = {name: random.normal(size=given[name].shape).astype(np.float32) for name in names}

    def build():
        detector = task(detection=HEADS)

        def loss(move):
            moved = {**given, **{name: given[name] + move * directions[name] for name in names}}
            tensors = {name: tf.constant(value) for name, value in moved.items()}
            found = losses(detector, {**tensors, "box_codes": tf.zeros([2, ANCHORS, 4])})
            return tensors, found["distribution_loss"], found["centerness_loss"]

        tensors, *terms = loss(0.0)
        gradients = [tf.gradients(term, tensors[name])[0] for term, name in zip(terms, names, strict=True)]
        inner = [tf.reduce_sum(g * directions[name]) for g, name in zip(gradients, names, strict=True)]
        (_, *up), (_, *down) = loss(step), loss(-step)
        return inner, [(high - low) / (2 * step) for high, low in zip(up, down, strict=True)]

    gradients, slopes = run_graph(build)
    np.testing.assert_allclose(gradients, slopes, rtol=5e-3)
    assert np.abs(gradients).min() > 0.001


def test_the_losses_of_the_heads_are_means_over_matched_anchors_times_their_weights():
    given = outputs()

    def found(detection):
        def build():
            detector = task(detection=detection)
            prepared = detector.training.prepare(batch().images, batch(), tf.constant(0, tf.int64))[1]
            tensors = {name: tf.constant(value) for name, value in given.items()}
            return losses(detector, {**tensors, "box_codes": tf.zeros([2, ANCHORS, 4])}), prepared

        return run_graph(build)

    terms, targets = found(HEADS)
    anchors, truth = task(detection=HEADS).training.anchors.astype(np.float64), padded(OBJECTS, 16).boxes
    cells, centers = np.tile(cell_sides(anchors, SINGLE), 2), (anchors[:, :2] + anchors[:, 2:]) / 2
    logs = given["box_logits"].reshape(2, ANCHORS, 4, 17).astype(np.float64)
    logs -= np.log(np.exp(logs).sum(axis=3, keepdims=True))
    distribution = central = 0.0
    for image, anchor in zip(*np.nonzero(targets["code_weights"]), strict=True):
        weight, box = targets["code_weights"][image, anchor], truth[image, targets["matches"][image, anchor]]
        sides = np.concatenate([centers[anchor] - box[:2], box[2:] - centers[anchor]])
        for side, distance in enumerate(np.clip(sides / cells[anchor], 0, 16)):
            left = min(int(distance), 15)
            share = distance - left
            both = logs[image, anchor, side, [left, left + 1]] @ [1 - share, share]
            distribution -= weight * both / 4
        pairs = [sorted(np.maximum(sides[[first, first + 2]], 0)) for first in (0, 1)]
        target = np.sqrt(np.prod([low / high for low, high in pairs]))
        logit = given["centerness_logits"][image, anchor, 0]
        central += weight * (np.log1p(np.exp(logit)) - target * logit)
    count = targets["code_weights"].sum()
    assert terms["distribution_loss"] == pytest.approx(0.25 * distribution / count, rel=1e-4)
    assert terms["centerness_loss"] == pytest.approx(central / count, rel=1e-4)
    other, _ = found(replace(HEADS, losses=LossSpec(distribution_weight=1.0, centerness_weight=0.5)))
    assert other["distribution_loss"] == pytest.approx(4 * terms["distribution_loss"], rel=1e-5)
    assert other["centerness_loss"] == pytest.approx(terms["centerness_loss"] / 2, rel=1e-5)


def test_codes_are_compared_as_distances_where_the_head_predicts_them():
    def build():
        detector = task(detection=HEADS)
        prepared = detector.training.prepare(batch().images, batch(), tf.constant(0, tf.int64))[1]
        centers = (detector.training.anchors[:, :2] + detector.training.anchors[:, 2:]) / 2
        boxes = tf.gather(padded(OBJECTS, 16).boxes, tf.maximum(prepared["matches"], 0), batch_dims=1)
        cells = np.tile(cell_sides(detector.training.anchors, SINGLE), 2)
        sides = tf.concat([centers - boxes[..., :2], boxes[..., 2:] - centers], axis=2) / cells
        tensors = {name: tf.constant(value) for name, value in outputs().items()}
        return [losses(detector, {**tensors, "box_codes": sides + shift})["localization_loss"] for shift in (0.0, 2.0)]

    right, shifted = run_graph(build)
    assert right == pytest.approx(0, abs=1e-6)
    assert shifted == pytest.approx(1.5, rel=1e-4)  # of an error of 2 beyond a delta of 1, the mean of four sides


def test_detections_come_from_expected_distances_and_lower_scores_at_the_edges():
    logits = np.full((1, ANCHORS, len(IDS)), -40, np.float32)
    logits[0, 9, 0], logits[0, 50, 0] = 2.0, 2.0
    central = np.full((1, ANCHORS, 1), -3.0, np.float32)
    central[0, 50] = 3.0
    codes = np.full((1, ANCHORS, 4), 1.0, np.float32)
    detector = task(detection=HEADS)
    assert detector.post_processing.ends == ("box_codes", "class_logits", "centerness_logits")
    endpoints = {"box_codes": codes, "class_logits": logits, "centerness_logits": central}
    found = run_graph(
        lambda: detector.post_processing.predictions({name: tf.constant(value) for name, value in endpoints.items()})
    )
    assert found["num_detections"] == 2
    probability = [np.sqrt(1 / (1 + np.exp(-2)) / (1 + np.exp(-logit))) for logit in (3.0, -3.0)]
    np.testing.assert_allclose(found["detection_scores"][0, :2], probability, rtol=1e-5)
    y, x = divmod(50, 8)
    expected = np.array([y - 0.5, x - 0.5, y + 1.5, x + 1.5]) / 8  # a cell to each side of the center
    np.testing.assert_allclose(found["detection_boxes"][0, 0], expected, atol=1e-6)
    endpoints["centerness_logits"] = np.full_like(central, np.nan)
    broken = run_graph(
        lambda: detector.post_processing.predictions({name: tf.constant(value) for name, value in endpoints.items()})
    )
    assert np.isnan(broken["detection_scores"]).all()


def test_a_description_gives_the_heads_back():
    with tiny_detectors():
        original = task(detection=HEADS)
        metadata = json.loads(json.dumps(original.metadata))
        assert metadata["heads"] == {"distribution": True, "centerness": True}
        given = ModelConfig(architecture="ssd320")
        _, options, _ = resolve_detector(given, DetectionConfig(), metadata, [stored_categories(metadata)], None)
    assert options == replace(HEADS, resize="stretch")


# Matching by predictions


def aligned_losses(step, codes, logits, detection=ALIGNED):
    def build():
        detector = task(detection=detection, run={"duration": Duration(value=8, unit="batch")})
        assert detector.training.aligned_from == (4 if detection.matcher.kind == "task_aligned" else 3)
        return losses(detector, {"box_codes": tf.constant(codes), "class_logits": tf.constant(logits)}, step)

    return run_graph(build)


def test_the_first_steps_match_as_atss_does_and_later_ones_by_predictions():
    random = np.random.default_rng(5)
    codes = random.normal(0, 0.5, [2, ANCHORS, 4]).astype(np.float32)
    logits = random.normal(-2, 1, [2, ANCHORS, 8]).astype(np.float32)
    adaptive = aligned_losses(0, codes, logits, replace(ALIGNED, matcher=MatcherSpec(kind="atss")))
    for step in (0, 3):
        assert aligned_losses(step, codes, logits) == pytest.approx(adaptive, rel=1e-6)
    late = aligned_losses(4, codes, logits)
    assert all(abs(late[name] - adaptive[name]) > 0.01 * adaptive[name] for name in late)


@pytest.mark.parametrize("class_loss", ["quality_focal", "focal"])
def test_an_anchor_whose_prediction_is_right_takes_its_object(class_loss):
    """One anchor of each image predicts an object exactly; all others predict boxes of no overlap."""
    detection = replace(ALIGNED, losses=replace(ALIGNED.losses, class_loss=class_loss))
    detector = task(detection=detection)
    anchors = detector.training.anchors
    sides = anchors[:, 2:] - anchors[:, :2]
    codes = np.zeros((2, ANCHORS, 4), np.float32)
    codes[..., 0] = 10 * 5 / sides[:, 0]  # five images further down
    logits = np.full((2, ANCHORS, 8), -9.0, np.float32)
    for image, anchor in ((0, 27), (1, 36)):
        box, slot, _ = OBJECTS[image][0]
        middle, size = np.add(box[:2], box[2:]) / 2, np.subtract(box[2:], box[:2])
        center = (anchors[anchor, :2] + anchors[anchor, 2:]) / 2
        codes[image, anchor] = np.concatenate(
            [10 * (middle - center) / sides[anchor], 5 * np.log(size / sides[anchor])]
        )
        logits[image, anchor, slot] = 9.0
    late = aligned_losses(4, codes, logits, detection)
    assert late["localization_loss"] == pytest.approx(0, abs=1e-4)
    assert late["classification_loss"] == pytest.approx(0, abs=1e-3)
    assert aligned_losses(3, codes, logits, detection)["localization_loss"] > 0.5


def test_the_alignment_weighs_boxes_and_normalizes_with_quality_focal_loss():
    codes, logits = np.zeros((2, ANCHORS, 4), np.float32), np.zeros((2, ANCHORS, 8), np.float32)

    def build():
        detector = task(detection=ALIGNED)
        given = batch()
        _, targets = detector.training.prepare(given.images, given, tf.constant(10**6, tf.int64))
        return targets, losses(
            detector, {"box_codes": tf.constant(codes), "class_logits": tf.constant(logits)}, step=10**6
        )

    targets, found = run_graph(build)
    assert targets["aligned"].tolist() == [1, 1]
    anchors = task(detection=ALIGNED).training.anchors  # the predictions, with codes of zero
    truth, total, weighed = padded(OBJECTS, 16), 0.0, 0.0
    for image in range(2):
        overlaps = np.stack([iou(box, anchors) for box in truth.boxes[image][truth.weights[image] > 0]])
        centers = (anchors[:, :2] + anchors[:, 2:]) / 2
        best = {}
        for row, over in enumerate(overlaps):
            box = truth.boxes[image, row]
            inside = ((centers > box[:2]) & (centers < box[2:])).all(axis=1) & (over > 0)
            for anchor in [a for a in np.argsort(-over, kind="stable") if inside[a]][:13]:
                if anchor not in best or over[anchor] > overlaps[best[anchor], anchor]:
                    best[anchor] = row
        for row in range(len(overlaps)):
            own = [anchor for anchor, taken in best.items() if taken == row]
            largest = max(overlaps[row][own])
            for anchor in own:
                quality = (overlaps[row][anchor] / largest) ** 6 * largest * truth.weights[image, row]
                total += quality
                weighed += quality * giou_loss(truth.boxes[image, row], anchors[anchor])
    assert found["localization_loss"] == pytest.approx(weighed / total, rel=1e-3)


def iou(box, anchors):
    shared = np.prod(np.maximum(np.minimum(box[2:], anchors[:, 2:]) - np.maximum(box[:2], anchors[:, :2]), 0), axis=1)
    return shared / (np.prod(box[2:] - box[:2]) + np.prod(anchors[:, 2:] - anchors[:, :2], axis=1) - shared)


def giou_loss(box, anchor):
    shared = np.prod(np.maximum(np.minimum(box[2:], anchor[2:]) - np.maximum(box[:2], anchor[:2]), 0))
    union = np.prod(box[2:] - box[:2]) + np.prod(anchor[2:] - anchor[:2]) - shared
    hull = np.prod(np.maximum(box[2:], anchor[2:]) - np.minimum(box[:2], anchor[:2]))
    return 1 - shared / union + (hull - union) / hull


def test_the_log_says_what_boxes_are_and_when_predictions_begin_to_match():
    both = replace(HEADS, matcher=MatcherSpec(kind="task_aligned"))
    settings = config(detection=both, run={"duration": Duration(value=100, unit="batch")}, data={"data_dir": "D"})
    plan = plan_training(settings, 40, 1)
    rows = dict(facts_of_training(settings, plan, 0, 100))
    assert rows["Boxes"] == "sides as distributions, centerness, matched by predictions after step 33"
    assert "Boxes" not in dict(facts_of_training(config(), plan, 0, 100))
